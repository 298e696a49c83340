/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "channels/cut_off.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "channels/clock.h"
#include "libidc/internal.h"

#define ASKED_AT_ONCE 10
#define ASKED_MS 1000
#define LATE_MS 100
#define SILENT_MS 10000

static int64_t period_begin, silent_until;
static unsigned asked;

static bool cut_off_may_ask(int64_t now)
{
    if (now < silent_until)
        return false;
    if (asked == 0 || now - period_begin >= ASKED_MS) {
        period_begin = now;
        asked = 0;
    }
    return asked++ < ASKED_AT_ONCE;
}

/* False: it is told in the kernel's words. */
static bool cut_off_ask(int fd, int error, char *text)
{
    int64_t begin = channels_now_ms();
    if (!cut_off_may_ask(begin))
        return false;
    int reason = libidc_reason(fd, text, CUT_OFF_TEXT_MAX);
    int64_t end = channels_now_ms();
    if (end - begin >= LATE_MS)
        silent_until = end + SILENT_MS;
    if (reason == LIBIDC_NOT_KNOWN && error == ECONNRESET)
        snprintf(text, CUT_OFF_TEXT_MAX,
                 "%s: the connection's link_mgr has ended, or does not answer", strerror(error));
    else if (reason <= 0)
        return false;
    return text[0] != '\0';
}

void cut_off_text(int fd, int error, char text[CUT_OFF_TEXT_MAX])
{
    bool is_cut = error == ECONNRESET || error == EPIPE;
    if (fd >= 0 && is_cut && libidc_is_connection(fd) && cut_off_ask(fd, error, text))
        return;
    if (error == EPERM && fd >= 0) /* foreign.c */
        snprintf(text, CUT_OFF_TEXT_MAX, "%s",
                 "descriptors came with what it has sent, and these cannot pass");
    else if (error == ENODATA) /* side.c */
        snprintf(text, CUT_OFF_TEXT_MAX, "%s",
                 "a program that has a copy of this socket has read from it");
    else
        snprintf(text, CUT_OFF_TEXT_MAX, "%s",
                 error == EPIPE ? "it takes no more, and what was sent to it last is lost"
                                : strerror(error));
}
