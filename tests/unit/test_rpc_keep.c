/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_rpc_keep.c - handles that outlive the connection that made them (keep_ms), and clients that
 * open a connection for each call. */
#include "tests/unit/rpc_fixture.h"

#include <endian.h>

#include "common/compact.h"
#include "tests/unit/suite.h"

#define DOMID "domid", "<int>3</int>"
#define ECHO DOMID, "port", "<int>5</int>"
#define HELLO "data", "<base64>aGVsbG8=</base64>"
#define HANDLE(h) "handle", xml_int(h)
#define TIMEOUT(ms) "timeout_ms", xml_int(ms)
#define KEEP(ms) "keep_ms", xml_int(ms)
#define FOR_LONG KEEP(600000)

/* A connection for this call alone. */
#define ONCE(...)                                     \
    ({                                                \
        int once_fd = rpc_fixture_dial();             \
        char *once_body = CALL(once_fd, __VA_ARGS__); \
        close(once_fd);                               \
        once_body;                                    \
    })

/* Frees body, a fault, whose text has these words. */
static void assert_fault(char *body, int code, const char *words)
{
    ck_assert_ptr_nonnull(body);
    ck_assert_msg(fault_of(body) == code && strstr(body, words) != NULL, "%s", body);
    free(body);
}

static void assert_brings(char *body, const char *base64)
{
    char data[64] = "";
    ck_assert_ptr_nonnull(body);
    ck_assert_msg(fault_of(body) == 0, "fault: %s", body);
    sscanf(rpc_fixture_member(body, "data"), " %60[^\r]", data);
    ck_assert_str_eq(data, base64);
    free(body);
}

/* Its time, as idc.status has it. There must be no other handle. */
static int64_t left_of(int64_t h)
{
    char *body = ONCE("idc.status");
    const char *handles = strstr(body, "<name>handles</name>\r\n<value><array>");
    ck_assert_msg(handles != NULL && rpc_fixture_number(handles, "handle") == h, "%s", body);
    int64_t left = rpc_fixture_number(handles, "left_ms");
    free(body);
    return left;
}

START_TEST(a_connection_for_each_call)
{
    int64_t h = number_free(ONCE("idc.connect", ECHO, FOR_LONG), "handle");
    await_counter("rpc_handles_kept_now", 1);
    for (int i = 0; i < 300; i++) {
        ck_assert_int_eq(number_free(ONCE("idc.send", HANDLE(h), HELLO), "accepted"), 5);
        int64_t first = i % 6; /* the data are there, and nobody is connected */
        if (first > 0)
            assert_brings(ONCE("idc.recv", HANDLE(h), "max", "<int>1</int>"), "aA==");
        assert_brings(ONCE("idc.recv", HANDLE(h)), first > 0 ? "ZWxsbw==" : "aGVsbG8=");
    }
    ck_assert_int_eq(fault_free(ONCE("idc.disconnect", HANDLE(h))), 0);
    assert_fault(ONCE("idc.recv", HANDLE(h)), EBADF, "any more: it was closed");
    ck_assert_int_eq(rpc_fixture_counter("rpc_handles_kept_now"), 0);
}
END_TEST

/* The listener and what it accepts are kept alike, unless accept says otherwise. */
START_TEST(listeners)
{
    char *body = ONCE("idc.listen", "port", "<int>4000</int>", FOR_LONG);
    int64_t l = number_free(body, "handle");
    int64_t c =
        number_free(ONCE("idc.connect", DOMID, "port", "<int>4000</int>", FOR_LONG), "handle");
    int64_t s = number_free(ONCE("idc.accept", HANDLE(l)), "handle");
    await_counter("rpc_handles_kept_now", 3);
    ck_assert_int_eq(number_free(ONCE("idc.send", HANDLE(s), HELLO), "accepted"), 5);
    assert_brings(ONCE("idc.recv", HANDLE(c)), "aGVsbG8=");
    ck_assert_int_eq(fault_free(ONCE("idc.disconnect", HANDLE(c))), 0);
    number_free(ONCE("idc.connect", DOMID, "port", "<int>4000</int>", FOR_LONG), "handle");
    ck_assert_int_eq(fault_free(ONCE("idc.accept", HANDLE(l), KEEP(0))), 0);
    await_counter("rpc_handles_now", 3);
    ck_assert_int_eq(fault_free(ONCE("idc.unlisten", HANDLE(l))), 0);
    assert_fault(ONCE("idc.accept", HANDLE(l)), EBADF, "any more");
    ck_assert_int_eq(rpc_fixture_counter("rpc_handles_now"), 2);
}
END_TEST

/* What still waits at a listener whose time is up is reset, as when its program ends. */
START_TEST(a_listeners_time_is_up)
{
    number_free(ONCE("idc.listen", "port", "<int>4000</int>", KEEP(1)), "handle");
    await_counter("rpc_handles_now", 0);
    ck_assert_int_eq(fault_free(ONCE("idc.connect", DOMID, "port", "<int>4000</int>")),
                     ECONNREFUSED);
}
END_TEST

START_TEST(time_is_up)
{
    int64_t h = number_free(ONCE("idc.connect", ECHO, KEEP(50)), "handle");
    await_counter("rpc_handles_now", 0);
    assert_fault(ONCE("idc.recv", HANDLE(h)), EBADF, "or its time (keep_ms) is up");
    ck_assert_int_eq(rpc_fixture_counter("rpc_handles_kept_now"), 0);
}
END_TEST

/* It is the connection's close that begins the time, however long ago the latest call was. */
START_TEST(no_time_passes_while_the_maker_is_there)
{
    int maker = rpc_fixture_dial();
    int64_t h = number_free(CALL(maker, "idc.connect", ECHO, KEEP(1)), "handle");
    ck_assert_int_eq(rpc_fixture_counter("rpc_handles_kept_now"), 0);
    ck_assert_int_eq(left_of(h), -1);
    poll(NULL, 0, 50);
    ck_assert_int_eq(number_free(ONCE("idc.send", HANDLE(h), HELLO), "accepted"), 5);
    ck_assert_int_eq(left_of(h), -1);
    close(maker);
    await_counter("rpc_handles_now", 0);
}
END_TEST

/* Waits until some of its time is over. */
static int64_t await_less(int64_t h, int64_t than)
{
    int64_t left;
    while ((left = left_of(h)) >= than)
        poll(NULL, 0, 10);
    return left;
}

START_TEST(a_call_begins_the_time_anew)
{
    int64_t h = number_free(ONCE("idc.connect", ECHO, FOR_LONG), "handle");
    int64_t left = await_less(h, 599900);
    ck_assert_int_eq(fault_free(ONCE("idc.recv", HANDLE(h), TIMEOUT(0))), EAGAIN);
    ck_assert_int_gt(left_of(h), left);
    left = await_less(h, 599900);
    assert_fault(ONCE("idc.accept", HANDLE(h)), EINVAL, "is a connection"); /* no call on it */
    ck_assert_int_le(left_of(h), left);
}
END_TEST

/* While a call waits, no time passes, whichever connection it came over. */
START_TEST(a_waiting_call_holds_it)
{
    int maker = rpc_fixture_dial(), reader = rpc_fixture_dial();
    int64_t h = number_free(CALL(maker, "idc.connect", ECHO, KEEP(1)), "handle");
    rpc_fixture_post(reader, "idc.recv", HANDLE(h), END);
    await_counter("rpc_calls_now", 2); /* and the question */
    close(maker);
    await_counter("rpc_handles_kept_now", 1);
    for (int i = 0; i < 3; i++) { /* the timer has fired long ago */
        poll(NULL, 0, 50);
        ck_assert_int_eq(left_of(h), -1);
    }
    ck_assert_int_eq(number_free(ONCE("idc.send", HANDLE(h), HELLO), "accepted"), 5);
    assert_brings(rpc_fixture_answer(reader), "aGVsbG8=");
    await_counter("rpc_handles_now", 0);
    assert_fault(CALL(reader, "idc.recv", HANDLE(h)), EBADF, "any more");
    close(reader);
}
END_TEST

/* The call comes while the handle's time runs, and outwaits it. */
START_TEST(a_call_that_waits_longer)
{
    int reader = rpc_fixture_dial();
    for (;;) {
        struct pollfd answered = {.fd = reader, .events = POLLIN};
        int64_t h = number_free(ONCE("idc.connect", ECHO, KEEP(500)), "handle");
        while (rpc_fixture_counter("rpc_handles_now") !=
               rpc_fixture_counter("rpc_handles_kept_now"))
            ; /* its maker's connection is still there */
        rpc_fixture_post(reader, "idc.recv", HANDLE(h), END);
        if (poll(&answered, 1, 800) == 1) { /* a slow machine: the call came too late */
            assert_fault(rpc_fixture_answer(reader), EBADF, "any more");
            continue;
        }
        ck_assert_int_eq(left_of(h), -1);
        ck_assert_int_eq(number_free(ONCE("idc.send", HANDLE(h), HELLO), "accepted"), 5);
        assert_brings(rpc_fixture_answer(reader), "aGVsbG8=");
        break;
    }
    await_counter("rpc_handles_now", 0);
    close(reader);
}
END_TEST

/* The call's own time ends while that of the handle would be long over. */
START_TEST(a_call_that_times_out)
{
    int maker = rpc_fixture_dial(), reader = rpc_fixture_dial();
    int64_t h = number_free(CALL(maker, "idc.connect", ECHO, KEEP(1)), "handle");
    rpc_fixture_post(reader, "idc.recv", HANDLE(h), TIMEOUT(1500), END);
    await_counter("rpc_calls_now", 2);
    close(maker);
    assert_fault(rpc_fixture_answer(reader), ETIMEDOUT, "not ready in time");
    await_counter("rpc_handles_now", 0);
    close(reader);
}
END_TEST

/* Neither calls nor handles are left of clients that die. */
START_TEST(a_waiting_client_dies)
{
    int readers[5];
    int64_t h = number_free(ONCE("idc.connect", ECHO, FOR_LONG), "handle");
    await_counter("rpc_handles_kept_now", 1);
    for (int i = 0; i < 5; i++) {
        readers[i] = rpc_fixture_dial();
        rpc_fixture_post(readers[i], "idc.recv", HANDLE(h), END);
    }
    await_counter("rpc_calls_now", 6);
    ck_assert_int_eq(left_of(h), -1);
    for (int i = 0; i < 5; i++)
        close(readers[i]);
    await_counter("rpc_calls_now", 1);
    ck_assert_int_gt(left_of(h), 0);
    ck_assert_int_eq(number_free(ONCE("idc.send", HANDLE(h), HELLO), "accepted"), 5);
    assert_brings(ONCE("idc.recv", HANDLE(h)), "aGVsbG8="); /* none of the dead has taken them */
}
END_TEST

/* A handle is closed under calls of other connections. */
START_TEST(closed_by_another_connection)
{
    int reader = rpc_fixture_dial();
    int64_t h = number_free(ONCE("idc.connect", ECHO, FOR_LONG), "handle");
    rpc_fixture_post(reader, "idc.recv", HANDLE(h), END);
    await_counter("rpc_calls_now", 2);
    ck_assert_int_eq(fault_free(ONCE("idc.disconnect", HANDLE(h))), 0);
    ck_assert_int_eq(fault_free(rpc_fixture_answer(reader)), EBADF);
    ck_assert_int_eq(rpc_fixture_counter("rpc_handles_now"), 0);
    close(reader);
}
END_TEST

/* Data that a client has not read are lost, and whoever reads on is told: also if that client had
 * made the handle. */
START_TEST(an_answer_that_nobody_read)
{
    int maker = rpc_fixture_dial();
    int64_t h = number_free(CALL(maker, "idc.connect", ECHO, FOR_LONG), "handle");
    ck_assert_int_eq(number_free(CALL(maker, "idc.send", HANDLE(h), HELLO), "accepted"), 5);
    rpc_fixture_post(maker, "idc.recv", HANDLE(h), END);
    struct pollfd answered = {.fd = maker, .events = POLLIN};
    ck_assert_int_eq(poll(&answered, 1, 40000), 1);
    close(maker);
    await_counter("rpc_handles_kept_now", 1);
    assert_fault(ONCE("idc.recv", HANDLE(h)), ECONNRESET, "data were lost");
    ck_assert_int_eq(fault_free(ONCE("idc.disconnect", HANDLE(h))), 0);
}
END_TEST

/* A call by a head of one's own. */
static void post_with(int fd, const char *version, const char *header, int64_t h)
{
    char body[512], head[256];
    int len = snprintf(body, sizeof(body),
                       "<methodCall><methodName>idc.recv</methodName><params><param><value><struct>"
                       "<member><name>handle</name><value>%s</value></member>"
                       "</struct></value></param></params></methodCall>",
                       xml_int(h));
    int n = snprintf(head, sizeof(head), "POST / %s\r\nHost: x\r\n%sContent-Length: %d\r\n\r\n",
                     version, header, len);
    rpc_fixture_put(fd, head, (size_t)n);
    rpc_fixture_put(fd, body, (size_t)len);
}

/* Clients differ in who closes, and when. All get what has come, and one that goes away with its
 * answer unread leaves no silent gap. */
START_TEST(clients_that_close)
{
    static const struct {
        const char *version, *header;
        bool closed; /* by link_mgr */
    } kinds[] = {{"HTTP/1.1", "", false},
                 {"HTTP/1.1", "Connection: close\r\n", true},
                 {"HTTP/1.0", "", true},
                 {"HTTP/1.0", "Connection: keep-alive\r\n", false}};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        for (int waits = 0; waits < 2; waits++) {
            char byte;
            int fd = rpc_fixture_dial();
            int64_t h = number_free(ONCE("idc.connect", ECHO, FOR_LONG), "handle");
            if (!waits)
                number_free(ONCE("idc.send", HANDLE(h), HELLO), "accepted");
            post_with(fd, kinds[i].version, kinds[i].header, h);
            if (waits) {
                await_counter("rpc_calls_now", 2);
                number_free(ONCE("idc.send", HANDLE(h), HELLO), "accepted");
            }
            assert_brings(rpc_fixture_answer(fd), "aGVsbG8=");
            if (kinds[i].closed)
                ck_assert_int_eq(recv(fd, &byte, 1, 0), 0);
            else
                ck_assert_int_eq(fault_free(CALL(fd, "idc.recv", HANDLE(h), TIMEOUT(0))), EAGAIN);
            close(fd);
            number_free(ONCE("idc.send", HANDLE(h), HELLO), "accepted");
            fd = rpc_fixture_dial();
            post_with(fd, kinds[i].version, kinds[i].header, h);
            ck_assert_int_eq(recv(fd, &byte, 1, MSG_PEEK), 1);
            poll(NULL, 0, 20); /* link_mgr may have closed by now */
            close(fd);
            await_counter("rpc_connections_now", 1);
            assert_fault(ONCE("idc.recv", HANDLE(h)), ECONNRESET, "data were lost");
            ck_assert_int_eq(fault_free(ONCE("idc.disconnect", HANDLE(h))), 0);
        }
}
END_TEST

/* One connection for all calls. It is held after each answer with data, and let go by the next
 * call, or by two that come at once. */
START_TEST(a_connection_for_all_calls)
{
    server_start();
    int fd = rpc_fixture_dial(), held = rpc_fixture_dial();
    int64_t h = number_free(CALL(fd, "idc.connect", ECHO, FOR_LONG), "handle");
    for (int i = 0; i < 50; i++) {
        ck_assert_int_eq(number_free(CALL(fd, "idc.send", HANDLE(h), HELLO), "accepted"), 5);
        rpc_fixture_post(fd, "idc.recv", HANDLE(h), END);
        if (i % 2 == 0)
            rpc_fixture_post(fd, "idc.reason", "serial", "<int>7</int>", END);
        assert_brings(rpc_fixture_answer(fd), "aGVsbG8=");
        if (i % 2 == 0)
            ck_assert_int_eq(fault_free(rpc_fixture_answer(fd)), ENOENT);
    }
    /* One that is held when the server stops. */
    ck_assert_int_eq(number_free(CALL(fd, "idc.send", HANDLE(h), HELLO), "accepted"), 5);
    rpc_fixture_post(held, "idc.recv", HANDLE(h), END);
    struct pollfd answered = {.fd = held, .events = POLLIN};
    ck_assert_int_eq(poll(&answered, 1, 40000), 1);
    server_stop();
    close(fd);
    close(held);
}
END_TEST

START_TEST(bad_values)
{
    static const char *const methods[] = {"idc.connect", "idc.listen"};
    int64_t l = number_free(ONCE("idc.listen", "port", "<int>4000</int>", FOR_LONG), "handle");
    for (int i = 0; i < 2; i++) {
        const char *domid = i == 0 ? "domid" : "backlog";
#define ASK(value) \
    ONCE(methods[i], domid, "<int>3</int>", "port", "<int>5</int>", "keep_ms", (value))
        assert_fault(ASK("<int>600001</int>"), EINVAL,
                     "\"keep_ms\" is 600001, must be 0 to 600000");
        assert_fault(ASK("<int>-1</int>"), EINVAL, "\"keep_ms\" is -1, must be 0 to 600000");
        assert_fault(ASK("<i8>99999999999</i8>"), EINVAL, "must be 0 to 600000");
        assert_fault(ASK("<string>soon</string>"), EINVAL, "\"keep_ms\" must be a whole number");
        assert_fault(ASK("<boolean>1</boolean>"), EINVAL, "\"keep_ms\" must be a whole number");
        assert_fault(ASK("<double>1.5</double>"), EINVAL, "\"keep_ms\" must be a whole number");
    }
    assert_fault(ONCE("idc.accept", HANDLE(l), KEEP(600001)), EINVAL, "must be 0 to 600000");
    assert_fault(ONCE("idc.recv", HANDLE(l), KEEP(5)), EINVAL, "keep_ms");
    await_counter("rpc_handles_now", 1);
    int64_t h =
        number_free(ONCE("idc.connect", ECHO, "keep_ms", "<string>600000</string>"), "handle");
    ck_assert_int_eq(fault_free(ONCE("idc.disconnect", HANDLE(h))), 0);
}
END_TEST

/* Compact documents have the member too, and a call that asks for a descriptor has no handle. */
START_TEST(compact)
{
    static const char request[] =
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: idc-rpc/3\r\n\r\n";
    int fd = rpc_fixture_dial();
    rpc_fixture_put(fd, request, strlen(request));
    free(rpc_fixture_answer(fd));
    for (int with_fd = 1; with_fd >= 0; with_fd--) {
        struct compact_writer w;
        struct compact_reader reader;
        struct compact_member m = {.number = 0};
        char document[COMPACT_MAX];
        uint32_t header[2];
        compact_begin(&w, COMPACT_CALL, "idc.connect");
        compact_put_number(&w, "domid", 3);
        compact_put_number(&w, "port", 5);
        compact_put_number(&w, "keep_ms", 600000);
        if (with_fd)
            compact_put_boolean(&w, "fd", true);
        header[0] = htole32((uint32_t)w.len), header[1] = 0;
        rpc_fixture_put(fd, (char *)header, sizeof(header));
        rpc_fixture_put(fd, (char *)w.bytes, w.len);
        ck_assert_int_eq(recv(fd, header, sizeof(header), MSG_WAITALL), sizeof(header));
        size_t len = le32toh(header[0]);
        ck_assert_uint_le(len, sizeof(document));
        ck_assert_int_eq(recv(fd, document, len, MSG_WAITALL), (ssize_t)len);
        ck_assert(compact_open(&reader, document, len, document[1], NULL));
        ck_assert_int_gt(compact_next(&reader, &m), 0);
        ck_assert(compact_equal(&m.name, with_fd ? "code" : "handle"));
        if (with_fd) {
            ck_assert_int_eq(m.number, EINVAL);
            continue;
        }
        close(fd);
        await_counter("rpc_handles_kept_now", 1);
        ck_assert_int_eq(number_free(ONCE("idc.send", HANDLE(m.number), HELLO), "accepted"), 5);
        assert_brings(ONCE("idc.recv", HANDLE(m.number)), "aGVsbG8=");
    }
}
END_TEST

/* Numbers of before the restart name nothing afterwards, and the fault says so. */
START_TEST(after_a_restart)
{
    int64_t old[20];
    for (int i = 0; i < 20; i++)
        old[i] = number_free(ONCE("idc.connect", ECHO, FOR_LONG), "handle");
    server_end();
    server_spawn();
    for (int i = 0; i < 20; i++)
        number_free(ONCE("idc.connect", ECHO, FOR_LONG), "handle");
    for (int i = 0; i < 20; i++)
        assert_fault(ONCE("idc.recv", HANDLE(old[i]), TIMEOUT(0)), EBADF,
                     "s ago, has not given it out; handles end with link_mgr");
}
END_TEST

/* Only the same uid, and root, may use one or see it. */
START_TEST(another_uid)
{
    if (geteuid() != 0)
        return; /* only root can be somebody else */
    int64_t h = number_free(ONCE("idc.connect", ECHO, FOR_LONG), "handle");
    await_counter("rpc_handles_kept_now", 1);
    ck_assert_int_eq(chmod(server_dir, 0755), 0);
    ck_assert_int_eq(chmod(server_path, 0666), 0);
    pid_t child = fork();
    if (child == 0) {
        if (setresuid(65534, 65534, 65534) < 0)
            _exit(1);
        assert_fault(ONCE("idc.recv", HANDLE(h), TIMEOUT(0)), EACCES, "belongs to another uid");
        assert_fault(ONCE("idc.disconnect", HANDLE(h)), EACCES, "belongs to another uid");
        char *body = ONCE("idc.status");
        bool seen = strstr(body, "<name>left_ms</name>") != NULL;
        free(body); /* valgrind looks at the child too */
        if (seen)
            _exit(2);
        number_free(ONCE("idc.connect", ECHO, KEEP(500000)), "handle");
        _exit(0);
    }
    int result;
    ck_assert_int_eq(waitpid(child, &result, 0), child);
    ck_assert_int_eq(result, 0);
    /* Root sees theirs too. */
    await_counter("rpc_handles_kept_now", 2);
    char *body = ONCE("idc.status");
    ck_assert_ptr_nonnull(strstr(body, "<name>keep_ms</name>\r\n<value><i4>500000</i4>"));
    free(body);
    ck_assert_int_eq(fault_free(ONCE("idc.recv", HANDLE(h), TIMEOUT(0))), EAGAIN);
}
END_TEST

/* A flood of them ends at the user's quota. One that is closed, or whose time is up, makes room. */
START_TEST(quota)
{
    int64_t h = 0;
    fixture_quota = "handles=8";
    server_start();
    for (int i = 0; i < 8; i++)
        h = number_free(ONCE("idc.connect", ECHO, FOR_LONG), "handle");
    await_counter("rpc_handles_kept_now", 8);
    for (int i = 0; i < 50; i++)
        assert_fault(ONCE("idc.connect", ECHO, FOR_LONG), ENOBUFS,
                     "as many handles as one user may have, 8");
    ck_assert_int_eq(rpc_fixture_counter("rpc_handles_now"), 8);
    ck_assert_int_eq(fault_free(ONCE("idc.disconnect", HANDLE(h))), 0);
    number_free(ONCE("idc.connect", ECHO, KEEP(1)), "handle");
    await_counter("rpc_handles_now", 7);
    number_free(ONCE("idc.connect", ECHO, FOR_LONG), "handle");
    server_stop();
}
END_TEST

/* Many, with times in any order, some used meanwhile and some closed: each ends, and the others
 * stay. */
START_TEST(many)
{
#define MANY 900
    int64_t stays = number_free(ONCE("idc.connect", ECHO, FOR_LONG), "handle");
    int64_t handles[MANY];
    int maker = rpc_fixture_dial(), other = rpc_fixture_dial();
    unsigned seed = 1;
    for (int i = 0; i < MANY; i++)
        handles[i] =
            number_free(CALL(maker, "idc.connect", ECHO, KEEP(rand_r(&seed) % 3000 + 1)), "handle");
    close(maker);
    for (int i = 0; i < MANY; i++) {
        int64_t h = handles[rand_r(&seed) % MANY];
        const char *method = i % 3 == 0 ? "idc.disconnect" : "idc.send";
        int error = i % 3 == 0 ? fault_free(CALL(other, method, HANDLE(h)))
                               : fault_free(CALL(other, method, HANDLE(h), HELLO));
        ck_assert(error == 0 || error == EBADF);
    }
    await_counter("rpc_handles_now", 1);
    ck_assert_int_eq(rpc_fixture_counter("rpc_handles_kept_now"), 1);
    ck_assert_int_gt(left_of(stays), 0);
    close(other);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("rpc keep");
    TCase *tests = tcase_create("all"), *own = tcase_create("own server");
    tcase_add_checked_fixture(tests, server_start, server_stop);
    tcase_set_timeout(tests, 120);
    tcase_set_timeout(own, 120);
    tcase_add_test(tests, a_connection_for_each_call);
    tcase_add_test(tests, listeners);
    tcase_add_test(tests, a_listeners_time_is_up);
    tcase_add_test(tests, time_is_up);
    tcase_add_test(tests, no_time_passes_while_the_maker_is_there);
    tcase_add_test(tests, a_call_begins_the_time_anew);
    tcase_add_test(tests, a_waiting_call_holds_it);
    tcase_add_test(tests, a_call_that_waits_longer);
    tcase_add_test(tests, a_call_that_times_out);
    tcase_add_test(tests, a_waiting_client_dies);
    tcase_add_test(tests, closed_by_another_connection);
    tcase_add_test(tests, an_answer_that_nobody_read);
    tcase_add_test(tests, clients_that_close);
    tcase_add_test(tests, bad_values);
    tcase_add_test(tests, compact);
    tcase_add_test(tests, after_a_restart);
    tcase_add_test(tests, another_uid);
    tcase_add_test(tests, many);
    tcase_add_test(own, quota);
    tcase_add_test(own, a_connection_for_all_calls);
    suite_add_tcase(suite, tests);
    suite_add_tcase(suite, own);
    return run_suite(suite);
}
