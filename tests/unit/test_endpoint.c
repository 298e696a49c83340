/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_endpoint.c - a program's stream. Nothing that the kernel reports together with data is
 * overlooked, and forwarded bytes are consumed at a time when that wakes nobody. The connection is
 * no more than what the endpoint needs of it: whether there is something to read.
 */
#include "link_mgr/program/endpoint.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "link_mgr/base/clock.h"
#include "link_mgr/core/conn.h"
#include "link_mgr/program/endpoint_private.h"
#include "tests/unit/old_kernel.h"
#include "tests/unit/suite.h"

/* Within this, whatever is looked after later. The loop runs in this thread, once a millisecond at
 * most, so a slow machine takes longer for each of them. */
#define LATE_MS 1000

static struct event_base *base;
static struct endpoints all;
static struct conn conn;
static struct endpoint *ep;
static int program;
static enum reason told; /* why it ended */

static void on_end(void *arg, struct conn *of, enum reason reason)
{
    (void)arg, (void)of;
    told = reason;
}

static void endpoint_setup(void)
{
    struct handover_name name = {.serial = (uint64_t)getpid(),
                                 .local = {.domid = 1, .port = 1},
                                 .peer = {.domid = 2, .port = 2}};
    struct endpoint_config config = {
        .all = &all, .conn = &conn, .name = &name, .far_end = -1, .ended = on_end};
    base = event_base_new();
    endpoints_init(&all, base);
    conn = (struct conn){.phase = CONN_OPEN, .type = IDC_STREAM};
    ck_assert_int_eq(endpoint_new(&config, &ep, &program), 0);
    /* The held byte makes an event by itself. */
    event_base_loop(base, EVLOOP_NONBLOCK);
    conn.readable = false;
}

static void old_setup(void)
{
    old_kernel = true;
    endpoint_setup();
}

static void close_endpoint(void)
{
    if (ep)
        endpoint_close(ep, REASON_OK);
    ep = NULL;
}

static void endpoint_teardown(void)
{
    close_endpoint();
    endpoints_end(&all);
    event_base_free(base);
    if (program >= 0)
        close(program);
}

/* ---- what the core does ---- */

static void take_events(void)
{
    conn.readable = false;
    event_base_loop(base, EVLOOP_NONBLOCK);
}

static ssize_t endpoint_do_pull(char *out, size_t size)
{
    struct iovec span = {out, size};
    memset(out, 0, size);
    ssize_t n = endpoint_pull(ep, &span, 1);
    if (n <= 0)
        conn.readable = false;
    return n;
}

static void assert_pulls(const char *text)
{
    char out[65536];
    ck_assert_int_eq(endpoint_do_pull(out, sizeof(out)), (ssize_t)strlen(text));
    ck_assert_str_eq(out, text);
}

static void assert_ends(ssize_t expected)
{
    char out[100];
    ck_assert_int_eq(endpoint_do_pull(out, sizeof(out)), expected);
}

/* The loop tells that there is something, in time. */
static void wait_until_readable(void)
{
    for (int i = 0; i < LATE_MS && !conn.readable; i++) {
        take_events();
        usleep(1000);
    }
    ck_assert(conn.readable);
}

/* ---- what the program does ---- */

static void endpoint_say(const char *text)
{
    ck_assert_int_eq(send(program, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static void close_program(void)
{
    close(program);
    program = -1;
}

static void say_with_descriptor(const char *text)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(handover_send(program, text, strlen(text), &fd, 1, 0), (ssize_t)strlen(text));
    close(fd);
}

static void endpoint_answer(const char *text)
{
    struct iovec span = {(char *)(uintptr_t)text, strlen(text)};
    ck_assert_int_eq(endpoint_push(ep, &span, 1), (ssize_t)strlen(text));
}

/* What the program has sent that is not consumed, as its kernel counts: with what each message
 * costs. */
static int endpoint_outstanding(void)
{
    int bytes = -1;
    ck_assert_int_eq(ioctl(program, SIOCOUTQ, &bytes), 0);
    return bytes;
}

/* ---- the end, in one event with data ---- */

START_TEST(half_close_behind_data)
{
    endpoint_say("abc");
    shutdown(program, SHUT_WR);
    take_events();
    assert_pulls("abc");
    assert_ends(0);
}
END_TEST

START_TEST(close_behind_data)
{
    endpoint_say("abc");
    close_program();
    take_events();
    assert_pulls("abc");
    assert_ends(0);
}
END_TEST

/* A program that shuts both directions and then reads gets the end, whether or not we have been
 * faster. */
START_TEST(both_directions_shut)
{
    char byte;
    ck_assert_int_eq(shutdown(program, SHUT_RDWR), 0);
    take_events();
    assert_ends(0);
    ck_assert(endpoint_gone(ep));
    close_endpoint();
    ck_assert_int_eq(recv(program, &byte, 1, 0), 0);
}
END_TEST

START_TEST(half_close_after_data)
{
    endpoint_say("abc");
    take_events();
    assert_pulls("abc");
    assert_ends(-EAGAIN);
    shutdown(program, SHUT_WR);
    take_events();
    ck_assert(conn.readable);
    assert_ends(0);
}
END_TEST

/* The event is there when the data were read that came before it: the next one tells the rest. */
START_TEST(half_close_between_event_and_read)
{
    endpoint_say("abc");
    take_events();
    shutdown(program, SHUT_WR);
    assert_pulls("abc");
    take_events();
    ck_assert(conn.readable);
    assert_ends(0);
}
END_TEST

START_TEST(reset_behind_data)
{
    endpoint_answer("unread");
    endpoint_say("abc");
    close_program();
    take_events();
    assert_pulls("abc");
    ssize_t n = endpoint_do_pull((char[100]){0}, 100);
    if (n == -EAGAIN) { /* later, but soon */
        wait_until_readable();
        n = endpoint_do_pull((char[100]){0}, 100);
    }
    ck_assert_int_eq(n, -ECONNRESET);
}
END_TEST

/* The other program has closed, and the core doesn't look again: what ours wrote since the last
 * look is lost. */
START_TEST(closed_on_what_was_not_seen)
{
    char out[100];
    endpoint_say("abc");
    take_events();
    assert_pulls("abc");
    endpoint_say("late");
    close_endpoint();
    ck_assert_int_eq(told, REASON_PROGRAM_RESET);
    ck_assert_int_eq(recv(program, out, sizeof(out), MSG_DONTWAIT), -1);
    ck_assert_int_eq(errno, ECONNRESET);
}
END_TEST

START_TEST(closed_on_what_was_seen)
{
    char out[100];
    endpoint_say("abc");
    take_events();
    assert_pulls("abc");
    close_endpoint();
    ck_assert_int_eq(told, REASON_OK);
    ck_assert_int_eq(recv(program, out, sizeof(out), MSG_DONTWAIT), 0);
}
END_TEST

/* ---- data ---- */

START_TEST(data_between_event_and_read)
{
    endpoint_say("abc");
    take_events();
    endpoint_say("def");
    assert_pulls("abcdef");
    take_events();
    assert_ends(-EAGAIN);
    endpoint_say("ghi");
    take_events();
    ck_assert(conn.readable);
    assert_pulls("ghi");
}
END_TEST

START_TEST(more_than_the_room)
{
    char out[4];
    endpoint_say("abcdefgh");
    take_events();
    ck_assert_int_eq(endpoint_do_pull(out, sizeof(out)), 4);
    assert_pulls("efgh");
}
END_TEST

/* The program has sent a descriptor, which belongs nowhere. No byte comes from there on. */
START_TEST(data_with_a_descriptor)
{
    char out[100];
    endpoint_say("first");
    take_events();
    assert_pulls("first");
    say_with_descriptor("abc");
    endpoint_say("def");
    take_events();
    ck_assert_int_eq(endpoint_do_pull(out, sizeof(out)), -EPERM);
    ck_assert_int_eq(endpoint_do_pull(out, sizeof(out)), -EPERM);
}
END_TEST

/* As at a byte that is out of band. */
START_TEST(data_behind_an_urgent_byte)
{
    char out[100];
    endpoint_say("abc");
    if (send(program, "!", 1, MSG_OOB) != 1)
        return; /* this kernel has none in Unix sockets */
    endpoint_say("def");
    take_events();
    assert_pulls("abc");
    ssize_t n = endpoint_do_pull(out, sizeof(out));
    if (n == -EAGAIN) {
        wait_until_readable();
        n = endpoint_do_pull(out, sizeof(out));
    }
    ck_assert_int_gt(n, 0);
}
END_TEST

/* ---- room for the writer ---- */

static void set_send_buffer(int size)
{
    ck_assert_int_eq(setsockopt(program, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
}

static bool writer_has_room(int wait_ms)
{
    struct pollfd pollfd = {.fd = program, .events = POLLOUT};
    for (int i = 0; i < wait_ms; i++) {
        if (poll(&pollfd, 1, 1) > 0)
            return true;
        take_events();
    }
    return poll(&pollfd, 1, 0) > 0;
}

/* A block of so many bytes is sent, and pulled. */
static void pass_block(size_t size)
{
    static char block[1 << 20], out[1 << 20];
    size_t done = 0;
    ck_assert_int_eq(send(program, block, size, MSG_NOSIGNAL), (ssize_t)size);
    while (done < size) {
        ssize_t n = endpoint_do_pull(out, sizeof(out));
        if (n == -EAGAIN)
            wait_until_readable();
        done += n > 0 ? (size_t)n : 0;
    }
    assert_ends(-EAGAIN);
}

static bool timers_run(void)
{
    bool run = false;
    for (unsigned i = 0; i < ENDPOINT_LISTS; i++)
        run |= evtimer_pending(&all.lists[i].timer, NULL);
    return run;
}

static void wait_until_at_rest(void)
{
    for (int i = 0; i < LATE_MS && timers_run(); i++) {
        usleep(1000);
        take_events();
    }
    ck_assert(!timers_run());
}

/* Until it was asked about so often. */
static void wait_for_list(unsigned which)
{
    for (int i = 0; i < 10 * LATE_MS && !evtimer_pending(&all.lists[which].timer, NULL); i++) {
        usleep(1000);
        take_events();
    }
    ck_assert(evtimer_pending(&all.lists[which].timer, NULL));
}

static void assert_resets(void)
{
    char byte;
    endpoint_close(ep, REASON_LINK_LOST);
    ep = NULL;
    ck_assert_int_eq(recv(program, &byte, 1, 0), -1);
    ck_assert_int_eq(errno, ECONNRESET);
}

/* With the buffer that it begins with, the largest block is held and there is room besides. */
START_TEST(a_large_block_is_held)
{
    pass_block(49000);
    ck_assert(writer_has_room(0));
    for (int i = 0; i < 50; i++) {
        usleep(1000);
        take_events();
    }
    assert_resets();
}
END_TEST

/* When the program has made its buffer small, the block is let go: first after a while, then at
 * once. The next bytes are held again. */
START_TEST(a_block_that_fills_the_buffer_is_let_go)
{
    set_send_buffer(4608);
    pass_block(1000);
    ck_assert(!writer_has_room(0));
    ck_assert(writer_has_room(LATE_MS));
    pass_block(1000);
    ck_assert(writer_has_room(0));
    pass_block(1);
    assert_resets();
}
END_TEST

/* The buffer is made small when the block is held already. */
START_TEST(a_buffer_that_is_made_small_later)
{
    pass_block(40000);
    wait_for_list(1);
    set_send_buffer(4608);
    ck_assert(!writer_has_room(0));
    ck_assert(writer_has_room(10 * LATE_MS));
}
END_TEST

/* ---- questions to the kernel ---- */

#define TIGHT 64
static unsigned questions;
static size_t sent_meanwhile; /* before each question the program sends so much */

ssize_t send(int fd, const void *buf, size_t n, int flags)
{
    static const char zeros[200000];
    bool question = fd == all.diag.own;
    questions += question;
    if (question && sent_meanwhile > 0)
        ck_assert_int_gt(syscall(SYS_sendto, program, zeros, sent_meanwhile, 0, NULL, 0), 0);
    return syscall(SYS_sendto, fd, buf, n, flags, NULL, 0);
}

/* For each question the kernel walks through all of its sockets. Two are the first ones about an
 * end. The connections that are not asked about let go. */
START_TEST(many_tight_ones_ask_once_in_a_tick)
{
    struct endpoint *many[TIGHT];
    struct conn conns[TIGHT];
    int programs[TIGHT];
    char out[2000] = "";
    for (int i = 0; i < TIGHT; i++) {
        struct handover_name name = {.serial = (uint64_t)getpid() << 8 | (uint64_t)i,
                                     .local = {.domid = 1, .port = 1},
                                     .peer = {.domid = 2, .port = 3}};
        conns[i] = (struct conn){.phase = CONN_OPEN, .type = IDC_STREAM};
        struct endpoint_config config = {
            .all = &all, .conn = &conns[i], .name = &name, .far_end = -1, .ended = on_end};
        ck_assert_int_eq(endpoint_new(&config, &many[i], &programs[i]), 0);
        many[i]->tight = true;
        ck_assert_int_eq(send(programs[i], out, 1000, 0), 1000);
    }
    uint64_t begun = clock_now_ms();
    questions = 0;
    for (int i = 0; i < TIGHT; i++) {
        struct iovec span = {out, sizeof(out)};
        while (endpoint_pull(many[i], &span, 1) > 0)
            continue;
    }
    uint64_t ticks = clock_now_ms() - begun + 1;
    ck_assert_msg(questions <= 2 * ticks, "%u questions in %u ms", questions, (unsigned)ticks);
    for (int i = 0; i < TIGHT; i++) {
        endpoint_close(many[i], REASON_OK);
        close(programs[i]);
    }
}
END_TEST

/* What comes while the kernel is asked is charged too, but it is no reason to let go what is held:
 * it will be pulled. */
START_TEST(a_block_that_comes_with_the_question)
{
    pass_block(40000);
    sent_meanwhile = 100000;
    for (unsigned begun = questions; questions == begun;) {
        usleep(1000);
        take_events();
    }
    sent_meanwhile = 0;
    ck_assert(!ep->tight);
    assert_resets();
}
END_TEST

static void without_diag(void)
{
    unix_diag_close(&all.diag);
}

/* Where the kernel does not tell what it charges, what is held stays for now, however much came. */
START_TEST(without_sock_diag)
{
    without_diag();
    pass_block(100000);
    wait_for_list(2);
    assert_resets();
}
END_TEST

/* After a silence it is let go, so even a writer with the smallest buffer does not wait for ever,
 * however often. The next is held again. */
START_TEST(without_sock_diag_silence)
{
    without_diag();
    set_send_buffer(4608);
    for (int i = 0; i < 3; i++) {
        pass_block(1000);
        ck_assert(writer_has_room(10 * LATE_MS));
    }
    wait_until_at_rest(); /* nothing is looked after once it is let go */
    pass_block(1);
    assert_resets();
}
END_TEST

/* What cannot fill any buffer makes no timer run for it. */
START_TEST(little_needs_no_looking_after)
{
    pass_block(1);
    wait_until_at_rest();
    pass_block(150);
    ck_assert(!timers_run());
}
END_TEST

/* All that there is. */
static void endpoint_collect(char *got, size_t *length)
{
    char out[100];
    for (ssize_t n; (n = endpoint_do_pull(out, sizeof(out))) > 0; *length += (size_t)n)
        memcpy(got + *length, out, (size_t)n);
}

/* "X" is urgent. Nothing is lost, whatever is read when. Bit n of _i says whether a look follows
 * the nth of the program's calls. Everything that was seen is consumed. */
START_TEST(urgent_bytes_come_in_their_place)
{
    static const char *const texts[] = {"abc", "X", "def"};
    char got[16] = "";
    size_t length = 0;
    for (int i = 0; i < 3; i++) {
        int flags = MSG_NOSIGNAL | (i == 1 ? MSG_OOB : 0);
        ck_assert_int_gt(send(program, texts[i], strlen(texts[i]), flags), 0);
        if (!(_i & 1 << i))
            continue;
        take_events();
        endpoint_collect(got, &length);
        wait_until_at_rest();
    }
    while (length < 7) {
        wait_until_readable();
        endpoint_collect(got, &length);
    }
    ck_assert_str_eq(got, "abcXdef");
}
END_TEST

/* ---- consuming ---- */

/* While the program asks and is answered, everything that its messages cost is given back in
 * between, and never while it waits: only by what comes right after an answer. */
START_TEST(a_dialogue_is_consumed_after_answers)
{
    int most = 0, drops = 0;
    for (int i = 0; i < 100; i++) {
        int before = endpoint_outstanding();
        endpoint_say("x");
        int asked = endpoint_outstanding();
        event_del(&all.lists[0].timer); /* however long this takes on a busy machine */
        take_events();
        assert_pulls("x");
        assert_ends(-EAGAIN);
        ck_assert_int_eq(endpoint_outstanding(), asked);
        endpoint_answer("y");
        drops += endpoint_outstanding() < before;
        most = asked > most ? asked : most;
    }
    ck_assert_int_gt(drops, 3);
    ck_assert_int_lt(drops, 50);
    ck_assert_int_lt(most, 32 * 1024);
}
END_TEST

START_TEST(what_lags_is_consumed_in_the_end)
{
    int before = endpoint_outstanding();
    endpoint_say("abc");
    take_events();
    assert_pulls("abc");
    ck_assert_int_gt(endpoint_outstanding(), before);
    for (int i = 0; i < LATE_MS && endpoint_outstanding() > before; i++) {
        take_events();
        usleep(1000);
    }
    ck_assert_int_le(endpoint_outstanding(), before);
    assert_ends(-EAGAIN);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("endpoint");
    TCase *tcase = tcase_create("stream");
    tcase_set_timeout(tcase, 20);
    tcase_add_checked_fixture(tcase, endpoint_setup, endpoint_teardown);
    tcase_add_test(tcase, half_close_behind_data);
    tcase_add_test(tcase, close_behind_data);
    tcase_add_test(tcase, half_close_after_data);
    tcase_add_test(tcase, both_directions_shut);
    tcase_add_test(tcase, half_close_between_event_and_read);
    tcase_add_test(tcase, reset_behind_data);
    tcase_add_test(tcase, closed_on_what_was_not_seen);
    tcase_add_test(tcase, closed_on_what_was_seen);
    tcase_add_test(tcase, data_between_event_and_read);
    tcase_add_test(tcase, more_than_the_room);
    tcase_add_test(tcase, data_behind_an_urgent_byte);
    tcase_add_loop_test(tcase, urgent_bytes_come_in_their_place, 0, 8);
    tcase_add_test(tcase, a_large_block_is_held);
    tcase_add_test(tcase, a_block_that_fills_the_buffer_is_let_go);
    tcase_add_test(tcase, a_buffer_that_is_made_small_later);
    tcase_add_test(tcase, many_tight_ones_ask_once_in_a_tick);
    tcase_add_test(tcase, a_block_that_comes_with_the_question);
    tcase_add_test(tcase, without_sock_diag);
    tcase_add_test(tcase, without_sock_diag_silence);
    tcase_add_test(tcase, little_needs_no_looking_after);
    tcase_add_test(tcase, a_dialogue_is_consumed_after_answers);
    tcase_add_test(tcase, what_lags_is_consumed_in_the_end);
    suite_add_tcase(suite, tcase);
    TCase *old = tcase_create("old kernel");
    tcase_add_checked_fixture(old, old_setup, endpoint_teardown);
    tcase_add_test(old, data_with_a_descriptor);
    suite_add_tcase(suite, old);
    return run_suite(suite);
}
