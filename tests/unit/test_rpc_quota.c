/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_rpc_quota.c - what one user may have of the RPC server, and for how long a request may take.
 * The server limits root too, so that the test's own user is limited, whoever that is. */
#include "tests/unit/rpc_fixture.h"

#include <pthread.h>

#include "idc.h"
#include "tests/unit/suite.h"

#define DOMID "domid", "<int>3</int>"
#define SILENT DOMID, "port", "<int>7</int>", "timeout_ms", "<int>-1</int>"

static void begin_with(const char *quota)
{
    fixture_quota = quota;
    server_start();
}

/* What comes without a question. */
static void assert_turned_away(int fd, const char *words)
{
    char text[1024];
    size_t have = 0;
    ssize_t got;
    while ((got = recv(fd, text + have, sizeof(text) - 1 - have, 0)) > 0)
        have += (size_t)got;
    text[have] = '\0';
    ck_assert_msg(strncmp(text, "HTTP/1.1 503 ", 13) == 0 && strstr(text, words) != NULL, "%s",
                  text);
}

static void assert_served(int fd)
{
    ck_assert_int_eq(fault_free(CALL(fd, "idc.status")), 0);
}

START_TEST(rpc_connections)
{
    int fds[3];
    begin_with("rpc-connections=3");
    for (int i = 0; i < 3; i++) {
        fds[i] = rpc_fixture_dial();
        assert_served(fds[i]);
    }
    for (int i = 0; i < 100; i++) {
        int fd = rpc_fixture_dial();
        assert_turned_away(fd, "as many connections to link_mgr as one user may have, 3");
        close(fd);
    }
    assert_served(fds[0]);
    close(fds[1]);
    for (bool served = false; !served;) {
        int fd = rpc_fixture_dial();
        rpc_fixture_post(fd, "idc.status", END);
        char *body = rpc_fixture_answer(fd);
        served = http_status == 200;
        free(body);
        close(fd);
    }
    close(fds[0]);
    close(fds[2]);
    server_stop();
}
END_TEST

/* A program of libidc is told which quota it was, and of which user. */
START_TEST(libidc_says_why)
{
    int fds[2];
    begin_with("rpc-connections=2");
    for (int i = 0; i < 2; i++) {
        fds[i] = rpc_fixture_dial();
        assert_served(fds[i]);
    }
    struct idc_options options = IDC_OPTIONS_INIT;
    options.socket = server_path;
    ck_assert_int_eq(idc_connect_with(3, 5, &options), -1);
    ck_assert_int_eq(errno, ENOBUFS);
    char expected[128];
    snprintf(expected, sizeof(expected),
             ": uid %u has as many connections to link_mgr as one user may have, 2",
             (unsigned)getuid());
    const char *got = strstr(idc_last_error(), ": uid ");
    ck_assert_msg(got != NULL && strcmp(got, expected) == 0, "%s", idc_last_error());
    close(fds[0]);
    close(fds[1]);
    server_stop();
}
END_TEST

/* A thread that serves a path, and answers what it is told to. */
struct foreign {
    int listener;
    const char *answer;
    bool stays; /* it closes nothing until its client has done so */
};

static void *foreign_serve(void *arg)
{
    struct foreign *foreign = arg;
    char request[4096];
    int fd = accept(foreign->listener, NULL, NULL);
    ck_assert_int_gt(recv(fd, request, sizeof(request), 0), 0);
    send(fd, foreign->answer, strlen(foreign->answer), MSG_NOSIGNAL);
    if (foreign->stays)
        while (recv(fd, request, sizeof(request), 0) > 0)
            ;
    close(fd);
    return NULL;
}

/* What idc_last_error says of a server that answers this. */
static const char *said_of(const char *answer, bool stays)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char directory[] = "/tmp/idc-quota-XXXXXX";
    struct foreign foreign = {socket(AF_UNIX, SOCK_STREAM, 0), answer, stays};
    pthread_t thread;
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/s", directory);
    ck_assert_int_eq(bind(foreign.listener, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(listen(foreign.listener, 1), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, foreign_serve, &foreign), 0);
    struct idc_options options = IDC_OPTIONS_INIT;
    options.socket = address.sun_path;
    ck_assert_int_eq(idc_connect_with(3, 5, &options), -1);
    ck_assert_int_eq(errno, ENOBUFS);
    pthread_join(thread, NULL);
    close(foreign.listener);
    unlink(address.sun_path);
    rmdir(directory);
    const char *text = strstr(idc_last_error(), "/s");
    return text != NULL ? text + 2 : idc_last_error();
}

/* Only the first line is shown, of that only what can be printed, and not more than a line's
 * length. */
START_TEST(libidc_shows_a_line)
{
#define REFUSED "HTTP/1.1 503 Service Unavailable\r\n"
    static char endless[5000] = REFUSED "\r\n";
    ck_assert_str_eq(said_of(REFUSED "\r\nthis\x1b[2J \x80 is it.\nand more\n", false),
                     ": this?[2J ? is it");
    ck_assert_str_eq(said_of(REFUSED "Content-Length: 8\r\n\r\nno room.", false), ": no room");
    ck_assert_str_eq(said_of(REFUSED "\r\na line\n", true), ": a line");
    ck_assert_str_eq(said_of(REFUSED "\r\n", false), " refuses new connections; its log says why");
    ck_assert_str_eq(said_of(REFUSED "\r\nhalf", true), ": half");
    memset(endless + strlen(endless), 'x', sizeof(endless) - 1 - strlen(endless));
    ck_assert_uint_lt(strlen(said_of(endless, true)), 300);
}
END_TEST

START_TEST(calls_under_way)
{
    int first, second, third;
    begin_with("calls=2");
    first = rpc_fixture_dial();
    second = rpc_fixture_dial();
    third = rpc_fixture_dial();
    rpc_fixture_post(first, "idc.connect", SILENT, END);
    assert_served(third); /* so the first one is under way */
    rpc_fixture_post(second, "idc.connect", SILENT, END);
    char *body = CALL(third, "idc.status"); /* is over at once, and the second may come later */
    while (strstr(body, "<fault>") == NULL) {
        free(body);
        body = CALL(third, "idc.status");
    }
    ck_assert_int_eq(rpc_fixture_number(body, "faultCode"), ENOBUFS);
    ck_assert_ptr_nonnull(strstr(body, "as many calls under way as one user may have, 2"));
    free(body);
    close(first);
    while (fault_free(CALL(third, "idc.status")) != 0)
        continue;
    close(second);
    close(third);
    server_stop();
}
END_TEST

START_TEST(handles)
{
    int fd;
    begin_with("handles=2");
    fd = rpc_fixture_dial();
    int64_t h = number_free(CALL(fd, "idc.connect", DOMID, "port", "<int>8</int>"), "handle");
    ck_assert_int_eq(fault_free(CALL(fd, "idc.connect", DOMID, "port", "<int>8</int>")), 0);
    ck_assert_int_eq(number_free(CALL(fd, "idc.status"), "handles"), 2);
    char *body = CALL(fd, "idc.connect", DOMID, "port", "<int>8</int>");
    ck_assert_ptr_nonnull(strstr(body, "as many handles as one user may have, 2"));
    ck_assert_int_eq(fault_free(body), ENOBUFS);
    ck_assert_int_eq(fault_free(CALL(fd, "idc.disconnect", "handle", xml_int(h))), 0);
    ck_assert_int_eq(fault_free(CALL(fd, "idc.connect", DOMID, "port", "<int>8</int>")), 0);
    close(fd);
    server_stop();
}
END_TEST

/* The connection that a listener's accept has no handle for stays there. */
START_TEST(handle_of_accept)
{
    begin_with("handles=2");
    int fd = rpc_fixture_dial();
    int64_t h = number_free(CALL(fd, "idc.listen", "port", "<int>4000</int>"), "handle");
    ck_assert_int_eq(fault_free(CALL(fd, "idc.connect", DOMID, "port", "<int>4000</int>")), 0);
    char *body = CALL(fd, "idc.accept", "handle", xml_int(h));
    ck_assert_msg(strstr(body, "as many handles as one user may have, 2") != NULL, "%s", body);
    ck_assert_int_eq(fault_free(body), ENOBUFS);
    close(fd);
    server_stop();
}
END_TEST

/* Half of a body is held, and another does not fit. */
START_TEST(memory_of_calls)
{
    static char blanks[60000];
    memset(blanks, ' ', sizeof(blanks));
    static const char head[] = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n";
    begin_with("rpc-memory=100000");
    int holds = rpc_fixture_dial(), fd = rpc_fixture_dial();
    rpc_fixture_put(holds, head, strlen(head));
    rpc_fixture_put(holds, blanks, sizeof(blanks));
    do {
        post_body(fd, blanks, sizeof(blanks));
        free(rpc_fixture_answer(fd));
    } while (http_status == 200); /* the first may come later */
    ck_assert_int_eq(http_status, 503);
    close(holds);
    do {
        post_body(fd, blanks, sizeof(blanks));
        free(rpc_fixture_answer(fd));
    } while (http_status == 503);
    ck_assert_int_eq(http_status, 200);
    close(fd);
    server_stop();
}
END_TEST

/* A client that says nothing, one with half a head, and one with half a body are let go. One that
 * has made a call may be silent. */
START_TEST(a_request_has_its_time)
{
    static const char half[] = "POST / HTTP/1.1\r\nHost: x\r\n",
                      body[] = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhello";
    char byte;
    begin_with(NULL);
    int fds[3], silent = rpc_fixture_dial();
    assert_served(silent);
    for (int i = 0; i < 3; i++)
        fds[i] = rpc_fixture_dial();
    rpc_fixture_put(fds[1], half, strlen(half));
    rpc_fixture_put(fds[2], body, strlen(body));
    for (int i = 0; i < 3; i++) {
        ck_assert_int_le(recv(fds[i], &byte, 1, 0), 0);
        ck_assert_int_ne(errno, EAGAIN);
        close(fds[i]);
    }
    assert_served(silent);
    close(silent);
    server_stop();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("rpc quota");
    TCase *tests = tcase_create("quota");
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, rpc_connections);
    tcase_add_test(tests, libidc_says_why);
    tcase_add_test(tests, libidc_shows_a_line);
    tcase_add_test(tests, calls_under_way);
    tcase_add_test(tests, handles);
    tcase_add_test(tests, handle_of_accept);
    tcase_add_test(tests, memory_of_calls);
    tcase_add_test(tests, a_request_has_its_time);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
