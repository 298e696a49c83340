/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vsock_data.c - what passes through a connection, and how it ends. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>

#include <linux/sockios.h>

#include "tests/programs/vsock.h"

#define MEGABYTE (1 << 20)

static char *vsock_data_pattern(size_t len)
{
    char *bytes = malloc(len);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (char)(i * 7 + (i >> 8) * 13);
    return bytes;
}

static void *send_a_megabyte(void *arg)
{
    char *bytes = vsock_data_pattern(MEGABYTE);
    send_all(*(int *)arg, bytes, MEGABYTE);
    CHECK(shutdown(*(int *)arg, SHUT_WR) == 0);
    free(bytes);
    return NULL;
}

static void test_stream(const struct other *other)
{
    int fd = ask(other, SOCK_STREAM, "echo");
    char *back = malloc(MEGABYTE), *sent = vsock_data_pattern(MEGABYTE), byte;
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, send_a_megabyte, &fd) == 0);
    receive_all(fd, back, MEGABYTE);
    CHECK(memcmp(back, sent, MEGABYTE) == 0);
    CHECK(read(fd, &byte, 1) == 0); /* the end that was shut comes back */
    CHECK(pthread_join(thread, NULL) == 0);
}

static void test_shutdown(const struct other *other)
{
    char byte;
    int fd = ask(other, SOCK_STREAM, "echo");
    check_echo(fd);
    CHECK(shutdown(fd, SHUT_WR) == 0);
    CHECK_ERRNO(send(fd, "x", 1, MSG_NOSIGNAL), EPIPE);
    CHECK(recv(fd, &byte, 1, 0) == 0);
    fd = ask(other, SOCK_STREAM, "echo");
    CHECK(shutdown(fd, SHUT_RD) == 0 && recv(fd, &byte, 1, 0) == 0);
    fd = ask(other, SOCK_STREAM, "echo");
    CHECK(shutdown(fd, SHUT_RDWR) == 0 && recv(fd, &byte, 1, 0) == 0);
    CHECK_ERRNO(shutdown(fd, 7), EINVAL);
}

static void test_flags(const struct other *other)
{
    char bytes[8];
    int fd = ask(other, SOCK_STREAM, "echo"), there;
    CHECK_ERRNO(recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT), EAGAIN);
    send_all(fd, "abcd", 4);
    await_bytes(fd, 4);
    CHECK(recv(fd, bytes, 2, MSG_PEEK) == 2 && memcmp(bytes, "ab", 2) == 0);
    CHECK(ioctl(fd, FIONREAD, &there) == 0 && there == 4);
    CHECK(recv(fd, bytes, sizeof(bytes), 0) == 4 && memcmp(bytes, "abcd", 4) == 0);
    struct timeval time = {.tv_usec = 50000};
    CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time)) == 0);
    CHECK_ERRNO(recv(fd, bytes, 1, 0), EAGAIN);
}

static void test_senders_address(const struct other *other)
{
    char bytes[8];
    struct sockaddr_vm from;
    socklen_t len = sizeof(from);
    struct iovec span = {bytes, 4};
    struct msghdr message = {
        .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &span, .msg_iovlen = 1};
    int fd = ask(other, SOCK_STREAM, "echo");
    send_all(fd, "abcdefgh", 8);
    await_bytes(fd, 8);
    /* vsock tells none */
    CHECK(recvfrom(fd, bytes, 4, 0, (struct sockaddr *)&from, &len) == 4 && len == 0);
    CHECK(recvmsg(fd, &message, 0) == 4 && message.msg_namelen == 0);
    struct mmsghdr several[2] = {{.msg_hdr = message}};
    several[0].msg_hdr.msg_namelen = sizeof(from);
    send_all(fd, "abcd", 4);
    CHECK(recvmmsg(fd, several, 1, 0, NULL) == 1 && several[0].msg_len == 4 &&
          several[0].msg_hdr.msg_namelen == 0);
}

static void *send_the_rest(void *arg)
{
    poll(NULL, 0, 100);
    send_all(*(int *)arg, "efghij", 6);
    return NULL;
}

static void test_lowat(const struct other *other)
{
    char bytes[32];
    int fd = ask(other, SOCK_STREAM, "echo"), ten = 10;
    pthread_t thread;
    CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &ten, sizeof(ten)) == 0);
    send_all(fd, "abcd", 4);
    await_bytes(fd, 4);
    CHECK(pthread_create(&thread, NULL, send_the_rest, &fd) == 0);
    CHECK(recv(fd, bytes, sizeof(bytes), 0) == 10 && memcmp(bytes, "abcdefghij", 10) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

static void test_messages(const struct other *other)
{
    static const ssize_t sizes[] = {1, 10, 70000, 131073, 262144, 327680};
    char *bytes = malloc(400000), control[64];
    int fd = ask(other, SOCK_SEQPACKET, "sizes");
    for (int i = 0; i < 6; i++) {
        CHECK(recv(fd, bytes, 400000, 0) == sizes[i]);
        for (ssize_t k = 0; k < sizes[i]; k++)
            CHECK(bytes[k] == 'a' + i);
    }
    CHECK(recv(fd, bytes, 400000, 0) == 0);
    fd = ask(other, SOCK_SEQPACKET, "echo");
    CHECK(send(fd, "abcdef", 6, 0) == 6 && send(fd, "gh", 2, 0) == 2 &&
          send(fd, "ijkl", 4, 0) == 4);
    CHECK(recv(fd, bytes, 2, MSG_PEEK | MSG_TRUNC) == 6);
    /* the rest of the message is lost */
    CHECK(recv(fd, bytes, 3, 0) == 3 && memcmp(bytes, "abc", 3) == 0);
    struct iovec span = {bytes, 1};
    struct msghdr message = {.msg_iov = &span,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof(control)};
    CHECK(recvmsg(fd, &message, 0) == 1 && (message.msg_flags & MSG_TRUNC) && bytes[0] == 'g');
    CHECK(recv(fd, bytes, 2, MSG_TRUNC) == 4);
    CHECK_ERRNO(recv(fd, bytes, 2, MSG_DONTWAIT), EAGAIN);
}

static void test_large_messages(const struct other *other)
{
    static const size_t sizes[] = {131072, 131073, 200000, 262144, 327680, 327680, 262144, 1};
    char *back = malloc(400000), *sent = vsock_data_pattern(400000);
    int fd = ask(other, SOCK_SEQPACKET, "echo");
    CHECK_ERRNO(send(fd, sent, 262145, 0), EMSGSIZE); /* the default */
    allow_messages(fd, 1 << 20);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        CHECK(send(fd, sent, sizes[i], 0) == (ssize_t)sizes[i]);
        CHECK(recv(fd, back, 400000, 0) == (ssize_t)sizes[i]);
        CHECK(memcmp(sent, back, sizes[i]) == 0);
    }
    CHECK_ERRNO(send(fd, sent, 400000, 0), EMSGSIZE);
    check_echo(fd);
}

/* ---- the functions that send a message ---- */

static ssize_t by_write(int fd, char *bytes, size_t len)
{
    return write(fd, bytes, len);
}

static ssize_t by_send(int fd, char *bytes, size_t len)
{
    return send(fd, bytes, len, MSG_NOSIGNAL);
}

static ssize_t by_sendto(int fd, char *bytes, size_t len)
{
    return sendto(fd, bytes, len, MSG_NOSIGNAL, NULL, 0);
}

static ssize_t by_writev(int fd, char *bytes, size_t len)
{
    const struct iovec spans[2] = {{bytes, len / 3}, {bytes + len / 3, len - len / 3}};
    return writev(fd, spans, 2);
}

static ssize_t by_pwritev2(int fd, char *bytes, size_t len)
{
    const struct iovec spans[2] = {{bytes, len / 3}, {bytes + len / 3, len - len / 3}};
    return pwritev2(fd, spans, 2, -1, 0);
}

static ssize_t by_sendmsg(int fd, char *bytes, size_t len)
{
    struct iovec spans[3] = {{bytes, len / 3}, {NULL, 0}, {bytes + len / 3, len - len / 3}};
    const struct msghdr message = {.msg_iov = spans, .msg_iovlen = 3};
    return sendmsg(fd, &message, MSG_NOSIGNAL);
}

static ssize_t by_sendmmsg(int fd, char *bytes, size_t len)
{
    struct iovec span = {bytes, len};
    struct mmsghdr message = {.msg_hdr = {.msg_iov = &span, .msg_iovlen = 1}};
    int sent = sendmmsg(fd, &message, 1, MSG_NOSIGNAL);
    CHECK(sent == 1 || sent == -1);
    return sent == 1 ? (ssize_t)message.msg_len : -1;
}

static ssize_t (*const ways[])(int fd, char *bytes, size_t len) = {
    by_write, by_send, by_sendto, by_writev, by_pwritev2, by_sendmsg, by_sendmmsg};
#define WAYS (sizeof(ways) / sizeof(ways[0]))

static void test_ways_to_send(const struct other *other)
{
    static const size_t sizes[] = {1, 40960, 40961, 100000, 327680};
    static const size_t too_long[] = {327681, 330000, 332360, 400000};
    char *back = malloc(400000), *sent = vsock_data_pattern(400000);
    int fd = ask(other, SOCK_SEQPACKET, "echo"), size = 212992;
    CHECK(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) == 0);
    allow_messages(fd, 1 << 20);
    for (size_t way = 0; way < WAYS; way++) {
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            CHECK(ways[way](fd, sent, sizes[i]) == (ssize_t)sizes[i]);
            CHECK(recv(fd, back, 400000, 0) == (ssize_t)sizes[i] &&
                  memcmp(sent, back, sizes[i]) == 0);
        }
        for (size_t i = 0; i < sizeof(too_long) / sizeof(too_long[0]); i++)
            CHECK_ERRNO(ways[way](fd, sent, too_long[i]), EMSGSIZE);
        check_echo(fd);
    }
    const struct iovec *volatile no_spans = NULL;
    CHECK_ERRNO(writev(fd, no_spans, 2), EFAULT);
    CHECK_ERRNO(sendmsg(fd, NULL, 0), EFAULT);
}

static void test_several_messages(const struct other *other)
{
    static const size_t sizes[] = {5, 100000, 0, 70000, 400000, 7};
    struct iovec spans[6];
    struct mmsghdr messages[6] = {0};
    char *back = malloc(400000), *sent = vsock_data_pattern(400000);
    int fd = ask(other, SOCK_SEQPACKET, "echo");
    for (int i = 0; i < 6; i++) {
        spans[i] = (struct iovec){sent, sizes[i]};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &spans[i], .msg_iovlen = 1};
    }
    CHECK(sendmmsg(fd, messages, 6, 0) == 4);
    for (int i = 0; i < 4; i++)
        CHECK(messages[i].msg_len == sizes[i] &&
              (sizes[i] == 0 || recv(fd, back, 400000, 0) == (ssize_t)sizes[i]));
    CHECK_ERRNO(sendmmsg(fd, messages + 4, 2, 0), EMSGSIZE);
    CHECK(sendmmsg(fd, messages, 0, 0) == 0);
    check_echo(fd);
}

/* Nothing is sent: the reader does not take it for the end. */
static void test_empty_message(const struct other *other)
{
    char byte = 0;
    const struct msghdr nothing = {0};
    int fd = ask(other, SOCK_SEQPACKET, "echo"), stream = ask(other, SOCK_STREAM, "echo");
    for (size_t way = 0; way < WAYS; way++) {
        CHECK(ways[way](fd, &byte, 0) == 0 && ways[way](stream, &byte, 0) == 0);
        check_echo(fd);
        check_echo(stream);
    }
    CHECK(sendmsg(fd, &nothing, 0) == 0 && send(fd, NULL, 0, 0) == 0);
    check_echo(fd);
    /* one that is sent past the library: its reader looks a second time */
    CHECK(syscall(SYS_sendto, fd, &byte, 0, MSG_NOSIGNAL, NULL, 0) == 0);
    check_echo(fd);
}

struct sending {
    int fd, count;
    char *bytes;
    size_t len;
    ssize_t (*way)(int fd, char *bytes, size_t len);
};

static void *send_many(void *arg)
{
    const struct sending *sending = arg;
    for (int i = 0; i < sending->count; i++)
        CHECK(sending->way(sending->fd, sending->bytes, sending->len) == (ssize_t)sending->len);
    CHECK(shutdown(sending->fd, SHUT_WR) == 0);
    return NULL;
}

/* Until the server begins to read, the sender waits; then it must be woken. */
static void check_waiting_sender(const struct other *other, size_t len,
                                 ssize_t (*way)(int fd, char *bytes, size_t len))
{
    struct sending sending = {ask(other, SOCK_SEQPACKET, "hold"), 60, vsock_data_pattern(len), len,
                              way};
    allow_messages(sending.fd, 1 << 20);
    char text[32] = "", expected[32];
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, send_many, &sending) == 0);
    poll(NULL, 0, 100);
    receive_all(ask(other, SOCK_STREAM, "go"), text, 1);
    CHECK(pthread_join(thread, NULL) == 0);
    snprintf(expected, sizeof(expected), "%zu", 60 * len);
    CHECK(recv(sending.fd, text, sizeof(text), 0) == (ssize_t)strlen(expected) &&
          strcmp(text, expected) == 0);
    close(sending.fd);
    free(sending.bytes);
}

/* A limit below what is looked at by default. */
static void test_small_messages_only(const struct other *other)
{
    char *sent = vsock_data_pattern(2000);
    int fd = ask(other, SOCK_SEQPACKET, "echo"), stream = ask(other, SOCK_STREAM, "echo");
    uint64_t size = 1000;
    CHECK(setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE, &size, sizeof(size)) == 0);
    CHECK(setsockopt(stream, AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE, &size, sizeof(size)) == 0);
    for (size_t way = 0; way < WAYS; way++) {
        CHECK_ERRNO(ways[way](fd, sent, 1001), EMSGSIZE);
        CHECK(ways[way](fd, sent, 1000) == 1000 && recv(fd, sent, 2000, MSG_TRUNC) == 1000);
        CHECK(ways[way](stream, sent, 2000) == 2000 &&
              recv(stream, sent, 2000, MSG_WAITALL) == 2000);
    }
    free(sent);
}

/* Long and short ones, above and below what a socket takes as it is. */
static void test_waiting_sender(const struct other *other)
{
    static const size_t sizes[] = {30000, 40000, 50000, 100000, 200000, 327680};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        check_waiting_sender(other, sizes[i], by_write);
    for (size_t way = 1; way < WAYS; way++)
        check_waiting_sender(other, 100000, ways[way]);
}

static int vsock_data_unsent(int fd)
{
    int bytes = -1;
    CHECK(ioctl(fd, SIOCOUTQ, &bytes) == 0);
    return bytes;
}

static void await_all_sent(int fd)
{
    for (int i = 0; i < WAIT_MS && vsock_data_unsent(fd) > 0; i++)
        poll(NULL, 0, 1);
    CHECK(vsock_data_unsent(fd) == 0);
}

static void test_unsent(const struct other *other)
{
    static char bytes[65536];
    char text[32] = "", expected[32];
    int fd = new_socket(SOCK_STREAM);
    long total = 0;
    ssize_t n;
    CHECK(vsock_data_unsent(fd) == 0);
    close(fd);
    fd = ask(other, SOCK_STREAM, "hold");
    while ((n = send(fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0 || polled(fd, POLLOUT, 500) != 0)
        total += n > 0 ? n : 0;
    /* within the domain what is sent has arrived */
    CHECK(other->cid == VMADDR_CID_LOCAL
              ? vsock_data_unsent(fd) == 0
              : vsock_data_unsent(fd) > 0 && vsock_data_unsent(fd) <= total + 262144);
    n = read(ask(other, SOCK_STREAM, "go"), text, 1);
    CHECK(n == 1);
    await_all_sent(fd);
    CHECK(shutdown(fd, SHUT_WR) == 0);
    snprintf(expected, sizeof(expected), "%ld", total);
    receive_all(fd, text, strlen(expected));
    CHECK(strcmp(text, expected) == 0);
    fd = ask(other, SOCK_SEQPACKET, "echo");
    CHECK(send(fd, bytes, 1000, 0) == 1000 && recv(fd, bytes, 1000, MSG_WAITALL) == 1000);
    await_all_sent(fd);
}

static void test_other_calls(const struct other *other)
{
    char bytes[8] = "";
    off_t offset = 0;
    int fd = ask(other, SOCK_STREAM, "echo"), file = memfd_create("t", MFD_CLOEXEC), ends[2];
    char letters[] = "abcd";
    struct iovec spans[2] = {{letters, 2}, {letters + 2, 2}};
    CHECK(write(file, "0123", 4) == 4 && sendfile(fd, file, &offset, 4) == 4);
    CHECK(writev(fd, spans, 2) == 4);
    await_bytes(fd, 8);
    CHECK(pipe(ends) == 0 && splice(fd, NULL, ends[1], NULL, 8, 0) == 8);
    CHECK(read(ends[0], bytes, 8) == 8 && memcmp(bytes, "0123abcd", 8) == 0);
}

/* ---- ends ---- */

/* What the server's watching receive ended with. */
static int watched_errno(const struct other *other)
{
    char text[16] = "";
    CHECK(read(ask(other, SOCK_STREAM, "errno"), text, sizeof(text) - 1) > 0);
    return atoi(text);
}

static const int both_types[] = {SOCK_STREAM, SOCK_SEQPACKET};

/* The server reads the end, and no error. */
static void test_unread_here(const struct other *other)
{
    char byte;
    for (int i = 0; i < 2; i++) {
        int fd = ask(other, both_types[i], "watch");
        CHECK(polled(fd, POLLIN, WAIT_MS) & POLLIN);
        close(fd); /* with the byte unread */
        CHECK(watched_errno(other) == 0);
        fd = ask(other, both_types[i], "watch");
        receive_all(fd, &byte, 1);
        close(fd); /* with nothing unread */
        CHECK(watched_errno(other) == 0);
    }
}

/* The server has closed with something unread. */
static int left_unread(const struct other *other, int type)
{
    int fd = ask(other, type, "unread");
    CHECK(send(fd, "more", 4, 0) == 4);
    CHECK(polled(fd, POLLRDHUP, WAIT_MS) & POLLRDHUP);
    return fd;
}

/* ---- the functions that receive ---- */

static ssize_t from_read(int fd, char *bytes, size_t len)
{
    return read(fd, bytes, len);
}

static ssize_t from_readv(int fd, char *bytes, size_t len)
{
    const struct iovec spans[2] = {{bytes, len / 2}, {bytes + len / 2, len - len / 2}};
    return readv(fd, spans, 2);
}

static ssize_t from_preadv2(int fd, char *bytes, size_t len)
{
    const struct iovec span = {bytes, len};
    return preadv2(fd, &span, 1, -1, 0);
}

static ssize_t from_recv(int fd, char *bytes, size_t len)
{
    return recv(fd, bytes, len, 0);
}

static ssize_t from_recvfrom(int fd, char *bytes, size_t len)
{
    struct sockaddr_vm from;
    socklen_t from_len = sizeof(from);
    return recvfrom(fd, bytes, len, 0, (struct sockaddr *)&from, &from_len);
}

static ssize_t from_recvmsg(int fd, char *bytes, size_t len)
{
    struct iovec span = {bytes, len};
    struct msghdr message = {.msg_iov = &span, .msg_iovlen = 1};
    return recvmsg(fd, &message, 0);
}

static ssize_t from_recvmmsg(int fd, char *bytes, size_t len)
{
    struct iovec span = {bytes, len};
    struct mmsghdr message = {.msg_hdr = {.msg_iov = &span, .msg_iovlen = 1}};
    int got = recvmmsg(fd, &message, 1, 0, NULL);
    CHECK(got == 1 || got == -1);
    return got == 1 ? (ssize_t)message.msg_len : -1;
}

static ssize_t (*const readers[])(int fd, char *bytes, size_t len) = {
    from_read, from_readv, from_preadv2, from_recv, from_recvfrom, from_recvmsg, from_recvmmsg};
#define READERS (sizeof(readers) / sizeof(readers[0]))

/* What the kernel's vsock says: the end, and EPIPE for a writer. It knows no error here. */
static void test_unread_there(const struct other *other)
{
    char bytes[8];
    for (int i = 0; i < 2; i++) {
        for (size_t reader = 0; reader < READERS; reader++) {
            int fd = left_unread(other, both_types[i]);
            CHECK(readers[reader](fd, bytes, sizeof(bytes)) == 0);
            CHECK(readers[reader](fd, bytes, sizeof(bytes)) == 0);
            CHECK((polled(fd, POLLIN, 0) & (POLLIN | POLLERR)) == POLLIN);
            CHECK(int_option(fd, SOL_SOCKET, SO_ERROR) == 0);
            close(fd);
        }
        for (size_t way = 0; way < WAYS; way++) {
            int fd = left_unread(other, both_types[i]);
            CHECK_ERRNO(ways[way](fd, bytes, 1), EPIPE);
            CHECK(recv(fd, bytes, sizeof(bytes), 0) == 0);
            close(fd);
        }
        int fd = left_unread(other, both_types[i]);
        CHECK(int_option(fd, SOL_SOCKET, SO_ERROR) == 0);
        CHECK(recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) == 0);
        close(fd);
    }
}

/* What the server sent before it closed is not lost. */
static void test_answer_before_the_end(const struct other *other)
{
    for (int i = 0; i < 2; i++) {
        for (size_t reader = 0; reader < READERS; reader++) {
            char bytes[8] = "";
            int fd = ask(other, both_types[i], "answer");
            ssize_t one = both_types[i] == SOCK_STREAM ? 6 : 3;
            CHECK(send(fd, "more", 4, 0) == 4 && (polled(fd, POLLRDHUP, WAIT_MS) & POLLRDHUP));
            if (one == 6)
                await_bytes(fd, 6);
            CHECK(readers[reader](fd, bytes, sizeof(bytes)) == one &&
                  memcmp(bytes, "abcdef", one) == 0);
            if (one == 3)
                CHECK(readers[reader](fd, bytes, sizeof(bytes)) == 3 &&
                      memcmp(bytes, "def", 3) == 0);
            CHECK(readers[reader](fd, bytes, sizeof(bytes)) == 0);
            close(fd);
        }
    }
}

/* A writer that waits for room when the server closes. */
static void test_waiting_writer(const struct other *other)
{
    for (int i = 0; i < 2; i++) {
        for (size_t way = 0; way < WAYS; way++) {
            char *bytes = vsock_data_pattern(20000);
            int fd = ask(other, both_types[i], "unread"), sent;
            for (sent = 0; ways[way](fd, bytes, 20000) >= 0; sent++)
                CHECK(sent < 100000);
            CHECK(errno == EPIPE);
            CHECK(recv(fd, bytes, 1, 0) == 0);
            close(fd);
            free(bytes);
        }
    }
}

/* Urgent data, the error queue, and nothing at all. */
static void test_what_vsock_has_not(const struct other *other)
{
    char bytes[8];
    struct iovec span = {bytes, sizeof(bytes)};
    struct msghdr message = {.msg_iov = &span, .msg_iovlen = 1}, none = {0};
    struct mmsghdr several = {.msg_hdr = message};
    for (int i = 0; i < 2; i++) {
        int fd = ask(other, both_types[i], "echo");
        CHECK_ERRNO(send(fd, "x", 1, MSG_OOB), EOPNOTSUPP);
        CHECK_ERRNO(sendto(fd, "x", 1, MSG_OOB, NULL, 0), EOPNOTSUPP);
        CHECK_ERRNO(sendmsg(fd, &message, MSG_OOB), EOPNOTSUPP);
        CHECK_ERRNO(recv(fd, bytes, 1, MSG_OOB), EOPNOTSUPP);
        CHECK(recv(fd, bytes, 0, 0) == 0 && recvmsg(fd, &none, 0) == 0 && read(fd, bytes, 0) == 0);
        check_echo(fd);
        CHECK(send(fd, "abc", 3, 0) == 3);
        await_bytes(fd, 3);
        CHECK_ERRNO(recvmsg(fd, &message, MSG_ERRQUEUE), EAGAIN);
        CHECK_ERRNO(recv(fd, bytes, sizeof(bytes), MSG_ERRQUEUE), EAGAIN);
        CHECK_ERRNO(recvfrom(fd, bytes, sizeof(bytes), MSG_ERRQUEUE, NULL, NULL), EAGAIN);
        CHECK_ERRNO(recvmmsg(fd, &several, 1, MSG_ERRQUEUE, NULL), EAGAIN);
        CHECK(recv(fd, bytes, sizeof(bytes), 0) == 3); /* nothing of it was eaten */
        close(fd);
    }
    int fresh = new_socket(SOCK_STREAM);
    CHECK_ERRNO(recvmsg(fresh, &message, MSG_ERRQUEUE), EAGAIN);
}

/* Two megabytes of messages wait for a server that does not read. Between domains it depends on
 * more than this buffer how much may wait, and without privilege it is less. */
static void test_large_buffer(const struct other *other)
{
    char text[32] = "", *bytes = vsock_data_pattern(10000);
    if (geteuid() != 0 || other->cid != VMADDR_CID_LOCAL)
        return;
    int fd = ask(other, SOCK_SEQPACKET, "hold");
    allow_messages(fd, 2 << 20);
    for (int i = 0; i < 200; i++)
        CHECK(send(fd, bytes, 10000, MSG_DONTWAIT) == 10000);
    receive_all(ask(other, SOCK_STREAM, "go"), text, 1);
    CHECK(shutdown(fd, SHUT_WR) == 0);
    CHECK(recv(fd, text, sizeof(text), 0) == 7 && strcmp(text, "2000000") == 0);
}

static void test_pipe(const struct other *other)
{
    char byte;
    int fd = ask(other, SOCK_STREAM, "close");
    CHECK(recv(fd, &byte, 1, 0) == 0);
    int sent = 0;
    /* the first may be taken still */
    while (sent < WAIT_MS && send(fd, "x", 1, MSG_NOSIGNAL) == 1) {
        poll(NULL, 0, 1);
        sent++;
    }
    CHECK(errno == EPIPE || errno == ECONNRESET);
    CHECK_ERRNO(send(fd, "x", 1, MSG_NOSIGNAL), EPIPE);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGPIPE, SIG_DFL);
        _exit(write(fd, "x", 1) == -1 ? 100 : 101);
    }
    CHECK(wait_for(child) == -SIGPIPE);
}

const struct vsock_case vsock_data_cases[] = {
    {.name = "stream", .run = test_stream},
    {.name = "shutdown", .run = test_shutdown},
    {.name = "flags", .run = test_flags},
    {.name = "senders_address", .run = test_senders_address},
    {.name = "lowat", .run = test_lowat},
    {.name = "messages", .run = test_messages},
    {.name = "large_messages", .run = test_large_messages},
    {.name = "ways_to_send", .run = test_ways_to_send},
    {.name = "several_messages", .run = test_several_messages},
    {.name = "empty_message", .run = test_empty_message},
    {.name = "waiting_sender", .run = test_waiting_sender},
    {.name = "small_messages_only", .run = test_small_messages_only},
    {.name = "unsent", .run = test_unsent},
    {.name = "other_calls", .run = test_other_calls},
    {.name = "io_uring", .run = test_io_uring},
    {.name = "unread_here", .run = test_unread_here},
    {.name = "unread_there", .run = test_unread_there},
    {.name = "answer_before_the_end", .run = test_answer_before_the_end},
    {.name = "waiting_writer", .run = test_waiting_writer},
    {.name = "what_vsock_has_not", .run = test_what_vsock_has_not},
    {.name = "large_buffer", .run = test_large_buffer},
    {.name = "pipe", .run = test_pipe},
    {0},
};
