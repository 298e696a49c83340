/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Frames: what the protocol document shows in hex, round trips, and every field made wrong in turn.
 */
#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "link_mgr/core/reason.h"
#include "link_mgr/core/wire.h"
#include "tests/unit/suite.h"

#define MAX_FRAME 65536u

/* ---- the examples of docs/protocol.md ---- */

struct bytes {
    uint8_t at[2048];
    size_t length;
};

/* The hex of a line: what comes before the first word that is none. */
static void read_hex(const char *line, struct bytes *out)
{
    unsigned byte;
    int used;
    while (sscanf(line, " %2x%n", &byte, &used) == 1 && (line[used] == ' ' || line[used] == '\n')) {
        ck_assert_uint_lt(out->length, sizeof(out->at));
        out->at[out->length++] = (uint8_t)byte;
        line += used;
    }
}

/* All frames, one behind the other: indented lines are hex, and two blanks end it. */
static void read_document(struct bytes *out)
{
    char line[512];
    bool examples = false;
    FILE *document = fopen("docs/protocol.md", "r");
    ck_assert_msg(document != NULL, "run this in the project's directory");
    while (fgets(line, sizeof(line), document)) {
        if (strncmp(line, "## ", 3) == 0)
            examples = strcmp(line, "## Examples\n") == 0;
        if (examples && strncmp(line, "    ", 4) == 0) {
            line[strlen(line) < 54 ? strlen(line) : 54] = '\0'; /* words may look like hex */
            strcat(line, "\n");
            read_hex(line, out);
        }
    }
    fclose(document);
}

/* As the code writes it; it must read it too. */
static void wire_add(struct bytes *out, struct wire_frame frame, const void *payload)
{
    struct wire_frame read;
    uint8_t *header = out->at + out->length;
    wire_put_frame(header, &frame);
    ck_assert_ptr_null(wire_get_frame(header, MAX_FRAME, &read));
    memcpy(header + WIRE_HEADER, payload, frame.length);
    out->length += WIRE_HEADER + frame.length;
}

#define ID_CLIENT 0x00100001
#define ID_SERVER 0x00200003
#define ID_MESSAGES 0x00400005
#define ID_OTHER 0x00500006

static void add_setup(struct bytes *out)
{
    uint8_t payload[128];
    wire_put_hello(payload, &(struct wire_hello){.version_min = 1,
                                                 .version_max = 1,
                                                 .epoch = 0x1122334455667788,
                                                 .generation = 1,
                                                 .max_frame = 65536,
                                                 .max_requests = 256,
                                                 .domid = 2});
    wire_add(out, (struct wire_frame){.length = WIRE_HELLO, .type = WIRE_TYPE_HELLO}, payload);
    uint32_t length =
        wire_put_connect_req(payload, &(struct wire_connect_req){.id = ID_CLIENT,
                                                                 .source_port = 0x80000000,
                                                                 .uid = 1000,
                                                                 .type = IDC_STREAM,
                                                                 .name = "echo"});
    wire_add(out,
             (struct wire_frame){.length = length, .type = WIRE_TYPE_CONNECT_REQ, .credit = 16384},
             payload);
    const struct wire_connect_rsp rsp = {.id = ID_SERVER, .port = 80, .uid = 33};
    for (uint64_t features = 0; features <= WIRE_LISTENER_UID; features++) {
        length = wire_put_connect_rsp(payload, features, &rsp);
        wire_add(out, (struct wire_frame){length, WIRE_TYPE_CONNECT_RSP, 0, ID_CLIENT, 16384},
                 payload);
    }
}

static void add_stream(struct bytes *out)
{
    uint8_t payload[WIRE_CONNECT_RSP_RULE];
    wire_add(out, (struct wire_frame){2, WIRE_TYPE_DATA, 0, ID_SERVER, 16384}, "hi");
    wire_add(out, (struct wire_frame){0, WIRE_TYPE_DISCONNECT, WIRE_NO_MORE_DATA, ID_SERVER, 16384},
             "");
    wire_add(out, (struct wire_frame){0, WIRE_TYPE_CREDIT, 0, ID_SERVER, 16384 + 8192}, "");
    wire_add(out,
             (struct wire_frame){0, WIRE_TYPE_DISCONNECT, WIRE_NO_MORE_DATA | WIRE_LAST, ID_CLIENT,
                                 16384 + 2},
             "");
    wire_put_connect_rsp(payload, 0, &(struct wire_connect_rsp){.status = REASON_POLICY});
    wire_add(out, (struct wire_frame){WIRE_CONNECT_RSP, WIRE_TYPE_CONNECT_RSP, 0, 0x00300002, 0},
             payload);
}

static void add_message_and_ends(struct bytes *out)
{
    const uint8_t revoked[4] = {REASON_REVOKED}, idle[4] = {REASON_OK}, end[4] = {REASON_SHUTDOWN};
    uint8_t first[8];
    wire_put_u32(first, 6);
    memcpy(first + 4, "abcd", 4);
    wire_add(out,
             (struct wire_frame){8, WIRE_TYPE_DATA, WIRE_DATA_MORE | WIRE_DATA_TOTAL, ID_MESSAGES,
                                 16384},
             first);
    wire_add(out, (struct wire_frame){2, WIRE_TYPE_DATA, 0, ID_MESSAGES, 16384}, "ef");
    wire_add(
        out,
        (struct wire_frame){4, WIRE_TYPE_DISCONNECT, WIRE_RESET | WIRE_LAST, ID_MESSAGES, 16384},
        revoked);
    wire_add(out,
             (struct wire_frame){0, WIRE_TYPE_DISCONNECT, WIRE_LAST, ID_OTHER,
                                 16384 + 6 + WIRE_MESSAGE_COST},
             "");
    wire_add(out, (struct wire_frame){.type = WIRE_TYPE_PING}, "");
    wire_add(out, (struct wire_frame){.type = WIRE_TYPE_PONG}, "");
    wire_add(out, (struct wire_frame){.length = 4, .type = WIRE_TYPE_BYE}, idle);
    wire_add(out, (struct wire_frame){.length = 4, .type = WIRE_TYPE_BYE}, end);
}

/* What the document shows is, byte for byte, what the code writes; and there is an example of every
 * type. */
START_TEST(test_examples)
{
    struct bytes document = {.length = 0}, code = {.length = 0};
    bool shown[UINT8_MAX + 1] = {false};
    read_document(&document);
    add_setup(&code);
    add_stream(&code);
    add_message_and_ends(&code);
    for (size_t i = 0; i < document.length && i < code.length; i++)
        ck_assert_msg(document.at[i] == code.at[i],
                      "byte %zu of the examples is %02x, should be %02x", i, document.at[i],
                      code.at[i]);
    ck_assert_uint_eq(document.length, code.length);
    for (size_t at = 0; at < code.length; at += WIRE_HEADER + wire_get_u32(code.at + at))
        shown[code.at[at + 4]] = true;
    for (int type = 1; type < WIRE_TYPE_COUNT; type++)
        ck_assert_msg(shown[type], "there is no example of type %d", type);
    ck_assert(shown[WIRE_TYPE_PING] && shown[WIRE_TYPE_PONG]);
}
END_TEST

START_TEST(test_frame_round_trip)
{
    uint8_t bytes[WIRE_HEADER];
    struct wire_frame in = {.length = 4,
                            .type = WIRE_TYPE_DISCONNECT,
                            .flags = WIRE_RESET | WIRE_LAST,
                            .connection = 0xFFF00001,
                            .credit = 0xFFFFFFFF},
                      out;
    wire_put_frame(bytes, &in);
    ck_assert_ptr_null(wire_get_frame(bytes, MAX_FRAME, &out));
    ck_assert(in.length == out.length && in.type == out.type && in.flags == out.flags);
    ck_assert(in.connection == out.connection && in.credit == out.credit);
}
END_TEST

static const struct {
    struct wire_frame frame;
    bool good;
} frames[] = {
    {{.type = 0}, false},
    {{.type = WIRE_TYPE_COUNT}, false},
    {{.type = 127}, false},
    {{.type = 128, .length = MAX_FRAME, .flags = 0xFF, .connection = 7}, true},
    {{.type = 255, .length = MAX_FRAME + 1}, false},
    {{.type = WIRE_TYPE_HELLO, .length = WIRE_HELLO}, true},
    {{.type = WIRE_TYPE_HELLO, .length = WIRE_CONTROL_MAX}, true},
    {{.type = WIRE_TYPE_HELLO, .length = WIRE_CONTROL_MAX + 1}, false},
    {{.type = WIRE_TYPE_HELLO, .length = WIRE_HELLO - 1}, false},
    {{.type = WIRE_TYPE_HELLO, .length = WIRE_HELLO, .connection = 1}, false},
    {{.type = WIRE_TYPE_HELLO, .length = WIRE_HELLO, .credit = 1}, false},
    {{.type = WIRE_TYPE_CONNECT_REQ, .length = WIRE_CONNECT_REQ, .credit = 9}, true},
    {{.type = WIRE_TYPE_CONNECT_REQ, .length = WIRE_CONNECT_REQ - 1}, false},
    {{.type = WIRE_TYPE_CONNECT_REQ, .length = WIRE_CONNECT_REQ + IDC_SERVICE_MAX}, true},
    {{.type = WIRE_TYPE_CONNECT_REQ, .length = WIRE_CONNECT_REQ + IDC_SERVICE_MAX + 1}, false},
    {{.type = WIRE_TYPE_CONNECT_RSP, .length = WIRE_CONNECT_RSP, .connection = 1}, true},
    {{.type = WIRE_TYPE_CONNECT_RSP, .length = WIRE_CONNECT_RSP}, false},
    {{.type = WIRE_TYPE_CONNECT_RSP, .length = WIRE_CONNECT_RSP + 1, .connection = 1}, false},
    {{.type = WIRE_TYPE_CONNECT_RSP, .length = WIRE_CONNECT_RSP_UID - 1, .connection = 1}, false},
    {{.type = WIRE_TYPE_CONNECT_RSP, .length = WIRE_CONNECT_RSP_UID, .connection = 1}, true},
    {{.type = WIRE_TYPE_CONNECT_RSP, .length = WIRE_CONNECT_RSP_UID + 1, .connection = 1}, false},
    {{.type = WIRE_TYPE_CONNECT_RSP, .length = WIRE_CONNECT_RSP_RULE, .connection = 1}, true},
    {{.type = WIRE_TYPE_CONNECT_RSP, .length = WIRE_CONNECT_RSP_RULE + 1, .connection = 1}, false},
    {{.type = WIRE_TYPE_DATA, .length = MAX_FRAME, .connection = 1}, true},
    {{.type = WIRE_TYPE_DATA, .length = MAX_FRAME + 1, .connection = 1}, false},
    {{.type = WIRE_TYPE_DATA, .length = 1}, false},
    {{.type = WIRE_TYPE_DATA, .length = 1, .connection = 1, .flags = 4}, false},
    {{.type = WIRE_TYPE_DATA,
      .length = 5,
      .connection = 1,
      .flags = WIRE_DATA_MORE | WIRE_DATA_TOTAL},
     true},
    {{.type = WIRE_TYPE_DATA,
      .length = 4,
      .connection = 1,
      .flags = WIRE_DATA_MORE | WIRE_DATA_TOTAL},
     false},
    {{.type = WIRE_TYPE_DATA, .length = 5, .connection = 1, .flags = WIRE_DATA_TOTAL}, false},
    {{.type = WIRE_TYPE_DATA, .length = 0, .connection = 1, .flags = WIRE_DATA_MORE}, false},
    {{.type = WIRE_TYPE_CREDIT, .connection = 1}, true},
    {{.type = WIRE_TYPE_CREDIT, .connection = 1, .length = 1}, false},
    {{.type = WIRE_TYPE_CREDIT}, false},
    {{.type = WIRE_TYPE_DISCONNECT, .connection = 1}, false},
    {{.type = WIRE_TYPE_DISCONNECT, .connection = 1, .flags = WIRE_NO_MORE_DATA}, true},
    {{.type = WIRE_TYPE_DISCONNECT, .connection = 1, .flags = WIRE_NO_MORE_DATA, .length = 4},
     false},
    {{.type = WIRE_TYPE_DISCONNECT, .connection = 1, .flags = WIRE_RESET | WIRE_LAST}, false},
    {{.type = WIRE_TYPE_DISCONNECT, .connection = 1, .flags = WIRE_RESET | WIRE_LAST, .length = 4},
     true},
    {{.type = WIRE_TYPE_DISCONNECT, .connection = 1, .flags = WIRE_RESET, .length = 4}, false},
    {{.type = WIRE_TYPE_DISCONNECT, .connection = 1, .flags = WIRE_RESET | WIRE_LAST, .length = 3},
     false},
    {{.type = WIRE_TYPE_DISCONNECT, .connection = 1, .flags = 0x10}, false},
    {{.type = WIRE_TYPE_BYE, .length = 4}, true},
    {{.type = WIRE_TYPE_BYE, .length = 0}, false},
    {{.type = WIRE_TYPE_BYE, .length = 4, .connection = 1}, false},
};

START_TEST(test_frame_table)
{
    uint8_t bytes[WIRE_HEADER];
    struct wire_frame out;
    wire_put_frame(bytes, &frames[_i].frame);
    ck_assert_msg((wire_get_frame(bytes, MAX_FRAME, &out) == NULL) == frames[_i].good, "row %d",
                  _i);
    if (!frames[_i].good || frames[_i].frame.type >= WIRE_TYPE_SKIPPED)
        return;
    bytes[6] = 1;
    ck_assert_msg(wire_get_frame(bytes, MAX_FRAME, &out) != NULL, "row %d, reserved", _i);
}
END_TEST

START_TEST(test_hello)
{
    uint8_t bytes[WIRE_HELLO];
    struct wire_hello out, good = {.version_min = 1,
                                   .version_max = 3,
                                   .features = 5,
                                   .epoch = 6,
                                   .generation = 7,
                                   .max_frame = WIRE_FRAME_MIN,
                                   .max_requests = 1,
                                   .domid = 8,
                                   .wish = 9};
    struct wire_hello wrong[] = {good, good, good, good, good};
    wire_put_hello(bytes, &good);
    ck_assert_ptr_null(wire_get_hello(bytes, sizeof(bytes), &out));
    ck_assert(out.features == 5 && out.epoch == 6 && out.generation == 7 && out.domid == 8 &&
              out.wish == 9);
    ck_assert_ptr_nonnull(wire_get_hello(bytes, sizeof(bytes) - 1, &out));
    bytes[0] ^= 1;
    ck_assert_ptr_nonnull(wire_get_hello(bytes, sizeof(bytes), &out));
    wrong[0].version_min = 4;
    wrong[1].max_frame = WIRE_FRAME_MIN - 1;
    wrong[2].max_frame = WIRE_FRAME_MAX + 1;
    wrong[3].max_requests = 0;
    wrong[4].max_requests = WIRE_REQUESTS_MAX + 1;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        wire_put_hello(bytes, &wrong[i]);
        ck_assert_msg(wire_get_hello(bytes, sizeof(bytes), &out) != NULL, "case %zu", i);
    }
}
END_TEST

static const char *try_req(struct wire_connect_req req, int change, uint8_t to)
{
    uint8_t bytes[WIRE_CONNECT_REQ + IDC_SERVICE_MAX];
    struct wire_connect_req out;
    uint32_t length = wire_put_connect_req(bytes, &req);
    if (change >= 0)
        bytes[change] = to;
    return wire_get_connect_req(bytes, length, &out);
}

START_TEST(test_connect_req)
{
    struct wire_connect_req by_port = {.id = 1, .source_port = 2, .port = 80, .type = IDC_STREAM};
    struct wire_connect_req by_name = {
        .id = 1, .source_port = 2, .type = IDC_SEQPACKET, .name = "org.example.x"};
    ck_assert_ptr_null(try_req(by_port, -1, 0));
    ck_assert_ptr_null(try_req(by_name, -1, 0));
    ck_assert_ptr_nonnull(try_req(by_port, 0, 0));   /* no id */
    ck_assert_ptr_nonnull(try_req(by_port, 4, 0));   /* no source port */
    ck_assert_ptr_nonnull(try_req(by_port, 8, 0));   /* neither port nor name */
    ck_assert_ptr_nonnull(try_req(by_name, 8, 80));  /* both */
    ck_assert_ptr_nonnull(try_req(by_port, 16, 3));  /* type */
    ck_assert_ptr_nonnull(try_req(by_name, 17, 12)); /* name length */
    ck_assert_ptr_nonnull(try_req(by_name, 17, 200));
    ck_assert_ptr_nonnull(try_req(by_name, 20, '\0')); /* a name with a NUL, a space */
    ck_assert_ptr_nonnull(try_req(by_name, 25, ' '));
}
END_TEST

START_TEST(test_connect_rsp)
{
    const uint32_t nobody = WIRE_UID_UNKNOWN;
    uint8_t bytes[WIRE_CONNECT_RSP_RULE];
    struct wire_connect_rsp out, cases[] = {{0, 5, 80, 33, 0},     {REASON_POLICY, 0, 0, nobody, 0},
                                            {0, 0, 80, nobody, 0}, {0, 5, 0, nobody, 0},
                                            {3, 5, 0, nobody, 0},  {3, 0, 80, nobody, 0}};
    for (uint64_t features = 0; features <= WIRE_LISTENER_UID; features++)
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            uint32_t length = wire_put_connect_rsp(bytes, features, &cases[i]);
            ck_assert_msg((wire_get_connect_rsp(bytes, length, features, &out) == NULL) == (i < 2),
                          "case %zu", i);
        }
}
END_TEST

/* The uid is there when both sides know of it, and then it is always there. */
START_TEST(test_connect_rsp_uid)
{
    const uint64_t features[] = {0, WIRE_LISTENER_UID, ~WIRE_LISTENER_UID, UINT64_MAX};
    const uint32_t uids[] = {0, 33, UINT32_MAX};
    uint8_t bytes[WIRE_CONNECT_RSP_RULE + 1];
    struct wire_connect_rsp rsp = {.id = 5, .port = 80}, out;
    for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++)
        for (size_t k = 0; k < sizeof(uids) / sizeof(uids[0]); k++) {
            bool has_uid = i % 2 == 1;
            rsp.uid = uids[k];
            uint32_t length = wire_put_connect_rsp(bytes, features[i], &rsp);
            ck_assert_uint_eq(length, features[i] == UINT64_MAX ? 20 : has_uid ? 16 : 12);
            for (uint32_t other = 0; other <= sizeof(bytes); other++)
                ck_assert((wire_get_connect_rsp(bytes, other, features[i], &out) == NULL) ==
                          (other == length));
            ck_assert_ptr_null(wire_get_connect_rsp(bytes, length, features[i], &out));
            ck_assert_uint_eq(out.uid, has_uid ? uids[k] : UINT32_MAX);
        }
    rsp = (struct wire_connect_rsp){.status = REASON_POLICY, .uid = 0};
    wire_put_connect_rsp(bytes, WIRE_LISTENER_UID, &rsp);
    ck_assert_ptr_nonnull(wire_get_connect_rsp(bytes, 16, WIRE_LISTENER_UID, &out));
}
END_TEST

/* The rule that refuses is there when both sides know of rules and of listeners' uids. */
START_TEST(test_connect_rsp_rule)
{
    uint8_t bytes[WIRE_CONNECT_RSP_RULE];
    struct wire_connect_rsp rsp = {.status = REASON_POLICY, .uid = WIRE_UID_UNKNOWN, .rule = 7},
                            out;
    ck_assert_uint_eq(wire_put_connect_rsp(bytes, WIRE_FEATURES, &rsp), 20);
    ck_assert_ptr_null(wire_get_connect_rsp(bytes, 20, WIRE_FEATURES, &out));
    ck_assert_uint_eq(out.rule, 7);
    ck_assert_uint_eq(bytes[16], 7);
    ck_assert_uint_eq(wire_put_connect_rsp(bytes, WIRE_LISTENER_UID, &rsp), 16);
    ck_assert_ptr_null(wire_get_connect_rsp(bytes, 16, WIRE_LISTENER_UID, &out));
    ck_assert_uint_eq(out.rule, 0);
    rsp = (struct wire_connect_rsp){.id = 5, .port = 80, .rule = 7};
    wire_put_connect_rsp(bytes, WIRE_FEATURES, &rsp);
    ck_assert_ptr_nonnull(wire_get_connect_rsp(bytes, 20, WIRE_FEATURES, &out));
}
END_TEST

START_TEST(test_reasons)
{
    ck_assert_uint_eq(reason_to_wire(REASON_RULE_RATE, true), REASON_RULE_RATE);
    ck_assert_uint_eq(reason_to_wire(REASON_RULE_RATE, false), REASON_SHARE);
    ck_assert_uint_eq(reason_to_wire(REASON_RULE_CONNECTIONS, false), REASON_SHARE);
    ck_assert_uint_eq(reason_to_wire(REASON_POLICY, false), REASON_POLICY);
    for (uint32_t code = 0; code < REASON_COUNT; code++) {
        ck_assert_int_eq(reason_from_wire(code), code);
        ck_assert_int_eq(reason_errno((enum reason)code) != 0, code != 0);
        ck_assert_ptr_nonnull(reason_text((enum reason)code));
    }
    ck_assert_int_eq(reason_from_wire(REASON_COUNT), REASON_PROGRAM_RESET);
    ck_assert_int_eq(reason_from_wire(UINT32_MAX), REASON_PROGRAM_RESET);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("wire");
    TCase *tcase = tcase_create("wire");
    tcase_add_test(tcase, test_examples);
    tcase_add_test(tcase, test_frame_round_trip);
    tcase_add_loop_test(tcase, test_frame_table, 0, sizeof(frames) / sizeof(frames[0]));
    tcase_add_test(tcase, test_hello);
    tcase_add_test(tcase, test_connect_req);
    tcase_add_test(tcase, test_connect_rsp);
    tcase_add_test(tcase, test_connect_rsp_uid);
    tcase_add_test(tcase, test_connect_rsp_rule);
    tcase_add_test(tcase, test_reasons);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
