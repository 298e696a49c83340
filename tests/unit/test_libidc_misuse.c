/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_libidc_misuse.c - every function of idc.h with every kind of descriptor that it is not for,
 * and with NULL for each pointer. Nothing crashes, nothing waits for ever, and errno is what idc.h
 * says. A program may also close or move a descriptor that is the library's own.
 */
#include "tests/unit/rpc_fixture.h"

#include <malloc.h>
#include <netinet/in.h>
#include <time.h>

#include "idc.h"
#include "tests/unit/suite.h"

/* ---- the kinds of descriptors ---- */

enum kind {
    LISTENER,
    MESSAGES, /* a seqpacket connection */
    STREAM,
    CONNECTING,
    FAILED, /* a connect that has failed */
    RPC,    /* the socket by which libidc talks to link_mgr */
    PLAIN,  /* an AF_UNIX socket that has nothing to do with IDC */
    PAIR,   /* ... one of a pair */
    TCP,
    PIPE,
    FILE_,
    CLOSED,
    MINUS_ONE,
    KINDS
};

static const char *const kind_names[KINDS] = {
    "a listener",
    "a seqpacket connection",
    "a stream connection",
    "a connecting socket",
    "a failed connect",
    "an RPC socket",
    "a plain Unix socket",
    "a plain socket pair",
    "a TCP socket",
    "a pipe",
    "a file",
    "a closed descriptor",
    "-1",
};

static int other_end = -1; /* of PAIR and PIPE */

static int misuse_connect(int type, uint32_t port, int nonblocking)
{
    struct idc_options options = IDC_OPTIONS_INIT;
    options.type = type;
    options.nonblocking = nonblocking;
    return idc_connect_with(4, port, &options);
}

static int misuse_failed(void)
{
    int fd = misuse_connect(IDC_STREAM, 99, 1);
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    ck_assert_int_eq(poll(&p, 1, 20000), 1);
    return fd;
}

static int misuse_rpc(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    strcpy(address.sun_path, server_path);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static int misuse_pair(void)
{
    int pair[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    other_end = pair[1];
    return pair[0];
}

static int misuse_pipe(void)
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    other_end = ends[1];
    return ends[0];
}

/* A number that no descriptor has, and that none gets meanwhile. */
static int misuse_closed(void)
{
    int fd = fcntl(STDIN_FILENO, F_DUPFD, 500);
    close(fd);
    return fd;
}

static int misuse_open(enum kind kind)
{
    other_end = -1;
    switch (kind) {
    case LISTENER:
        return idc_listen(IDC_PORT_ANY, 5);
    case MESSAGES:
    case STREAM:
        return misuse_connect(kind == STREAM ? IDC_STREAM : IDC_SEQPACKET, 5, 0);
    case CONNECTING:
        return misuse_connect(IDC_STREAM, 7, 1);
    case FAILED:
        return misuse_failed();
    case RPC:
        return misuse_rpc();
    case PLAIN:
        return socket(AF_UNIX, SOCK_STREAM, 0);
    case PAIR:
        return misuse_pair();
    case TCP:
        return socket(AF_INET, SOCK_STREAM, 0);
    case PIPE:
        return misuse_pipe();
    case FILE_:
        return open("/dev/null", O_RDWR);
    case CLOSED:
        return misuse_closed();
    default:
        return -1;
    }
}

static void misuse_close(enum kind kind, int fd)
{
    if (other_end >= 0)
        close(other_end);
    if (kind < CLOSED)
        close(fd);
}

/* ---- the functions ---- */

static long use_peer_timeout(int fd)
{
    return idc_peer_timeout(fd, 1000);
}

static long use_finish(int fd)
{
    return idc_connect_finish(fd);
}

static long use_accept(int fd)
{
    return idc_accept(fd, NULL);
}

static long use_unlisten(int fd)
{
    int copy = dup(fd);
    int result = idc_unlisten(copy), error = errno;
    if (copy >= 0 && result < 0)
        close(copy);
    errno = error;
    return result;
}

static long use_send(int fd)
{
    return idc_send(fd, "x", 1);
}

static long use_send_long(int fd)
{
    static char bytes[200000];
    return idc_send(fd, bytes, sizeof(bytes)) > 0 ? 1 : -1;
}

static long use_recv(int fd)
{
    char byte;
    return idc_recv_with(fd, &byte, 1, MSG_DONTWAIT, NULL);
}

static long use_getsockname(int fd)
{
    struct idc_addr address;
    return idc_getsockname(fd, &address);
}

static long use_getpeername(int fd)
{
    struct idc_addr address;
    return idc_getpeername(fd, &address);
}

static long use_getsockname_null(int fd)
{
    return idc_getsockname(fd, NULL);
}

static long use_getpeername_null(int fd)
{
    return idc_getpeername(fd, NULL);
}

static long use_send_null(int fd)
{
    return idc_send(fd, NULL, 5);
}

static long use_send_null_long(int fd)
{
    return idc_send(fd, NULL, 200000);
}

static long use_recv_null(int fd)
{
    return idc_recv_with(fd, NULL, 5, MSG_DONTWAIT, NULL);
}

/* What comes: a number is an errno, 0 is success. */
#define WORKS 0
#define ANY (-1) /* as the kernel's call */

static const struct {
    const char *name;
    long (*use)(int fd);
    int outcome[KINDS];
} functions[] = {
    /* LISTENER MESSAGES STREAM CONNECTING FAILED RPC PLAIN PAIR TCP PIPE FILE CLOSED -1 */
    {"idc_connect_finish",
     use_finish,
     {EINVAL, WORKS, WORKS, EINPROGRESS, ECONNREFUSED, EINVAL, EINVAL, EINVAL, EINVAL, ENOTSOCK,
      ENOTSOCK, EBADF, EBADF}},
    {"idc_accept",
     use_accept,
     {EAGAIN, EINVAL, EINVAL, EINVAL, EINVAL, EINVAL, EINVAL, EINVAL, EINVAL, EINVAL, EINVAL, EBADF,
      EBADF}},
    {"idc_unlisten",
     use_unlisten,
     {WORKS, EINVAL, EINVAL, EINVAL, EINVAL, EINVAL, EINVAL, EINVAL, EINVAL, EINVAL, EINVAL, EBADF,
      EBADF}},
    {"idc_peer_timeout",
     use_peer_timeout,
     {EINVAL, WORKS, WORKS, EINVAL, EINVAL, EINVAL, EINVAL, EINVAL, EINVAL, ENOTSOCK, ENOTSOCK,
      EBADF, EBADF}},
    {"idc_getsockname",
     use_getsockname,
     {WORKS, WORKS, WORKS, ENOTCONN, ENOTCONN, EINVAL, EINVAL, EINVAL, EINVAL, ENOTSOCK, ENOTSOCK,
      EBADF, EBADF}},
    {"idc_getpeername",
     use_getpeername,
     {ENOTCONN, WORKS, WORKS, ENOTCONN, ENOTCONN, EINVAL, EINVAL, EINVAL, EINVAL, ENOTSOCK,
      ENOTSOCK, EBADF, EBADF}},
    {"idc_getsockname of NULL",
     use_getsockname_null,
     {EFAULT, EFAULT, EFAULT, ENOTCONN, ENOTCONN, EINVAL, EINVAL, EINVAL, EINVAL, ENOTSOCK,
      ENOTSOCK, EBADF, EBADF}},
    {"idc_getpeername of NULL",
     use_getpeername_null,
     {ENOTCONN, EFAULT, EFAULT, ENOTCONN, ENOTCONN, EINVAL, EINVAL, EINVAL, EINVAL, ENOTSOCK,
      ENOTSOCK, EBADF, EBADF}},
    {"idc_send",
     use_send,
     {EINVAL, WORKS, WORKS, EAGAIN, EPIPE, ANY, ENOTCONN, WORKS, EPIPE, ENOTSOCK, ENOTSOCK, EBADF,
      EBADF}},
    {"idc_send of a long message",
     use_send_long,
     {EINVAL, WORKS, WORKS, EAGAIN, EPIPE, ANY, ENOTCONN, WORKS, EPIPE, ENOTSOCK, ENOTSOCK, EBADF,
      EBADF}},
    {"idc_send of NULL",
     use_send_null,
     {EINVAL, EFAULT, EFAULT, ANY, EPIPE, EFAULT, ENOTCONN, EFAULT, EPIPE, ENOTSOCK, ENOTSOCK,
      EBADF, EBADF}},
    {"idc_send of NULL, long",
     use_send_null_long,
     {EINVAL, EFAULT, EFAULT, ANY, EPIPE, EFAULT, ENOTCONN, EFAULT, EPIPE, ENOTSOCK, ENOTSOCK,
      EBADF, EBADF}},
    {"idc_recv_with",
     use_recv,
     {EINVAL, EAGAIN, EAGAIN, EAGAIN, ECONNRESET, EAGAIN, EINVAL, EAGAIN, ENOTCONN, ENOTSOCK,
      ENOTSOCK, EBADF, EBADF}},
};

/* QEMU's emulation of a user's program ($EMULATOR) looks at an address before the kernel looks at
 * the socket. */
static bool misuse_is_expected(int wanted, int got)
{
    const char *emulator = getenv("EMULATOR");
    return wanted == ANY || got == wanted ||
           (emulator && *emulator && wanted != WORKS && got == EFAULT);
}

static void misuse_try(size_t function, enum kind kind)
{
    int fd = misuse_open(kind);
    int wanted = functions[function].outcome[kind];
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    errno = 0;
    long result = functions[function].use(fd);
    int got = result < 0 ? errno : 0;
    ck_assert_msg(misuse_is_expected(wanted, got), "%s of %s: %s, not %s (%s)",
                  functions[function].name, kind_names[kind], strerrorname_np(got),
                  strerrorname_np(wanted), idc_last_error());
    if (result < 0)
        ck_assert_str_ne(idc_last_error(), "");
    misuse_close(kind, fd);
}

static void misuse_setup(void)
{
    server_start();
    setenv("IDC_SOCKET", server_path, 1);
}

START_TEST(wrong_descriptors)
{
    for (enum kind kind = 0; kind < KINDS; kind++)
        misuse_try((size_t)_i, kind);
}
END_TEST

/* A message waits, or bytes do; only then does a missing buffer matter. */
START_TEST(recv_into_nothing)
{
    for (int type = IDC_STREAM; type <= IDC_SEQPACKET; type++) {
        char buf[8];
        size_t length;
        int fd = misuse_connect(type, 5, 0);
        ck_assert_int_eq(idc_send(fd, "hello", 5), 5);
        struct pollfd p = {.fd = fd, .events = POLLIN};
        ck_assert_int_eq(poll(&p, 1, 20000), 1);
        ck_assert_int_eq(use_recv_null(fd), -1);
        ck_assert_int_eq(errno, EFAULT);
        ck_assert_int_eq(idc_recv(fd, NULL, 5), -1);
        ck_assert_int_eq(errno, EFAULT);
        ck_assert_int_eq(idc_recv_with(fd, NULL, 0, MSG_PEEK | MSG_TRUNC, &length),
                         type == IDC_SEQPACKET ? 5 : 0);
        ck_assert_int_eq(idc_recv(fd, buf, sizeof(buf)), 5); /* and nothing was lost */
        close(fd);
    }
}
END_TEST

/* A connection that waits is not taken as a message. */
START_TEST(recv_leaves_a_listener_alone)
{
    int listener = idc_listen(4000, 5);
    int client = idc_connect(IDC_DOMID_SELF, 4000);
    ck_assert_int_ge(client, 0);
    ck_assert_int_eq(use_recv(listener), -1);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_int_eq(use_send(listener), -1);
    ck_assert_int_eq(errno, EINVAL);
    int server = idc_accept(listener, NULL);
    ck_assert_msg(server >= 0, "%s", idc_last_error());
    close(server);
    close(client);
    close(listener);
}
END_TEST

#define FAILS(call, error)                      \
    do {                                        \
        errno = 0;                              \
        ck_assert_int_eq((call), -1);           \
        ck_assert_int_eq(errno, (error));       \
        ck_assert_str_ne(idc_last_error(), ""); \
    } while (0)

START_TEST(null_pointers)
{
    struct idc_options options = IDC_OPTIONS_INIT;
    FAILS(idc_connect_name(3, NULL), EINVAL);
    FAILS(idc_connect_name_with(3, NULL, NULL), EINVAL);
    FAILS(idc_connect_name_with(3, NULL, &options), EINVAL);
    FAILS(idc_listen_name(NULL, 5), EINVAL);
    int fd = idc_connect_with(3, 5, NULL);
    ck_assert_int_ge(fd, 0);
    close(fd);
    fd = idc_listen_with(IDC_PORT_ANY, NULL, 5, NULL);
    ck_assert_int_ge(fd, 0);
    close(fd);
    FAILS(idc_disconnect(-1), EBADF);
    FAILS(idc_disconnect(misuse_closed()), EBADF);
}
END_TEST

/* ---- the library's own descriptors ---- */

/* As soon as nobody has the port any more. */
static int keep_one(uint32_t port)
{
    struct idc_options options = IDC_OPTIONS_INIT;
    int fd;
    options.keep = 1;
    while ((fd = idc_listen_with(port, NULL, 5, &options)) < 0)
        ck_assert_msg(errno == EADDRINUSE, "%s", idc_last_error());
    return fd;
}

/* link_mgr has given it the name that the listener's other end has. */
static int find_far_end(int listener)
{
    struct sockaddr_un wanted, name;
    socklen_t wanted_len = sizeof(wanted), len;
    ck_assert_int_eq(getpeername(listener, (struct sockaddr *)&wanted, &wanted_len), 0);
    for (int fd = STDERR_FILENO + 1; fd < 1000; fd++) {
        len = sizeof(name);
        if (getsockname(fd, (struct sockaddr *)&name, &len) == 0 && len == wanted_len &&
            memcmp(&name, &wanted, len) == 0)
            return fd;
    }
    ck_abort_msg("the library has no far end");
    return -1;
}

static double processor_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* The library's thread waits for what the far end tells, and the kernel goes on telling it as long
 * as somebody has that socket. By then its record may be freed. Its number is nobody's, or it is
 * another file of the program. */
START_TEST(a_far_end_that_its_program_moves)
{
    int other = keep_one(4001);
    mallopt(M_PERTURB, 0xa5); /* what is freed is not the same any more */
    int listener = keep_one(4000), far_end = find_far_end(listener);
    int moved = fcntl(far_end, F_DUPFD_CLOEXEC, 500);
    close(far_end);
    if (_i == 1)
        ck_assert_int_eq(dup2(STDIN_FILENO, far_end), far_end);
    close(listener);
    close(keep_one(4000));                    /* link_mgr has let go of it */
    ck_assert_int_eq(idc_unlisten(other), 0); /* by the thread, after all that came before */
    ck_assert_int_eq(idc_unlisten(keep_one(4001)), 0);
    double before = processor_ms();
    poll(NULL, 0, 300);
    ck_assert_double_lt(processor_ms() - before, 150); /* it does nothing */
    close(moved);
    if (_i == 1)
        ck_assert_int_ge(fcntl(far_end, F_GETFD), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("libidc_misuse");
    TCase *tests = tcase_create("all");
    tcase_add_checked_fixture(tests, misuse_setup, server_stop);
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, wrong_descriptors, 0, sizeof(functions) / sizeof(functions[0]));
    tcase_add_test(tests, recv_into_nothing);
    tcase_add_test(tests, recv_leaves_a_listener_alone);
    tcase_add_test(tests, null_pointers);
    tcase_add_loop_test(tests, a_far_end_that_its_program_moves, 0, 2);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
