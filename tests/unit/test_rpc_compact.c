/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_rpc_compact.c - compact documents on upgraded connections: the same methods, the same
 * faults; and messages that come together, in pieces and with descriptors. */
#include "tests/unit/rpc_fixture.h"

#include <endian.h>
#include <sys/mman.h>

#include "common/compact.h"
#include "link_mgr/rpc/methods.h"
#include "link_mgr/rpc/value.h"
#include "tests/unit/suite.h"

static int rpc_compact_upgraded(const char *protocol)
{
    char request[256];
    int fd = rpc_fixture_dial();
    snprintf(request, sizeof(request),
             "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", protocol);
    rpc_fixture_put(fd, request, strlen(request));
    free(rpc_fixture_answer(fd));
    ck_assert_int_eq(http_status, 101);
    return fd;
}

static struct compact_writer rpc_compact_call(const char *method)
{
    struct compact_writer w;
    compact_begin(&w, COMPACT_CALL, method);
    return w;
}

static struct compact_writer connect_call(int64_t port)
{
    struct compact_writer w = rpc_compact_call("idc.connect");
    compact_put_number(&w, "domid", 3);
    compact_put_number(&w, "port", port);
    return w;
}

static size_t rpc_compact_frame(uint8_t *out, uint32_t tag, const struct compact_writer *w)
{
    uint32_t header[2] = {htole32((uint32_t)w->len), htole32(tag)};
    ck_assert(!w->failed);
    memcpy(out, header, 8);
    memcpy(out + 8, w->bytes, w->len);
    return 8 + w->len;
}

static void send_call(int fd, uint32_t tag, const struct compact_writer *w, const int *fds,
                      int count)
{
    uint8_t bytes[8 + COMPACT_MAX];
    size_t len = rpc_compact_frame(bytes, tag, w);
    ck_assert_int_eq(handover_send(fd, bytes, len, fds, count, 0), (ssize_t)len);
}

static uint8_t answered[COMPACT_MAX];
static int answered_fd;

/* The kind of the answer, whose members *reader then has. */
static char rpc_compact_receive(int fd, uint32_t wanted_tag, struct compact_reader *reader)
{
    uint32_t header[2];
    int count = 1;
    answered_fd = -1;
    ck_assert_int_eq(handover_recv(fd, header, sizeof(header), &answered_fd, &count, MSG_WAITALL),
                     sizeof(header));
    size_t len = le32toh(header[0]);
    ck_assert_uint_le(len, sizeof(answered));
    ck_assert_int_eq(recv(fd, answered, len, MSG_WAITALL), (ssize_t)len);
    ck_assert_uint_eq(le32toh(header[1]), wanted_tag);
    ck_assert_uint_ge(len, 2);
    ck_assert(compact_open(reader, answered, len, (char)answered[1], NULL));
    return (char)answered[1];
}

static int64_t member_of(struct compact_reader reader, const char *name)
{
    struct compact_member m;
    int more;
    while ((more = compact_next(&reader, &m)) > 0)
        if (compact_equal(&m.name, name))
            return m.number;
    ck_assert_int_eq(more, 0);
    return -1;
}

/* The code of the answer that is a fault; 0 for a result. */
static int rpc_compact_outcome(int fd, uint32_t tag)
{
    struct compact_reader reader;
    if (rpc_compact_receive(fd, tag, &reader) == COMPACT_RESULT)
        return 0;
    return (int)member_of(reader, "code");
}

static int rpc_compact_ask(int fd, const struct compact_writer *w)
{
    static uint32_t tag = 100;
    send_call(fd, ++tag, w, NULL, 0);
    return rpc_compact_outcome(fd, tag);
}

START_TEST(connect_brings_the_socket)
{
    struct compact_reader reader;
    struct compact_writer w = connect_call(5);
    int fd = rpc_compact_upgraded("idc-rpc/3");
    char buf[8];
    compact_put_boolean(&w, "fd", true);
    send_call(fd, 7, &w, NULL, 0);
    ck_assert_int_eq(rpc_compact_receive(fd, 7, &reader), COMPACT_RESULT);
    ck_assert_int_eq(member_of(reader, "peer_port"), 5);
    ck_assert_int_eq(member_of(reader, "handle"), -1);
    ck_assert_int_ge(answered_fd, 0);
    ck_assert_int_eq(send(answered_fd, "hello", 5, 0), 5);
    ck_assert_int_eq(recv(answered_fd, buf, sizeof(buf), 0), 5);
    close(answered_fd);
    close(fd);
}
END_TEST

START_TEST(handles_and_short_status)
{
    struct compact_reader reader;
    struct compact_writer w = connect_call(5), status = rpc_compact_call("idc.status");
    int fd = rpc_compact_upgraded("idc-rpc/3");
    send_call(fd, 1, &w, NULL, 0);
    ck_assert_int_eq(rpc_compact_receive(fd, 1, &reader), COMPACT_RESULT);
    int64_t handle = member_of(reader, "handle");
    ck_assert_int_gt(handle, 0);
    struct compact_writer end = rpc_compact_call("idc.disconnect");
    compact_put_number(&end, "handle", handle);
    ck_assert_int_eq(rpc_compact_ask(fd, &end), 0);
    ck_assert_int_eq(rpc_compact_ask(fd, &end), EBADF);
    send_call(fd, 2, &status, NULL, 0);
    ck_assert_int_eq(rpc_compact_receive(fd, 2, &reader), COMPACT_RESULT);
    ck_assert_int_ge(member_of(reader, "domid"), 0);
    close(fd);
}
END_TEST

START_TEST(refused_calls)
{
    int fd = rpc_compact_upgraded("idc-rpc/3");
    struct compact_writer w = rpc_compact_call("idc.nothing");
    ck_assert_int_eq(rpc_compact_ask(fd, &w), ENOSYS);
    w = rpc_compact_call("system.listMethods");
    ck_assert_int_eq(rpc_compact_ask(fd, &w), ENOSYS);
    w = rpc_compact_call("idc.recv");
    ck_assert_int_eq(rpc_compact_ask(fd, &w), EOPNOTSUPP);
    w = rpc_compact_call("idc.connect");
    ck_assert_int_eq(rpc_compact_ask(fd, &w), EINVAL); /* members are missing */
    w = connect_call(0);
    ck_assert_int_eq(rpc_compact_ask(fd, &w), EINVAL); /* out of range */
    w = connect_call(5);
    compact_put_number(&w, "colour", 5);
    ck_assert_int_eq(rpc_compact_ask(fd, &w), EINVAL); /* unknown */
    w = connect_call(5);
    compact_put_number(&w, "fd", 1);
    ck_assert_int_eq(rpc_compact_ask(fd, &w), EINVAL); /* no boolean */
    w = connect_call(5);
    compact_put_boolean(&w, "timeout_ms", true);
    ck_assert_int_eq(rpc_compact_ask(fd, &w), EINVAL); /* no number */
    w = connect_call(5);
    compact_put_number(&w, "type", 1);
    ck_assert_int_eq(rpc_compact_ask(fd, &w), EINVAL); /* no text */
    w = rpc_compact_call("idc.connect");
    for (int i = 0; i < 40; i++)
        compact_put_number(&w, "port", 5);
    ck_assert_int_eq(rpc_compact_ask(fd, &w), EINVAL); /* too many */
    w = connect_call(5);
    w.len--;
    ck_assert_int_eq(rpc_compact_ask(fd, &w), EINVAL); /* cut off */
    w.len = 1;
    ck_assert_int_eq(rpc_compact_ask(fd, &w), EINVAL);
    w = connect_call(5);
    w.bytes[1] = COMPACT_RESULT;
    ck_assert_int_eq(rpc_compact_ask(fd, &w), EINVAL); /* no call */
    w = connect_call(5);                               /* and the connection is as good as before */
    ck_assert_int_eq(rpc_compact_ask(fd, &w), 0);
    close(fd);
}
END_TEST

/* ---- names with odd bytes ---- */

/* Opens the parameters of a call of a method that understands "domid" and "port", with one member
 * of that name. Nothing behind the list of names may be read. */
static bool name_is_known(const char *name, size_t len, char why[HUB_WHY_MAX])
{
    static const char known[] = "domid port ";
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct rpc_server server = {0};
    struct rpc_session session = {.server = &server};
    struct rpc_call call = {.session = &session, .in_dispatch = true, .compact = true};
    struct compact_member members[RPC_MEMBERS_MAX];
    struct rpc_params params;
    uint8_t document[300] = {(uint8_t)len};
    ck_assert_ptr_ne(pages, MAP_FAILED);
    ck_assert_int_eq(mprotect(pages + page, page, PROT_NONE), 0);
    struct rpc_method method = {.name = "idc.test", .members = pages + page - sizeof(known)};
    memcpy(pages + page - sizeof(known), known, sizeof(known));
    memcpy(document + 1, name, len);
    document[1 + len] = COMPACT_NUMBER;
    struct compact_reader reader = {document, document + 1 + len + 1 + 8};
    bool opened = rpc_params_open_compact(&params, &call, &method, &reader, members);
    strcpy(why, call.why);
    munmap(pages, 2 * page);
    return opened;
}

START_TEST(names_with_odd_bytes)
{
    char why[HUB_WHY_MAX], beyond[255] = "port ";
    ck_assert(name_is_known("domid", 5, why));
    ck_assert(name_is_known("port", 4, why));
    ck_assert(!name_is_known("", 0, why));
    ck_assert(!name_is_known("por", 3, why));
    ck_assert(!name_is_known("ort", 3, why));
    ck_assert(!name_is_known("port ", 5, why));
    ck_assert(!name_is_known("domid port", 10, why)); /* they are two */
    ck_assert(!name_is_known("port\0", 5, why));
    ck_assert_ptr_nonnull(strstr(why, "unknown member \"port\\x00\"; known: domid port"));
    /* as the list to its end, and on */
    ck_assert(!name_is_known(beyond, sizeof(beyond), why));
    /* the name of a method is quoted in the same way */
    int fd = rpc_compact_upgraded("idc-rpc/3");
    struct compact_reader reader;
    struct compact_writer w = rpc_compact_call("idc.status-");
    w.bytes[w.len - 1] = '\0';
    send_call(fd, 1, &w, NULL, 0);
    ck_assert_int_eq(rpc_compact_receive(fd, 1, &reader), COMPACT_FAULT);
    ck_assert_ptr_nonnull(memmem(answered, sizeof(answered), "\"idc.status\\x00\"", 16));
    close(fd);
}
END_TEST

/* A port that XML has as a text may be one here. */
START_TEST(numbers_as_texts)
{
    struct compact_writer w = rpc_compact_call("idc.connect");
    int fd = rpc_compact_upgraded("idc-rpc/3");
    compact_put_text(&w, "domid", "3");
    compact_put_text(&w, "port", "4294967295");
    ck_assert_int_ne(rpc_compact_ask(fd, &w), EINVAL);
    compact_put_text(&w, "timeout_ms", "1x");
    ck_assert_int_eq(rpc_compact_ask(fd, &w), EINVAL);
    close(fd);
}
END_TEST

/* Only where it was agreed on; and XML goes on to be understood there. */
START_TEST(agreed_on)
{
    static const char xml[] =
        "<?xml version=\"1.0\"?><methodCall><methodName>idc.status</methodName></methodCall>";
    struct compact_writer w = connect_call(5);
    uint32_t header[2] = {htole32(sizeof(xml) - 1), htole32(1)};
    char first;
    int old = rpc_compact_upgraded("idc-rpc/1"), new = rpc_compact_upgraded("idc-rpc/3");
    send_call(old, 1, &w, NULL, 0);
    ck_assert_int_eq(recv(old, header, sizeof(header), MSG_WAITALL), sizeof(header));
    ck_assert_int_eq(recv(old, &first, 1, 0), 1);
    ck_assert_int_eq(first, '<');
    header[0] = htole32(sizeof(xml) - 1);
    rpc_fixture_put(new, (const char *)header, sizeof(header));
    rpc_fixture_put(new, xml, sizeof(xml) - 1);
    ck_assert_int_eq(recv(new, header, sizeof(header), MSG_WAITALL), sizeof(header));
    ck_assert_int_eq(recv(new, &first, 1, 0), 1);
    ck_assert_int_eq(first, '<');
    close(old);
    close(new);
}
END_TEST

/* Many calls in one write, and cut at every place in two. */
START_TEST(together_and_in_pieces)
{
    enum { CALLS = 20 };
    uint8_t bytes[CALLS * (8 + COMPACT_MAX)];
    /* is answered at once, so in order */
    struct compact_writer w = rpc_compact_call("idc.status");
    size_t len = 0;
    int fd = rpc_compact_upgraded("idc-rpc/3");
    for (uint32_t i = 0; i < CALLS; i++)
        len += rpc_compact_frame(bytes + len, i, &w);
    rpc_fixture_put(fd, (const char *)bytes, len);
    for (uint32_t i = 0; i < CALLS; i++)
        ck_assert_int_eq(rpc_compact_outcome(fd, i), 0);
    len = rpc_compact_frame(bytes, 1, &w);
    len += rpc_compact_frame(bytes + len, 2, &w);
    for (size_t cut = 1; cut < len; cut++) {
        rpc_fixture_put(fd, (const char *)bytes, cut);
        ck_assert_int_eq(send(fd, bytes + cut, len - cut, MSG_NOSIGNAL), (ssize_t)(len - cut));
        ck_assert_int_eq(rpc_compact_outcome(fd, 1), 0);
        ck_assert_int_eq(rpc_compact_outcome(fd, 2), 0);
    }
    close(fd);
}
END_TEST

/* Messages that are read at once: each descriptor goes with the call that it was sent with. The
 * daemon is stopped meanwhile, so that all are there when it looks. */
START_TEST(descriptors_among_others)
{
    struct compact_writer plain = connect_call(5), far = connect_call(5);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC), pair[2],
        fd = rpc_compact_upgraded("idc-rpc/3");
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    ck_assert_int_eq(connecting_fill(pair[0], pair[1]), 0);
    compact_put_boolean(&far, "far_end", true);
    ck_assert_int_eq(kill(server_pid, SIGSTOP), 0);
    send_call(fd, 1, &plain, NULL, 0);
    send_call(fd, 2, &far, &null, 1); /* is refused for it */
    send_call(fd, 3, &plain, NULL, 0);
    send_call(fd, 4, &far, &pair[1], 1); /* has no answer */
    send_call(fd, 5, &plain, NULL, 0);
    close(pair[1]);
    ck_assert_int_eq(kill(server_pid, SIGCONT), 0);
    int codes[6] = {-1, -1, -1, -1, -1, -1}; /* they come in any order */
    for (int i = 0; i < 4; i++) {
        uint32_t header[2];
        ck_assert_int_eq(recv(fd, header, sizeof(header), MSG_PEEK | MSG_WAITALL), sizeof(header));
        codes[le32toh(header[1]) % 6] = rpc_compact_outcome(fd, le32toh(header[1]));
    }
    ck_assert_int_eq(codes[1], 0);
    ck_assert_int_eq(codes[2], EINVAL);
    ck_assert_int_eq(codes[3], 0);
    ck_assert_int_eq(codes[5], 0);
    struct pollfd p = {.fd = pair[0], .events = POLLOUT};
    ck_assert_int_eq(poll(&p, 1, 60000), 1);
    ck_assert_int_eq(p.revents & POLLHUP, 0);
    close(pair[0]);
    close(null);
    close(fd);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("rpc compact");
    TCase *tests = tcase_create("all");
    tcase_add_checked_fixture(tests, server_start, server_stop);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, connect_brings_the_socket);
    tcase_add_test(tests, handles_and_short_status);
    tcase_add_test(tests, refused_calls);
    tcase_add_test(tests, names_with_odd_bytes);
    tcase_add_test(tests, numbers_as_texts);
    tcase_add_test(tests, agreed_on);
    tcase_add_test(tests, together_and_in_pieces);
    tcase_add_test(tests, descriptors_among_others);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
