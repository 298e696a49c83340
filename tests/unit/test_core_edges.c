/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_core_edges.c - what the core seldom meets: paths of the store that mean nothing to it, a
 * store that refuses, a new domid, a HELLO that cannot be accepted, too many requests. And each
 * allocation of a session fails once: whatever comes of it, all is given back, and the next session
 * works.
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "link_mgr/core/link.h"
#include "tests/lone/lone.h"
#include "tests/unit/suite.h"

#define POLICY "/local/domain/1/idc/policy"
#define THEIRS "/local/domain/2/data/idc/1"
#define EPOCH "00000000000000aa"

static struct lone lone;
static struct platform_ops changed; /* the platform's, with some of a test's own */

static int edges_refuse(struct platform *platform, const char *path)
{
    (void)platform, (void)path;
    return -ENOSPC;
}

static void begin_with_changed_ops(void)
{
    lone_begin(&lone);
    changed = *lone.host.ops;
    lone.host.ops = &changed;
}

static int count_peers(void)
{
    int count = 0;
    const struct peer *peer;
    TAILQ_FOREACH (peer, &lone.core->peers, all)
        count++;
    return count;
}

/* ---- paths of the store ---- */

START_TEST(paths_that_mean_nothing)
{
    static const char *const paths[] = {
        "/",
        "domain",
        "/local/domain/",
        "/local/domain/x/idc/policy/2",
        "/local/domain/1x/idc/policy/2",
        "/local/domain/99999999999999999999/idc/policy/2",
        "/local/domain/32752/idc/policy/2",
        "/local/domain/2/idc/policy/1",
        POLICY "y/2",
        POLICY "/",
        POLICY "/x",
        POLICY "/2/below",
        POLICY "/32752",
        POLICY "/1",
        THEIRS "/alive",
        "/local/domain/2/data/idc/17/alive",
        "/local/domain/2/data/idc",
    };
    lone_begin(&lone);
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        lone_store(&lone, paths[i], "in=* out=*");
        lone_store(&lone, paths[i], NULL);
        lone_run(&lone);
        ck_assert_msg(count_peers() == 0, "%s made a peer", paths[i]);
    }
    lone_stop(&lone);
}
END_TEST

/* Nodes whose names only begin like a known one. */
START_TEST(names_that_only_begin_right)
{
    lone_begin(&lone);
    lone_store(&lone, POLICY "/2", "in=* out=*");
    lone_store(&lone, "/local/domain/2/data/idc/1x/alive", EPOCH);
    lone_store(&lone, THEIRS "/alivex", EPOCH);
    lone_store(&lone, THEIRS "/other", EPOCH);
    lone_run(&lone);
    ck_assert_uint_eq(lone.core->by_domid[2]->alive, 0);
    lone_store(&lone, THEIRS "/alive", EPOCH);
    ck_assert_uint_eq(lone.core->by_domid[2]->alive, 0xaa);
    lone_store(&lone, THEIRS, NULL); /* all of it */
    ck_assert_uint_eq(lone.core->by_domid[2]->alive, 0);
    lone_stop(&lone);
}
END_TEST

START_TEST(all_of_the_policy_is_gone)
{
    lone_start(&lone);
    lone_store(&lone, POLICY "/3", "in=80");
    lone_run(&lone);
    ck_assert_int_eq(count_peers(), 2);
    lone_store(&lone, POLICY, ""); /* the directory itself is there */
    ck_assert(lone.core->by_domid[2]->allowed);
    lone_store(&lone, POLICY, NULL);
    lone_pass(&lone, PEER_CLOSING_MS);
    lone_run(&lone);
    ck_assert_int_eq(count_peers(), 0);
    ck_assert(!lone.channel_open);
    lone_stop(&lone);
}
END_TEST

static bool domid_logged;

static void note_domid_line(struct host *host, struct log_limit *limit, int priority,
                            const char *text)
{
    (void)host, (void)limit, (void)priority;
    domid_logged = domid_logged || strstr(text, "was domain 1 and is domain 1 now");
}

START_TEST(a_new_domid)
{
    lone_start(&lone);
    lone.host.log = note_domid_line;
    ck_assert(lone.channel_open);
    lone_store(&lone, "domid", "");
    ck_assert(domid_logged);
    ck_assert(!lone.channel_open);
    ck_assert_int_eq(count_peers(), 0);
    ck_assert(!lone.core->policy_known);
    ck_assert_ptr_nonnull(listener_by_port(&lone.core->listeners, LONE_PORT));
    lone_store(&lone, POLICY "/2", "in=* out=*");
    ck_assert_int_eq(count_peers(), 1);
    lone_stop(&lone);
}
END_TEST

/* ---- a store that refuses ---- */

START_TEST(the_policy_cannot_be_watched)
{
    const struct core_config config = CORE_CONFIG_DEFAULT;
    begin_with_changed_ops();
    changed.subscribe = edges_refuse;
    ck_assert_ptr_null(core_new(&lone.host, &config));
    lone_store(&lone, "domid", "");
    ck_assert_msg(strstr(lone.last_log, "cannot watch the policy"), "%s", lone.last_log);
    lone_stop(&lone);
}
END_TEST

START_TEST(a_peer_cannot_be_watched)
{
    begin_with_changed_ops();
    changed.subscribe = edges_refuse;
    lone_store(&lone, POLICY "/2", "in=* out=*");
    ck_assert_int_eq(count_peers(), 0);
    ck_assert_msg(strstr(lone.last_log, "cannot watch " THEIRS ": No space left"), "%s",
                  lone.last_log);
    lone_stop(&lone);
}
END_TEST

static int zeros_left;

/* 0 is no epoch: it would say that no link_mgr is there. */
static uint64_t zeros_first(struct host *host)
{
    (void)host;
    return zeros_left-- > 0 ? 0 : 7;
}

START_TEST(what_an_earlier_run_left_stays)
{
    const struct core_config config = CORE_CONFIG_DEFAULT;
    begin_with_changed_ops();
    changed.retract = edges_refuse;
    lone.host.random64 = zeros_first;
    zeros_left = 3;
    struct core *other = core_new(&lone.host, &config);
    ck_assert_ptr_nonnull(other);
    ck_assert_msg(strstr(lone.last_log, "cannot remove what an earlier run left"), "%s",
                  lone.last_log);
    ck_assert_uint_eq(other->epoch, 7);
    core_free(other);
    lone_stop(&lone);
}
END_TEST

/* ---- HELLO ---- */

static const struct wire_hello good_hello = {.version_min = WIRE_VERSION_MIN,
                                             .version_max = WIRE_VERSION_MAX,
                                             .epoch = 0xaa,
                                             .generation = 1,
                                             .max_frame = WIRE_FRAME_MIN,
                                             .max_requests = 16,
                                             .domid = 2};

/* A link up to the other side's HELLO, which is this. */
static void greet_with(const struct wire_hello *hello)
{
    uint8_t payload[WIRE_HELLO];
    lone_begin(&lone);
    lone_store(&lone, POLICY "/2", "in=* out=*");
    lone_store(&lone, THEIRS "/alive", EPOCH);
    lone_store(&lone, THEIRS "/offer", EPOCH " 1");
    lone_run(&lone);
    ck_assert(lone.channel_open);
    wire_put_hello(payload, hello);
    lone_send(&lone, &(struct wire_frame){.type = WIRE_TYPE_HELLO, .length = WIRE_HELLO}, payload);
    lone_run(&lone);
}

static void expect_refused(const struct wire_hello *hello, const char *why, enum reason reason)
{
    greet_with(hello);
    ck_assert(!lone.channel_open);
    ck_assert_msg(strstr(lone.core->by_domid[2]->last_error, why), "%s",
                  lone.core->by_domid[2]->last_error);
    ck_assert_uint_eq(lone.core->count.protocol_errors, reason == REASON_PROTOCOL);
    lone_stop(&lone);
}

START_TEST(a_hello_that_is_right)
{
    greet_with(&good_hello);
    ck_assert(lone.channel_open);
    ck_assert_int_eq(lone.core->by_domid[2]->state, PEER_UP);
    lone_stop(&lone);
}
END_TEST

START_TEST(a_hello_of_another_domain)
{
    struct wire_hello hello = good_hello;
    hello.domid = 3;
    expect_refused(&hello, "a HELLO of another domain", REASON_PROTOCOL);
}
END_TEST

START_TEST(no_version_in_common)
{
    struct wire_hello hello = good_hello;
    hello.version_min = hello.version_max = WIRE_VERSION_MAX + 1;
    expect_refused(&hello, "no protocol version in common", REASON_VERSION);
}
END_TEST

START_TEST(a_newer_one_that_speaks_ours_too)
{
    struct wire_hello hello = good_hello;
    hello.version_max = WIRE_VERSION_MAX + 5;
    greet_with(&hello);
    ck_assert_int_eq(lone.core->by_domid[2]->state, PEER_UP);
    lone_stop(&lone);
}
END_TEST

START_TEST(frames_larger_than_the_ring)
{
    struct wire_hello hello = good_hello;
    hello.max_frame = LONE_RING;
    expect_refused(&hello, "max_frame larger than the ring", REASON_PROTOCOL);
}
END_TEST

/* ---- requests ---- */

static bool send_request(uint32_t id, uint32_t credit)
{
    uint8_t payload[WIRE_CONNECT_REQ + IDC_SERVICE_MAX];
    const struct wire_connect_req req = {
        .id = id, .source_port = 5, .port = 99, .type = IDC_STREAM};
    uint32_t length = wire_put_connect_req(payload, &req);
    return lone_send(
        &lone,
        &(struct wire_frame){.type = WIRE_TYPE_CONNECT_REQ, .length = length, .credit = credit},
        payload);
}

/* The other side reads no answers, so each request stays unanswered once the ring is full. */
START_TEST(more_requests_than_allowed)
{
    uint32_t sent = 0;
    lone_start(&lone);
    while (lone.channel_open && sent < 4 * LINK_REQUESTS + LONE_RING / WIRE_HEADER) {
        ck_assert(send_request(++sent, 1000));
        lone_run(&lone);
        lone_pass(&lone, 1000); /* refusals go out at a limited rate */
    }
    ck_assert_msg(!lone.channel_open, "%u requests wait, and the link stays", sent);
    ck_assert_uint_gt(sent, LINK_REQUESTS);
    ck_assert_str_eq(lone.core->by_domid[2]->last_error,
                     "the peer sent more requests than were allowed");
    lone_stop(&lone);
}
END_TEST

START_TEST(a_credit_too_far_ahead)
{
    lone_start(&lone);
    send_request(1, WIRE_CREDIT_MAX + 1);
    lone_run(&lone);
    ck_assert(!lone.channel_open);
    ck_assert_msg(strstr(lone.core->by_domid[2]->last_error, "credit"), "%s",
                  lone.core->by_domid[2]->last_error);
    lone_stop(&lone);
}
END_TEST

START_TEST(an_answer_to_nothing)
{
    uint8_t payload[WIRE_CONNECT_RSP_RULE];
    const struct wire_connect_rsp rsp = {.status = REASON_NO_LISTENER};
    lone_start(&lone);
    uint32_t length = wire_put_connect_rsp(payload, 0, &rsp);
    lone_send(
        &lone,
        &(struct wire_frame){.type = WIRE_TYPE_CONNECT_RSP, .length = length, .connection = 12345},
        payload);
    lone_run(&lone);
    ck_assert(!lone.channel_open);
    ck_assert_msg(strstr(lone.core->by_domid[2]->last_error, "an id that is not in use"), "%s",
                  lone.core->by_domid[2]->last_error);
    lone_stop(&lone);
}
END_TEST

/* ---- what is shown ---- */

static int shown_links, shown_connections, shown_listeners, shown_counters;

static bool wants_all(void *arg)
{
    (void)arg;
    return true;
}

static bool wants_none(void *arg)
{
    (void)arg;
    return false;
}

static void show_link(void *arg, const struct status_link *info)
{
    (void)arg;
    shown_links++;
    ck_assert_int_eq(info->peer, 2);
    ck_assert_str_eq(info->state, "up");
    ck_assert_uint_eq(info->ring_size, LONE_RING);
    ck_assert_uint_eq(info->connections, 2);
    ck_assert(info->allowed && info->present);
    ck_assert_uint_gt(info->frames_received, 0);
}

static void show_connection(void *arg, const struct status_connection *info)
{
    (void)arg;
    shown_connections++;
    ck_assert_str_eq(info->type, info->incoming ? "seqpacket" : "stream");
    ck_assert_str_eq(info->state, info->incoming ? "open" : "connecting");
    ck_assert_uint_eq(info->uid, info->incoming ? 9 : 33);
    ck_assert_str_eq(info->service, info->incoming ? "" : "org.example.a");
}

static void show_listener(void *arg, const struct status_listener *info)
{
    (void)arg;
    shown_listeners++;
    ck_assert_str_eq(info->type, info->port == LONE_PORT ? "stream" : "seqpacket");
    ck_assert_int_eq(info->backlog, LONE_ENDS);
}

static void show_counter(void *arg, const struct status_counter *counter)
{
    (void)arg;
    shown_counters++;
    if (strcmp(counter->name, "links_made") == 0 || strcmp(counter->name, "connects") == 0)
        ck_assert_uint_eq(counter->value, 1);
    if (strcmp(counter->name, "protocol_errors") == 0)
        ck_assert_uint_eq(counter->value, 0);
}

static void connect_in(uint32_t port, enum idc_type type)
{
    uint8_t payload[WIRE_CONNECT_REQ + IDC_SERVICE_MAX];
    const struct wire_connect_req req = {
        .id = 1, .source_port = 5, .port = port, .uid = 9, .type = type};
    uint32_t length = wire_put_connect_req(payload, &req);
    lone_send(&lone,
              &(struct wire_frame){.type = WIRE_TYPE_CONNECT_REQ, .length = length, .credit = 1000},
              payload);
    lone_run(&lone);
}

static struct conn *connect_out(enum reason *reason)
{
    const struct core_request request = {
        .domid = 2, .name = "org.example.a", .type = IDC_STREAM, .uid = 33, .cookie = &lone};
    struct conn *conn = core_connect(lone.core, &request, reason);
    lone_run(&lone);
    return conn;
}

START_TEST(all_that_is_shown)
{
    enum reason reason;
    struct status_visitor visitor = {.wants = wants_all,
                                     .link = show_link,
                                     .connection = show_connection,
                                     .listener = show_listener,
                                     .counter = show_counter};
    lone_start(&lone);
    connect_in(LONE_PORT + 1, IDC_SEQPACKET);
    ck_assert_ptr_nonnull(connect_out(&reason));
    core_visit(lone.core, &visitor);
    ck_assert_int_eq(shown_links, 1);
    ck_assert_int_eq(shown_connections, 2);
    ck_assert_int_eq(shown_listeners, 2);
    ck_assert_int_gt(shown_counters, 5);
    visitor.wants = wants_none;
    core_visit(lone.core, &visitor);
    visitor.connection = NULL;
    visitor.wants = wants_all;
    lone.listeners_gone = true;
    core_visit(lone.core, &visitor);
    ck_assert_int_eq(shown_links, 2);
    ck_assert_int_eq(shown_connections, 2);
    ck_assert_int_eq(shown_listeners, 2);
    lone_stop(&lone);
}
END_TEST

/* ---- an allocation fails ---- */

static int allocations_left; /* 0: the next one fails; negative: none does */
static int allocations_failed;

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *at, size_t size);

static bool allocation_fails(void)
{
    bool fails = allocations_left-- == 0;
    allocations_failed += fails;
    return fails;
}

/* The C library's declarations name their parameters with two underscores.
 * NOLINTBEGIN(readability-inconsistent-declaration-parameter-name) */
void *malloc(size_t size)
{
    return allocation_fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return allocation_fails() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *at, size_t size)
{
    return allocation_fails() ? NULL : __libc_realloc(at, size);
}
/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
#endif

#define PART 100

static void data_in(const struct endpoint *end, uint8_t flags)
{
    uint8_t bytes[WIRE_TOTAL + PART] = {0};
    uint32_t total = flags & WIRE_DATA_TOTAL ? WIRE_TOTAL : 0;
    if (total)
        wire_put_u32(bytes, 3 * PART);
    lone_send(&lone,
              &(struct wire_frame){.type = WIRE_TYPE_DATA,
                                   .flags = flags,
                                   .length = total + PART,
                                   .connection = end->conn->id,
                                   .credit = 5000},
              bytes);
    lone_run(&lone);
}

/* ---- frames on a connection that break the rules ---- */

static void ck_link_ended(const char *why)
{
    ck_assert(!lone.channel_open);
    ck_assert_msg(strstr(lone.core->by_domid[2]->last_error, why), "%s",
                  lone.core->by_domid[2]->last_error);
    ck_assert_uint_eq(lone.core->count.protocol_errors, 1);
    lone_stop(&lone);
}

static void send_on(uint32_t id, enum wire_type type, uint8_t flags, uint32_t credit)
{
    lone_send(&lone,
              &(struct wire_frame){
                  .type = (uint8_t)type, .flags = flags, .connection = id, .credit = credit},
              NULL);
    lone_run(&lone);
}

START_TEST(more_credit_too_far_ahead)
{
    lone_start(&lone);
    connect_in(LONE_PORT, IDC_STREAM);
    uint32_t id = lone.ends[0].conn->id;
    send_on(id, WIRE_TYPE_CREDIT, 0, WIRE_CREDIT_MAX); /* from 0 on, which is allowed */
    ck_assert(lone.channel_open);
    send_on(id, WIRE_TYPE_CREDIT, 0, WIRE_CREDIT_MAX + 1);
    ck_link_ended("a credit limit that is too far ahead");
}
END_TEST

START_TEST(credit_that_goes_back)
{
    lone_start(&lone);
    connect_in(LONE_PORT, IDC_STREAM);
    send_on(lone.ends[0].conn->id, WIRE_TYPE_CREDIT, 0, 999);
    ck_link_ended("credit");
}
END_TEST

START_TEST(an_end_inside_a_message)
{
    lone_start(&lone);
    connect_in(LONE_PORT + 1, IDC_SEQPACKET);
    data_in(&lone.ends[0], WIRE_DATA_MORE | WIRE_DATA_TOTAL);
    ck_assert(lone.channel_open);
    send_on(lone.ends[0].conn->id, WIRE_TYPE_DISCONNECT, WIRE_NO_MORE_DATA, 5000);
    ck_link_ended("an end of data inside a message");
}
END_TEST

/* The answer to a connect of ours. */
static void answer_with(uint32_t id, uint32_t credit)
{
    uint8_t payload[WIRE_CONNECT_RSP_RULE];
    const struct wire_connect_rsp rsp = {.status = 0, .id = 77, .port = 80};
    uint32_t length = wire_put_connect_rsp(payload, 0, &rsp);
    lone_send(
        &lone,
        &(struct wire_frame){
            .type = WIRE_TYPE_CONNECT_RSP, .length = length, .connection = id, .credit = credit},
        payload);
    lone_run(&lone);
}

START_TEST(an_answer_with_credit_too_far_ahead)
{
    enum reason reason;
    lone_start(&lone);
    answer_with(connect_out(&reason)->id, WIRE_CREDIT_MAX + 1);
    ck_link_ended("a credit limit that is too far ahead");
}
END_TEST

START_TEST(a_second_answer)
{
    enum reason reason;
    lone_start(&lone);
    uint32_t id = connect_out(&reason)->id;
    answer_with(id, 1000);
    ck_assert(lone.channel_open);
    ck_assert_int_eq(lone.answer, REASON_OK);
    answer_with(id, 1000);
    ck_link_ended("a CONNECT_rsp to no request");
}
END_TEST

/* Programs that take nothing, so that bytes and the parts of a message are queued. */
static void session_data(void)
{
    static const uint8_t flags[] = {WIRE_DATA_MORE | WIRE_DATA_TOTAL, WIRE_DATA_MORE, 0};
    for (int i = 0; i < lone.end_count; i++) {
        struct endpoint *end = &lone.ends[i];
        end->no_room = true;
        for (int part = 0; part < 3 && end->open; part++)
            if (lone.channel_open && end->conn->phase == CONN_OPEN)
                data_in(end, end->conn->type == IDC_SEQPACKET ? flags[part] : 0);
    }
}

/* Connects both ways, with data. What of it fails is the test's affair only in the end. */
static void session_run(void)
{
    enum reason reason;
    connect_in(LONE_PORT, IDC_STREAM);
    if (lone.channel_open)
        connect_in(LONE_PORT + 1, IDC_SEQPACKET);
    if (lone.channel_open && !connect_out(&reason))
        ck_assert_int_eq(reason, REASON_NO_RESOURCES);
    session_data();
}

/* From the permission to the data of connections, with a failure. False: there are fewer
 * allocations. */
static bool session_with_failure(int number)
{
    allocations_failed = 0;
    lone_begin(&lone);
    allocations_left = number;
    lone_store(&lone, POLICY "/2", "in=* out=*");
    lone_store(&lone, THEIRS "/alive", EPOCH);
    lone_store(&lone, THEIRS "/offer", EPOCH " 1");
    lone_run(&lone);
    if (lone.channel_open) {
        uint8_t payload[WIRE_HELLO];
        wire_put_hello(payload, &good_hello);
        lone_send(&lone, &(struct wire_frame){.type = WIRE_TYPE_HELLO, .length = WIRE_HELLO},
                  payload);
        lone_run(&lone);
    }
    if (lone.channel_open)
        session_run();
    allocations_left = -1;
    lone_stop(&lone); /* aborts if anything is left */
    return allocations_failed > 0;
}

START_TEST(each_allocation_fails_once)
{
    int number = 0;
    while (session_with_failure(number))
        number++;
    ck_assert_int_ge(number, 6); /* a peer, a link, its table, connections, queues */
    lone_start(&lone);
    session_run();
    ck_assert_int_eq(lone.end_count, 2);
    ck_assert_msg(lone.channel_open, "%s", lone.core->by_domid[2]->last_error);
    lone_stop(&lone);
}
END_TEST

START_TEST(no_memory_at_the_beginning)
{
    const struct core_config config = CORE_CONFIG_DEFAULT;
    lone_begin(&lone);
    allocations_left = 0;
    struct core *core = core_new(&lone.host, &config);
    allocations_left = -1;
    ck_assert_ptr_null(core);
    lone_stop(&lone);
}
END_TEST

/* The sanitizers and valgrind have allocators of their own. */
static bool malloc_is_ours(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return false;
#endif
    return !on_valgrind();
}

int main(void)
{
    allocations_left = -1;
    Suite *suite = suite_create("edges of the core");
    TCase *store = tcase_create("store");
    tcase_add_test(store, paths_that_mean_nothing);
    tcase_add_test(store, names_that_only_begin_right);
    tcase_add_test(store, all_of_the_policy_is_gone);
    tcase_add_test(store, a_new_domid);
    tcase_add_test(store, the_policy_cannot_be_watched);
    tcase_add_test(store, a_peer_cannot_be_watched);
    tcase_add_test(store, what_an_earlier_run_left_stays);
    suite_add_tcase(suite, store);
    TCase *frames = tcase_create("frames");
    tcase_add_test(frames, a_hello_that_is_right);
    tcase_add_test(frames, a_hello_of_another_domain);
    tcase_add_test(frames, no_version_in_common);
    tcase_add_test(frames, a_newer_one_that_speaks_ours_too);
    tcase_add_test(frames, frames_larger_than_the_ring);
    tcase_add_test(frames, more_requests_than_allowed);
    tcase_add_test(frames, a_credit_too_far_ahead);
    tcase_add_test(frames, an_answer_to_nothing);
    tcase_add_test(frames, more_credit_too_far_ahead);
    tcase_add_test(frames, credit_that_goes_back);
    tcase_add_test(frames, an_end_inside_a_message);
    tcase_add_test(frames, an_answer_with_credit_too_far_ahead);
    tcase_add_test(frames, a_second_answer);
    tcase_add_test(frames, all_that_is_shown);
    suite_add_tcase(suite, frames);
    TCase *memory = tcase_create("memory");
    if (malloc_is_ours()) {
        tcase_add_test(memory, each_allocation_fails_once);
        tcase_add_test(memory, no_memory_at_the_beginning);
    }
    suite_add_tcase(suite, memory);
    return run_suite(suite);
}
