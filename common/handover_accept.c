/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * handover_accept.c - theory of operation
 *
 * Accepting. While a thread waits in recvmsg, another one may close the listener, and its number
 * may become that of a connection. The kernel has the listener itself by then, and the thread still
 * gets what comes. If an answer went to the number, it would be a stray byte in that connection. So
 * after the one call that may wait, the number is duplicated, and the duplicate's name is compared
 * with the listener's. The rest is done on the duplicate. It is not held while we wait: a process
 * that is forked meanwhile would inherit it, and keep the listener from ending.
 *
 * A client that connects without waiting makes the socket itself (libidc/connect.c), and may have
 * kept a copy. With that it can take the mark, or put another one there with a descriptor beside
 * it. Such a connection is dropped, and the next one is waited for. What came with it may be slow
 * to close, and so is the connection itself, with whatever is in its queue. So they are closed as
 * all that is foreign (handover_closes_by).
 *
 * The message on a listener: domid, port, uid, type (2 bytes), marked (2), number, service name
 * padded with NUL. All numbers are little-endian.
 *
 * A note: "note", error (4 bytes), quiet (1), a text. No domid begins so.
 */
#include "common/handover_private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "common/service_name.h"

/* The kernel doubles it, and counts 768 bytes for an answer. The acceptor has no more than 64
 * messages under way. It is no more than everybody may have (net.core.wmem_max). */
#define ANSWERS_BUFFER (128 * 1024)

/* The client has done something to the connection. No system call fails with this. */
#define ACCEPT_SPOILT (-ENOTNAM)

#define NOTE_MAGIC "note"
#define NOTE_FIXED 9

#define WAITING_NUMBER 16
#define WAITING_SERVICE 20

void handover_encode_waiting(uint8_t out[HANDOVER_WAITING_SIZE],
                             const struct handover_waiting *waiting)
{
    const struct idc_addr *peer = &waiting->peer;
    memset(out, 0, HANDOVER_WAITING_SIZE);
    handover_put_le(out, peer->domid, 4);
    handover_put_le(out + 4, peer->port, 4);
    handover_put_le(out + 8, peer->uid, 4);
    handover_put_le(out + 12, peer->type, 2);
    handover_put_le(out + 14, waiting->marked, 2);
    handover_put_le(out + WAITING_NUMBER, waiting->number, 4);
    memcpy(out + WAITING_SERVICE, peer->service, strnlen(peer->service, IDC_SERVICE_MAX));
}

uint32_t handover_waiting_number(const uint8_t *in, size_t len)
{
    return len == HANDOVER_WAITING_SIZE ? (uint32_t)handover_get_le(in + WAITING_NUMBER, 4) : 0;
}

int handover_decode_waiting(const uint8_t *in, size_t len, struct handover_waiting *waiting)
{
    struct idc_addr *peer = &waiting->peer;
    if (len != HANDOVER_WAITING_SIZE || in[len - 1] != '\0')
        return -EINVAL;
    *peer = (struct idc_addr){
        .domid = (uint32_t)handover_get_le(in, 4),
        .port = (uint32_t)handover_get_le(in + 4, 4),
        .uid = (uint32_t)handover_get_le(in + 8, 4),
        .type = (uint32_t)handover_get_le(in + 12, 2),
    };
    uint64_t mark = handover_get_le(in + 14, 2);
    waiting->marked = mark == 1;
    waiting->number = handover_waiting_number(in, len);
    memcpy(peer->service, in + WAITING_SERVICE, IDC_SERVICE_MAX + 1);
    bool service_ok =
        peer->service[0] == '\0' || service_name_valid(peer->service, strlen(peer->service));
    bool type_ok = peer->type == IDC_STREAM || peer->type == IDC_SEQPACKET;
    return handover_valid_domid(peer->domid) && peer->port != 0 && type_ok && mark <= 1 &&
                   service_ok && waiting->number != 0
               ? 0
               : -EINVAL;
}

int handover_send_note(int far_end, const struct handover_note *note)
{
    uint8_t message[HANDOVER_NOTE_SIZE] = NOTE_MAGIC;
    size_t len = strnlen(note->text, HANDOVER_NOTE_TEXT);
    handover_put_le(message + 4, (uint64_t)note->error, 4);
    message[8] = note->quiet;
    memcpy(message + NOTE_FIXED, note->text, len);
    ssize_t sent = handover_send(far_end, message, NOTE_FIXED + len, NULL, 0, MSG_DONTWAIT);
    return sent < 0 ? (int)sent : 0;
}

static bool decode_note(const uint8_t *in, size_t len, struct handover_note *note)
{
    if (len < NOTE_FIXED || len > HANDOVER_NOTE_SIZE || memcmp(in, NOTE_MAGIC, 4) != 0)
        return false;
    *note = (struct handover_note){.error = (int)handover_get_le(in + 4, 4), .quiet = in[8] != 0};
    memcpy(note->text, in + NOTE_FIXED, len - NOTE_FIXED);
    return note->error >= 0;
}

int handover_tell_taken(int listener, uint32_t number)
{
    uint8_t answer[HANDOVER_TAKEN_SIZE] = {HANDOVER_TAKEN};
    handover_put_le(answer + 1, number, 4);
    ssize_t sent = send(listener, answer, sizeof(answer), MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent < 0 ? -errno : 0;
}

uint32_t handover_taken_number(const uint8_t *in, size_t len)
{
    return len == HANDOVER_TAKEN_SIZE && in[0] == HANDOVER_TAKEN
               ? (uint32_t)handover_get_le(in + 1, 4)
               : 0;
}

int handover_take_mark(int fd)
{
    char mark;
    int foreign, count = 1;
    ssize_t got = handover_recv(fd, &mark, 1, &foreign, &count, MSG_DONTWAIT);
    if (got >= 0 && count > 0)
        handover_close_fds(&foreign, count);
    if (got == 1 && count == 0)
        return 0;
    return got < 0 && got != -EAGAIN ? (int)got : -EPROTO;
}

/* When there is no room for a descriptor, accept(2) fails before it takes a connection; so does
 * this. */
static int check_room(int fd)
{
    int probe = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (probe < 0)
        return -errno;
    close(probe);
    return 0;
}

/* The daemon reads answers only now and then (link_mgr/program/acceptor.h). So all that can be
 * unread must fit, even if the program has made SO_SNDBUF small. It has no other use on a listener.
 */
static void answer_make_room(int listener)
{
    setsockopt(listener, SOL_SOCKET, SO_SNDBUF, &(int){ANSWERS_BUFFER}, sizeof(int));
}

/* An error means that the daemon has gone. The connection that was taken will show that itself. */
static void answer_taken(int listener, uint32_t number)
{
    struct pollfd p = {.fd = listener, .events = POLLOUT};
    int error;
    while ((error = handover_tell_taken(listener, number)) == -EAGAIN || error == -EINTR) {
        answer_make_room(listener);
        poll(&p, 1, -1);
    }
}

/* A duplicate of the listener, if its number is still that of the listener. If there is no room for
 * a duplicate, the number itself has to do. */
static int accept_hold(int listener, uint64_t serial)
{
    struct handover_name name;
    int held = fcntl(listener, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (held < 0)
        held = listener;
    if (handover_name(held, &name) == 0 && name.listener && name.serial == serial)
        return held;
    if (held != listener)
        close(held);
    return -EBADF;
}

/* The message that waits first, with its descriptor in *fd. The number of the listener is good for
 * one call that may wait. For everything else there is *held; -1: not even the message was taken.
 */
static ssize_t accept_receive(int listener, uint64_t serial, struct iovec *bytes, int *fd,
                              int flags, int *held)
{
    int count = 1;
    bool lacks = false;
    *held = -1;
    ssize_t got = handover_receive(listener, bytes, fd, &count, flags, 1, &lacks);
    if (got < 0 && got != HANDOVER_END)
        return got;
    *held = accept_hold(listener, serial);
    if (*held < 0)
        return *held;
    if (got == HANDOVER_END) {
        count = 1;
        got = handover_receive(*held, bytes, fd, &count, flags | MSG_DONTWAIT, 1, &lacks);
    }
    return got >= 0 && lacks ? -EMFILE : got;
}

/* Returns 0 and the connection's descriptor. The caller closes that after an error. */
static int accept_take(int listener, uint64_t serial, struct idc_addr *peer, int flags,
                       bool *marked, struct handover_note *note, int *fd)
{
    uint8_t message[HANDOVER_NOTE_SIZE + 1] = {0};
    struct iovec bytes = {message, sizeof(message)};
    struct handover_waiting waiting = {0};
    int held;
    ssize_t got = accept_receive(listener, serial, &bytes, fd, flags, &held);
    /* If another thread took the last descriptor since, the connection is lost, but its message has
     * come. */
    size_t length = got == -EMFILE ? HANDOVER_WAITING_SIZE : got > 0 ? (size_t)got : 0;
    uint32_t number = held >= 0 ? handover_waiting_number(message, length) : 0;
    if (number != 0)
        answer_taken(held, number);
    if (held >= 0 && held != listener)
        close(held);
    if (got == HANDOVER_END || got == -ECONNRESET)
        return -ECONNABORTED;
    if (got < 0)
        return (int)got;
    if (*fd < 0 && note != NULL && decode_note(message, length, note))
        return HANDOVER_NOTED;
    int error = *fd >= 0 ? handover_decode_waiting(message, length, &waiting) : -EPROTO;
    if (error == 0 && waiting.marked && marked == NULL && handover_take_mark(*fd) < 0)
        return ACCEPT_SPOILT;
    if (marked != NULL)
        *marked = waiting.marked;
    *peer = waiting.peer;
    return error == -EINVAL ? -EPROTO : error;
}

int handover_accept(int listener, uint64_t serial, struct idc_addr *peer, int flags)
{
    return handover_accept_marked(listener, serial, peer, flags, NULL);
}

int handover_accept_marked(int listener, uint64_t serial, struct idc_addr *peer, int flags,
                           bool *marked)
{
    return handover_accept_noted(listener, serial, peer, flags, marked, NULL);
}

static int64_t accept_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Before another connection is waited for: of the time limit of the call (SO_RCVTIMEO), only the
 * rest is left. Returns the flags of the call then, or negative errno. */
static int accept_go_on(int listener, uint64_t serial, int64_t began_ms, int flags)
{
    struct handover_name name;
    struct timeval limit = {0};
    struct pollfd p = {.fd = listener, .events = POLLIN};
    if (handover_name(listener, &name) < 0 || !name.listener || name.serial != serial)
        return -EBADF;
    getsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &limit, &(socklen_t){sizeof(limit)});
    int64_t ms = (int64_t)limit.tv_sec * 1000 + (limit.tv_usec + 999) / 1000;
    if (ms == 0 || !handover_may_wait(listener, flags))
        return flags;
    int64_t left = began_ms + ms - accept_now_ms();
    int ready = left > 0 ? poll(&p, 1, left < INT_MAX ? (int)left : INT_MAX) : 0;
    if (ready < 0)
        return -errno;
    return ready > 0 ? flags | MSG_DONTWAIT : -EAGAIN;
}

static int accept_once(int listener, uint64_t serial, struct idc_addr *peer, int flags,
                       bool *marked, struct handover_note *note)
{
    int fd = -1;
    int error = check_room(listener);
    if (error == 0)
        error = accept_take(listener, serial, peer, flags, marked, note, &fd);
    if (error == 0)
        return fd;
    if (fd >= 0 && error == ACCEPT_SPOILT)
        handover_close_fds(&fd, 1);
    else if (fd >= 0)
        close(fd);
    return error;
}

int handover_accept_noted(int listener, uint64_t serial, struct idc_addr *peer, int flags,
                          bool *marked, struct handover_note *note)
{
    int64_t began_ms = accept_now_ms();
    int now = flags;
    for (;;) {
        int got = accept_once(listener, serial, peer, now, marked, note);
        /* another thread may have been faster */
        bool again = got == ACCEPT_SPOILT || (got == -EAGAIN && now != flags);
        if (!again)
            return got;
        now = accept_go_on(listener, serial, began_ms, flags);
        if (now < 0)
            return now;
    }
}
