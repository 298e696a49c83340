/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The report of the channels (channels/report.h): who gets one, how many at a time, for how long,
 * and whose socket it is. The clock can be put forward. */
#include "channels/report.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "channels/channel_set.h"
#include "tests/unit/skipped_clock.h"
#include "tests/unit/suite.h"

#define READERS 16 /* that are served at a time */
#define MANY 1000

static char place[] = "/tmp/idc-report-XXXXXX", path[REPORT_PATH_MAX];
static struct bridge_loop loop;
static struct channel_set *set;
static struct report *report;
static char why[REPORT_WHY_MAX];

static void say_nothing(void *context, const char *line)
{
    (void)context;
    (void)line;
}

static void report_setup(void)
{
    static char shared[BRIDGE_BUFFER];
    const struct channel_set_settings settings = {.loop = &loop, .say = say_nothing};
    signal(SIGPIPE, SIG_IGN);
    ck_assert_ptr_nonnull(mkdtemp(place));
    snprintf(path, sizeof(path), "%s/status", place);
    loop = (struct bridge_loop){.base = event_base_new(), .buf = shared, .size = sizeof(shared)};
    set = channel_set_new(&settings);
    ck_assert_ptr_nonnull(set);
}

/* Neither the socket nor its lock is left. */
static void report_teardown(void)
{
    channel_set_free(set);
    report_free(report);
    event_base_free(loop.base);
    ck_assert_int_eq(rmdir(place), 0);
}

static void begin_report(void)
{
    report = report_new(loop.base, path, set, why);
    ck_assert_msg(report != NULL, "%s", why);
}

static void turn_loop(void)
{
    for (int i = 0; i < 40; i++)
        event_base_loop(loop.base, EVLOOP_NONBLOCK);
}

/* Channels that can't begin, of which each has close to a KiB in the report. */
static void add_channels(size_t count)
{
    struct channel_list list = {.entries = calloc(count, sizeof(*list.entries))};
    char text[1000];
    for (; list.count < count; list.count++) {
        struct channel_problem problem;
        snprintf(text, sizeof(text), "c%zu: unix-listen:%s/%zu -> file:/nonexistent/%0400d",
                 list.count, place, list.count, 0);
        ck_assert_int_eq(channel_line_parse(text, "/dev", &list.entries[list.count].line, &problem),
                         CHANNEL_LINE_GOOD);
    }
    ck_assert_int_eq(channel_set_sync(set, &list), 0);
    channel_list_free(&list);
}

static int connect_now(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    memcpy(address.sun_path, path, sizeof(path));
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    turn_loop();
    return fd;
}

/* All that comes until the end. The text is freed by the caller. */
static char *read_report(int fd)
{
    size_t len = 0, size = 4 << 20;
    char *text = malloc(size);
    ck_assert_ptr_nonnull(text);
    for (ssize_t got = 1; got != 0; len += got > 0 ? (size_t)got : 0) {
        got = read(fd, text + len, size - len - 1);
        ck_assert(got >= 0 || errno == EAGAIN);
        if (got < 0)
            event_base_loop(loop.base, EVLOOP_NONBLOCK);
    }
    text[len] = '\0';
    close(fd);
    return text;
}

static void check_report(int fd, int count)
{
    char *text = read_report(fd), last[64];
    int lines = 0;
    snprintf(last, sizeof(last), "\nend %d\n", count);
    ck_assert_int_eq(strncmp(text, REPORT_FIRST_LINE "\n", sizeof(REPORT_FIRST_LINE)), 0);
    for (const char *at = text; (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    ck_assert_int_eq(lines, count + 2);
    ck_assert_str_eq(text + strlen(text) - strlen(last), last);
    free(text);
}

static bool has_something(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    turn_loop();
    return poll(&p, 1, 0) == 1;
}

/* ---- readers ---- */

START_TEST(a_report)
{
    begin_report();
    check_report(connect_now(), 0);
    add_channels(2);
    check_report(connect_now(), 2);
    add_channels(0);
    check_report(connect_now(), 0);
}
END_TEST

START_TEST(a_large_report)
{
    begin_report();
    add_channels(MANY);
    check_report(connect_now(), MANY);
}
END_TEST

/* What a reader writes, and that it goes without reading, harms nobody. */
START_TEST(rude_readers)
{
    begin_report();
    add_channels(MANY);
    for (int i = 0; i < 3 * READERS; i++) {
        int fd = connect_now();
        ck_assert_int_eq(write(fd, "GET / HTTP/1.0\r\n\r\n", 18), 18);
        turn_loop();
        close(fd);
        turn_loop();
    }
    check_report(connect_now(), MANY);
}
END_TEST

/* Those who don't read keep their places for ten seconds, and no longer. */
START_TEST(readers_that_do_not_read)
{
    int idle[READERS];
    begin_report();
    add_channels(MANY);
    for (int i = 0; i < READERS; i++) {
        idle[i] = connect_now();
        ck_assert(has_something(idle[i]));
    }
    int next = connect_now();
    ck_assert(!has_something(next));
    skipped_ms += 9000;
    ck_assert(!has_something(next));
    skipped_ms += 1500;
    check_report(next, MANY);
    for (int i = 0; i < READERS; i++) {
        char *text = read_report(idle[i]);
        ck_assert_ptr_null(strstr(text, "\nend "));
        free(text);
    }
}
END_TEST

/* A place is free as soon as one has read, or has gone. */
START_TEST(places_are_given_on)
{
    int idle[READERS];
    begin_report();
    add_channels(MANY);
    for (int i = 0; i < READERS; i++)
        idle[i] = connect_now();
    int next[2] = {connect_now(), connect_now()};
    ck_assert(!has_something(next[0]));
    close(idle[3]);
    ck_assert(has_something(next[0]));
    ck_assert(!has_something(next[1]));
    check_report(idle[5], MANY);
    ck_assert(has_something(next[1]));
    check_report(next[1], MANY);
    check_report(next[0], MANY);
}
END_TEST

/* ---- the socket ---- */

START_TEST(for_its_own_user_only)
{
    struct stat about;
    umask(0);
    begin_report();
    ck_assert_int_eq(lstat(path, &about), 0);
    ck_assert(S_ISSOCK(about.st_mode));
    ck_assert_uint_eq(about.st_mode & 0777, 0600);
}
END_TEST

START_TEST(another_one_runs)
{
    begin_report();
    ck_assert_ptr_null(report_new(loop.base, path, set, why));
    ck_assert_msg(strstr(why, "another one runs already") != NULL, "%s", why);
    check_report(connect_now(), 0);
}
END_TEST

/* The socket and the lock of one that was killed are there, and nobody has them. */
START_TEST(one_was_killed)
{
    pid_t child = fork();
    if (child == 0)
        _exit(report_new(loop.base, path, set, why) == NULL);
    int status = -1;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(access(path, F_OK), 0);
    begin_report();
    check_report(connect_now(), 0);
}
END_TEST

/* The path may be a mistake. */
START_TEST(something_else_is_there)
{
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    ck_assert_int_eq(write(fd, "precious", 8), 8);
    close(fd);
    ck_assert_ptr_null(report_new(loop.base, path, set, why));
    ck_assert_msg(strstr(why, "/status: what is there is no socket, and stays") != NULL, "%s", why);
    struct stat about;
    ck_assert_int_eq(stat(path, &about), 0);
    ck_assert_int_eq(about.st_size, 8);
    ck_assert_int_eq(unlink(path), 0);
}
END_TEST

/* A lock that is a link would be made somewhere else. Such a link is taken away. */
START_TEST(a_link_as_a_lock)
{
    char lock[sizeof(path) + 8], elsewhere[sizeof(path) + 16];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat about;
    int left_over = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    strcpy(address.sun_path, path);
    ck_assert_int_eq(bind(left_over, (const void *)&address, sizeof(address)), 0);
    close(left_over);
    snprintf(lock, sizeof(lock), "%s.lock", path);
    snprintf(elsewhere, sizeof(elsewhere), "%s.elsewhere", path);
    ck_assert_int_eq(symlink(elsewhere, lock), 0);
    struct report *other = report_new(loop.base, path, set, why);
    ck_assert_msg(other != NULL, "%s", why);
    ck_assert_int_eq(lstat(elsewhere, &about), -1);
    ck_assert(lstat(lock, &about) < 0 || S_ISREG(about.st_mode));
    report_free(other);
}
END_TEST

START_TEST(paths_that_cannot_be)
{
    char longer[REPORT_PATH_MAX + 2];
    memset(longer, 'a', sizeof(longer));
    longer[0] = '/';
    longer[sizeof(longer) - 1] = '\0';
    ck_assert_ptr_null(report_new(loop.base, longer, set, why));
    ck_assert_msg(strstr(why, "at most 107 bytes") != NULL, "%s", why);
    ck_assert_ptr_null(report_new(loop.base, "/nonexistent/status", set, why));
    ck_assert_msg(strstr(why, "No such file") != NULL, "%s", why);
}
END_TEST

/* ---- where it is if nobody says so ---- */

START_TEST(the_usual_path)
{
    char found[REPORT_PATH_MAX];
    setenv("RUNTIME_DIRECTORY", "/run/given", 1);
    ck_assert(report_default_path(false, found));
    ck_assert_str_eq(found, "/run/given/status.sock");
    setenv("RUNTIME_DIRECTORY", "relative", 1);
    if (getuid() == 0) {
        ck_assert(report_default_path(false, found));
        ck_assert_str_eq(found, "/run/idc-channels/status.sock");
        ck_assert_int_eq(setuid(65534), 0);
    }
    unsetenv("XDG_RUNTIME_DIR");
    ck_assert(!report_default_path(false, found));
    ck_assert(report_default_path(true, found));
    ck_assert_str_eq(found, "/run/idc-channels/status.sock");
    setenv("XDG_RUNTIME_DIR", "/nonexistent", 1);
    ck_assert(report_default_path(false, found));
    ck_assert_str_eq(found, "/nonexistent/idc-channels.sock");
    ck_assert(report_default_path(true, found)); /* the one that exists */
    ck_assert_str_eq(found, "/run/idc-channels/status.sock");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("report"), *usual = tcase_create("usual");
    tcase_set_timeout(tests, 120);
    tcase_add_checked_fixture(tests, report_setup, report_teardown);
    tcase_add_test(tests, a_report);
    tcase_add_test(tests, a_large_report);
    tcase_add_test(tests, rude_readers);
    tcase_add_test(tests, readers_that_do_not_read);
    tcase_add_test(tests, places_are_given_on);
    tcase_add_test(tests, for_its_own_user_only);
    tcase_add_test(tests, another_one_runs);
    tcase_add_test(tests, one_was_killed);
    tcase_add_test(tests, something_else_is_there);
    tcase_add_test(tests, a_link_as_a_lock);
    tcase_add_test(tests, paths_that_cannot_be);
    tcase_add_test(usual, the_usual_path);
    Suite *suite = suite_create("report");
    suite_add_tcase(suite, tests);
    suite_add_tcase(suite, usual);
    return run_suite(suite);
}
