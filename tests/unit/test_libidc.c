/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_libidc.c - the public API against a real RPC server over a fake hub, in another process. */
#include "tests/unit/rpc_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>

#include "idc.h"
#include "tests/unit/suite.h"

static int baseline;

static void libidc_setup(void)
{
    server_start();
    setenv("IDC_SOCKET", server_path, 1);
    baseline = count_descriptors();
}

/* A few idle RPC connections are the library's to keep; nothing else is left. */
static void libidc_teardown(void)
{
    ck_assert_int_le(count_descriptors(), baseline + 8);
    server_stop();
}

#define FAILS(call, error)                      \
    do {                                        \
        errno = 0;                              \
        ck_assert_int_eq((call), -1);           \
        ck_assert_int_eq(errno, (error));       \
        ck_assert_str_ne(idc_last_error(), ""); \
    } while (0)

static void check_echo(int fd)
{
    char buf[8];
    ck_assert_int_eq(idc_send(fd, "hello", 5), 5);
    ck_assert_int_eq(idc_recv(fd, buf, sizeof(buf)), 5);
    ck_assert_mem_eq(buf, "hello", 5);
}

static int libidc_connected(void)
{
    int fd = idc_connect(3, 5);
    ck_assert_msg(fd >= 0, "%s", idc_last_error());
    return fd;
}

/* ---- connect ---- */

START_TEST(connect_works)
{
    struct idc_addr address;
    int fd = libidc_connected();
    ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
    ck_assert_int_eq(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    ck_assert_int_eq(idc_getpeername(fd, &address), 0);
    ck_assert_uint_eq(address.domid, 3);
    ck_assert_uint_eq(address.port, 5);
    ck_assert_uint_eq(address.type, IDC_STREAM);
    ck_assert_int_eq(idc_getsockname(fd, &address), 0);
    ck_assert_uint_ge(address.port, IDC_PORT_EPHEMERAL_MIN);
    ck_assert_int_eq(idc_connect_finish(fd), 0);
    check_echo(fd);
    ck_assert_int_eq(idc_disconnect(fd), 0);
    FAILS(idc_disconnect(fd), EBADF);
}
END_TEST

START_TEST(connect_fails)
{
    struct idc_options options = IDC_OPTIONS_INIT;
    FAILS(idc_connect(3, 99), ECONNREFUSED);
    FAILS(idc_connect(3, 13), EACCES);
    FAILS(idc_connect(3, 0), EINVAL);
    FAILS(idc_connect(0xFFFFFFFF, 5), EINVAL);
    FAILS(idc_connect_name(3, NULL), EINVAL);
    FAILS(idc_connect_name(3, "80"), EINVAL);
    FAILS(idc_connect_name(3, "<&>"), EINVAL);
    FAILS(idc_connect_name(3, "\xFF"), EINVAL);
    FAILS(idc_connect_name(3, "nobody"), ECONNREFUSED);
    options.timeout_ms = 50;
    FAILS(idc_connect_with(3, 7, &options), ETIMEDOUT);
    options.timeout_ms = -2;
    FAILS(idc_connect_with(3, 5, &options), EINVAL);
    options = (struct idc_options)IDC_OPTIONS_INIT;
    options.type = 3;
    FAILS(idc_connect_with(3, 5, &options), EINVAL);
    options.size = 0;
    FAILS(idc_connect_with(3, 5, &options), EINVAL);
}
END_TEST

/* Programs that were built with a later or an earlier idc.h. */
START_TEST(options_of_other_versions)
{
    struct {
        struct idc_options known;
        int later[4];
    } future = {.known = IDC_OPTIONS_INIT};
    future.known.size = sizeof(future);
    int fd = idc_connect_with(3, 5, &future.known);
    ck_assert_int_ge(fd, 0);
    close(fd);
    future.later[2] = 1;
    FAILS(idc_connect_with(3, 5, &future.known), EINVAL);
    future.known = (struct idc_options)IDC_OPTIONS_INIT;
    future.known.keep = 2;
    FAILS(idc_connect_with(3, 5, &future.known), EINVAL);
    ck_assert_ptr_nonnull(strstr(idc_last_error(), "keep 2"));
    struct idc_options past = {
        .size = offsetof(struct idc_options, timeout_ms), .type = IDC_STREAM, .timeout_ms = -7};
    fd = idc_connect_with(3, 5, &past);
    ck_assert_int_ge(fd, 0);
    close(fd);
}
END_TEST

START_TEST(no_daemon)
{
    struct idc_options options = IDC_OPTIONS_INIT;
    char path[200];
    memset(path, 'x', sizeof(path));
    path[199] = '\0';
    options.socket = "/nonexistent/rpc.sock";
    FAILS(idc_connect_with(3, 5, &options), ENOENT);
    ck_assert_ptr_nonnull(strstr(idc_last_error(), "/nonexistent/rpc.sock"));
    FAILS(idc_listen_with(0, NULL, 5, &options), ENOENT);
    options.nonblocking = 1;
    FAILS(idc_connect_with(3, 5, &options), ENOENT);
    options.socket = path;
    FAILS(idc_connect_with(3, 5, &options), ENAMETOOLONG);
    setenv("IDC_SOCKET", "/nonexistent", 1);
    FAILS(idc_connect(3, 5), ENOENT);
    options = (struct idc_options)IDC_OPTIONS_INIT;
    options.socket = server_path; /* the option comes first */
    int fd = idc_connect_with(3, 5, &options);
    ck_assert_int_ge(fd, 0);
    close(fd);
}
END_TEST

/* Something else serves the path, or a link_mgr of another version. */
START_TEST(not_a_daemon)
{
    static const char *const answers[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "hello, I am not HTTP\r\n\r\n", "",
        "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n"};
    static const int errors[] = {EPROTO, EPROTO, ECONNRESET, EPROTO};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/other", server_dir);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(listen(listener, 5), 0);
    pid_t child = fork();
    for (int i = 0; child == 0 && i < 4; i++) {
        char buf[4096];
        int fd = accept(listener, NULL, NULL);
        if (recv(fd, buf, sizeof(buf), 0) > 0)
            send(fd, answers[i], strlen(answers[i]), MSG_NOSIGNAL);
        close(fd);
    }
    if (child == 0)
        _exit(0);
    close(listener);
    setenv("IDC_SOCKET", address.sun_path, 1);
    for (int i = 0; i < 4; i++)
        FAILS(idc_connect(3, 5), errors[i]);
    ck_assert_ptr_nonnull(strstr(idc_last_error(), "another version"));
    waitpid(child, NULL, 0);
    FAILS(idc_connect(3, 5), ECONNREFUSED);
    unlink(address.sun_path);
}
END_TEST

/* ---- listen, accept ---- */

START_TEST(listen_and_accept)
{
    struct idc_addr address, peer;
    char buf[8];
    int listener = idc_listen_name("org.example.a", 5);
    ck_assert_msg(listener >= 0, "%s", idc_last_error());
    ck_assert_int_eq(fcntl(listener, F_GETFD), FD_CLOEXEC);
    ck_assert_int_eq(idc_getsockname(listener, &address), 0);
    ck_assert_str_eq(address.service, "org.example.a");
    FAILS(idc_getpeername(listener, &peer), ENOTCONN);
    int client = idc_connect_name(3, "org.example.a");
    ck_assert_int_ge(client, 0);
    struct pollfd p = {.fd = listener, .events = POLLIN};
    ck_assert_int_eq(poll(&p, 1, 20000), 1);
    int server = idc_accept(listener, &peer);
    ck_assert_int_ge(server, 0);
    ck_assert_int_eq(fcntl(server, F_GETFD), FD_CLOEXEC);
    ck_assert_uint_eq(peer.uid, getuid());
    ck_assert_str_eq(peer.service, "org.example.a");
    ck_assert_int_eq(idc_getsockname(client, &address), 0);
    ck_assert_uint_eq(address.port, peer.port);
    ck_assert_int_eq(idc_getpeername(client, &address), 0);
    ck_assert_uint_eq(address.uid, getuid()); /* of the program that listens */
    ck_assert_int_eq(idc_send(client, "hello", 5), 5);
    ck_assert_int_eq(idc_recv(server, buf, sizeof(buf)), 5);
    ck_assert_int_eq(shutdown(client, SHUT_WR), 0);
    ck_assert_int_eq(idc_recv(server, buf, sizeof(buf)), 0);
    ck_assert_int_eq(idc_send(server, "hello", 5), 5);
    ck_assert_int_eq(idc_recv(client, buf, sizeof(buf)), 5);
    close(client);
    close(server);
    ck_assert_int_eq(fcntl(listener, F_SETFL, O_NONBLOCK), 0);
    FAILS(idc_accept(listener, &peer), EAGAIN);
    close(listener);
}
END_TEST

START_TEST(listen_fails)
{
    int listener = idc_listen(4000, 5), fd = libidc_connected();
    ck_assert_int_ge(listener, 0);
    FAILS(idc_listen(4000, 5), EADDRINUSE);
    FAILS(idc_listen_name(NULL, 5), EINVAL);
    FAILS(idc_listen_name("", 5), EINVAL);
    FAILS(idc_accept(fd, NULL), EINVAL);
    FAILS(idc_accept(0, NULL), EINVAL);
    FAILS(idc_accept(-1, NULL), EBADF);
    FAILS(idc_unlisten(fd), EINVAL);
    check_echo(fd); /* none of this took anything from it */
    close(fd);
    close(listener);
}
END_TEST

START_TEST(unlisten_frees_the_port)
{
    for (int i = 0; i < 50; i++) {
        int listener = idc_listen(4000, 5);
        ck_assert_msg(listener >= 0, "%s", idc_last_error());
        int copy = dup(listener);
        ck_assert_msg(idc_unlisten(listener) == 0, "%d: %s", i, idc_last_error());
        FAILS(idc_accept(copy, NULL), ECONNABORTED); /* for all who share it */
        close(copy);
    }
}
END_TEST

static void *unlisten_thread(void *arg)
{
    return (void *)(intptr_t)idc_unlisten(*(int *)arg);
}

/* It returns when the daemon has done it, not before. */
START_TEST(unlisten_waits)
{
    pthread_t thread;
    struct timespec soon;
    void *result;
    int listener = idc_listen(4000, 5);
    kill(server_pid, SIGSTOP);
    pthread_create(&thread, NULL, unlisten_thread, &listener);
    clock_gettime(CLOCK_REALTIME, &soon);
    soon.tv_sec++;
    ck_assert_int_eq(pthread_timedjoin_np(thread, &result, &soon), ETIMEDOUT);
    kill(server_pid, SIGCONT);
    pthread_join(thread, &result);
    ck_assert_ptr_null(result);
}
END_TEST

/* No room for another descriptor: the connection stays where it is, for later. */
START_TEST(accept_without_room)
{
    struct rlimit old, low;
    int listener = idc_listen(4000, 5), client = idc_connect(3, 4000);
    ck_assert_int_ge(client, 0);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
    int next = dup(0);
    close(next);
    low = (struct rlimit){(rlim_t)next, old.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
    FAILS(idc_accept(listener, NULL), EMFILE);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
    int server = idc_accept(listener, NULL);
    ck_assert_int_ge(server, 0);
    close(server);
    close(client);
    close(listener);
}
END_TEST

/* ---- threads ---- */

enum { THREADS = 300 };

static void *accept_one(void *arg)
{
    int fd = idc_accept(*(int *)arg, NULL);
    return (void *)(intptr_t)fd;
}

START_TEST(threads_accept_at_once)
{
    pthread_t threads[THREADS];
    int clients[THREADS], listener = idc_listen(4000, 4096);
    void *result;
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, accept_one, &listener), 0);
    for (int i = 0; i < THREADS; i++) {
        clients[i] = idc_connect(3, 4000);
        ck_assert_msg(clients[i] >= 0, "%s", idc_last_error());
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], &result);
        ck_assert_int_ge((intptr_t)result, 0);
        close((int)(intptr_t)result);
        close(clients[i]);
    }
    close(listener);
}
END_TEST

static void *connect_some(void *arg)
{
    char buf[8];
    (void)arg;
    for (int i = 0; i < 20; i++) {
        int fd = idc_connect(3, 5);
        if (fd < 0 || idc_send(fd, "x", 1) != 1 || idc_recv(fd, buf, 8) != 1)
            return strdup(idc_last_error());
        close(fd);
        if (idc_connect(3, 99) != -1 || errno != ECONNREFUSED)
            return strdup("not refused");
    }
    return NULL;
}

START_TEST(threads_connect_at_once)
{
    enum { CONNECTING = 100 };
    pthread_t threads[CONNECTING];
    void *result;
    for (int i = 0; i < CONNECTING; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, connect_some, NULL), 0);
    for (int i = 0; i < CONNECTING; i++) {
        pthread_join(threads[i], &result);
        ck_assert_msg(result == NULL, "%s", (char *)result);
    }
}
END_TEST

static void *fail_and_tell(void *arg)
{
    (void)arg;
    return idc_connect(3, 99) == -1 ? strdup(idc_last_error()) : NULL;
}

START_TEST(last_error_is_of_the_thread)
{
    pthread_t thread;
    void *text;
    FAILS(idc_connect(3, 13), EACCES);
    char *mine = strdup(idc_last_error());
    pthread_create(&thread, NULL, fail_and_tell, NULL);
    pthread_join(thread, &text);
    ck_assert_ptr_nonnull(text);
    ck_assert_str_ne(text, mine);
    ck_assert_str_eq(idc_last_error(), mine);
    free(text);
    free(mine);
}
END_TEST

/* ---- fork, exec, signals ---- */

/* The address sanitizer's allocator can be locked for ever in the child of a process with threads;
 * to valgrind what the threads had allocated is lost there, as it is. */
static bool fork_is_watched(void)
{
    const char *preload = getenv("LD_PRELOAD");
#ifdef __SANITIZE_ADDRESS__
    return true;
#endif
    return preload != NULL && strstr(preload, "vgpreload") != NULL;
}

static int child_status(pid_t child)
{
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return status;
}

/* Only sockets: valgrind opens a log for a child. */
static int count_sockets(void)
{
    int count = 0;
    for (int fd = 0; fd < 1024; fd++) {
        struct stat file;
        count += fstat(fd, &file) == 0 && S_ISSOCK(file.st_mode);
    }
    return count;
}

START_TEST(fork_does_not_share_channels)
{
    int before = count_sockets();
    int fd = libidc_connected(); /* leaves an idle channel */
    ck_assert_int_eq(count_sockets(), before + 2);
    pid_t child = fork();
    if (child == 0) {
        struct idc_addr address;
        check_echo(fd);
        if (count_sockets() != before + 1) /* fd, but not the channel */
            _exit(1);
        for (int i = 0; i < 200; i++)
            close(libidc_connected());
        _exit(idc_getpeername(fd, &address) == 0 && address.port == 5 ? 0 : 2);
    }
    for (int i = 0; i < 200; i++)
        close(libidc_connected());
    ck_assert_int_eq(child_status(child), 0);
    check_echo(fd);
    close(fd);
}
END_TEST

static void *keep_connecting(void *arg)
{
    atomic_bool *stop = arg;
    while (!atomic_load(stop))
        close(idc_connect(3, 5));
    return NULL;
}

/* Other threads are in the middle of calls when the process forks. */
START_TEST(fork_amid_calls)
{
    atomic_bool stop = false;
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, keep_connecting, &stop);
    for (int i = 0; i < 50; i++) {
        pid_t child = fork();
        if (child == 0)
            _exit(idc_connect(3, 5) >= 0 && idc_connect(3, 99) == -1 && errno == ECONNREFUSED ? 0
                                                                                              : 1);
        ck_assert_int_eq(child_status(child), 0);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
}
END_TEST

START_TEST(exec_with_the_descriptor)
{
    char script[64];
    int fd = libidc_connected();
    ck_assert_int_eq(fcntl(fd, F_SETFD, 0), 0);
    snprintf(script, sizeof(script), "echo hi >&%d; read x <&%d; test \"$x\" = hi", fd, fd);
    ck_assert_int_eq(system(script), 0);
    close(fd);
}
END_TEST

static void on_alarm(int signal_number)
{
    (void)signal_number;
}

/* In a child, until it is killed: signals for this process, from when the server has so many
 * connects pending. Again and again, for a signal that comes just before the system call that is to
 * be interrupted does nothing. */
static pid_t libidc_interrupt(int pending, int flags)
{
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = flags};
    sigaction(SIGUSR1, &action, NULL);
    pid_t target = getpid(), child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        await_counter("fake_pending", pending);
        while (poll(NULL, 0, 20) == 0 && kill(target, SIGUSR1) == 0)
            continue;
        _exit(0);
    }
    return child;
}

static void end_child(pid_t child)
{
    kill(child, SIGKILL);
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
        continue;
}

START_TEST(interrupted)
{
    int listener = idc_listen(4000, 5);
    pid_t child = libidc_interrupt(1, 0);
    FAILS(idc_connect(3, 7), EINTR);
    end_child(child);
    await_counter("fake_cancelled", 1); /* a call that was interrupted is cancelled */
    child = libidc_interrupt(0, 0);
    FAILS(idc_accept(listener, NULL), EINTR);
    end_child(child);
    struct idc_options options = IDC_OPTIONS_INIT;
    options.timeout_ms = 400;
    static const int of_libcheck[] = {SIGALRM, SIGINT, SIGTERM};
    const struct sigaction of_sanitizer = {.sa_handler = on_alarm};
    sigaction(SIGSEGV, &of_sanitizer, NULL); /* without SA_RESTART, and yet no reason to end */
    for (int i = 0; i < 3; i++) /* they do not restart, and one that does not is enough */
        signal(of_libcheck[i], SIG_DFL);
    child = libidc_interrupt(1, SA_RESTART);
    FAILS(idc_connect_with(3, 7, &options), ETIMEDOUT);
    end_child(child);
    close(listener);
}
END_TEST

START_TEST(no_sigpipe)
{
    int listener = idc_listen(4000, 5), client = idc_connect(3, 4000),
        server = idc_accept(listener, NULL);
    signal(SIGPIPE, SIG_DFL);
    close(server);
    FAILS(idc_send(client, "x", 1), EPIPE);
    close(client);
    close(listener);
}
END_TEST

/* ---- the daemon ends, and comes back ---- */

START_TEST(daemon_restarts)
{
    int listener = idc_listen(4000, 5), fd = libidc_connected();
    char buf[8];
    server_end();
    FAILS(idc_connect(3, 5), ENOENT);
    FAILS(idc_accept(listener, NULL), ECONNABORTED);
    ck_assert_int_le(idc_recv(fd, buf, sizeof(buf)), 0);
    close(listener);
    close(fd);
    server_spawn();
    fd = libidc_connected(); /* over a fresh channel: the idle one is dead */
    check_echo(fd);
    close(fd);
    server_end();
    server_spawn();
    fd = libidc_connected(); /* nobody has looked at the dead channel meanwhile */
    close(fd);
}
END_TEST

START_TEST(daemon_is_killed_in_a_call)
{
    pid_t killer = fork();
    if (killer == 0) {
        await_counter("fake_pending", 1); /* until the call has been made */
        kill(server_pid, SIGKILL);
        _exit(0);
    }
    FAILS(idc_connect(3, 7), ECONNRESET);
    ck_assert_int_eq(child_status(killer), 0);
    waitpid(server_pid, NULL, 0);
    FAILS(idc_connect(3, 5), ECONNREFUSED);
    server_spawn();
    close(libidc_connected());
}
END_TEST

/* ---- send, recv ---- */

START_TEST(reset_has_a_reason)
{
    char buf[8];
    int fd = idc_connect(3, 6);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(idc_send(fd, "x", 1), 1);
    FAILS(idc_recv(fd, buf, sizeof(buf)), EACCES);
    ck_assert_str_eq(idc_last_error(), "the permission was revoked");
    close(fd);
}
END_TEST

/* The reason is known to the daemon that made the socket, and only it is asked. */
START_TEST(reset_after_a_restart)
{
    char buf[8];
    int old = idc_connect(3, 8), reset;
    ck_assert_int_eq(idc_send(old, "x", 1), 1); /* unread when the daemon ends: a reset */
    server_end();
    server_spawn();
    /* has the serial that the old one had: that one's reason is not for the old one */
    reset = idc_connect(3, 6);
    ck_assert_int_eq(idc_send(reset, "x", 1), 1);
    FAILS(idc_recv(reset, buf, sizeof(buf)), EACCES);
    FAILS(idc_recv(old, buf, sizeof(buf)), ECONNRESET);
    close(reset);
    close(old);
}
END_TEST

START_TEST(long_messages)
{
    static const size_t sizes[] = {1, 100, 128 * 1024, 128 * 1024 + 1, 5000000, IDC_MESSAGE_MAX};
    struct idc_options options = IDC_OPTIONS_INIT;
    options.type = IDC_SEQPACKET;
    int listener = idc_listen_with(4000, NULL, 5, &options),
        client = idc_connect_with(3, 4000, &options);
    int server = idc_accept(listener, NULL);
    char *sent = malloc(IDC_MESSAGE_MAX + 1), *got = malloc(IDC_MESSAGE_MAX);
    ck_assert_int_ge(server, 0);
    for (size_t i = 0; i < IDC_MESSAGE_MAX + 1; i++)
        sent[i] = (char)(i * 7 + (i >> 9));
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        ck_assert_int_eq(idc_send(client, sent, sizes[i]), (ssize_t)sizes[i]);
        ck_assert_int_eq(idc_recv(server, got, IDC_MESSAGE_MAX), (ssize_t)sizes[i]);
        ck_assert(memcmp(got, sent, sizes[i]) == 0);
    }
    FAILS(idc_send(client, sent, IDC_MESSAGE_MAX + 1), EMSGSIZE);
    free(sent);
    free(got);
    close(client);
    close(server);
    close(listener);
    FAILS(idc_send(baseline + 500, "x", 1), EBADF);
    FAILS(idc_recv(baseline + 500, &options, 1), EBADF);
}
END_TEST

/* ---- nonblocking connect ---- */

static int start_connect(int type, uint32_t port, int timeout_ms)
{
    struct idc_options options = IDC_OPTIONS_INIT;
    options.nonblocking = 1;
    options.type = type;
    options.timeout_ms = timeout_ms;
    /* not within the domain, where nothing takes time */
    int fd = idc_connect_with(4, port, &options);
    ck_assert_msg(fd >= 0, "%s", idc_last_error());
    ck_assert_int_ne(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
    return fd;
}

static void await_outcome(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    ck_assert_int_eq(poll(&p, 1, 20000), 1);
}

static int send_buffer(int fd)
{
    int size = 0;
    socklen_t len = sizeof(size);
    getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &len);
    return size;
}

START_TEST(nonblocking_success)
{
    for (int type = IDC_STREAM; type <= IDC_SEQPACKET; type++) {
        struct idc_addr address;
        int pair[2], fd = start_connect(type, 5, 0);
        await_outcome(fd);
        ck_assert_int_eq(idc_connect_finish(fd), 0);
        ck_assert_int_eq(idc_connect_finish(fd), 0);
        ck_assert_int_eq(idc_getpeername(fd, &address), 0);
        ck_assert_uint_eq(address.port, 5);
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
        /* So large that what link_mgr holds leaves room in it. */
        ck_assert_int_gt(send_buffer(fd), send_buffer(pair[0]));
        close(pair[0]);
        close(pair[1]);
        ck_assert_int_eq(fcntl(fd, F_SETFL, 0), 0);
        check_echo(fd);
        close(fd);
    }
}
END_TEST

/* The accepting program has the other end of the very pair: no filler in it, and a name. */
START_TEST(nonblocking_within_the_domain)
{
    for (int type = IDC_STREAM; type <= IDC_SEQPACKET; type++) {
        struct idc_options options = IDC_OPTIONS_INIT;
        struct idc_addr peer, name, own;
        char buf[100];
        options.type = type;
        int listener = idc_listen_with(4000 + (uint32_t)type, NULL, 5, &options);
        options.nonblocking = 1;
        int client = idc_connect_with(IDC_DOMID_SELF, 4000 + (uint32_t)type, &options);
        ck_assert_msg(client >= 0, "%s", idc_last_error());
        int server = idc_accept(listener, &peer);
        await_outcome(client);
        ck_assert_int_eq(idc_connect_finish(client), 0);
        ck_assert_int_eq(idc_send(client, "hello", 5), 5);
        ck_assert_int_eq(idc_recv(server, buf, sizeof(buf)), 5);
        ck_assert_int_eq(idc_getpeername(server, &name), 0);
        ck_assert_int_eq(idc_getsockname(client, &own), 0);
        ck_assert(name.port == peer.port && name.port == own.port && name.uid == getuid());
        ck_assert_int_eq(idc_getpeername(client, &name), 0);
        ck_assert_uint_eq(name.uid, getuid());
        ck_assert_uint_eq(own.uid, UINT32_MAX);
        close(client);
        ck_assert_msg(idc_recv(server, buf, sizeof(buf)) == 0, "%s", idc_last_error());
        close(server);
        close(listener);
    }
}
END_TEST

START_TEST(nonblocking_failure)
{
    static const struct {
        uint32_t port;
        int timeout_ms, error;
    } cases[] = {{99, 0, ECONNREFUSED}, {13, 0, EACCES}, {0, 0, EINVAL}, {7, 50, ETIMEDOUT}};
    for (int type = IDC_STREAM; type <= IDC_SEQPACKET; type++)
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            char byte;
            int fd = start_connect(type, cases[i].port, cases[i].timeout_ms);
            await_outcome(fd);
            FAILS(idc_connect_finish(fd), cases[i].error);
            FAILS(idc_connect_finish(fd), cases[i].error); /* as often as one likes */
            int copy = dup(fd);
            FAILS(idc_connect_finish(copy), cases[i].error);
            close(copy);
            /* also for those who don't ask: no data, no end of file */
            ck_assert_int_eq(read(fd, &byte, 1), -1);
            ck_assert_int_eq(errno, ECONNRESET);
            close(fd);
        }
}
END_TEST

/* Takes and closes at once what comes, in a process of its own. */
static pid_t fork_closer(int listener)
{
    pid_t child = fork();
    if (child != 0)
        return child;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int fd; (fd = idc_accept(listener, NULL)) >= 0; close(fd))
        ;
    _exit(0);
}

/* Asked without waiting for POLLOUT, thousands of times: whatever moment it is, the outcome is that
 * of the attempt. */
START_TEST(nonblocking_asked_all_the_time)
{
    static const struct {
        uint32_t domid, port;
        int error;
    } cases[] = {{IDC_DOMID_SELF, 4010, 0}, {3, 13, EACCES}, {3, 5, 0}, {3, 99, ECONNREFUSED}};
    struct idc_options options = IDC_OPTIONS_INIT;
    int listener = idc_listen(4010, 100), failed = 0;
    ck_assert_msg(listener >= 0, "%s", idc_last_error());
    pid_t closer = fork_closer(listener);
    options.nonblocking = 1;
    for (int i = 0; i < 4000; i++) {
        int status, fd = idc_connect_with(cases[i % 4].domid, cases[i % 4].port, &options);
        ck_assert_msg(fd >= 0, "%s", idc_last_error());
        do
            status = idc_connect_finish(fd);
        while (status < 0 && errno == EINPROGRESS);
        failed += (status < 0 ? errno : 0) != cases[i % 4].error;
        close(fd);
    }
    ck_assert_int_eq(failed, 0);
    ck_assert_int_eq(idc_unlisten(listener), 0);
    ck_assert_int_eq(waitpid(closer, NULL, 0), closer);
}
END_TEST

START_TEST(nonblocking_under_way)
{
    char byte = 0;
    for (int type = IDC_STREAM; type <= IDC_SEQPACKET; type++) {
        int fd = start_connect(type, 7, IDC_TIMEOUT_NONE);
        struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT};
        ck_assert_int_eq(poll(&p, 1, 100), 0);
        FAILS(idc_connect_finish(fd), EINPROGRESS);
        ck_assert_int_eq(write(fd, &byte, 1), -1);
        ck_assert_int_eq(errno, EAGAIN);
        close(fd); /* ends the attempt */
    }
    await_counter("fake_cancelled", 2);
    await_counter("fake_pending", 0);
}
END_TEST

START_TEST(nonblocking_and_the_daemon_dies)
{
    int fd = start_connect(IDC_STREAM, 7, IDC_TIMEOUT_NONE);
    await_counter("fake_pending", 1);
    kill(server_pid, SIGKILL);
    waitpid(server_pid, NULL, 0);
    await_outcome(fd);
    FAILS(idc_connect_finish(fd), ECONNRESET);
    close(fd);
    server_spawn();
}
END_TEST

/* A daemon that is stopped takes no request; the caller does not hang. */
START_TEST(nonblocking_and_the_daemon_hangs)
{
    struct idc_options options = IDC_OPTIONS_INIT;
    options.nonblocking = 1;
    options.socket = server_path;
    kill(server_pid, SIGSTOP);
    FAILS(idc_connect_with(3, 5, &options), ETIMEDOUT);
    kill(server_pid, SIGCONT);
    close(libidc_connected());
}
END_TEST

/* Nor with calls that wait, over a line that is idle and over a fresh one. Each says what it waited
 * for; nothing is left when the daemon goes on. */
START_TEST(the_daemon_hangs)
{
    struct idc_options options = IDC_OPTIONS_INIT;
    int listener = idc_listen(4000, 5); /* and the line is idle */
    options.timeout_ms = 50;
    kill(server_pid, SIGSTOP);
    for (int i = 0; i < 2; i++) {
        FAILS(idc_connect_with(3, 5, &options), ETIMEDOUT);
        ck_assert_msg(strstr(idc_last_error(), server_path) != NULL, "%s", idc_last_error());
    }
    FAILS(idc_listen(4001, 5), ETIMEDOUT);
    ck_assert_msg(strstr(idc_last_error(), server_path) != NULL, "%s", idc_last_error());
    FAILS(idc_unlisten(listener), ETIMEDOUT);
    kill(server_pid, SIGCONT);
    for (uint32_t port = 4000; port <= 4001; port++) {
        while ((listener = idc_listen(port, 5)) < 0 && errno == EADDRINUSE)
            ;
        ck_assert_msg(listener >= 0, "%s", idc_last_error());
        close(listener);
    }
    close(libidc_connected());
}
END_TEST

START_TEST(nonblocking_many)
{
    enum { MANY = 100 };
    int fds[MANY];
    for (int i = 0; i < MANY; i++)
        fds[i] = start_connect(i % 2 ? IDC_STREAM : IDC_SEQPACKET, i % 3 ? 5 : 99, 0);
    for (int i = 0; i < MANY; i++) {
        await_outcome(fds[i]);
        if (i % 3) {
            ck_assert_int_eq(idc_connect_finish(fds[i]), 0);
            fcntl(fds[i], F_SETFL, 0);
            check_echo(fds[i]);
        } else {
            FAILS(idc_connect_finish(fds[i]), ECONNREFUSED);
        }
        close(fds[i]);
    }
}
END_TEST

/* More at once than there are lines that stay: what was begun on one goes on when it is closed. */
static void *connect_without_waiting(void *failed)
{
    static const struct {
        uint32_t port;
        int timeout_ms, error;
    } cases[] = {{5, 0, 0}, {7, 200, ETIMEDOUT}, {99, 0, ECONNREFUSED}};
    int fds[30];
    for (int i = 0; i < 30; i++)
        fds[i] = start_connect(IDC_STREAM, cases[i % 3].port, cases[i % 3].timeout_ms);
    for (int i = 0; i < 30; i++) {
        await_outcome(fds[i]);
        if ((idc_connect_finish(fds[i]) < 0 ? errno : 0) != cases[i % 3].error)
            atomic_fetch_add((atomic_int *)failed, 1);
        close(fds[i]);
    }
    return NULL;
}

START_TEST(nonblocking_of_many_threads)
{
    pthread_t threads[24];
    atomic_int failed = 0;
    /* valgrind runs one thread at a time, and the server's waits for its turn as all others do */
    int count = getenv("IDC_TEST_SHORT") ? 12 : 24;
    for (int i = 0; i < count; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, connect_without_waiting, &failed), 0);
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_eq(failed, 0);
}
END_TEST

START_TEST(finish_on_other_descriptors)
{
    int pair[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    FAILS(idc_connect_finish(pair[0]), EINVAL);
    close(pair[0]);
    close(pair[1]);
    FAILS(idc_connect_finish(pair[0]), EBADF);
    int file = open("/dev/null", O_RDONLY);
    FAILS(idc_connect_finish(file), ENOTSOCK);
    struct idc_addr address;
    FAILS(idc_getsockname(file, &address), ENOTSOCK);
    close(file);
    int lone = socket(AF_UNIX, SOCK_STREAM, 0);
    FAILS(idc_connect_finish(lone), EINVAL);
    FAILS(idc_getpeername(lone, &address), EINVAL);
    close(lone);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("libidc");
    TCase *tests = tcase_create("all");
    tcase_add_checked_fixture(tests, libidc_setup, libidc_teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, connect_works);
    tcase_add_test(tests, connect_fails);
    tcase_add_test(tests, options_of_other_versions);
    tcase_add_test(tests, no_daemon);
    tcase_add_test(tests, not_a_daemon);
    tcase_add_test(tests, listen_and_accept);
    tcase_add_test(tests, listen_fails);
    tcase_add_test(tests, unlisten_frees_the_port);
    tcase_add_test(tests, unlisten_waits);
    tcase_add_test(tests, accept_without_room);
    tcase_add_test(tests, threads_accept_at_once);
    tcase_add_test(tests, threads_connect_at_once);
    tcase_add_test(tests, last_error_is_of_the_thread);
    tcase_add_test(tests, fork_does_not_share_channels);
    if (!fork_is_watched())
        tcase_add_test(tests, fork_amid_calls);
    tcase_add_test(tests, exec_with_the_descriptor);
    tcase_add_test(tests, interrupted);
    tcase_add_test(tests, no_sigpipe);
    tcase_add_test(tests, daemon_restarts);
    tcase_add_test(tests, daemon_is_killed_in_a_call);
    tcase_add_test(tests, reset_has_a_reason);
    tcase_add_test(tests, reset_after_a_restart);
    tcase_add_test(tests, long_messages);
    tcase_add_test(tests, nonblocking_success);
    tcase_add_test(tests, nonblocking_within_the_domain);
    tcase_add_test(tests, nonblocking_failure);
    tcase_add_test(tests, nonblocking_asked_all_the_time);
    tcase_add_test(tests, nonblocking_under_way);
    tcase_add_test(tests, nonblocking_and_the_daemon_dies);
    tcase_add_test(tests, nonblocking_and_the_daemon_hangs);
    tcase_add_test(tests, the_daemon_hangs);
    tcase_add_test(tests, nonblocking_many);
    tcase_add_test(tests, nonblocking_of_many_threads);
    tcase_add_test(tests, finish_on_other_descriptors);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
