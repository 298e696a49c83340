/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Port 1 (link_mgr/hub/port_manager.h): shares, turns, time limits, a lack of descriptors. The test
 * is the listener, and the programs that connect. */
#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/handover.h"
#include "link_mgr/hub/port_manager.h"
#include "tests/unit/suite.h"

#define OWN 5
#define WAIT_MS 60000

static struct event_base *base;
static struct core core;
static struct host host;
static struct port_manager *manager;
static int listener_end;
static uint32_t offered;
static unsigned looked; /* how many listeners were asked whether they listen */

static bool test_listening(struct host *of, struct listener *listener, bool offer)
{
    (void)of, (void)listener, (void)offer;
    looked++;
    return true;
}

static void port_begin(void)
{
    int pair[2];
    base = event_base_new();
    host.listening = test_listening;
    core = (struct core){.host = &host, .domid = OWN};
    listener_table_init(&core.listeners, 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    listener_end = pair[1];
    manager = port_manager_new(base, &core, pair[0]);
    ck_assert_ptr_nonnull(manager);
}

static void port_end(void)
{
    port_manager_free(manager);
    close(listener_end);
    for (int i = 0; i < LISTENER_BUCKETS; i++)
        while (!LIST_EMPTY(&core.listeners.ports[i]))
            listener_remove(LIST_FIRST(&core.listeners.ports[i]));
    event_base_free(base);
}

/* As acceptor.c does. */
static void port_offer(int fd, uint32_t domid, uint32_t uid)
{
    uint8_t message[HANDOVER_WAITING_SIZE];
    const struct handover_waiting waiting = {
        .peer = {.domid = domid, .port = 9, .uid = uid, .type = IDC_STREAM}, .number = ++offered};
    handover_encode_waiting(message, &waiting);
    ck_assert_int_eq(handover_send(listener_end, message, sizeof(message), &fd, 1, MSG_DONTWAIT),
                     sizeof(message));
    close(fd);
}

static void expect_taken(void)
{
    uint8_t answer[HANDOVER_TAKEN_SIZE + 1];
    ssize_t len;
    while ((len = recv(listener_end, answer, sizeof(answer), MSG_DONTWAIT)) < 0)
        event_base_loop(base, EVLOOP_ONCE);
    ck_assert_uint_eq(handover_taken_number(answer, (size_t)len), offered);
}

/* The program's end, or -1: it was refused. */
static int connect_as(uint32_t domid, uint32_t uid)
{
    int pair[2];
    if (!port_manager_take(manager, domid, uid))
        return -1;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    port_offer(pair[0], domid, uid);
    expect_taken();
    return pair[1];
}

static int connect_all(int fds[], uint32_t domid, uint32_t uid)
{
    int count = 0;
    while ((fds[count] = connect_as(domid, uid)) >= 0)
        count++;
    return count;
}

static void close_all(const int fds[], int count)
{
    for (int i = 0; i < count; i++)
        close(fds[i]);
}

/* Runs the loop until there is something to read. */
static ssize_t wait_for(int fd, char *text, size_t size)
{
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};
    while (poll(&pollfd, 1, 0) == 0)
        event_base_loop(base, EVLOOP_ONCE);
    ssize_t got = recv(fd, text, size - 1, MSG_DONTWAIT);
    text[got > 0 ? got : 0] = '\0';
    return got;
}

static void assert_served(int fd)
{
    char text[64];
    ck_assert_int_eq(send(fd, "PING a\n", 7, 0), 7);
    ck_assert_int_eq(wait_for(fd, text, sizeof(text)), 7);
    ck_assert_str_eq(text, "PONG a\n");
}

/* A program of the own domain holds the other end, and sends a descriptor. */
START_TEST(a_client_that_sends_descriptors)
{
    char text[64];
    const int stray = STDERR_FILENO;
    int fd = connect_as(7, 1000);
    assert_served(fd);
    ck_assert_int_eq(handover_send(fd, "PING b\n", 7, &stray, 1, 0), 7);
    ck_assert_int_le(wait_for(fd, text, sizeof(text)), 0);
    close(fd);
}
END_TEST

START_TEST(each_user_has_a_share)
{
    int many[PORT_MANAGER_OF_DOMAIN + 1], fd;
    ck_assert_int_eq(connect_all(many, 7, 1000), PORT_MANAGER_OF_USER);
    assert_served(many[0]);
    fd = connect_as(7, 1001);
    assert_served(fd);
    close(fd);
    fd = connect_as(8, 1000);
    assert_served(fd);
    close(fd);
    /* what ends is given back */
    close(many[0]);
    while ((fd = connect_as(7, 1000)) < 0)
        event_base_loop(base, EVLOOP_ONCE);
    assert_served(fd);
    close(fd);
    close_all(many + 1, PORT_MANAGER_OF_USER - 1);
}
END_TEST

START_TEST(each_domain_has_a_share)
{
    int many[PORT_MANAGER_OF_DOMAIN + 1], count = 0, fd, none[1];
    for (uint32_t uid = 1000; uid < 1000 + PORT_MANAGER_OF_DOMAIN / PORT_MANAGER_OF_USER; uid++)
        count += connect_all(many + count, 7, uid);
    ck_assert_int_eq(count, PORT_MANAGER_OF_DOMAIN);
    ck_assert_int_eq(connect_all(none, 7, 5000), 0);
    fd = connect_as(8, 5000);
    assert_served(fd);
    close(fd);
    close_all(many, count);
}
END_TEST

/* There is a place for the message, and none for the descriptor that comes with it. */
START_TEST(it_works_again_after_emfile)
{
    struct rlimit limit, none;
    int pair[2], fd;
    if (on_valgrind())
        return;
    for (int i = 0; i < 2 * PORT_MANAGER_OF_USER; i++) {
        ck_assert(port_manager_take(manager, 7, 1000));
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        getrlimit(RLIMIT_NOFILE, &limit);
        none = limit;
        none.rlim_cur = 0;
        port_offer(pair[0], 7, 1000);
        setrlimit(RLIMIT_NOFILE, &none);
        expect_taken();
        setrlimit(RLIMIT_NOFILE, &limit);
        ck_assert_int_eq(recv(pair[1], &fd, 1, 0), 0); /* nobody has the other end */
        close(pair[1]);
    }
    fd = connect_as(7, 1000);
    assert_served(fd);
    close(fd);
}
END_TEST

static void listen_on_many(unsigned count)
{
    struct listener *listener, *clash;
    for (unsigned i = 0; i < count; i++) {
        ck_assert_int_eq(listener_add(&core.listeners, 0, "", &listener, &clash), 0);
        listener->backlog = 1;
        listener->type = IDC_STREAM;
    }
}

/* A bucket is not divided. */
START_TEST(services_come_in_turns)
{
    char text[4096], last = 0;
    unsigned lines = 0;
    int fd = connect_as(OWN, 1000);
    listen_on_many(3000);
    ck_assert_int_eq(send(fd, "SERVICES\nSERVICES\nPING b\n", 25, 0), 25);
    while (lines < 2 * 3001 + 1) {
        looked = 0;
        event_base_loop(base, EVLOOP_ONCE);
        ck_assert_uint_le(looked, PORT_MANAGER_TURN + 3000 / 64);
        ssize_t got = recv(fd, text, sizeof(text), MSG_DONTWAIT);
        for (ssize_t i = 0; i < got; i++)
            lines += (last = text[i]) == '\n';
    }
    ck_assert_int_eq(last, '\n');
    assert_served(fd);
    close(fd);
}
END_TEST

START_TEST(answers_come_after_the_end)
{
    char text[64];
    int fd = connect_as(7, 1000);
    ck_assert_int_eq(send(fd, "SERVICES\nPING c\n", 16, 0), 16);
    shutdown(fd, SHUT_WR);
    ck_assert_int_eq(wait_for(fd, text, sizeof(text)), 8);
    ck_assert_str_eq(text, "\nPONG c\n");
    ck_assert_int_eq(wait_for(fd, text, sizeof(text)), 0);
    close(fd);
}
END_TEST

/* Bytes that come one by one are no reason to wait for longer. */
START_TEST(half_a_line_is_waited_for_for_a_time)
{
    char text[64];
    int fd = connect_as(7, 1000), other = connect_as(7, 1000);
    ck_assert_int_eq(send(fd, "PI", 2, 0), 2);
    ck_assert_int_eq(wait_for(fd, text, sizeof(text)), 0);
    close(fd);
    assert_served(other); /* a silent one may stay */
    close(other);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("port_manager");
    TCase *tests = tcase_create("port_manager");
    tcase_add_checked_fixture(tests, port_begin, port_end);
    tcase_set_timeout(tests, WAIT_MS / 500.0);
    tcase_add_test(tests, a_client_that_sends_descriptors);
    tcase_add_test(tests, each_user_has_a_share);
    tcase_add_test(tests, each_domain_has_a_share);
    tcase_add_test(tests, it_works_again_after_emfile);
    tcase_add_test(tests, services_come_in_turns);
    tcase_add_test(tests, answers_come_after_the_end);
    tcase_add_test(tests, half_a_line_is_waited_for_for_a_time);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
