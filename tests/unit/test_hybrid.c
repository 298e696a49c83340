/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The lines of Unix sockets for many ports (channels/hybrid.h), and how long a channel waits for
 * them. The clock is played: libevent and the channel ask it.
 */
#include "channels/hybrid.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "channels/channel.h"
#include "tests/unit/skipped_clock.h"
#include "tests/unit/suite.h"

/* ---- a line ---- */

static int inner, outer;
static struct side side;
static struct hybrid_line line;

static void line_setup(void)
{
    int pair[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    inner = pair[0];
    outer = pair[1];
    side = side_of(inner, inner);
    line = (struct hybrid_line){.len = 0};
}

static void put_text(int fd, const char *text)
{
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static const struct {
    const char *text;
    uint32_t port; /* 0: it is wrong */
} connects[] = {
    {"CONNECT 1\n", 1},
    {"CONNECT 1024\nmore", 1024},
    {"CONNECT 4294967295\n", 4294967295u},
    {"CONNECT 0000000007\n", 7},
    {"CONNECT 0\n", 0},
    {"CONNECT 4294967296\n", 0},
    {"CONNECT 9999999999\n", 0},
    {"CONNECT 00000000001\n", 0},
    {"CONNECT  1\n", 0},
    {"CONNECT 1 \n", 0},
    {"CONNECT 1\r\n", 0},
    {"CONNECT -1\n", 0},
    {"CONNECT 0x1\n", 0},
    {"CONNECT \n", 0},
    {"CONNECT\n", 0},
    {"connect 1\n", 0},
    {"OK 1\n", 0},
    {"\n", 0},
    {"CONNECT 1CONNECT 1CONNECT 1CONNECT 1\n", 0},
};

START_TEST(connect_lines)
{
    uint32_t port = 0;
    put_text(outer, connects[_i].text);
    int error = hybrid_read_connect(&line, &side, &port);
    ck_assert_msg(error == (connects[_i].port != 0 ? 0 : -EPROTO), "%s: %d", connects[_i].text,
                  error);
    if (error == 0)
        ck_assert_uint_eq(port, connects[_i].port);
}
END_TEST

/* Its newline is held, so that a reset is told. What is behind it comes out as it was. */
START_TEST(what_is_behind_a_line)
{
    char rest[100];
    put_text(outer, "OK 5\nrest");
    ck_assert_int_eq(hybrid_read_ok(&line, &side), 0);
    ck_assert(side.held);
    ck_assert_int_eq(side_read(&side, rest, sizeof(rest)), 4);
    ck_assert_mem_eq(rest, "rest", 4);
    side_close(&side, ECONNRESET);
    ck_assert_int_eq(read(outer, rest, 1), -1);
    ck_assert_int_eq(errno, ECONNRESET);
}
END_TEST

START_TEST(nothing_behind_a_line)
{
    char rest;
    put_text(outer, "OK 5\n");
    ck_assert_int_eq(hybrid_read_ok(&line, &side), 0);
    ck_assert_int_eq(side_read(&side, &rest, 1), -EAGAIN);
    ck_assert(!side_is_untold(&side));
    side_close(&side, 0);
    ck_assert_int_eq(read(outer, &rest, 1), 0);
}
END_TEST

/* So that its writer can be told at once. */
START_TEST(a_line_that_is_too_long)
{
    char rest, text[HYBRID_LINE_MAX] = "", shown[HYBRID_SHOWN_MAX];
    memset(text, 'x', sizeof(text) - 1);
    put_text(outer, text);
    ck_assert_int_eq(hybrid_read_ok(&line, &side), -EPROTO);
    ck_assert(!side_is_untold(&side));
    text[sizeof(text) - 2] = '\0';
    ck_assert_str_eq(hybrid_shown(&line, shown), text);
    side_close(&side, ECONNRESET);
    ck_assert_int_eq(read(outer, &rest, 1), -1);
    ck_assert_int_eq(errno, ECONNRESET);
}
END_TEST

START_TEST(a_line_in_bytes)
{
    static const char text[] = "OK 1073741824\n";
    for (const char *at = text; *at != '\0'; at++) {
        ck_assert_int_eq(hybrid_read_ok(&line, &side), -EAGAIN);
        ck_assert_int_eq(write(outer, at, 1), 1);
    }
    ck_assert_int_eq(hybrid_read_ok(&line, &side), 0);
}
END_TEST

START_TEST(an_end_in_a_line)
{
    char shown[HYBRID_SHOWN_MAX];
    put_text(outer, "OK\0335");
    close(outer);
    ck_assert_int_eq(hybrid_read_ok(&line, &side), -EPIPE);
    ck_assert_str_eq(hybrid_shown(&line, shown), "OK\\x1b5");
}
END_TEST

START_TEST(what_is_said)
{
    char text[100] = "";
    ck_assert_int_eq(hybrid_say_connect(&side, 4294967295u), 0);
    ck_assert_int_eq(hybrid_say_ok(&side, 7), 0);
    ck_assert_int_gt(read(outer, text, sizeof(text) - 1), 0);
    ck_assert_str_eq(text, "CONNECT 4294967295\nOK 7\n");
    close(outer);
    ck_assert_int_eq(hybrid_say_ok(&side, 7), -EPIPE);
}
END_TEST

/* ---- time ---- */

static struct bridge_loop loop;
static struct rooms rooms;
static struct channel *channel;
static char place[] = "/tmp/idc-hybrid-XXXXXX", said[1000];

static void note_line(void *context, const char *text)
{
    (void)context;
    snprintf(said, sizeof(said), "%s", text);
}

static void note_end(void *context, bool failed)
{
    (void)context;
    (void)failed;
}

static struct sockaddr_un path_of(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", place, name);
    return address;
}

static void time_setup(void)
{
    static char shared[BRIDGE_BUFFER];
    signal(SIGPIPE, SIG_IGN);
    ck_assert_ptr_nonnull(mkdtemp(place));
    loop = (struct bridge_loop){
        .base = event_base_new(), .buf = shared, .size = sizeof(shared), .rooms = &rooms};
    rooms_begin(&rooms, loop.base);
}

static void time_teardown(void)
{
    channel_free(channel);
    rooms_end(&rooms);
    event_base_free(loop.base);
    unlink(path_of("v").sun_path);
    rmdir(place);
}

/* The paths' last parts, with what stands behind them. */
static void begin_channel(const char *from, const char *to)
{
    const struct channel_settings settings = {.say = note_line, .ended = note_end};
    struct end ends[2];
    size_t at;
    char text[200], why[CHANNEL_WHY_MAX];
    snprintf(text, sizeof(text), "unix-listen:%s/%s", place, from);
    ck_assert(end_parse(text, &ends[0], &at, why));
    snprintf(text, sizeof(text), "unix:%s/%s", place, to);
    ck_assert(end_parse(text, &ends[1], &at, why));
    channel = channel_new(&loop, &ends[0], &ends[1], &settings, why);
    ck_assert_msg(channel != NULL, "%s", why);
}

static void turn_loop(void)
{
    for (int i = 0; i < 20; i++)
        event_base_loop(loop.base, EVLOOP_NONBLOCK);
}

static int connect_to(const char *name)
{
    struct sockaddr_un address = path_of(name);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    turn_loop();
    return fd;
}

static int listen_at(const char *name)
{
    struct sockaddr_un address = path_of(name);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(listen(fd, 5), 0);
    return fd;
}

/* A byte for each step of so many seconds. */
static void drip_text(int fd, const char *text, int seconds)
{
    for (; *text != '\0'; text++) {
        ck_assert_int_eq(write(fd, text, 1), 1);
        turn_loop();
        skipped_ms += seconds * 1000;
        turn_loop();
    }
}

static bool is_open(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) == 0;
}

/* 29 seconds in bytes are in time, 30 are not, and none are not. */
START_TEST(a_server_that_is_slow)
{
    char text[11];
    int listener = listen_at("v");
    begin_channel("x", "v,connect=5");
    int client = connect_to("x"), server = accept(listener, NULL, NULL);
    ck_assert_int_eq(read(server, text, sizeof(text)), 10);
    if (_i == 0) {
        drip_text(server, "OK", 14);
        drip_text(server, " 5\nx", 0);
        ck_assert_int_eq(read(client, text, sizeof(text)), 1);
        ck_assert_str_eq(said, "");
    } else {
        drip_text(server, _i == 1 ? "OK " : "", 10);
        skipped_ms += _i == 1 ? 0 : 29000;
        turn_loop();
        ck_assert(_i == 1 || said[0] == '\0');
        skipped_ms += _i == 1 ? 0 : 2000;
        turn_loop();
        ck_assert_ptr_nonnull(strstr(said, "connect=5: it does not answer to CONNECT"));
        ck_assert_int_ge(write(client, "x", 1), 0);
        turn_loop();
        ck_assert_int_eq(read(client, text, 1), -1);
        ck_assert_int_eq(errno, ECONNRESET);
        ck_assert_int_eq(read(server, text, 1), 0);
    }
    close(listener);
}
END_TEST

START_TEST(a_client_that_is_slow)
{
    begin_channel("x,connect", "none,connect=*");
    int client = connect_to("x");
    drip_text(client, "CON", 3);
    ck_assert(is_open(client));
    ck_assert_str_eq(said, "");
    drip_text(client, "N", 2);
    ck_assert_ptr_nonnull(strstr(said, "a client names no port"));
    ck_assert(!is_open(client) || write(client, "x", 1) == 1);
}
END_TEST

int main(void)
{
    TCase *lines = tcase_create("lines"), *times = tcase_create("times");
    tcase_add_checked_fixture(lines, line_setup, NULL);
    tcase_add_loop_test(lines, connect_lines, 0, sizeof(connects) / sizeof(connects[0]));
    tcase_add_test(lines, what_is_behind_a_line);
    tcase_add_test(lines, nothing_behind_a_line);
    tcase_add_test(lines, a_line_that_is_too_long);
    tcase_add_test(lines, a_line_in_bytes);
    tcase_add_test(lines, an_end_in_a_line);
    tcase_add_test(lines, what_is_said);
    tcase_add_checked_fixture(times, time_setup, time_teardown);
    tcase_add_loop_test(times, a_server_that_is_slow, 0, 3);
    tcase_add_test(times, a_client_that_is_slow);
    Suite *suite = suite_create("hybrid");
    suite_add_tcase(suite, lines);
    suite_add_tcase(suite, times);
    return run_suite(suite);
}
