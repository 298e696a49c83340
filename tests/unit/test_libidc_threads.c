/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_libidc_threads.c - libidc in many threads of one program, which do all that it can at the
 * same time: connect in each way, be refused, listen, accept, send, receive, ask for names and
 * reasons, share a connection. In one test the server is killed and comes back meanwhile. Every
 * byte is checked. Under the thread sanitizer (make check-tsan) a data race of libidc fails it.
 */
#include "tests/unit/rpc_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>

#include "idc.h"
#include "tests/unit/suite.h"

enum { THREADS = 24, ACTS = 40, LONG = 300000, SHARED = 480 };

struct actor {
    pthread_t thread;
    unsigned chance;
    uint32_t port; /* its own, to listen on */
    char wrong[256];
};

static atomic_bool troubled; /* the server may be gone at any time */
static atomic_int done;      /* acts that went well */

static int threads_baseline;

static void threads_setup(void)
{
    server_start();
    setenv("IDC_SOCKET", server_path, 1);
    atomic_store(&troubled, false);
    atomic_store(&done, 0);
    threads_baseline = count_descriptors();
}

/* A few idle RPC connections are the library's to keep; nothing else is left. What others can have
 * sent something into is closed by the library's own threads, and so a moment later. */
static void threads_teardown(void)
{
    for (int tries = 0; count_descriptors() > threads_baseline + 8 && tries < 1000; tries++)
        usleep(10 * 1000);
    ck_assert_int_le(count_descriptors(), threads_baseline + 8);
    server_stop();
}

/* ---- one actor ---- */

/* libcheck's asserts are for the main thread only. The first thing that is wrong is kept. */
static bool actor_expect(struct actor *actor, bool good, const char *what)
{
    if (!good && actor->wrong[0] == '\0')
        snprintf(actor->wrong, sizeof(actor->wrong), "%s: %s; %s", what, strerror(errno),
                 idc_last_error());
    return good;
}

/* May a call fail with what errno says? A server that is killed explains these. */
static bool actor_excused(void)
{
    return atomic_load(&troubled) &&
           (errno == ECONNRESET || errno == ECONNREFUSED || errno == ENOENT || errno == EPIPE ||
            errno == EHOSTUNREACH || errno == ECONNABORTED || errno == ETIMEDOUT);
}

static bool actor_good(struct actor *actor, bool good, const char *what)
{
    return good || (!actor_excused() && actor_expect(actor, false, what));
}

/* Bytes there and back. Each actor's are its own. */
static void actor_echo(struct actor *actor, int fd, size_t len)
{
    uint8_t *sent = malloc(len), *got = calloc(1, len);
    ssize_t have = 0, n = 1;
    for (size_t i = 0; i < len; i++)
        sent[i] = (uint8_t)(actor->port + i);
    if (actor_good(actor, idc_send(fd, sent, len) == (ssize_t)len, "send")) {
        for (; n > 0 && have<(ssize_t)len; have += n> 0 ? n : 0)
            n = idc_recv(fd, got + have, len - (size_t)have);
        /* without an error, an end is one that the server's death explains */
        bool whole = have == (ssize_t)len;
        if (n != 0 || !atomic_load(&troubled))
            actor_good(actor, whole, "receive");
        if (whole)
            actor_expect(actor, memcmp(sent, got, len) == 0, "the bytes of another");
        atomic_fetch_add(&done, whole);
    }
    free(sent);
    free(got);
}

static int actor_connect(struct actor *actor, uint32_t port, bool waits)
{
    struct idc_options options = IDC_OPTIONS_INIT;
    options.type = rand_r(&actor->chance) % 2 ? IDC_STREAM : IDC_SEQPACKET;
    options.nonblocking = !waits;
    int fd = idc_connect_with(3, port, &options);
    if (fd < 0 || waits)
        return fd;
    struct pollfd pollfd = {.fd = fd, .events = POLLOUT};
    if (poll(&pollfd, 1, -1) == 1 && idc_connect_finish(fd) == 0 &&
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static void act_exchange(struct actor *actor)
{
    struct idc_addr peer;
    int fd = actor_connect(actor, 5, rand_r(&actor->chance) % 2);
    if (!actor_good(actor, fd >= 0, "connect"))
        return;
    actor_expect(actor, idc_getpeername(fd, &peer) == 0 && peer.port == 5, "name");
    actor_echo(actor, fd, rand_r(&actor->chance) % 3 ? 100 : 60000);
    idc_disconnect(fd);
}

static void act_refused(struct actor *actor)
{
    int fd = actor_connect(actor, 99, rand_r(&actor->chance) % 2);
    if (!actor_expect(actor, fd < 0, "a connection to nobody") || actor_excused())
        return;
    actor_expect(actor, errno == ECONNREFUSED, "refused");
    actor_expect(actor, idc_last_error()[0] != '\0', "no reason");
}

static void act_reset(struct actor *actor)
{
    char byte;
    int fd = idc_connect(3, 6);
    if (!actor_good(actor, fd >= 0, "connect"))
        return;
    if (idc_send(fd, "x", 1) == 1 && !actor_expect(actor, idc_recv(fd, &byte, 1) <= 0, "a byte"))
        errno = 0;
    else if (!atomic_load(&troubled))
        /* the fake hub forgets the reason when the place is used again */
        actor_expect(actor, errno == EACCES || errno == ECONNRESET, "the reason of a reset");
    close(fd);
}

/* A listener, two connections to it by the same thread, and both ends at work. */
static void act_serve(struct actor *actor)
{
    char byte = 0;
    struct idc_addr peer;
    int listener = idc_listen(actor->port, 8), near[2], far[2];
    if (!actor_good(actor, listener >= 0, "listen"))
        return;
    for (int i = 0; i < 2; i++) {
        near[i] = idc_connect(3, actor->port);
        far[i] = near[i] >= 0 ? idc_accept(listener, &peer) : -1;
        actor_good(actor, far[i] >= 0, "accept");
        if (far[i] >= 0) /* within the domain, which needs no server */
            actor_expect(actor,
                         idc_send(near[i], "y", 1) == 1 && idc_recv(far[i], &byte, 1) == 1 &&
                             byte == 'y',
                         "a byte within the domain");
    }
    for (int i = 0; i < 2; i++) {
        close(near[i]);
        close(far[i]);
    }
    idc_unlisten(listener);
}

static void act_long_message(struct actor *actor)
{
    struct idc_options options = IDC_OPTIONS_INIT;
    options.type = IDC_SEQPACKET;
    int listener = idc_listen_with(actor->port, NULL, 8, &options);
    int near = listener >= 0 ? idc_connect_with(3, actor->port, &options) : -1;
    int far = near >= 0 ? idc_accept(listener, NULL) : -1;
    uint8_t *bytes = calloc(2, LONG);
    memset(bytes, (int)actor->port, LONG);
    if (actor_good(actor, far >= 0, "a connection for messages"))
        actor_expect(actor,
                     idc_send(near, bytes, LONG) == LONG &&
                         idc_recv(far, bytes + LONG, LONG) == LONG &&
                         memcmp(bytes, bytes + LONG, LONG) == 0,
                     "a long message");
    free(bytes);
    close(near);
    close(far);
    idc_unlisten(listener);
}

static void *actor_run(void *arg)
{
    struct actor *actor = arg;
    static void (*const acts[])(struct actor *) = {act_exchange, act_exchange, act_refused,
                                                   act_reset,    act_serve,    act_long_message};
    for (int i = 0; i < ACTS && actor->wrong[0] == '\0'; i++)
        acts[(unsigned)rand_r(&actor->chance) % (sizeof(acts) / sizeof(acts[0]))](actor);
    return NULL;
}

static void actors_start(struct actor actors[THREADS])
{
    for (int i = 0; i < THREADS; i++) {
        actors[i] = (struct actor){.chance = (unsigned)i, .port = 5000 + (uint32_t)i};
        ck_assert_int_eq(pthread_create(&actors[i].thread, NULL, actor_run, &actors[i]), 0);
    }
}

static void actors_join(struct actor actors[THREADS])
{
    for (int i = 0; i < THREADS; i++)
        pthread_join(actors[i].thread, NULL);
    for (int i = 0; i < THREADS; i++)
        ck_assert_msg(actors[i].wrong[0] == '\0', "thread %d: %s", i, actors[i].wrong);
}

START_TEST(everything_at_once)
{
    static struct actor actors[THREADS];
    actors_start(actors);
    actors_join(actors);
    ck_assert_int_ge(atomic_load(&done), THREADS);
}
END_TEST

/* ---- a server that is killed ---- */

/* The process that begins the servers. Under the thread sanitizer the child of a process with
 * threads may never see its SIGTERM, so this one is made before there are threads. */
struct keeper {
    pid_t pid;
    int fd; /* a byte: another server, please, and a byte when it is there */
};

static void keeper_main(int fd)
{
    char byte;
    server_spawn();
    while (write(fd, "", 1) == 1 && read(fd, &byte, 1) == 1) {
        kill(server_pid, SIGKILL);
        waitpid(server_pid, NULL, 0);
        unlink(server_path);
        server_spawn();
    }
    server_end();
    exit(0);
}

static struct keeper keeper_start(void)
{
    int pair[2];
    char byte;
    struct keeper keeper = {0};
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    keeper.fd = pair[0];
    keeper.pid = fork();
    if (keeper.pid == 0) {
        close(pair[0]);
        keeper_main(pair[1]);
    }
    close(pair[1]);
    ck_assert_int_eq(read(keeper.fd, &byte, 1), 1);
    return keeper;
}

static void keeper_replace_server(const struct keeper *keeper)
{
    char byte;
    ck_assert_int_eq(write(keeper->fd, "", 1), 1);
    ck_assert_int_eq(read(keeper->fd, &byte, 1), 1);
}

static void keeper_end(const struct keeper *keeper)
{
    int status;
    close(keeper->fd);
    ck_assert_int_eq(waitpid(keeper->pid, &status, 0), keeper->pid);
    ck_assert_int_eq(status, 0);
}

START_TEST(while_the_server_is_killed)
{
    static struct actor actors[THREADS];
    server_end();
    struct keeper keeper = keeper_start();
    atomic_store(&troubled, true);
    actors_start(actors);
    for (int i = 0; i < 3; i++) {
        int before = atomic_load(&done);
        for (int wait = 0; wait < 500 && atomic_load(&done) < before + 20; wait++)
            poll(NULL, 0, 2);
        keeper_replace_server(&keeper);
    }
    actors_join(actors);
    atomic_store(&troubled, false);
    struct actor after = {.port = 4999};
    actor_run(&after);
    ck_assert_msg(after.wrong[0] == '\0', "afterwards: %s", after.wrong);
    keeper_end(&keeper);
    server_spawn();
}
END_TEST

/* ---- one connection of all threads ---- */

static int shared;
static atomic_uchar seen[SHARED];

static void *shared_send(void *first)
{
    for (uint32_t i = (uint32_t)(uintptr_t)first; i < SHARED; i += THREADS / 2)
        if (idc_send(shared, &i, sizeof(i)) != sizeof(i))
            return strdup("send");
    return NULL;
}

static void *shared_receive(void *arg)
{
    uint32_t number;
    for (int i = 0; i < SHARED / (THREADS / 2); i++)
        if (idc_recv(shared, &number, sizeof(number)) != sizeof(number) || number >= SHARED ||
            atomic_fetch_add(&seen[number], 1) != 0)
            return strdup("receive");
    (void)arg;
    return NULL;
}

/* Each message comes once, whole, whoever sends and receives it. */
START_TEST(a_connection_of_all)
{
    struct idc_options options = IDC_OPTIONS_INIT;
    pthread_t threads[THREADS];
    void *wrong;
    options.type = IDC_SEQPACKET;
    memset(seen, 0, sizeof(seen));
    shared = idc_connect_with(3, 5, &options);
    ck_assert_int_ge(shared, 0);
    for (uintptr_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, i % 2 ? shared_receive : shared_send,
                                        (void *)(i / 2)),
                         0);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], &wrong);
        ck_assert_msg(wrong == NULL, "%s", (char *)wrong);
    }
    close(shared);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("libidc in threads");
    TCase *threads = tcase_create("threads");
    tcase_add_checked_fixture(threads, threads_setup, threads_teardown);
    tcase_set_timeout(threads, 120);
    tcase_add_test(threads, everything_at_once);
    tcase_add_test(threads, while_the_server_is_killed);
    tcase_add_test(threads, a_connection_of_all);
    suite_add_tcase(suite, threads);
    return run_suite(suite);
}
