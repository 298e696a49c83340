/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_rpc_upgraded.c - upgraded connections, by friendly and hostile clients. */
#include "tests/unit/rpc_fixture.h"
#include "tests/unit/suite.h"

#include <endian.h>

static const char upgrade_request[] =
    "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: idc-rpc/1\r\n\r\n";

static void read_101(int fd)
{
    free(rpc_fixture_answer(fd));
    ck_assert_int_eq(http_status, 101);
}

static int rpc_upgraded_upgraded(void)
{
    int fd = rpc_fixture_dial();
    rpc_fixture_put(fd, upgrade_request, strlen(upgrade_request));
    read_101(fd);
    return fd;
}

/* ---- messages ---- */

static char *message_va(uint32_t tag, size_t *len, const char *method, va_list args)
{
    char *document = document_va(method, args);
    uint32_t header[2] = {htole32((uint32_t)strlen(document)), htole32(tag)};
    *len = 8 + strlen(document);
    char *message = malloc(*len);
    memcpy(message, header, 8);
    memcpy(message + 8, document, *len - 8);
    free(document);
    return message;
}

static char *rpc_upgraded_message(uint32_t tag, size_t *len, const char *method, ...)
{
    va_list args;
    va_start(args, method);
    char *bytes = message_va(tag, len, method, args);
    va_end(args);
    return bytes;
}

static void call_with_fds(int fd, uint32_t tag, const int *fds, int count, const char *method, ...)
{
    size_t len;
    va_list args;
    va_start(args, method);
    char *bytes = message_va(tag, &len, method, args);
    va_end(args);
    ck_assert_int_eq(handover_send(fd, bytes, len, fds, count, 0), (ssize_t)len);
    free(bytes);
}

#define TCALL(fd, tag, ...) call_with_fds((fd), (tag), NULL, 0, __VA_ARGS__, END)

/* A malloced document; NULL at the end. */
static char *rpc_upgraded_receive(int fd, uint32_t *tag, int *came)
{
    uint32_t header[2];
    int count = 1;
    *came = -1;
    *tag = 0;
    ssize_t got = handover_recv(fd, header, sizeof(header), came, &count, MSG_WAITALL);
    if (got <= 0)
        return NULL;
    ck_assert_int_eq(got, sizeof(header));
    uint32_t len = le32toh(header[0]);
    char *document = malloc(len + 1);
    ck_assert_int_eq(recv(fd, document, len, MSG_WAITALL), len);
    document[len] = '\0';
    *tag = le32toh(header[1]);
    return document;
}

static int receive_fault(int fd, uint32_t wanted_tag)
{
    uint32_t tag;
    int came;
    char *document = rpc_upgraded_receive(fd, &tag, &came);
    ck_assert_ptr_nonnull(document);
    ck_assert_uint_eq(tag, wanted_tag);
    ck_assert_int_eq(came, -1);
    int code = fault_of(document);
    free(document);
    return code;
}

static void expect_closed(int fd)
{
    char byte;
    ssize_t got;
    while ((got = recv(fd, &byte, 1, 0)) == 1)
        ;
    ck_assert(got == 0 || errno == ECONNRESET);
    close(fd);
}

#define DOMID "domid", "<int>3</int>"
#define ECHO DOMID, "port", "<int>5</int>"
#define TRUE_ "<boolean>1</boolean>"

/* ---- friendly ---- */

START_TEST(connect_brings_the_socket)
{
    struct handover_name name;
    uint32_t tag;
    int came, fd = rpc_upgraded_upgraded();
    char buf[8];
    TCALL(fd, 77, "idc.connect", ECHO, "fd", TRUE_);
    char *document = rpc_upgraded_receive(fd, &tag, &came);
    ck_assert_uint_eq(tag, 77);
    ck_assert_int_ge(came, 0);
    ck_assert_ptr_null(strstr(document, "handle"));
    free(document);
    close(fd); /* the socket does not depend on it */
    ck_assert_int_eq(handover_name(came, &name), 0);
    ck_assert_uint_eq(name.peer.port, 5);
    ck_assert_int_eq(fcntl(came, F_GETFL) & O_NONBLOCK, 0);
    ck_assert_int_eq(send(came, "hello", 5, 0), 5);
    ck_assert_int_eq(recv(came, buf, sizeof(buf), 0), 5);
    close(came);
}
END_TEST

START_TEST(listen_brings_the_socket)
{
    struct handover_name name;
    struct idc_addr peer;
    uint32_t tag;
    int listener, connected, fd = rpc_upgraded_upgraded();
    TCALL(fd, 1, "idc.listen", "port", "<int>4000</int>", "fd", TRUE_);
    free(rpc_upgraded_receive(fd, &tag, &listener));
    ck_assert_int_eq(handover_name(listener, &name), 0);
    ck_assert(name.listener);
    TCALL(fd, 2, "idc.connect", DOMID, "port", "<int>4000</int>", "fd", TRUE_);
    free(rpc_upgraded_receive(fd, &tag, &connected));
    int accepted = handover_accept(listener, name.serial, &peer, 0);
    ck_assert_int_ge(accepted, 0);
    close(accepted);
    close(connected);
    close(listener);
    close(fd);
}
END_TEST

START_TEST(answers_out_of_order)
{
    int fd = rpc_upgraded_upgraded();
    TCALL(fd, 1, "idc.connect", DOMID, "port", "<int>7</int>", "timeout_ms", "<int>200</int>");
    TCALL(fd, 2, "idc.status");
    ck_assert_int_eq(receive_fault(fd, 2), 0);
    ck_assert_int_eq(receive_fault(fd, 1), ETIMEDOUT);
    close(fd);
}
END_TEST

/* Handles work here too, and many calls may wait on one connection. */
START_TEST(handles_and_many_waiting)
{
    enum { WAITING = 300 };
    uint32_t tag;
    int came, fd = rpc_upgraded_upgraded();
    TCALL(fd, 1, "idc.listen", "port", "<int>4000</int>");
    char *document = rpc_upgraded_receive(fd, &tag, &came);
    int64_t listener = rpc_fixture_number(document, "handle");
    free(document);
    for (uint32_t i = 0; i < WAITING; i++)
        TCALL(fd, 1000 + i, "idc.accept", "handle", xml_int(listener));
    int plain = rpc_fixture_dial();
    for (uint32_t i = 0; i < WAITING; i++) {
        ck_assert_int_eq(fault_free(CALL(plain, "idc.connect", DOMID, "port", "<int>4000</int>")),
                         0);
        ck_assert_int_eq(receive_fault(fd, 1000 + i), 0);
    }
    close(plain);
    close(fd);
}
END_TEST

/* More of them than one turn takes, or fewer. The connection goes on behind them. */
START_TEST(first_calls_behind_the_request)
{
    char buf[16384];
    size_t len, at = strlen(upgrade_request);
    int fd = rpc_fixture_dial();
    memcpy(buf, upgrade_request, at);
    for (uint32_t i = 0; i < (uint32_t)_i; i++) {
        char *bytes =
            rpc_upgraded_message(i, &len, "idc.status", "detail", "<boolean>0</boolean>", END);
        memcpy(buf + at, bytes, len);
        at += len;
        free(bytes);
    }
    rpc_fixture_put(fd, buf, at);
    read_101(fd);
    for (uint32_t i = 0; i < (uint32_t)_i; i++)
        ck_assert_int_eq(receive_fault(fd, i), 0);
    char *more = rpc_upgraded_message(99, &len, "idc.status", END);
    rpc_fixture_put(fd, more, len);
    free(more);
    ck_assert_int_eq(receive_fault(fd, 99), 0);
    close(fd);
}
END_TEST

START_TEST(byte_by_byte)
{
    size_t len;
    int fd = rpc_upgraded_upgraded();
    char *bytes = rpc_upgraded_message(9, &len, "idc.status", END);
    for (size_t i = 0; i < len; i++)
        rpc_fixture_put(fd, bytes + i, 1);
    ck_assert_int_eq(receive_fault(fd, 9), 0);
    free(bytes);
    close(fd);
}
END_TEST

/* Answers larger than the socket's buffer, to a client that takes its time. */
START_TEST(slow_reader)
{
    enum { CALLS = 300 };
    int fd = rpc_upgraded_upgraded();
    for (uint32_t i = 0; i < CALLS; i++)
        TCALL(fd, i, "idc.status");
    await_counter("rpc_calls_now", 1);
    for (uint32_t i = 0; i < CALLS; i++)
        ck_assert_int_eq(receive_fault(fd, i), 0);
    close(fd);
}
END_TEST

/* ---- hostile ---- */

static void each_bad_length_ends_it(void)
{
    static const uint32_t lengths[] = {0, 1024 * 1024 + 1, 0x7FFFFFFF, 0xFFFFFFFF};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        uint32_t header[2] = {htole32(lengths[i]), 1};
        int fd = rpc_upgraded_upgraded();
        rpc_fixture_put(fd, (const char *)header, sizeof(header));
        expect_closed(fd);
    }
}

/* At once, that is before a connection that has sent half a message some time earlier is closed by
 * its timer. Where the machine is so slow that it is closed meanwhile, nothing is known yet. */
START_TEST(bad_lengths)
{
    bool sooner = false;
    char byte;
    for (int i = 0; i < 10 && !sooner; i++) {
        int late = rpc_upgraded_upgraded();
        rpc_fixture_put(late, "half", 4);
        each_bad_length_ends_it();
        sooner = recv(late, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
        close(late);
    }
    ck_assert(sooner);
    await_counter("rpc_connections_now", 1);
}
END_TEST

START_TEST(garbage_documents)
{
    int fd = rpc_upgraded_upgraded();
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t header[2] = {htole32(5), htole32(i)};
        rpc_fixture_put(fd, (const char *)header, sizeof(header));
        rpc_fixture_put(fd, "<a\0b>", 5);
        ck_assert_int_lt(receive_fault(fd, i), 0);
    }
    close(fd);
}
END_TEST

/* Calls that have no use for a descriptor, or not for so many. Each is answered, and ends its
 * connection. */
static const struct {
    const char *method, *name, *value;
    int count, fault;
} surplus[] = {
    {"idc.status", NULL, NULL, 1, EINVAL},
    {"idc.status", NULL, NULL, 4, EINVAL},
    {"idc.nothing", NULL, NULL, 1, ENOSYS},
    {"system.listMethods", NULL, NULL, 1, -502},
    {"idc.connect", NULL, NULL, 1, EINVAL},
    {"idc.connect", "far_end", TRUE_, 3, EINVAL},
    {"idc.connect", "far_end", TRUE_, 4, EINVAL},
    {"idc.listen", "port", "<int>0</int>", 2, EINVAL},
    {"idc.listen", "far_end", TRUE_, 3, EINVAL},
    {"idc.reason", "serial", "<i8>1</i8>", 1, EINVAL},
    {"idc.unsent", "serial", "<i8>1</i8>", 1, EINVAL},
    {"idc.peer_timeout", "serial", "<i8>1</i8>", 1, EINVAL},
    {"idc.accept", "handle", "<int>1</int>", 1, EINVAL},
};
#define SURPLUS ((int)(sizeof(surplus) / sizeof(surplus[0])))

START_TEST(surplus_descriptors)
{
    int fd = rpc_upgraded_upgraded(), null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    const int fds[4] = {null, null, null, null};
    char byte;
    if (strcmp(surplus[_i].method, "idc.connect") == 0)
        call_with_fds(fd, 1, fds, surplus[_i].count, surplus[_i].method, ECHO, surplus[_i].name,
                      surplus[_i].value, END);
    else
        call_with_fds(fd, 1, fds, surplus[_i].count, surplus[_i].method, surplus[_i].name,
                      surplus[_i].value, END);
    ck_assert_int_eq(receive_fault(fd, 1), surplus[_i].fault);
    ck_assert_int_eq(recv(fd, &byte, 1, 0), 0);
    close(fd);
    close(null);
    await_counter("rpc_connections_now", 1);
}
END_TEST

START_TEST(stray_descriptors)
{
    int fd = rpc_upgraded_upgraded();
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int fds[4] = {null, null, null, null};
    call_with_fds(fd, 4, fds, 0, "idc.connect", ECHO, "far_end", TRUE_, END);
    ck_assert_int_eq(receive_fault(fd, 4), EINVAL);
    /* beside the document instead of the header */
    uint32_t header[2] = {htole32(10), htole32(5)};
    rpc_fixture_put(fd, (const char *)header, sizeof(header));
    ck_assert_int_eq(handover_send(fd, "0123456789", 10, fds, 4, 0), 10);
    ck_assert_int_lt(receive_fault(fd, 5), 0);
    close(fd);
    /* with a header that is never completed */
    fd = rpc_upgraded_upgraded();
    ck_assert_int_eq(handover_send(fd, "abcd", 4, fds, 4, 0), 4);
    close(fd);
    close(null);
    await_counter("rpc_connections_now", 1);
}
END_TEST

/* Neither a reservation nor an end of a pair: refused, and closed. */
START_TEST(no_reservation)
{
    int fd = rpc_upgraded_upgraded(), pair[2];
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    const int with_null[] = {pair[1], null}, twice[] = {pair[1], pair[0]},
              wrong_end[] = {null, null};
    const int *const given[] = {with_null, twice, wrong_end};
    for (uint32_t i = 0; i < 3; i++) {
        call_with_fds(fd, i, given[i], 2, "idc.listen", "far_end", TRUE_, END);
        ck_assert_int_eq(receive_fault(fd, i), EINVAL);
    }
    call_with_fds(fd, 4, &pair[1], 1, "idc.listen", "far_end", TRUE_, END);
    ck_assert_int_eq(receive_fault(fd, 4), EINVAL);
    call_with_fds(fd, 6, with_null, 2, "idc.listen", "far_end", TRUE_, "port", "<int>0</int>", END);
    ck_assert_int_eq(receive_fault(fd, 6), EINVAL);
    /* without fd */
    call_with_fds(fd, 7, &null, 0, "idc.listen", "reserve", TRUE_, "port", "<int>0</int>", END);
    ck_assert_int_eq(receive_fault(fd, 7), EINVAL);
    call_with_fds(fd, 8, &null, 0, "idc.listen", "reserve", TRUE_, "fd", TRUE_, "name",
                  "<string>a</string>", END);
    ck_assert_int_eq(receive_fault(fd, 8), EINVAL);
    close(pair[0]);
    close(pair[1]);
    close(null);
    close(fd);
}
END_TEST

/* A connect whose reservation is none fails, and says so by its far end. */
START_TEST(connect_without_its_reservation)
{
    char why[CONNECTING_WHY_MAX];
    int fd = rpc_upgraded_upgraded(), pair[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    ck_assert_int_eq(connecting_fill_roughly(pair[0]), 0);
    const int fds[] = {pair[1], pair[0], pair[0]};
    call_with_fds(fd, 1, fds, 3, "idc.connect", ECHO, "far_end", TRUE_, "reserved", TRUE_, END);
    close(pair[1]);
    struct pollfd p = {.fd = pair[0], .events = POLLOUT};
    ck_assert_int_eq(poll(&p, 1, 60000), 1);
    ck_assert_int_eq(connecting_outcome(pair[0], why), -EINVAL);
    close(pair[0]);
    close(fd);
}
END_TEST

/* The far end must be a socket of the right kind; anything else is closed. */
START_TEST(unfit_far_ends)
{
    int fd = rpc_upgraded_upgraded(), unfit[5], pair[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
    unfit[0] = pair[0];
    unfit[1] = pair[1];
    unfit[2] = open("/dev/null", O_RDWR);
    unfit[3] = socket(AF_INET, SOCK_STREAM, 0);
    unfit[4] = socket(AF_UNIX, SOCK_STREAM, 0);
    for (uint32_t i = 0; i < 5; i++) {
        call_with_fds(fd, i, &unfit[i], 1, "idc.connect", ECHO, "far_end", TRUE_, END);
        ck_assert_int_eq(receive_fault(fd, i), EINVAL);
        close(unfit[i]);
    }
    call_with_fds(fd, 6, &fd, 1, "idc.connect", ECHO, "far_end", TRUE_, END);
    ck_assert_int_eq(receive_fault(fd, 6), EINVAL);
    close(fd);
}
END_TEST

/* Within the domain the near end is looked at; a connection to another one has no use for it,
 * whatever it is. */
START_TEST(unfit_near_ends)
{
    static const char *const domids[] = {"<int>3</int>", "<int>32752</int>", "<int>4</int>"};
    char why[CONNECTING_WHY_MAX];
    int fd = rpc_upgraded_upgraded(), null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (uint32_t i = 0; i < 3; i++) {
        int pair[2];
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        ck_assert_int_eq(connecting_fill_roughly(pair[0]), 0);
        const int fds[] = {pair[1], null};
        call_with_fds(fd, i, fds, 2, "idc.connect", "domid", domids[i], "port", "<int>5</int>",
                      "far_end", TRUE_, END);
        close(pair[1]);
        struct pollfd p = {.fd = pair[0], .events = POLLOUT};
        ck_assert_int_eq(poll(&p, 1, 60000), 1);
        ck_assert_int_eq(connecting_outcome(pair[0], why) == 0, i == 2);
        ck_assert(i == 2 || strstr(why, "not an end of an AF_UNIX socket pair") != NULL);
        close(pair[0]);
    }
    close(null);
    close(fd);
}
END_TEST

/* Half a message that brings the client's own socket: the connection must not outlive the client
 * for ever. */
START_TEST(a_loop)
{
    int fd = rpc_upgraded_upgraded();
    ck_assert_int_eq(handover_send(fd, "abcd", 4, &fd, 1, 0), 4);
    close(fd);
    for (int i = 0; i < 600 && rpc_fixture_counter("rpc_connections_now") != 1; i++)
        poll(NULL, 0, 100);
    ck_assert_int_eq(rpc_fixture_counter("rpc_connections_now"), 1);
}
END_TEST

START_TEST(near_end_is_closed_meanwhile)
{
    int fd = rpc_upgraded_upgraded(), pair[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    ck_assert_int_eq(connecting_fill(pair[0], pair[1]), 0);
    call_with_fds(fd, 1, &pair[1], 1, "idc.connect", DOMID, "port", "<int>7</int>", "timeout_ms",
                  "<int>-1</int>", "far_end", TRUE_, END);
    close(pair[1]);
    await_counter("fake_pending", 1);
    close(pair[0]);
    await_counter("fake_cancelled", 1);
    await_counter("fake_pending", 0);
    close(fd);
}
END_TEST

/* A client that never reads is disconnected at 4 MiB, whatever it goes on to ask. */
START_TEST(client_that_does_not_read)
{
    int fd = rpc_upgraded_upgraded();
    size_t len;
    char *bytes = rpc_upgraded_message(1, &len, "idc.status", END);
    /* 12 MiB of answers */
    for (int i = 0; i < 5000 && send(fd, bytes, len, MSG_NOSIGNAL) > 0; i++)
        ;
    struct pollfd p = {.fd = fd};
    ck_assert_int_eq(poll(&p, 1, 60000), 1);
    ck_assert_int_ne(p.revents & POLLHUP, 0);
    free(bytes);
    close(fd);
    await_counter("rpc_connections_now", 1);
    ck_assert_int_lt(rpc_fixture_counter("rpc_memory_now"), 8192);
}
END_TEST

/* A connect to where nobody answers, and its near end. */
static int rpc_upgraded_post(int fd)
{
    int pair[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    ck_assert_int_eq(connecting_fill(pair[0], pair[1]), 0);
    call_with_fds(fd, 1, &pair[1], 1, "idc.connect", DOMID, "port", "<int>7</int>", "timeout_ms",
                  "<int>-1</int>", "far_end", TRUE_, END);
    close(pair[1]);
    return pair[0];
}

/* What a client asked for without waiting goes on when it has closed the connection: others may
 * have the socket. */
START_TEST(posted_outlives_the_connection)
{
    char why[CONNECTING_WHY_MAX];
    int fd = rpc_upgraded_upgraded(), ends[3];
    for (int i = 0; i < 3; i++)
        ends[i] = rpc_upgraded_post(fd);
    TCALL(fd, 1, "idc.connect", DOMID, "port", "<int>7</int>", "timeout_ms", "<int>-1</int>");
    await_counter("fake_pending", 4);
    close(fd);
    await_counter("fake_pending", 3); /* without the one that had an answer to wait for */
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(connecting_outcome(ends[i], why), -EINPROGRESS);
        close(ends[i]);
    }
    await_counter("fake_pending", 1);
    server_end(); /* with one that is left */
    ck_assert_int_eq(connecting_outcome(ends[2], why), -ECONNRESET);
    close(ends[2]);
    server_spawn();
}
END_TEST

/* Each call that is too much is refused, and those that are under way go on. */
START_TEST(too_many_calls)
{
    char why[CONNECTING_WHY_MAX];
    int fd = rpc_upgraded_upgraded(), first = rpc_upgraded_post(fd);
    size_t len;
    char *bytes = rpc_upgraded_message(5, &len, "idc.connect", DOMID, "port", "<int>7</int>",
                                       "timeout_ms", "<int>-1</int>", END);
    for (int i = 0; i < 5000; i++)
        rpc_fixture_put(fd, bytes, len);
    free(bytes);
    int last = rpc_upgraded_post(fd);
    for (int i = 0; i < 5001 - 4096; i++)
        ck_assert_int_eq(receive_fault(fd, 5), ENOBUFS);
    struct pollfd p = {.fd = last, .events = POLLOUT};
    ck_assert_int_eq(poll(&p, 1, 40000), 1);
    ck_assert_int_eq(connecting_outcome(last, why), -ENOBUFS);
    ck_assert_str_eq(why, "too many calls are under way on this RPC connection: 4,096");
    ck_assert_int_eq(connecting_outcome(first, why), -EINPROGRESS);
    ck_assert_int_eq(rpc_fixture_counter("fake_pending"), 4096);
    close(fd);
    await_counter("fake_pending", 1);
    close(first);
    close(last);
    await_counter("fake_pending", 0);
}
END_TEST

/* A client may die after any byte of a call with a descriptor. */
START_TEST(death_at_every_byte)
{
    size_t len;
    int pair[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    ck_assert_int_eq(connecting_fill(pair[0], pair[1]), 0);
    char *bytes = rpc_upgraded_message(1, &len, "idc.connect", DOMID, "port", "<int>7</int>",
                                       "timeout_ms", "<int>-1</int>", "far_end", TRUE_, END);
    for (size_t cut = 1; cut <= len; cut += cut < 16 ? 1 : 37) {
        int fd = rpc_upgraded_upgraded();
        ck_assert_int_eq(handover_send(fd, bytes, cut, &pair[1], 1, 0), (ssize_t)cut);
        close(fd);
    }
    await_counter("rpc_connections_now", 1);
    await_counter("fake_pending", 0);
    free(bytes);
    close(pair[0]);
    close(pair[1]);
}
END_TEST

START_TEST(death_with_calls_waiting)
{
    int fd = rpc_upgraded_upgraded();
    for (uint32_t i = 0; i < 10; i++)
        TCALL(fd, i, "idc.connect", DOMID, "port", "<int>7</int>", "timeout_ms", "<int>-1</int>");
    await_counter("fake_pending", 10);
    close(fd);
    await_counter("fake_pending", 0);
    ck_assert_int_eq(rpc_fixture_counter("fake_cancelled"), 10);
}
END_TEST

/* The server is stopped while clients wait: they see the end. */
START_TEST(server_ends)
{
    int fd = rpc_upgraded_upgraded(), plain = rpc_fixture_dial();
    TCALL(fd, 1, "idc.connect", DOMID, "port", "<int>7</int>", "timeout_ms", "<int>-1</int>");
    rpc_fixture_post(plain, "idc.connect", DOMID, "port", "<int>7</int>", "timeout_ms",
                     "<int>-1</int>", END);
    await_counter("fake_pending", 2);
    server_end();
    expect_closed(fd);
    expect_closed(plain);
    server_spawn();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("rpc upgraded");
    TCase *tests = tcase_create("all");
    tcase_add_checked_fixture(tests, server_start, server_stop);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, connect_brings_the_socket);
    tcase_add_test(tests, listen_brings_the_socket);
    tcase_add_test(tests, answers_out_of_order);
    tcase_add_test(tests, handles_and_many_waiting);
    tcase_add_loop_test(tests, first_calls_behind_the_request, 1, 25);
    tcase_add_test(tests, byte_by_byte);
    tcase_add_test(tests, slow_reader);
    tcase_add_test(tests, bad_lengths);
    tcase_add_test(tests, garbage_documents);
    tcase_add_test(tests, stray_descriptors);
    tcase_add_loop_test(tests, surplus_descriptors, 0, SURPLUS);
    tcase_add_test(tests, unfit_far_ends);
    tcase_add_test(tests, unfit_near_ends);
    tcase_add_test(tests, no_reservation);
    tcase_add_test(tests, connect_without_its_reservation);
    tcase_add_test(tests, a_loop);
    tcase_add_test(tests, near_end_is_closed_meanwhile);
    tcase_add_test(tests, client_that_does_not_read);
    tcase_add_test(tests, posted_outlives_the_connection);
    tcase_add_test(tests, too_many_calls);
    tcase_add_test(tests, death_at_every_byte);
    tcase_add_test(tests, death_with_calls_waiting);
    tcase_add_test(tests, server_ends);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
