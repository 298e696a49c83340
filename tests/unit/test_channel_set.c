/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Many channels in one loop (channels/channel_set.h): what new lines change, what goes on, and when
 * one that can't begin is tried again. The clock can be put forward, and the resolver is played.
 */
#include "channels/channel_set.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/unit/skipped_clock.h"
#include "tests/unit/suite.h"

#define TEXT_SIZE 4096

static char place[] = "/tmp/idc-set-XXXXXX";
static struct bridge_loop loop;
static struct channel_set *set;
static char said[TEXT_SIZE];
static unsigned look_ups;

/* In place of the C library's. */
int getaddrinfo(const char *name, const char *service, const struct addrinfo *req,
                struct addrinfo **pai)
{
    (void)name;
    (void)service;
    (void)req;
    (void)pai;
    look_ups++;
    return EAI_AGAIN;
}

static void note_line(void *context, const char *line)
{
    size_t len = strlen(said);
    ck_assert_ptr_eq(context, &look_ups);
    snprintf(said + len, sizeof(said) - len, "%s\n", line);
}

static void set_setup(void)
{
    static char shared[BRIDGE_BUFFER];
    signal(SIGPIPE, SIG_IGN);
    ck_assert_ptr_nonnull(mkdtemp(place));
    loop = (struct bridge_loop){.base = event_base_new(), .buf = shared, .size = sizeof(shared)};
    const struct channel_set_settings settings = {
        .loop = &loop, .say = note_line, .context = &look_ups};
    set = channel_set_new(&settings);
    ck_assert_ptr_nonnull(set);
}

/* Nothing is left in the file system. */
static void set_teardown(void)
{
    channel_set_free(set);
    event_base_free(loop.base);
    ck_assert_int_eq(rmdir(place), 0);
}

static void turn_loop(void)
{
    for (int i = 0; i < 20; i++)
        event_base_loop(loop.base, EVLOOP_NONBLOCK);
}

/* ---- lines, clients and servers ---- */

/* Text in which each @ stands for the place. */
static const char *with_place(const char *text)
{
    static char out[TEXT_SIZE];
    size_t len = 0;
    for (; *text != '\0'; text++)
        if (*text == '@')
            len += (size_t)snprintf(out + len, sizeof(out) - len, "%s", place);
        else
            out[len++] = *text;
    out[len] = '\0';
    return out;
}

/* The lines, of which one that is wrong keeps only its name, are what there is to be. */
static void sync_lines(const char *lines)
{
    char text[TEXT_SIZE], *next = text;
    struct channel_entry entries[8];
    struct channel_list list = {.entries = entries};
    snprintf(text, sizeof(text), "%s", with_place(lines));
    for (char *line; (line = strsep(&next, "\n")) != NULL && *line != '\0'; list.count++) {
        struct channel_problem problem;
        ck_assert_uint_lt(list.count, 8);
        entries[list.count].wrong = channel_line_parse(line, "/dev", &entries[list.count].line,
                                                       &problem) != CHANNEL_LINE_GOOD;
        list.good += !entries[list.count].wrong;
    }
    ck_assert_int_eq(channel_set_sync(set, &list), 0);
    turn_loop();
}

static struct sockaddr_un address_of(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", place, name);
    return address;
}

static int connect_to(const char *name)
{
    struct sockaddr_un address = address_of(name);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        close(fd);
        return -1;
    }
    turn_loop();
    return fd;
}

static int listen_at(const char *name)
{
    struct sockaddr_un address = address_of(name);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(listen(fd, 10), 0);
    return fd;
}

static void unlisten_at(int fd, const char *name)
{
    close(fd);
    ck_assert_int_eq(unlink(address_of(name).sun_path), 0);
}

/* One says it, and the other hears it. */
static void pass_text(int from, int to, const char *text)
{
    char got[100] = "";
    ck_assert_int_eq(write(from, text, strlen(text)), (ssize_t)strlen(text));
    turn_loop();
    ck_assert_int_eq(recv(to, got, sizeof(got) - 1, MSG_DONTWAIT), (ssize_t)strlen(text));
    ck_assert_str_eq(got, text);
}

/* 0 for an end, 1 for data, or an errno. */
static int look_once(int fd)
{
    char byte;
    turn_loop();
    ssize_t got = recv(fd, &byte, 1, MSG_DONTWAIT);
    return got < 0 ? errno : (int)got;
}

/* ---- the report ---- */

static const char *report_text(int count)
{
    static char text[TEXT_SIZE];
    struct evbuffer *out = evbuffer_new();
    ck_assert_int_eq(channel_set_report(set, out), count);
    int len = evbuffer_remove(out, text, sizeof(text) - 1);
    text[len > 0 ? len : 0] = '\0';
    evbuffer_free(out);
    return text;
}

/* A field of the only channel. */
static const char *report_field(enum channel_field which)
{
    static char text[TEXT_SIZE];
    snprintf(text, sizeof(text), "%s", report_text(1));
    text[strcspn(text, "\n")] = '\0';
    char *next = text, *field = NULL;
    for (int i = 0; i <= (int)which; i++)
        field = strsep(&next, "\t");
    ck_assert_ptr_nonnull(field);
    return field;
}

/* ---- what new lines change ---- */

START_TEST(channels_begin_and_end)
{
    sync_lines("a: unix-listen:@/a -> unix:@/s\nb: unix-listen:@/b -> unix:@/s\n");
    ck_assert_str_eq(report_text(2),
                     with_place("a\tunix-listen:@/a\tunix:@/s\tlistening\t0\t0\t0\t0"
                                "\t0\t\nb\tunix-listen:@/b\tunix:@/s\tlistening\t0\t"
                                "0\t0\t0\t0\t\n"));
    sync_lines("b: unix-listen:@/b -> unix:@/s\n");
    ck_assert_int_eq(connect_to("a"), -1);
    ck_assert_int_ge(connect_to("b"), 0);
    sync_lines("");
    ck_assert_str_eq(report_text(0), "");
    ck_assert_int_eq(connect_to("b"), -1);
}
END_TEST

static const char *const lines_that_leave_it[] = {
    "a: unix-listen:@/a -> unix:@/s\n",
    "new: unix-listen:@/new -> unix:@/s\na: unix-listen:@/a -> unix:@/s\n",
    "a: unix-listen:@/a   ->   unix:@/s # a comment\n",
    "a: nonsense\n",
};

START_TEST(what_is_the_same_goes_on)
{
    int server = listen_at("s");
    sync_lines("a: unix-listen:@/a -> unix:@/s\n");
    int client = connect_to("a"), taken = accept(server, NULL, NULL);
    pass_text(client, taken, "before");
    sync_lines(lines_that_leave_it[_i]);
    pass_text(client, taken, "after");
    pass_text(taken, client, "back");
    unlisten_at(server, "s");
}
END_TEST

static const char *const lines_that_end_it[] = {
    "a: unix-listen:@/a -> unix:@/s max=5\n",
    "a: unix-listen:@/a -> unix:@/t\n",
    "b: unix-listen:@/a -> unix:@/s\n",
    "",
};

START_TEST(what_is_another_begins_anew)
{
    int server = listen_at("s");
    sync_lines("a: unix-listen:@/a -> unix:@/s\n");
    int client = connect_to("a"), taken = accept(server, NULL, NULL);
    pass_text(client, taken, "to the server");
    pass_text(taken, client, "to the client");
    sync_lines(lines_that_end_it[_i]);
    ck_assert_int_eq(look_once(client), ECONNRESET);
    ck_assert_int_eq(look_once(taken), ECONNRESET);
    ck_assert_int_eq(connect_to("a") >= 0, lines_that_end_it[_i][0] != '\0');
    unlisten_at(server, "s");
}
END_TEST

/* All that ends ends first. */
START_TEST(two_exchange_their_paths)
{
    int servers[2] = {listen_at("s"), listen_at("t")};
    sync_lines("a: unix-listen:@/a -> unix:@/s\nb: unix-listen:@/b -> unix:@/t\n");
    sync_lines("a: unix-listen:@/b -> unix:@/s\nb: unix-listen:@/a -> unix:@/t\n");
    ck_assert_str_eq(said, "");
    int client = connect_to("b"), taken = accept(servers[0], NULL, NULL);
    pass_text(client, taken, "b leads to s");
    client = connect_to("a");
    taken = accept(servers[1], NULL, NULL);
    pass_text(client, taken, "a leads to t");
    unlisten_at(servers[0], "s");
    unlisten_at(servers[1], "t");
}
END_TEST

START_TEST(a_wrong_line_begins_nothing)
{
    sync_lines("a: nonsense\n");
    ck_assert_str_eq(report_text(0), "");
}
END_TEST

/* ---- what is told ---- */

START_TEST(counts_and_states)
{
    int server = listen_at("s");
    sync_lines("a: unix-listen:@/a -> unix:@/s\n");
    ck_assert_str_eq(report_field(CHANNEL_FIELD_STATE), "listening");
    int client = connect_to("a"), taken = accept(server, NULL, NULL);
    pass_text(client, taken, "twelve bytes");
    pass_text(taken, client, "five!");
    ck_assert_str_eq(report_text(1),
                     with_place("a\tunix-listen:@/a\tunix:@/s\tconnected\t1\t1\t0\t1"
                                "2\t5\t\n"));
    close(client);
    close(taken);
    turn_loop();
    ck_assert_str_eq(report_text(1),
                     with_place("a\tunix-listen:@/a\tunix:@/s\tlistening\t0\t1\t0\t1"
                                "2\t5\t\n"));
    unlisten_at(server, "s");
    client = connect_to("a");
    ck_assert_int_eq(write(client, "x", 1), 1);
    turn_loop();
    ck_assert_str_eq(report_field(CHANNEL_FIELD_FAILED), "1");
    ck_assert_ptr_nonnull(strstr(report_field(CHANNEL_FIELD_WHY), "/s: No such file"));
    ck_assert_str_eq(said, with_place("a: unix:@/s: No such file or directory\n"));
}
END_TEST

/* It is told once, and tried again after five seconds at most. */
START_TEST(one_that_cannot_begin)
{
    char directory[sizeof(place) + 8];
    snprintf(directory, sizeof(directory), "%s/later", place);
    sync_lines("a: unix-listen:@/a -> file:@/later/file\n");
    for (int i = 0; i < 100; i++) {
        skipped_ms += 1000;
        turn_loop();
    }
    ck_assert_str_eq(said, with_place("a: file:@/later/file: No such file or directory\n"));
    ck_assert_str_eq(report_field(CHANNEL_FIELD_STATE), "failing");
    ck_assert_ptr_nonnull(strstr(report_field(CHANNEL_FIELD_WHY), "No such file"));
    ck_assert_int_eq(connect_to("a"), -1);
    ck_assert_int_eq(mkdir(directory, 0755), 0);
    skipped_ms += 5000;
    turn_loop();
    ck_assert_str_eq(report_field(CHANNEL_FIELD_STATE), "listening");
    ck_assert_str_eq(report_field(CHANNEL_FIELD_WHY), "");
    ck_assert_int_ge(connect_to("a"), 0);
    sync_lines("");
    ck_assert_int_eq(unlink(with_place("@/later/file")), 0);
    ck_assert_int_eq(rmdir(directory), 0);
}
END_TEST

/* How often a channel that can't begin is tried within an hour, a step for each second. */
static unsigned count_look_ups(const char *line)
{
    look_ups = 0;
    sync_lines(line);
    for (int i = 0; i < 3600; i++) {
        skipped_ms += 1000;
        event_base_loop(loop.base, EVLOOP_NONBLOCK);
    }
    sync_lines("");
    skipped_ms = 0; /* Check measures how long a test takes */
    return look_ups;
}

/* A name that can't be looked up may hold up all, so that is tried once in a minute. An address is
 * looked up without asking anybody. */
START_TEST(a_name_that_cannot_be_looked_up)
{
    unsigned names = count_look_ups("a: unix-listen:@/a -> tcp:host.invalid:5\n");
    ck_assert_uint_ge(names, 60);
    ck_assert_uint_le(names, 75);
    ck_assert_str_eq(said, "a: tcp:host.invalid:5: host.invalid: Temporary failure in name "
                           "resolution\n");
    unsigned addresses = count_look_ups("a: unix-listen:@/a -> tcp:127.0.0.1:5\n");
    ck_assert_uint_ge(addresses, 700);
    ck_assert_uint_le(addresses, 750);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("channel_set");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, set_setup, set_teardown);
    tcase_add_test(tests, channels_begin_and_end);
    tcase_add_loop_test(tests, what_is_the_same_goes_on, 0, 4);
    tcase_add_loop_test(tests, what_is_another_begins_anew, 0, 4);
    tcase_add_test(tests, two_exchange_their_paths);
    tcase_add_test(tests, a_wrong_line_begins_nothing);
    tcase_add_test(tests, counts_and_states);
    tcase_add_test(tests, one_that_cannot_begin);
    tcase_add_test(tests, a_name_that_cannot_be_looked_up);
    Suite *suite = suite_create("channel_set");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
