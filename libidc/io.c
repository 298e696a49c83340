/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * io.c - idc_send and idc_recv: send(2) and recv(2), long messages, and the reason when a
 * connection was cut off.
 *
 * The reason is known to the link_mgr that had the connection, and to none that was started later.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/handover.h"
#include "libidc/internal.h"

#define REASON_WAIT_MS 1000

static int socket_type(int fd)
{
    int type = 0;
    socklen_t len = sizeof(type);
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 ? type : -1;
}

/* Asks the link_mgr at path, and shows fd: a program that has changed its uid may ask too. An
 * errno, 0 when it knows of none. */
static int ask_reason(const char *path, int fd, uint64_t serial, char *why, size_t why_size)
{
    struct compact_writer call;
    struct libidc_answer answer;
    compact_begin(&call, COMPACT_CALL, "idc.reason");
    compact_put_number(&call, "serial", (int64_t)serial);
    compact_put_boolean(&call, "shown", true);
    if (libidc_call_with(path, &call, REASON_WAIT_MS, &fd, 1, &answer, NULL) < 0)
        return 0;
    libidc_answer_text(&answer, "why", why, why_size);
    int error = (int)libidc_answer_int(&answer, "errno", 0);
    return error;
}

static ssize_t fail_io(int fd, int error, const char *operation)
{
    char why[COMPACT_MAX] = "";
    struct handover_name name;
    const char *path = NULL;
    int reason = 0;
    if ((error == ECONNRESET || error == EPIPE) && handover_name(fd, &name) == 0 && !name.listener)
        path = libidc_path_of_maker(fd);
    if (path != NULL)
        reason = ask_reason(path, fd, name.serial, why, sizeof(why));
    if (reason != 0)
        return libidc_fail(reason, "%s", why[0] != '\0' ? why : strerror(reason));
    return libidc_fail(error, "%s: %s", operation, strerror(error));
}

ssize_t idc_send(int fd, const void *buf, size_t len)
{
    ssize_t sent;
    if (len > HANDOVER_INLINE_MAX && socket_type(fd) == SOCK_SEQPACKET) {
        sent = handover_send_message(fd, buf, len, 0);
    } else {
        sent = send(fd, buf, len, MSG_NOSIGNAL);
        sent = sent < 0 ? -errno : sent;
    }
    return sent < 0 ? fail_io(fd, (int)-sent, "send") : sent;
}

ssize_t idc_recv(int fd, void *buf, size_t len)
{
    ssize_t got;
    if (socket_type(fd) == SOCK_SEQPACKET) {
        got = handover_recv_message(fd, buf, len, 0);
    } else {
        got = recv(fd, buf, len, 0);
        got = got < 0 ? -errno : got;
    }
    return got < 0 ? fail_io(fd, (int)-got, "recv") : got;
}
