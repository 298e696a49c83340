/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "common/rpc_member.h"
#include "common/text_cut.h"
#include "libidc/internal.h"

static __thread char last_error[LIBIDC_TEXT_MAX];

int libidc_fail(int error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int length = vsnprintf(last_error, sizeof(last_error), format, args);
    text_mark_cut(last_error, sizeof(last_error), length);
    va_end(args);
    errno = error;
    return -1;
}

const char *idc_last_error(void)
{
    return last_error;
}

const char *idc_version(void)
{
    return IDC_VERSION;
}

/* A later member could otherwise lie in what is padding in an earlier caller's struct. */
static_assert(sizeof(struct idc_options) == offsetof(struct idc_options, reserved) + sizeof(int),
              "no padding may be at the end of struct idc_options");

/* A caller may know more members than we do, but must not have set them. Otherwise it would get
 * less than it asked for. */
static bool unknown_members_set(const struct idc_options *options)
{
    const char *bytes = (const char *)options;
    for (size_t i = sizeof(*options); i < options->size; i++)
        if (bytes[i] != 0)
            return true;
    return false;
}

int libidc_options(const struct idc_options *options, struct idc_options *out)
{
    *out = (struct idc_options)IDC_OPTIONS_INIT;
    if (options != NULL) {
        if (options->size < sizeof(options->size) || unknown_members_set(options))
            return libidc_fail(EINVAL, "struct idc_options: initialise it with IDC_OPTIONS_INIT");
        memcpy(out, options, options->size < sizeof(*out) ? options->size : sizeof(*out));
    }
    /* it was a reserved member once, which had to be 0: anything else is by chance */
    if (out->keep != 0 && out->keep != 1)
        return libidc_fail(EINVAL, "keep %d is neither 0 nor 1", out->keep);
    if (out->reserved != 0)
        return libidc_fail(EINVAL, "struct idc_options: initialise it with IDC_OPTIONS_INIT");
    if (out->type != IDC_STREAM && out->type != IDC_SEQPACKET)
        return libidc_fail(EINVAL, "type %d is neither IDC_STREAM nor IDC_SEQPACKET", out->type);
    if (out->timeout_ms < IDC_TIMEOUT_NONE)
        return libidc_fail(EINVAL, "timeout_ms %d is negative", out->timeout_ms);
    return libidc_check_peer_timeout(out->peer_timeout_ms);
}

int libidc_check_peer_timeout(int ms)
{
    if (ms != 0 && ms < RPC_PEER_TIMEOUT_MIN)
        return libidc_fail(EINVAL, "peer_timeout_ms %d is neither 0 nor %d or more", ms,
                           RPC_PEER_TIMEOUT_MIN);
    return 0;
}
