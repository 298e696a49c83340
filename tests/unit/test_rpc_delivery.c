/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_rpc_delivery.c - whatever a call takes away (data of a connection, a connection of a
 * listener) reaches its client, or stays, or its loss is reported. Never is there a silent gap.
 */
#include "tests/unit/rpc_fixture.h"
#include "tests/unit/suite.h"

#include <endian.h>

#include "common/compact.h"

#define DOMID "domid", "<int>3</int>"
#define ECHO DOMID, "port", "<int>5</int>"
#define SEQPACKET "type", "<string>seqpacket</string>"
#define HELLO "data", "<base64>aGVsbG8=</base64>"
#define BYE "data", "<base64>Ynll</base64>"
#define HANDLE(h) "handle", xml_int(h)
#define TIMEOUT(ms) "timeout_ms", xml_int(ms)

/* Until so many calls wait; the question itself is one more. */
static void await_waiting(int calls)
{
    await_counter("rpc_calls_now", calls + 1);
}

static void await_answer(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    ck_assert_int_eq(poll(&p, 1, 40000), 1);
}

/* Frees body. Was it a result with these data? */
static bool answer_brings(char *body, const char *base64)
{
    char data[64] = "";
    ck_assert_ptr_nonnull(body);
    ck_assert_msg(fault_of(body) == 0, "fault: %s", body);
    sscanf(rpc_fixture_member(body, "data"), " %60[^\r]", data);
    free(body);
    return strcmp(data, base64) == 0;
}

/* ---- the memory of the server is used up by others ---- */

#define GREEDY 740

static int greedy[GREEDY];

/* Bodies that do not end. First large ones, then some of 64 KiB, for which some memory is kept,
 * then small ones, for what is left. */
static void fill_memory(void)
{
    static const struct {
        int clients;
        size_t bytes;
    } kinds[] = {{120, 1200 * 1024}, {580, 48 * 1024}, {40, 1}};
    static const char head[] = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n";
    char *body = calloc(1, kinds[0].bytes);
    for (int kind = 0, next = 0; kind < 3; kind++) {
        for (int i = 0; i < kinds[kind].clients; i++) {
            greedy[next] = rpc_fixture_dial();
            rpc_fixture_put(greedy[next], head, sizeof(head) - 1);
            rpc_fixture_put(greedy[next++], body, kinds[kind].bytes);
        }
    }
    free(body);
    /* All of it has been read when a new client is refused. */
    for (int i = 0; i < 4000; i++) {
        int fd = rpc_fixture_dial();
        char *status = CALL(fd, "idc.status");
        bool full = http_status == 503 || fault_of(status) == ENOBUFS;
        free(status);
        close(fd);
        if (full)
            return;
        poll(NULL, 0, 10);
    }
    ck_abort_msg("there is still memory: %lld are held",
                 (long long)rpc_fixture_counter("rpc_memory_now"));
}

static void give_memory_back(void)
{
    for (int i = 0; i < GREEDY; i++)
        close(greedy[i]);
    for (int i = 0; i < 4000; i++) {
        int fd = rpc_fixture_dial();
        char *status = CALL(fd, "idc.status");
        bool full = http_status == 503 || fault_of(status) == ENOBUFS;
        free(status);
        close(fd);
        if (!full)
            return;
        poll(NULL, 0, 10);
    }
    ck_abort_msg("the memory did not come back");
}

/* The two programs of a connection within the domain, one of which speaks for itself and needs no
 * memory of the server's. */
static int64_t half_own(int rpc, int64_t listener, int *own, bool seqpacket)
{
    struct handover_name name;
    uint32_t header[2];
    int count = 1, upgraded = rpc_fixture_dial();
    char request[] =
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: idc-rpc/3\r\n\r\n";
    char document[1024];
    struct compact_writer call;
    rpc_fixture_put(upgraded, request, strlen(request));
    free(rpc_fixture_answer(upgraded));
    compact_begin(&call, COMPACT_CALL, "idc.connect");
    compact_put_number(&call, "domid", 3);
    compact_put_number(&call, "port", 4000);
    compact_put_text(&call, "type", seqpacket ? "seqpacket" : "stream");
    compact_put_boolean(&call, "fd", true);
    header[0] = htole32((uint32_t)call.len);
    header[1] = 0;
    rpc_fixture_put(upgraded, (char *)header, sizeof(header));
    rpc_fixture_put(upgraded, (char *)call.bytes, call.len);
    ck_assert_int_gt(handover_recv(upgraded, document, sizeof(document), own, &count, 0), 0);
    ck_assert_int_eq(count, 1);
    ck_assert_int_eq(handover_name(*own, &name), 0);
    close(upgraded);
    return number_free(CALL(rpc, "idc.accept", HANDLE(listener)), "handle");
}

static void recv_when_others_fill_the_memory(bool seqpacket)
{
    const char *type = seqpacket ? "<string>seqpacket</string>" : "<string>stream</string>";
    int own, fd = rpc_fixture_dial(), waiting = rpc_fixture_dial();
    int64_t l =
        number_free(CALL(fd, "idc.listen", "port", "<int>4000</int>", "type", type), "handle");
    int64_t h = half_own(fd, l, &own, seqpacket);
    rpc_fixture_post(waiting, "idc.recv", HANDLE(h), END);
    await_waiting(1);
    fill_memory();
    ck_assert_int_eq(send(own, "hello", 5, 0), 5);
    char *body = rpc_fixture_answer(waiting);
    ck_assert_ptr_nonnull(body);
    bool told =
        http_status == 200 && fault_of(body) == ENOBUFS && strstr(body, "try again later") != NULL;
    free(body);
    give_memory_back();
    ck_assert_int_eq(send(own, "bye", 3, 0), 3);
    ck_assert(answer_brings(CALL(fd, "idc.recv", HANDLE(h), "max", "<int>5</int>", TIMEOUT(0)),
                            "aGVsbG8="));
    ck_assert(answer_brings(CALL(fd, "idc.recv", HANDLE(h), TIMEOUT(0)), "Ynll"));
    ck_assert_msg(told, "the answer was %d", http_status);
    close(own);
    close(waiting);
    close(fd);
}

START_TEST(stream_when_others_fill_the_memory)
{
    recv_when_others_fill_the_memory(false);
}
END_TEST

START_TEST(messages_when_others_fill_the_memory)
{
    recv_when_others_fill_the_memory(true);
}
END_TEST

/* There is always memory for a short answer, so the call that waits gets its connection. */
START_TEST(accept_when_others_fill_the_memory)
{
    int fd = rpc_fixture_dial(), waiting = rpc_fixture_dial();
    int64_t l = number_free(CALL(fd, "idc.listen", "port", "<int>4000</int>"), "handle");
    rpc_fixture_post(fd, "idc.connect", DOMID, "port", "<int>7</int>", TIMEOUT(-1), END);
    rpc_fixture_post(waiting, "idc.accept", HANDLE(l), END);
    await_waiting(2);
    /* Another server's connection that needs no memory: a plain one, made before. */
    int other = rpc_fixture_dial();
    fill_memory();
    rpc_fixture_post(other, "idc.status", END);
    free(rpc_fixture_answer(other));
    ck_assert_int_eq(http_status, 503); /* and nothing was done */
    give_memory_back();
    ck_assert_int_eq(fault_free(CALL(other, "idc.connect", DOMID, "port", "<int>4000</int>")), 0);
    int64_t h = number_free(rpc_fixture_answer(waiting), "handle");
    ck_assert_int_eq(fault_free(CALL(other, "idc.disconnect", HANDLE(h))), 0);
    close(other);
    close(waiting);
    close(fd);
}
END_TEST

/* ---- the client goes away ---- */

/* What a client does with the answer to its recv before it closes. */
enum leave { READS_ALL, READS_NOTHING, READS_A_PART };

static void leave_after(int fd, enum leave leave)
{
    char bytes[64];
    await_answer(fd);
    if (leave == READS_ALL)
        free(rpc_fixture_answer(fd));
    else if (leave == READS_A_PART)
        ck_assert_int_gt(recv(fd, bytes, sizeof(bytes), 0), 0);
    close(fd);
}

/* Another client of the same handle reads on: it gets what follows, or an error if something before
 * it was lost. */
static void reads_on(int fd, int64_t h, bool lost)
{
    ck_assert_int_eq(number_free(CALL(fd, "idc.send", HANDLE(h), BYE), "accepted"), 3);
    char *body = CALL(fd, "idc.recv", HANDLE(h), TIMEOUT(30000));
    if (!lost) {
        ck_assert(answer_brings(body, "Ynll"));
        return;
    }
    ck_assert_int_eq(fault_of(body), ECONNRESET);
    ck_assert_ptr_nonnull(strstr(body, "data were lost"));
    free(body);
    /* and it remains so */
    ck_assert_int_eq(fault_free(CALL(fd, "idc.recv", HANDLE(h), TIMEOUT(30000))), ECONNRESET);
}

static void client_leaves(const char *type, enum leave leave, bool waits)
{
    int fd = rpc_fixture_dial(), leaving = rpc_fixture_dial();
    int64_t h = number_free(CALL(fd, "idc.connect", ECHO, "type", type), "handle");
    if (waits) {
        rpc_fixture_post(leaving, "idc.recv", HANDLE(h), END);
        await_waiting(1);
    }
    ck_assert_int_eq(number_free(CALL(fd, "idc.send", HANDLE(h), HELLO), "accepted"), 5);
    if (!waits)
        rpc_fixture_post(leaving, "idc.recv", HANDLE(h), END);
    leave_after(leaving, leave);
    await_counter("rpc_connections_now", 2);
    reads_on(fd, h, leave != READS_ALL);
    close(fd);
}

START_TEST(clients_that_leave)
{
    static const char *const types[] = {"<string>stream</string>", "<string>seqpacket</string>"};
    for (int turn = 0; turn < 30; turn++)
        for (int i = 0; i < 2; i++)
            for (enum leave leave = READS_ALL; leave <= READS_A_PART; leave++)
                client_leaves(types[i], leave, turn % 2);
}
END_TEST

/* Calls that wait behind the one whose data are lost hear of it too. */
START_TEST(others_wait_meanwhile)
{
    int fd = rpc_fixture_dial(), leaving = rpc_fixture_dial(), waiting = rpc_fixture_dial();
    int64_t h = number_free(CALL(fd, "idc.connect", ECHO), "handle");
    rpc_fixture_post(leaving, "idc.recv", HANDLE(h), END);
    await_waiting(1);
    rpc_fixture_post(waiting, "idc.recv", HANDLE(h), END);
    await_waiting(2);
    ck_assert_int_eq(number_free(CALL(fd, "idc.send", HANDLE(h), HELLO), "accepted"), 5);
    leave_after(leaving, READS_NOTHING);
    ck_assert_int_eq(fault_free(rpc_fixture_answer(waiting)), ECONNRESET);
    /* the other direction goes on */
    ck_assert_int_eq(number_free(CALL(fd, "idc.send", HANDLE(h), HELLO), "accepted"), 5);
    close(waiting);
    close(fd);
}
END_TEST

/* A client that has read its answers and goes on asking, on one connection. */
START_TEST(a_client_that_stays)
{
    int fd = rpc_fixture_dial(), reader = rpc_fixture_dial();
    int64_t h = number_free(CALL(fd, "idc.connect", ECHO), "handle");
    for (int i = 0; i < 100; i++) {
        ck_assert_int_eq(number_free(CALL(fd, "idc.send", HANDLE(h), HELLO), "accepted"), 5);
        ck_assert(
            answer_brings(CALL(reader, "idc.recv", HANDLE(h), "max", "<int>2</int>"), "aGU="));
        ck_assert(answer_brings(CALL(reader, "idc.recv", HANDLE(h)), "bGxv"));
    }
    close(reader);
    await_counter("rpc_connections_now", 2);
    reads_on(fd, h, false);
    close(fd);
}
END_TEST

/* ---- upgraded connections ---- */

static int dial_upgraded(void)
{
    static const char request[] =
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: idc-rpc/1\r\n\r\n";
    int fd = rpc_fixture_dial();
    rpc_fixture_put(fd, request, strlen(request));
    free(rpc_fixture_answer(fd));
    ck_assert_int_eq(http_status, 101);
    return fd;
}

static void post_upgraded(int fd, const char *method, ...)
{
    va_list args;
    va_start(args, method);
    char *document = document_va(method, args);
    va_end(args);
    uint32_t header[2] = {htole32((uint32_t)strlen(document)), htole32(1)};
    rpc_fixture_put(fd, (char *)header, sizeof(header));
    rpc_fixture_put(fd, document, strlen(document));
    free(document);
}

START_TEST(upgraded_clients_that_leave)
{
    for (int turn = 0; turn < 30; turn++) {
        enum leave leave = (enum leave)(turn % 3);
        char answer[4096];
        int fd = rpc_fixture_dial(), leaving = dial_upgraded();
        int64_t h = number_free(CALL(fd, "idc.connect", ECHO), "handle");
        post_upgraded(leaving, "idc.recv", HANDLE(h), END);
        await_waiting(1);
        ck_assert_int_eq(number_free(CALL(fd, "idc.send", HANDLE(h), HELLO), "accepted"), 5);
        await_answer(leaving);
        if (leave == READS_ALL)
            ck_assert_int_gt(recv(leaving, answer, sizeof(answer), 0), 100);
        else if (leave == READS_A_PART)
            ck_assert_int_eq(recv(leaving, answer, 100, 0), 100);
        close(leaving);
        await_counter("rpc_connections_now", 2);
        reads_on(fd, h, leave != READS_ALL);
        close(fd);
    }
}
END_TEST

/* ---- system.multicall ---- */

#define PART(method, members)                                                                  \
    "<value><struct><member><name>methodName</name><value>" method "</value></member><member>" \
    "<name>params</name><value><array><data><value><struct>" members                           \
    "</struct></value></data></array></value></member></struct></value>"
#define MULTICALL(parts)                                   \
    "<methodCall><methodName>system.multicall</"           \
    "methodName><params><param><value><array><data>" parts \
    "</data></array></value></param></params></methodCall>"
#define MEMBER(name, value) "<member><name>" name "</name><value>" value "</value></member>"

/* What each part keeps ends with the part, and what was received goes the way of all data. */
START_TEST(parts_of_a_multicall)
{
    char text[4096];
    int fd = rpc_fixture_dial(), leaving = rpc_fixture_dial();
    int64_t h = number_free(CALL(fd, "idc.connect", ECHO), "handle");
    snprintf(text, sizeof(text),
             MULTICALL(PART("idc.send", MEMBER("handle", "<int>%d</int>")
                                            MEMBER("data", "<base64>aGVsbG8=</base64>"))
                           PART("idc.send", MEMBER("handle", "<int>%d</int>")
                                                MEMBER("data", "<base64>aGVsbG8=</base64>"))),
             (int)h, (int)h);
    int64_t before = rpc_fixture_counter("rpc_memory_now");
    for (int i = 0; i < 2; i++) {
        post_body(fd, text, strlen(text));
        char *body = rpc_fixture_answer(fd);
        ck_assert_ptr_null(strstr(body, "fault"));
        free(body);
        ck_assert_int_eq(rpc_fixture_counter("rpc_memory_now"), before);
    }
    snprintf(
        text, sizeof(text),
        MULTICALL(PART("idc.recv", MEMBER("handle", "<int>%d</int>") MEMBER("max", "<int>3</int>"))
                      PART("idc.recv", MEMBER("handle", "<int>%d</int>"))),
        (int)h, (int)h);
    post_body(leaving, text, strlen(text));
    leave_after(leaving, READS_NOTHING);
    await_counter("rpc_connections_now", 2);
    reads_on(fd, h, true);
    close(fd);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("rpc delivery");
    TCase *memory = tcase_create("memory"), *leaving = tcase_create("leaving");
    tcase_add_checked_fixture(memory, server_start, server_stop);
    tcase_add_checked_fixture(leaving, server_start, server_stop);
    tcase_set_timeout(memory, 120);
    tcase_set_timeout(leaving, 120);
    tcase_add_test(memory, stream_when_others_fill_the_memory);
    tcase_add_test(memory, messages_when_others_fill_the_memory);
    tcase_add_test(memory, accept_when_others_fill_the_memory);
    tcase_add_test(leaving, clients_that_leave);
    tcase_add_test(leaving, others_wait_meanwhile);
    tcase_add_test(leaving, a_client_that_stays);
    tcase_add_test(leaving, upgraded_clients_that_leave);
    tcase_add_test(leaving, parts_of_a_multicall);
    suite_add_tcase(suite, memory);
    suite_add_tcase(suite, leaving);
    return run_suite(suite);
}
