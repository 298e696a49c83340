/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * connecting.c - see connecting.h. The name of a failed far end, little-endian:
 *      offset  size
 *           0     4  "IDC" and 2 (a connected end has 1 there, see handover.c)
 *           4     8  a number that no other failed end has; as an int64 it is positive
 *          12     2  errno
 *          14  0-93  why
 *
 * A Unix socket polls writable when what it has sent takes no more than a quarter of its send
 * buffer. The kernel counts some 768 bytes for a message of one byte. A send fails when all of the
 * buffer is taken. So the buffer is made small enough that a few sends fill it, and large enough
 * that the one message that stays takes less than a quarter.
 */
#include "common/connecting.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "common/handover_private.h"
#include "common/text_cut.h"

#define FAIL_MAGIC "IDC\2"
#define FAIL_FIXED 14
/* The serial numbers of connections are smaller (HANDOVER_SERIAL_BITS). */
#define NUMBER_BIT (UINT64_C(1) << 62)
#define NUMBER_RANDOM (NUMBER_BIT - 1)
#define SMALL_BUFFER 8192 /* the kernel doubles it */
#define FILLER '\0'
#define FILLER_LAST '\1'
#define FILLER_MIN 2
/* a quarter of the buffer that the kernel makes of this; the kernel counts more than the bytes */
#define LITTLE (SMALL_BUFFER / 2)
#define FILLER_MAX 4096
#define STREAM_BUFFER (2 * HANDOVER_STREAM_BUFFER) /* as the kernel counts it */
#define FILLER_BLOCK (64 * 1024)
#define FILLER_BYTES_MAX (64 << 20)

static const size_t name_prefix = offsetof(struct sockaddr_un, sun_path) + 1;

/* ---- near end ---- */

static int send_buffer(int fd)
{
    int size = 0;
    socklen_t len = sizeof(size);
    return getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &len) == 0 ? size : -1;
}

static bool put_filler_block(int near_end, char message)
{
    return send(near_end, &message, 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1;
}

/* The buffer is filled first. Then one message is taken out at the other end, to make room for the
 * marked one behind them all. */
int connecting_fill(int near_end, int far_end)
{
    int small = SMALL_BUFFER, count = 0;
    char taken;
    if (setsockopt(near_end, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)) < 0)
        return -errno;
    while (count <= FILLER_MAX && put_filler_block(near_end, FILLER))
        count++;
    if (count < FILLER_MIN || count > FILLER_MAX || errno != EAGAIN)
        return -ENOBUFS;
    if (recv(far_end, &taken, 1, MSG_DONTWAIT) != 1 || !put_filler_block(near_end, FILLER_LAST))
        return -ENOBUFS;
    return 0;
}

/* What the end polls now. A signal ends even a poll that does not wait; then we know nothing.
 */
static short polled_now(int near_end)
{
    struct pollfd p = {.fd = near_end, .events = POLLOUT};
    int ready;
    while ((ready = poll(&p, 1, 0)) < 0 && errno == EINTR)
        ;
    return ready > 0 ? p.revents : 0;
}

/* Blocks of a quarter of the buffer, including what the kernel adds. One or two are enough, and
 * there is room for the last message behind them. */
int connecting_fill_roughly(int near_end)
{
    static const char block[FILLER_BLOCK];
    int size = send_buffer(near_end) / 4;
    size = size < FILLER_BLOCK ? size : FILLER_BLOCK;
    for (int i = 0; i < FILLER_MAX && size > 0; i++) {
        if (send(near_end, block, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL) <= 0)
            return -ENOBUFS;
        if (!(polled_now(near_end) & POLLOUT))
            return put_filler_block(near_end, FILLER_LAST) ? 0 : -ENOBUFS;
    }
    return -ENOBUFS;
}

void connecting_widen(int near_end, int size)
{
    /* the kernel doubles it, and wakes those who waited for room */
    int half = size / 2;
    setsockopt(near_end, SOL_SOCKET, SO_SNDBUF, &half, sizeof(half));
}

/* Sends the filler and the last message in one system call. It makes the call itself, since
 * sendmmsg of libidc-vsock.so would look for more. */
static bool put_little(int near_end)
{
    static const char filler[LITTLE], last = FILLER_LAST;
    struct iovec parts[2] = {{(void *)(uintptr_t)filler, sizeof(filler)},
                             {(void *)(uintptr_t)&last, 1}};
    struct mmsghdr messages[2] = {{.msg_hdr = {.msg_iov = &parts[0], .msg_iovlen = 1}},
                                  {.msg_hdr = {.msg_iov = &parts[1], .msg_iovlen = 1}}};
    return syscall(SYS_sendmmsg, near_end, messages, 2, MSG_DONTWAIT | MSG_NOSIGNAL) == 2 &&
           messages[0].msg_len == sizeof(filler);
}

/* A size stays if it could not be given back without privilege. */
int connecting_fill_little(int near_end, int *size)
{
    const int small = SMALL_BUFFER;
    *size = send_buffer(near_end);
    if (*size <= 2 * SMALL_BUFFER || *size > STREAM_BUFFER) {
        *size = 0;
        return connecting_fill_roughly(near_end);
    }
    if (setsockopt(near_end, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)) == 0 &&
        put_little(near_end))
        return 0;
    connecting_widen(near_end, *size);
    return -ENOBUFS;
}

void connecting_settle(int near_end, int size)
{
    int type = 0;
    if (send_buffer(near_end) != 2 * SMALL_BUFFER)
        return;
    if (size > 0) {
        connecting_widen(near_end, size);
        return;
    }
    if (getsockopt(near_end, SOL_SOCKET, SO_TYPE, &type, &(socklen_t){sizeof(type)}) == 0 &&
        type == SOCK_SEQPACKET) {
        handover_make_room(near_end);
        return;
    }
    int fresh = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int usual = send_buffer(fresh);
    connecting_widen(near_end, usual > STREAM_BUFFER ? usual : STREAM_BUFFER);
    if (fresh >= 0)
        close(fresh);
}

/* The error in a failed end's name; 0: it is not such a name. */
static int error_in_name(const uint8_t *name, size_t len, char why[CONNECTING_WHY_MAX])
{
    if (len < FAIL_FIXED || len - FAIL_FIXED >= CONNECTING_WHY_MAX ||
        memcmp(name, FAIL_MAGIC, 4) != 0)
        return 0;
    memcpy(why, name + FAIL_FIXED, len - FAIL_FIXED);
    why[len - FAIL_FIXED] = '\0';
    int error = name[12] | name[13] << 8;
    return error == 0 || error == EINPROGRESS || error == -CONNECTING_NONE ? ECONNRESET : error;
}

#define UNNAMED 1 /* the far end has no name yet */

/* Says what the far end's name says, without a text if it is the name of a connection. A name never
 * changes.
 */
static int named_outcome(int near_end, char why[CONNECTING_WHY_MAX])
{
    struct handover_name connected;
    struct sockaddr_un address = {0};
    socklen_t len = sizeof(address);

    if (handover_name(near_end, &connected) == 0)
        return connected.listener ? CONNECTING_NONE : 0;
    if (getpeername(near_end, (struct sockaddr *)&address, &len) < 0)
        return errno == ENOTCONN ? CONNECTING_NONE : -errno;
    if (address.sun_family != AF_UNIX || len > sizeof(address))
        return CONNECTING_NONE;
    if (len <= name_prefix)
        return UNNAMED;
    int error = error_in_name((const uint8_t *)address.sun_path + 1, len - name_prefix, why);
    if (error != 0)
        return -error;
    /* it is a connection's name if it came between the two looks */
    return handover_name(near_end, &connected) == 0 ? 0 : CONNECTING_NONE;
}

/* The name comes first; then the end polls writable or hung up. So once it does, one more look at
 * the name shows the outcome. */
int connecting_outcome(int near_end, char why[CONNECTING_WHY_MAX])
{
    why[0] = '\0';
    int outcome = named_outcome(near_end, why);
    if (outcome != UNNAMED)
        return outcome;
    short now = polled_now(near_end);
    if (!(now & (POLLOUT | POLLHUP)))
        return -EINPROGRESS;
    outcome = named_outcome(near_end, why);
    if (outcome != UNNAMED)
        return outcome;
    if (!(now & POLLHUP))
        return CONNECTING_NONE;
    strcpy(why, "link_mgr ended meanwhile, or has no descriptors left");
    return -ECONNRESET;
}

/* ---- far end ---- */

static ssize_t connecting_zeros(const char *bytes, ssize_t len)
{
    ssize_t count = 0;
    while (count < len && bytes[count] == FILLER)
        count++;
    return count;
}

/* Descriptors that a program has sent with the filler are received, and closed as all others. Then
 * the far end is refused. One beside the last byte would stay in it, for whoever reads that. */
static ssize_t drain_recv(int far_end, void *bytes, size_t len, int flags)
{
    int fd, count = 1;
    ssize_t got = handover_recv(far_end, bytes, len, &fd, &count, MSG_DONTWAIT | flags);
    if (got >= 0 && count > 0) {
        handover_close_fds(&fd, count);
        return -EPERM;
    }
    return got;
}

static int drain_error(ssize_t got)
{
    return got == -EPERM ? -EPERM : -EINVAL;
}

/* Peeks, and then takes the part that is filler. */
static int drain_stream(int far_end)
{
    char bytes[FILLER_BLOCK / 4];
    for (ssize_t total = 0; total <= FILLER_BYTES_MAX;) {
        ssize_t there = drain_recv(far_end, bytes, sizeof(bytes), MSG_PEEK);
        ssize_t filler = there > 0 ? connecting_zeros(bytes, there) : 0;
        if (there <= 0 || (filler < there && bytes[filler] != FILLER_LAST))
            return drain_error(there);
        ssize_t got = filler > 0 ? drain_recv(far_end, bytes, (size_t)filler, 0) : 0;
        if (got != filler)
            return drain_error(got);
        if (filler < there)
            return 0;
        total += filler;
    }
    return -EINVAL;
}

/* Takes them one by one, because nobody can look at a message behind another. */
static int drain_messages(int far_end)
{
    char first;
    for (int i = 0; i <= FILLER_MAX; i++) {
        ssize_t got = drain_recv(far_end, &first, 1, MSG_PEEK);
        if (got != 1)
            return drain_error(got);
        if (first == FILLER_LAST)
            return 0;
        got = first == FILLER ? drain_recv(far_end, &first, 1, 0) : 0;
        if (got != 1)
            return drain_error(got);
    }
    return -EINVAL;
}

int connecting_drain(int far_end)
{
    int type = 0;
    socklen_t len = sizeof(type);
    if (getsockopt(far_end, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
        return -EINVAL;
    return type == SOCK_STREAM ? drain_stream(far_end) : drain_messages(far_end);
}

/* Nobody can take a random name before us. Without it, the clock makes the number differ from those
 * of an earlier run of the daemon, whose names may live on. */
static uint64_t unique_number(void)
{
    static atomic_uint_fast64_t count;
    struct timespec now;
    uint64_t number;
    if (getrandom(&number, sizeof(number), 0) != sizeof(number)) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        number = (uint64_t)now.tv_sec << 32 | (uint32_t)atomic_fetch_add(&count, 1);
    }
    return (number & NUMBER_RANDOM) | NUMBER_BIT;
}

/* A name has little room. The object of the connect stands first in why, and the program knows it.
 * So that part is dropped first, and the cause stays whole. Returns the length. */
static size_t connecting_shorten(const char *why, char text[CONNECTING_WHY_MAX])
{
    const char *cause = strstr(why, ": ");
    if (strlen(why) >= CONNECTING_WHY_MAX && cause != NULL)
        why = cause + 2;
    text_mark_cut(text, CONNECTING_WHY_MAX, snprintf(text, CONNECTING_WHY_MAX, "%s", why));
    return strlen(text);
}

int connecting_fail(int far_end, int error, const char *why)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    uint8_t *name = (uint8_t *)address.sun_path + 1;
    uint64_t number = unique_number();
    char text[CONNECTING_WHY_MAX];
    size_t why_len = connecting_shorten(why, text);

    memcpy(name, FAIL_MAGIC, 4);
    memcpy(name + 4, &number, sizeof(number));
    name[12] = (uint8_t)error;
    name[13] = (uint8_t)(error >> 8);
    memcpy(name + FAIL_FIXED, text, why_len);
    socklen_t len = (socklen_t)(name_prefix + FAIL_FIXED + why_len);
    return bind(far_end, (struct sockaddr *)&address, len) == 0 ? 0 : -errno;
}

static bool is_cut(const char *why)
{
    size_t len = strlen(why), mark = strlen(TEXT_CUT_MARK);
    return len == CONNECTING_WHY_MAX - 1 && strcmp(why + len - mark, TEXT_CUT_MARK) == 0;
}

uint64_t connecting_cut_number(int end, bool is_far)
{
    struct sockaddr_un address = {0};
    struct sockaddr *place = (struct sockaddr *)&address;
    const uint8_t *name = (const uint8_t *)address.sun_path + 1;
    socklen_t len = sizeof(address);
    char why[CONNECTING_WHY_MAX];
    uint64_t number;
    if ((is_far ? getsockname(end, place, &len) : getpeername(end, place, &len)) < 0 ||
        address.sun_family != AF_UNIX || len <= name_prefix || len > sizeof(address) ||
        error_in_name(name, len - name_prefix, why) == 0 || !is_cut(why))
        return 0;
    memcpy(&number, name + 4, sizeof(number));
    return number;
}
