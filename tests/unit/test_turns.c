/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_turns.c - no client keeps the loop: a turn of it makes no more than so many system calls,
 * whatever one client has sent. The server's process counts them, by functions that stand before
 * those of the C library. A turn begins when libevent asks its epoll set.
 */
#include <stdatomic.h>
#include <linux/sockios.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "tests/unit/rpc_fixture.h"
#include "tests/unit/suite.h"

#include <endian.h>

/* For one client. 113 of the smallest calls come in one go, of so many bytes. */
#define CALLS_AT_ONCE 1024
#define BUDGET 320
#define ACCEPTED 16 /* connections in one turn, at most */
#define MANY 20000

struct counting {
    atomic_int set; /* the loop's epoll set, the first one that is waited for */
    atomic_int calls, most;
    atomic_int accepted, most_accepted; /* of connections */
    atomic_int all_accepted, turns;
    atomic_int turn_of_first; /* in which the first of `watched` was accepted */
    atomic_int watched;       /* the watched-th connection; 0: none */
    atomic_int watched_fd, turn_of_answer;
    atomic_int read, most_read; /* bytes, by recvmsg */
};
static struct counting *counting;

static void count_call(void)
{
    if (counting != NULL)
        atomic_fetch_add(&counting->calls, 1);
}

int epoll_wait(int epfd, struct epoll_event *events, int maxevents, int timeout)
{
    if (counting != NULL) {
        int none = 0;
        if (timeout != 0) /* libmicrohttpd's own set is never waited for */
            atomic_compare_exchange_strong(&counting->set, &none, epfd);
        if (counting->set == epfd) {
            atomic_fetch_add(&counting->turns, 1);
            int calls = atomic_exchange(&counting->calls, 0);
            if (calls > counting->most)
                counting->most = calls;
            int read = atomic_exchange(&counting->read, 0);
            if (read > counting->most_read)
                counting->most_read = read;
            int accepted = atomic_exchange(&counting->accepted, 0);
            if (accepted > counting->most_accepted)
                counting->most_accepted = accepted;
        }
    }
    return (int)syscall(SYS_epoll_pwait, epfd, events, maxevents, timeout, NULL, 0);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    count_call();
    ssize_t got = syscall(SYS_recvmsg, fd, message, flags);
    if (counting != NULL && got > 0)
        atomic_fetch_add(&counting->read, (int)got);
    return got;
}

static void count_answer(int fd)
{
    count_call();
    if (counting != NULL && fd == counting->watched_fd && counting->turn_of_answer == 0)
        counting->turn_of_answer = counting->turns;
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    count_answer(fd);
    return syscall(SYS_sendmsg, fd, message, flags);
}

ssize_t recv(int fd, void *buf, size_t n, int flags)
{
    count_call();
    return syscall(SYS_recvfrom, fd, buf, n, flags, NULL, NULL);
}

ssize_t send(int fd, const void *buf, size_t n, int flags)
{
    count_answer(fd);
    return syscall(SYS_sendto, fd, buf, n, flags, NULL, 0);
}

int accept4(int fd, struct sockaddr *addr, socklen_t *addr_len, int flags)
{
    int got = (int)syscall(SYS_accept4, fd, addr, addr_len, flags);
    if (counting == NULL || got < 0)
        return got;
    atomic_fetch_add(&counting->accepted, 1);
    int number = atomic_fetch_add(&counting->all_accepted, 1) + 1;
    if (number == 1)
        counting->turn_of_first = counting->turns;
    if (number == counting->watched)
        counting->watched_fd = got;
    return got;
}

static struct counting *seen; /* what the server has counted */

static void turns_begin(void)
{
    counting =
        mmap(NULL, sizeof(*counting), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(counting, MAP_FAILED);
    server_start();
    seen = counting;
    counting = NULL; /* what the test itself does is not counted */
}

static void turns_end(void)
{
    server_stop();
    ck_assert_msg(seen->most > 0 && seen->most <= BUDGET, "%d system calls in a turn", seen->most);
}

static int turns_upgrade(const void *behind, size_t len)
{
    static const char request[] =
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: idc-rpc/1\r\n\r\n";
    char bytes[32768];
    int fd = rpc_fixture_dial();
    memcpy(bytes, request, strlen(request));
    memcpy(bytes + strlen(request), behind, len);
    rpc_fixture_put(fd, bytes, strlen(request) + len);
    free(rpc_fixture_answer(fd));
    ck_assert_int_eq(http_status, 101);
    return fd;
}

/* The smallest documents. Each is answered by a fault. */
static size_t small_calls(uint8_t *bytes, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        const uint32_t header[2] = {htole32(1), htole32(i)};
        memcpy(bytes + 9 * i, header, 8);
        bytes[9 * i + 8] = 'x';
    }
    return 9 * (size_t)count;
}

/* Answers as well, so that the queue of answers is long. */
static void read_faults(int fd, unsigned count)
{
    uint32_t header[2];
    static char document[65536];
    for (unsigned i = 0; i < count; i++) {
        ck_assert_int_eq(recv(fd, header, 8, MSG_WAITALL), 8);
        ck_assert_uint_eq(le32toh(header[1]), i);
        uint32_t len = le32toh(header[0]);
        ck_assert_int_eq(recv(fd, document, len, MSG_WAITALL), (ssize_t)len);
    }
}

/* Sends them all, and reads nothing before. */
START_TEST(small_calls_at_once)
{
    static uint8_t bytes[9 * MANY];
    int fd = turns_upgrade("", 0);
    size_t len = small_calls(bytes, 4000);
    rpc_fixture_put(fd, (char *)bytes, len);
    read_faults(fd, 4000);
    close(fd);
    ck_assert_int_eq(seen->most_read, CALLS_AT_ONCE);
}
END_TEST

/* They come with the end of a call that the server has begun to read. */
START_TEST(small_calls_behind_half_a_call)
{
    static uint8_t bytes[9 * MANY];
    int fd = turns_upgrade("", 0), unread = 1;
    size_t len = small_calls(bytes, 4000);
    rpc_fixture_put(fd, (char *)bytes, 8);
    while (unread > 0)
        ck_assert_int_eq(ioctl(fd, SIOCOUTQ, &unread), 0);
    rpc_fixture_put(fd, (char *)bytes + 8, len - 8);
    read_faults(fd, 4000);
    close(fd);
}
END_TEST

START_TEST(small_calls_behind_the_upgrade)
{
    static uint8_t bytes[9 * 1500];
    int fd = turns_upgrade(bytes, small_calls(bytes, 1500));
    read_faults(fd, 1500);
    close(fd);
}
END_TEST

/* Answers that wait go out in turns, to a client that reads at the same time. */
START_TEST(answers_that_waited)
{
    static uint8_t bytes[9 * MANY];
    int fd = turns_upgrade("", 0);
    size_t len = small_calls(bytes, 8000);
    pid_t reader = fork();
    if (reader == 0) {
        read_faults(fd, 8000);
        _exit(0);
    }
    rpc_fixture_put(fd, (char *)bytes, len);
    int status;
    ck_assert_int_eq(waitpid(reader, &status, 0), reader);
    ck_assert_int_eq(status, 0);
    close(fd);
}
END_TEST

/* What the socket takes of answers that are not read yet. */
#define PIPELINED 150
static const char get[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/* By several connections at the same time. */
START_TEST(http_pipelining)
{
    int fds[16];
    for (int c = 0; c < 16; c++) {
        fds[c] = rpc_fixture_dial();
        for (int i = 0; i < PIPELINED; i++)
            rpc_fixture_put(fds[c], get, strlen(get));
    }
    for (int c = 0; c < 16; c++) {
        for (int i = 0; i < PIPELINED; i++)
            free(rpc_fixture_answer(fds[c]));
        close(fds[c]);
    }
}
END_TEST

/* Users that have their share are turned away many in a turn, so that nobody waits long behind
 * them, and not all in one. */
START_TEST(many_are_turned_away_in_a_turn)
{
    enum { WAITING = 5 * ACCEPTED };
    int fds[1 + WAITING], status;
    char bytes[512];
    fixture_quota = "rpc-connections=1";
    turns_begin();
    fds[0] = rpc_fixture_dial();
    rpc_fixture_put(fds[0], get, strlen(get));
    free(rpc_fixture_answer(fds[0]));
    kill(server_pid, SIGSTOP);
    ck_assert_int_eq(waitpid(server_pid, &status, WUNTRACED), server_pid);
    for (int i = 1; i <= WAITING; i++)
        fds[i] = rpc_fixture_dial();
    kill(server_pid, SIGCONT);
    for (int i = 1; i <= WAITING; i++) {
        ck_assert_int_gt(recv(fds[i], bytes, sizeof(bytes), 0), 0);
        close(fds[i]);
    }
    close(fds[0]);
    turns_end();
    ck_assert_int_eq(seen->most_accepted, ACCEPTED);
}
END_TEST

/* Dials as another user. */
static int dial_as(uid_t uid)
{
    ck_assert_int_eq(seteuid(uid), 0);
    int fd = rpc_fixture_dial();
    ck_assert_int_eq(seteuid(0), 0);
    rpc_fixture_put(fd, get, strlen(get));
    return fd;
}

/* Who comes behind a thousand connections of another user does not wait until these are served. */
START_TEST(another_user_does_not_wait_behind)
{
    enum { WAITING = 900, ONE = 12345, OTHER = 12346 };
    static int fds[WAITING];
    int status;
    if (geteuid() != 0)
        return; /* it cannot be two users */
    turns_begin();
    ck_assert_int_eq(chmod(server_dir, 0755), 0);
    ck_assert_int_eq(chmod(server_path, 0666), 0);
    kill(server_pid, SIGSTOP);
    ck_assert_int_eq(waitpid(server_pid, &status, WUNTRACED), server_pid);
    for (int i = 0; i < WAITING; i++)
        fds[i] = dial_as(ONE);
    int other = dial_as(OTHER);
    seen->watched = WAITING + 1;
    kill(server_pid, SIGCONT);
    free(rpc_fixture_answer(other));
    close(other);
    for (int i = 0; i < WAITING; i++) {
        free(rpc_fixture_answer(fds[i]));
        close(fds[i]);
    }
    turns_end();
    ck_assert_int_gt(seen->turn_of_answer, 0);
    int turns = seen->turn_of_answer - seen->turn_of_first;
    ck_assert_msg(turns <= WAITING / ACCEPTED + 8, "answered after %d turns", turns);
    ck_assert_int_gt(seen->turns - seen->turn_of_first, WAITING / 2); /* the others took long */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("turns");
    TCase *tests = tcase_create("turns");
    tcase_add_checked_fixture(tests, turns_begin, turns_end);
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, small_calls_at_once);
    tcase_add_test(tests, small_calls_behind_half_a_call);
    tcase_add_test(tests, small_calls_behind_the_upgrade);
    tcase_add_test(tests, answers_that_waited);
    tcase_add_test(tests, http_pipelining);
    suite_add_tcase(suite, tests);
    TCase *quota = tcase_create("quota");
    tcase_set_timeout(quota, 120);
    tcase_add_test(quota, many_are_turned_away_in_a_turn);
    tcase_add_test(quota, another_user_does_not_wait_behind);
    suite_add_tcase(suite, quota);
    return run_suite(suite);
}
