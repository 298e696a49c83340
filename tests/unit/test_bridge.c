/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two sides joined (channels/bridge.h), with a shared buffer of a few bytes. A test holds the outer
 * ends, programs' ends, of two socket pairs or pipes, and turns the event loop until nothing more
 * happens.
 */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "channels/bridge.h"
#include "tests/unit/suite.h"

#define TINY 7

static struct bridge_loop loop;
static struct rooms rooms;
static char shared[65536];
static struct bridge *bridge;
static struct bridge_outcome outcome;
static int overs;

static void note_over(void *context, const struct bridge_outcome *result)
{
    ck_assert_ptr_eq(context, &overs);
    outcome = *result;
    overs++;
    bridge = NULL;
}

static void bridge_setup(void)
{
    signal(SIGPIPE, SIG_IGN);
    loop = (struct bridge_loop){
        .base = event_base_new(), .buf = shared, .size = TINY, .rooms = &rooms};
    rooms_begin(&rooms, loop.base);
    overs = 0;
}

static void bridge_teardown(void)
{
    if (bridge != NULL)
        bridge_free(bridge);
    bridge = NULL;
    rooms_end(&rooms);
    event_base_free(loop.base);
}

/* Until nothing is left to do. */
static void turn_loop(void)
{
    for (int i = 0; i < 20; i++)
        event_base_loop(loop.base, EVLOOP_NONBLOCK);
}

/* ---- the outer ends ---- */

static void tcp_pair(int pair[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, len), 0);
    ck_assert_int_eq(listen(listener, 1), 0);
    getsockname(listener, (struct sockaddr *)&address, &len);
    pair[0] = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(connect(pair[0], (struct sockaddr *)&address, len), 0);
    pair[1] = accept(listener, NULL, NULL);
    close(listener);
}

/* Its inner end; the outer one in *outer. */
static struct side inner_side(bool tcp, int *outer)
{
    int pair[2];
    if (tcp)
        tcp_pair(pair);
    else
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    *outer = pair[0];
    return side_of(pair[1], pair[1]);
}

/* The tests run with each of: Unix and Unix, Unix and TCP, TCP and Unix, TCP and TCP. */
#define KINDS 4

static void join_pair(int kinds, int *a, int *b)
{
    struct side sides[2] = {inner_side(kinds & 1, a), inner_side(kinds & 2, b)};
    bridge = bridge_new(&loop, sides, note_over, &overs);
    ck_assert_ptr_nonnull(bridge);
    turn_loop();
}

static void say_text(int fd, const char *text)
{
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    turn_loop();
}

/* What is there now, which TCP may bring a moment later. */
static void expect_text(int fd, const char *text)
{
    char got[100] = "";
    size_t len = 0;
    while (len < strlen(text)) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        turn_loop();
        if (poll(&p, 1, 5) == 0)
            continue; /* a test that waits for what never comes ends by its time limit */
        ssize_t n = read(fd, got + len, strlen(text) - len);
        ck_assert_int_gt(n, 0);
        len += (size_t)n;
    }
    ck_assert_str_eq(got, text);
}

/* 0 for an end of data, 1 for data, or the errno. */
static int look_once(int fd)
{
    char byte;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    do
        turn_loop();
    while (poll(&p, 1, 10) == 0);
    ssize_t got = read(fd, &byte, 1);
    return got < 0 ? errno : (int)got;
}

static bool is_silent(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    turn_loop();
    return poll(&p, 1, 50) == 0;
}

static void wait_over(void)
{
    while (overs == 0)
        turn_loop();
    ck_assert_int_eq(overs, 1);
}

/* ---- tests ---- */

START_TEST(both_ways)
{
    int a, b;
    join_pair(_i, &a, &b);
    say_text(a, "a question longer than the buffer");
    expect_text(b, "a question longer than the buffer");
    say_text(b, "its answer");
    expect_text(a, "its answer");
    ck_assert_uint_eq(bridge_bytes(bridge, 0), 33);
    ck_assert_uint_eq(bridge_bytes(bridge, 1), 10);
    ck_assert_int_eq(overs, 0);
}
END_TEST

/* The first side ends its half; the other one goes on for long, and then ends its own. */
static void check_half_close(int first, int second)
{
    say_text(first, "all of it");
    shutdown(first, SHUT_WR);
    expect_text(second, "all of it");
    ck_assert_int_eq(look_once(second), 0);
    ck_assert_int_eq(overs, 0);
    for (int i = 0; i < 3; i++) {
        say_text(second, "still here");
        expect_text(first, "still here");
    }
    ck_assert(is_silent(first));
    shutdown(second, SHUT_WR);
    ck_assert_int_eq(look_once(first), 0);
    wait_over();
    ck_assert_int_eq(outcome.error, 0);
    ck_assert_int_eq(look_once(first), 0); /* and no reset follows */
    ck_assert_int_eq(look_once(second), 0);
}

START_TEST(half_close_first)
{
    int a, b;
    join_pair(_i, &a, &b);
    check_half_close(a, b);
    ck_assert_uint_eq(outcome.bytes[0], 9);
    ck_assert_uint_eq(outcome.bytes[1], 30);
}
END_TEST

START_TEST(half_close_second)
{
    int a, b;
    join_pair(_i, &a, &b);
    check_half_close(b, a);
}
END_TEST

START_TEST(closed_at_once)
{
    int a, b;
    join_pair(_i, &a, &b);
    ck_assert_int_eq(write(a, "bytes", 5), 5);
    shutdown(a, SHUT_WR);
    shutdown(b, SHUT_WR);
    ck_assert_int_eq(look_once(a), 0);
    expect_text(b, "bytes");
    ck_assert_int_eq(look_once(b), 0);
    wait_over();
    ck_assert_int_eq(outcome.error, 0);
}
END_TEST

/* What each has written is there, although nobody is left at the other end. */
START_TEST(closed_before_it_begins)
{
    int a, b;
    struct side sides[2] = {inner_side(_i & 1, &a), inner_side(_i & 2, &b)};
    ck_assert_int_eq(write(a, "last words", 10), 10);
    close(a);
    bridge = bridge_new(&loop, sides, note_over, &overs);
    expect_text(b, "last words");
    ck_assert_int_eq(look_once(b), 0);
    close(b);
    wait_over();
    ck_assert_int_eq(outcome.error, 0);
}
END_TEST

/* A Unix socket tells at once that it is closed; TCP only when something is sent to it. */
START_TEST(gone_altogether)
{
    int a, b;
    join_pair(_i, &a, &b);
    say_text(a, "x");
    expect_text(b, "x");
    say_text(b, "y");
    expect_text(a, "y");
    close(a);
    ck_assert_int_eq(look_once(b), 0);
    if (_i & 1)
        return;
    wait_over();
    ck_assert_int_eq(outcome.error, 0);
    ck_assert_int_eq(write(b, "more", 4), _i & 2 ? 4 : -1);
}
END_TEST

/* A closes with something unread: B, which has said something, must not see a clean end. */
static void reset_now(int fd)
{
    struct linger now = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(fd);
}

START_TEST(reset_is_passed_on)
{
    int a, b;
    join_pair(_i, &a, &b);
    say_text(b, "unread");
    while (bridge_bytes(bridge, 1) < 6)
        turn_loop();
    reset_now(a);
    wait_over();
    ck_assert_int_eq(outcome.error, ECONNRESET);
    ck_assert_int_eq(outcome.where, 0);
    ck_assert_int_eq(look_once(b), ECONNRESET);
}
END_TEST

START_TEST(reset_is_passed_back)
{
    int a, b;
    join_pair(_i, &a, &b);
    say_text(a, "unread");
    while (bridge_bytes(bridge, 0) < 6)
        turn_loop();
    reset_now(b);
    wait_over();
    ck_assert_int_eq(outcome.where, 1);
    ck_assert_int_eq(look_once(a), ECONNRESET);
}
END_TEST

/* The process that has the bridge is killed: its descriptors are closed as they are. */
START_TEST(dying_is_a_reset)
{
    int a, b;
    join_pair(_i, &a, &b);
    say_text(a, "to b");
    expect_text(b, "to b");
    say_text(b, "to a");
    expect_text(a, "to a");
    bridge_free(bridge);
    bridge = NULL;
    ck_assert_int_eq(look_once(a), ECONNRESET);
    ck_assert_int_eq(look_once(b), ECONNRESET);
}
END_TEST

/* The first has ended its half, and has got a part of the answer. */
static void half_an_answer(int first, int second)
{
    say_text(first, "request");
    shutdown(first, SHUT_WR);
    expect_text(second, "request");
    ck_assert_int_eq(look_once(second), 0);
    say_text(second, "half of ");
    expect_text(first, "half of ");
    ck_assert_int_eq(overs, 0);
}

/* It has read an end already. TCP shows no more to a reader, but to a writer. */
static void expect_cut_off(int fd, int tcp)
{
    if (!tcp)
        ck_assert_int_eq(look_once(fd), ECONNRESET);
    while (tcp && write(fd, "x", 1) == 1)
        turn_loop();
}

/* Who has ended its half already must not take a part of the answer for all of it. */
START_TEST(dying_is_a_reset_after_a_half)
{
    int ends[2], first = _i / KINDS;
    join_pair(_i % KINDS, &ends[0], &ends[1]);
    half_an_answer(ends[first], ends[1 - first]);
    bridge_free(bridge);
    bridge = NULL;
    ck_assert_int_eq(look_once(ends[first]), ECONNRESET);
    expect_cut_off(ends[1 - first], _i & (first ? 1 : 2));
}
END_TEST

/* A Unix socket with nothing unread in it can't reset, so the one that does is TCP. */
START_TEST(reset_after_a_half)
{
    int ends[2], first = _i & 1, kinds = first ? 1 : 2;
    join_pair(kinds | (_i & 2 ? 3 : 0), &ends[0], &ends[1]);
    half_an_answer(ends[first], ends[1 - first]);
    reset_now(ends[1 - first]);
    wait_over();
    ck_assert_int_eq(outcome.error, ECONNRESET);
    ck_assert_int_eq(outcome.where, 1 - first);
    ck_assert_int_eq(look_once(ends[first]), ECONNRESET);
}
END_TEST

/* One ends its half, reads, and closes with something unread. */
START_TEST(a_half_and_then_a_reset)
{
    int a, b;
    join_pair(_i, &a, &b);
    half_an_answer(a, b);
    say_text(b, "it");
    while (bridge_bytes(bridge, 1) < 10)
        turn_loop();
    reset_now(a);
    if (_i & 1)
        ck_assert_int_eq(write(b, "more", 4), 4); /* TCP tells nothing more after its end */
    wait_over();
    ck_assert_int_ne(outcome.error, 0);
    expect_cut_off(b, _i & 2);
}
END_TEST

/* ---- what comes beside the bytes ---- */

static void send_rights(int fd, const char *text)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {.bytes = ""};
    struct iovec part = {(char *)text, strlen(text)};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &fd, sizeof(fd));
    ck_assert_int_eq(sendmsg(fd, &message, 0), (ssize_t)strlen(text));
}

static void check_ends_with(int a, int b, const char *text)
{
    shutdown(a, SHUT_WR);
    expect_text(b, text);
    ck_assert_int_eq(look_once(b), 0);
    close(b);
    wait_over();
    ck_assert_int_eq(outcome.error, 0);
    ck_assert_int_eq(look_once(a), 0);
}

/* They can't pass, so they end the connection: whether they came with one byte, which is only
 * looked at until more comes, or with several, and behind others or not. */
START_TEST(descriptors_with_bytes)
{
    int a, b;
    join_pair(0, &a, &b);
    if (_i & 1) {
        ck_assert_int_eq(write(a, "-plain-", 7), 7);
        turn_loop();
        expect_text(b, "-plain-");
    }
    send_rights(a, _i & 2 ? "XYZ" : "X");
    if (!(_i & 2)) {
        turn_loop();
        expect_text(b, "X"); /* nobody has taken it out yet */
        ck_assert_int_eq(write(a, "more", 4), 4);
    }
    wait_over();
    ck_assert_int_eq(outcome.error, EPERM);
    ck_assert_int_eq(outcome.where, 0);
    ck_assert_ptr_nonnull(strstr(outcome.why, "descriptors"));
    ck_assert_int_eq(look_once(a), ECONNRESET);
}
END_TEST

/* An urgent byte is one like the others. */
START_TEST(urgent_bytes)
{
    static const char *const texts[] = {"abc", "D", "efg", "H", "I", "jklmnopqrstuvw", "XYZ"};
    int a, b;
    join_pair(_i % KINDS, &a, &b);
    for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        int flags = texts[i][0] < 'a' ? MSG_OOB : 0;
        ck_assert_int_eq(send(a, texts[i], strlen(texts[i]), flags), (ssize_t)strlen(texts[i]));
        if (_i >= KINDS)
            turn_loop();
    }
    check_ends_with(a, b, "abcDefgHIjklmnopqrstuvwXYZ");
}
END_TEST

/* The held byte of a side that has spoken is no byte for the other one. */
START_TEST(byte_by_byte)
{
    int a, b;
    join_pair(_i, &a, &b);
    for (int byte = 'a'; byte <= 'z'; byte++) {
        char text[2] = {(char)byte, '\0'};
        say_text(a, text);
        expect_text(b, text);
    }
    ck_assert(is_silent(b));
    ck_assert_uint_eq(bridge_bytes(bridge, 0), 26);
}
END_TEST

/* A reader that does not read stops its writer, and all that was written arrives later. */
START_TEST(slow_reader)
{
    enum { LIMIT = 64 * 1024 * 1024 };
    static char block[4096];
    size_t sent = 0, got = 0, pause = 0, wrong = 0;
    int a, b;
    loop.size = 4096;
    join_pair(_i, &a, &b);
    fcntl(a, F_SETFL, O_NONBLOCK);
    while (sent < LIMIT && pause < 3) {
        for (size_t i = 0; i < sizeof(block); i++)
            block[i] = (char)((sent + i) % 251);
        ssize_t n = write(a, block, sizeof(block));
        sent += n > 0 ? (size_t)n : 0;
        pause = n > 0 ? 0 : pause + 1;
        if (n < 0)
            turn_loop();
    }
    ck_assert_uint_lt(sent, LIMIT);
    shutdown(a, SHUT_WR);
    say_text(b, "the other way is free");
    expect_text(a, "the other way is free");
    fcntl(b, F_SETFL, O_NONBLOCK);
    for (ssize_t n = 1; n != 0; got += n > 0 ? (size_t)n : 0) {
        n = read(b, block, sizeof(block));
        if (n < 0)
            turn_loop();
        for (ssize_t i = 0; i < n; i++)
            wrong += (unsigned char)block[i] != (got + (size_t)i) % 251;
    }
    ck_assert_uint_eq(got, sent);
    ck_assert_uint_eq(wrong, 0);
}
END_TEST

/* ---- pipes and files ---- */

static void join_pipes(int in[2], int out[2], int *b)
{
    int pair[2];
    ck_assert_int_eq(pipe(in), 0);
    ck_assert_int_eq(pipe(out), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    struct side sides[2] = {side_of(in[0], out[1]), side_of(pair[1], pair[1])};
    bridge = bridge_new(&loop, sides, note_over, &overs);
    *b = pair[0];
    turn_loop();
}

START_TEST(pipes)
{
    int in[2], out[2], b;
    join_pipes(in, out, &b);
    say_text(in[1], "from the pipe");
    expect_text(b, "from the pipe");
    close(in[1]);
    ck_assert_int_eq(look_once(b), 0);
    say_text(b, "to the pipe");
    expect_text(out[0], "to the pipe");
    close(b);
    ck_assert_int_eq(look_once(out[0]), 0);
    wait_over();
    ck_assert_int_eq(outcome.error, 0);
}
END_TEST

/* A pipe that nobody reads takes nothing; what comes the other way still does. */
START_TEST(pipe_without_a_reader)
{
    int in[2], out[2], b;
    join_pipes(in, out, &b);
    close(out[0]);
    turn_loop();
    say_text(in[1], "still here");
    expect_text(b, "still here");
    ck_assert_int_eq(write(b, "x", 1), -1);
    ck_assert_int_eq(errno, EPIPE);
    close(in[1]);
    wait_over();
    ck_assert_int_eq(look_once(b), 0);
}
END_TEST

/* Closed by its owner just before the bridge looks whether a pipe has a reader; or -1. */
static int closed_before_look = -1;

/* glibc declares poll as one that only writes, and gcc believes it. clang has no such warning. */
#pragma GCC diagnostic push
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
int poll(struct pollfd *fds, nfds_t nfds, int timeout)
{
    struct timespec limit = {timeout / 1000, timeout % 1000 * 1000000L};
    if (closed_before_look >= 0 && nfds == 1 && fds->events == 0) {
        close(closed_before_look);
        closed_before_look = -1;
    }
    return ppoll(fds, nfds, timeout < 0 ? NULL : &limit, NULL);
}
#pragma GCC diagnostic pop

/* Its reader goes, maybe in the midst of the bridge's work, while there are bytes that it should
 * have got: the bridge has kept some, or has some left for its next turn. */
START_TEST(pipe_whose_reader_goes)
{
    static const char block[300000];
    int in[2], out[2], b, between = _i & 1, kept = _i & 2;
    loop.size = sizeof(shared);
    join_pipes(in, out, &b);
    setsockopt(b, SOL_SOCKET, SO_SNDBUF, &(int){sizeof(block)}, sizeof(int));
    if (!kept)
        fcntl(out[1], F_SETPIPE_SZ, 1 << 20);
    turn_loop();
    fcntl(b, F_SETFL, O_NONBLOCK);
    ck_assert_int_gt(write(b, block, sizeof(block)), 256 * 1024);
    if (between)
        closed_before_look = out[0];
    event_base_loop(loop.base, EVLOOP_NONBLOCK | EVLOOP_ONCE);
    ck_assert_int_eq(closed_before_look, -1);
    if (!between)
        close(out[0]);
    close(in[1]);
    wait_over();
    ck_assert_int_eq(outcome.error, EPIPE);
    ck_assert_int_eq(outcome.where, 0);
    if (between && !kept)
        ck_assert_uint_eq(outcome.bytes[1], 256 * 1024);
}
END_TEST

/* epoll refuses files. More than one turn of the flow. */
START_TEST(a_file_as_source)
{
    enum { LENGTH = 1000000 };
    static char text[LENGTH], got[LENGTH + 1];
    int pair[2], file = open("/tmp", O_TMPFILE | O_RDWR, 0600);
    size_t len = 0;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    for (int i = 0; i < LENGTH; i++)
        text[i] = (char)(i % 253);
    ck_assert_int_eq(write(file, text, LENGTH), LENGTH);
    lseek(file, 0, SEEK_SET);
    loop.size = 4096;
    struct side sides[2] = {side_of(file, open("/dev/null", O_WRONLY)), side_of(pair[1], pair[1])};
    bridge = bridge_new(&loop, sides, note_over, &overs);
    for (ssize_t n = 1; n > 0; len += (size_t)n) {
        turn_loop();
        n = read(pair[0], got + len, sizeof(got) - len);
    }
    ck_assert_uint_eq(len, LENGTH);
    ck_assert_mem_eq(text, got, LENGTH);
}
END_TEST

/* A side that knows no end: the end of the other one ends it all, and it stays open. */
START_TEST(a_deaf_side)
{
    int in[2], pair[2];
    ck_assert_int_eq(pipe(in), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    struct side sides[2] = {{.in = -1, .out = in[1], .form = SIDE_MUTE}, side_of(pair[1], pair[1])};
    bridge = bridge_new(&loop, sides, note_over, &overs);
    ck_assert_int_eq(look_once(pair[0]), 0);
    ck_assert_int_eq(overs, 0);
    say_text(pair[0], "a line");
    expect_text(in[0], "a line");
    close(pair[0]);
    wait_over();
    ck_assert_int_eq(outcome.error, 0);
    ck_assert_int_eq(write(in[1], "x", 1), 1);
}
END_TEST

/* ---- a writer with a small buffer ---- */

/* An outer end whose buffer is as small as the kernel allows. */
static void make_tight(int fd)
{
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &(int){1}, sizeof(int)), 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
}

/* Turns the loop for so long, or until the writer has room. */
static bool becomes_writable(int fd, int ms)
{
    for (; ms > 0; ms -= 5) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        turn_loop();
        if (poll(&p, 1, 5) == 1)
            return true;
    }
    return false;
}

/* As much as the writer's buffer takes; and it must arrive. */
static void fill_and_take(int from, int to)
{
    static char block[20000], got[20000];
    ssize_t sent = write(from, block, sizeof(block)), taken = 0;
    ck_assert_int_gt(sent, 1500);
    while (taken < sent) {
        turn_loop();
        ssize_t n = recv(to, got, sizeof(got), MSG_DONTWAIT);
        taken += n > 0 ? n : 0;
    }
}

/* Many blocks, by a writer who waits for room before each: held bytes do not stop it, after the
 * first time not even for a moment. */
START_TEST(small_buffer)
{
    int a, b;
    loop.size = sizeof(shared);
    join_pair(_i, &a, &b);
    make_tight(a);
    for (int i = 0; i < 200; i++) {
        fill_and_take(a, b);
        ck_assert(becomes_writable(a, 5000));
    }
}
END_TEST

/* What comes after the byte was let go is held again: the death of the bridge is a reset. */
START_TEST(held_again)
{
    int a, b;
    loop.size = sizeof(shared);
    join_pair(0, &a, &b);
    make_tight(a);
    fill_and_take(a, b);
    ck_assert(becomes_writable(a, 5000));
    say_text(a, "more");
    expect_text(b, "more");
    bridge_free(bridge);
    bridge = NULL;
    ck_assert_int_eq(look_once(a), ECONNRESET);
}
END_TEST

/* The writer makes its buffer smaller when all that it has written was read. */
START_TEST(smaller_later)
{
    int a, b;
    loop.size = sizeof(shared);
    join_pair(0, &a, &b);
    fill_and_take(a, b);
    becomes_writable(b, 1);
    for (int i = 0; i < 6; i++)
        ck_assert(is_silent(b));
    make_tight(a);
    ck_assert(becomes_writable(a, 5000));
}
END_TEST

/* A writer that has room keeps its held byte. */
START_TEST(large_buffer)
{
    int a, b;
    loop.size = sizeof(shared);
    join_pair(0, &a, &b);
    fill_and_take(a, b);
    for (int i = 0; i < 50; i++)
        ck_assert(is_silent(b));
    bridge_free(bridge);
    bridge = NULL;
    ck_assert_int_eq(look_once(a), ECONNRESET);
}
END_TEST

/* Where the kernel does not tell, it takes a second, from the last bytes on. */
START_TEST(kernel_does_not_tell)
{
    int a, b;
    struct timespec begun, now;
    loop.size = sizeof(shared);
    unix_diag_close(&rooms.diag);
    join_pair(0, &a, &b);
    make_tight(a);
    clock_gettime(CLOCK_MONOTONIC, &begun);
    fill_and_take(a, b);
    ck_assert(becomes_writable(a, 30000));
    clock_gettime(CLOCK_MONOTONIC, &now);
    ck_assert_int_ge((now.tv_sec - begun.tv_sec) * 1000 + (now.tv_nsec - begun.tv_nsec) / 1000000,
                     900);
    for (int i = 0; i < 200; i++) {
        fill_and_take(a, b);
        ck_assert(becomes_writable(a, 500));
    }
}
END_TEST

/* The bridge is gone before the timer comes. */
START_TEST(gone_before_it_is_asked)
{
    int a, b;
    loop.size = sizeof(shared);
    join_pair(0, &a, &b);
    fill_and_take(a, b);
    bridge_free(bridge);
    bridge = NULL;
    for (int i = 0; i < 4; i++)
        ck_assert(!is_silent(a));
    ck_assert(TAILQ_EMPTY(&rooms.lists[0].members));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("bridge"), *plain = tcase_create("plain");
    tcase_add_checked_fixture(tests, bridge_setup, bridge_teardown);
    tcase_add_checked_fixture(plain, bridge_setup, bridge_teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, both_ways, 0, KINDS);
    tcase_add_loop_test(tests, half_close_first, 0, KINDS);
    tcase_add_loop_test(tests, half_close_second, 0, KINDS);
    tcase_add_loop_test(tests, closed_at_once, 0, KINDS);
    tcase_add_loop_test(tests, closed_before_it_begins, 0, KINDS);
    tcase_add_loop_test(tests, gone_altogether, 0, KINDS);
    tcase_add_loop_test(tests, reset_is_passed_on, 0, KINDS);
    tcase_add_loop_test(tests, reset_is_passed_back, 0, KINDS);
    tcase_add_loop_test(tests, dying_is_a_reset, 0, KINDS);
    tcase_add_loop_test(tests, dying_is_a_reset_after_a_half, 0, 2 * KINDS);
    tcase_add_loop_test(tests, reset_after_a_half, 0, KINDS);
    tcase_add_loop_test(tests, a_half_and_then_a_reset, 0, KINDS);
    tcase_add_loop_test(tests, descriptors_with_bytes, 0, 4);
    tcase_add_loop_test(tests, urgent_bytes, 0, 2 * KINDS);
    tcase_add_loop_test(tests, byte_by_byte, 0, KINDS);
    tcase_add_loop_test(tests, slow_reader, 0, KINDS);
    tcase_add_loop_test(tests, small_buffer, 0, 2);
    tcase_add_loop_test(tests, small_buffer, 2, 3);
    tcase_add_test(tests, held_again);
    tcase_add_test(tests, smaller_later);
    tcase_add_test(tests, large_buffer);
    tcase_add_test(tests, kernel_does_not_tell);
    tcase_add_test(tests, gone_before_it_is_asked);
    tcase_add_test(plain, pipes);
    tcase_add_test(plain, pipe_without_a_reader);
    tcase_add_loop_test(plain, pipe_whose_reader_goes, 0, 4);
    tcase_add_test(plain, a_file_as_source);
    tcase_add_test(plain, a_deaf_side);
    Suite *suite = suite_create("bridge");
    suite_add_tcase(suite, tests);
    suite_add_tcase(suite, plain);
    return run_suite(suite);
}
