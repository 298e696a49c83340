/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * patience.c - waiting for a daemon that is not there yet (option wait).
 *
 * Nothing reports that a daemon begins to serve a path, whose directory may not even exist. So the
 * call itself is repeated, less and less often. The failed call was not carried out: these errors
 * come only from the line to the daemon, since the daemon itself waits for the rest.
 */
#include <errno.h>
#include <poll.h>

#include "libidc/internal.h"

#define PAUSE_FIRST_MS 5
#define PAUSE_MAX_MS 100

struct libidc_patience libidc_patience_begin(int timeout_ms)
{
    struct libidc_patience patience = {.end_ms = -1, .pause_ms = PAUSE_FIRST_MS};
    if (timeout_ms != IDC_TIMEOUT_NONE)
        patience.end_ms =
            libidc_now_ms() + (timeout_ms != 0 ? timeout_ms : LIBIDC_TIMEOUT_DEFAULT_MS);
    return patience;
}

int libidc_patience_left(const struct libidc_patience *patience)
{
    if (patience->end_ms < 0)
        return IDC_TIMEOUT_NONE;
    int64_t left = patience->end_ms - libidc_now_ms();
    return left > 1 ? (int)left : 1;
}

/* Errors of a line that could not be opened, or was closed before the answer. */
static bool patience_lacks_daemon(int error)
{
    return error == ENOENT || error == ECONNREFUSED || error == ECONNRESET;
}

bool libidc_patience_again(struct libidc_patience *patience, const char *path)
{
    if (!patience_lacks_daemon(errno))
        return false;
    int left = libidc_patience_left(patience);
    if (left == 1) {
        libidc_fail(ETIMEDOUT, "no link_mgr serves %s (it was waited for)", path);
        return false;
    }
    int pause = left != IDC_TIMEOUT_NONE && left < patience->pause_ms ? left : patience->pause_ms;
    if (poll(NULL, 0, pause) < 0) {
        libidc_fail(EINTR, "interrupted while waiting for a link_mgr at %s", path);
        return false;
    }
    patience->pause_ms =
        patience->pause_ms < PAUSE_MAX_MS / 2 ? 2 * patience->pause_ms : PAUSE_MAX_MS;
    return true;
}
