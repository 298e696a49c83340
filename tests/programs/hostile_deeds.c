/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The deeds: what a hostile peer can do for as long as it likes without a single wrong frame, or
 * without a link. Each begins at its stage (hostile.h). After that its step is repeated until the
 * test has seen enough; a deed without a step just lasts.
 */
#include <stdio.h>
#include <string.h>
#ifdef IDC_WITH_XEN
#include <xenstore.h>
#endif

#include "tests/programs/hostile.h"

#define FRAME(...) (&(struct wire_frame){__VA_ARGS__})
#define AT_ONCE 64       /* events, or nodes, of a step */
#define UNANSWERED 256   /* requests that the victim allows */
#define HALF_FRAME 1000u /* bytes of payload of the one that is not finished */
#define CREDIT_MOST (1u << 30)
#define BACKLOG_FULL 2u
#define NO_RESOURCES 4u

static uint8_t zeros[65536], payload[WIRE_FRAME_MAX];

static void deed_frame(struct scene *scene, const struct wire_frame *frame)
{
    hostile_frame(scene->h, frame, zeros);
}

/* ---- silence ---- */

static void header_of(struct scene *scene, uint8_t type, uint32_t length)
{
    uint8_t header[WIRE_HEADER];
    uint32_t offset = 0;
    wire_put_frame(header, FRAME(.type = type, .length = length));
    hostile_put(scene->h, &offset, header, sizeof(header));
    hostile_publish(scene->h, offset);
}

static void half_hello(struct scene *scene)
{
    header_of(scene, WIRE_TYPE_HELLO, WIRE_HELLO);
}

static void half_frame(struct scene *scene)
{
    header_of(scene, 200, HALF_FRAME);
}

static void other_half(struct scene *scene)
{
    uint32_t offset = 0;
    hostile_put(scene->h, &offset, zeros, HALF_FRAME);
    hostile_publish(scene->h, offset);
}

/* ---- connections ---- */

static uint32_t deed_connect(struct scene *scene, uint32_t port, enum idc_type type,
                             uint32_t credit)
{
    uint8_t bytes[WIRE_CONNECT_REQ + IDC_SERVICE_MAX];
    struct wire_frame frame;
    struct wire_connect_rsp rsp;
    struct wire_connect_req req = {
        .id = ++scene->next_id, .source_port = 5, .port = port, .uid = 4711, .type = type};
    uint32_t length = wire_put_connect_req(bytes, &req);
    hostile_frame(scene->h,
                  FRAME(.type = WIRE_TYPE_CONNECT_REQ, .length = length, .credit = credit), bytes);
    do
        if (!hostile_receive(scene->h, &frame, payload))
            hostile_die("the victim has ended the link");
    while (frame.type != WIRE_TYPE_CONNECT_RSP || frame.connection != req.id);
    if (wire_get_connect_rsp(payload, frame.length, 0, &rsp))
        hostile_die("the victim's answer is wrong");
    scene->id = rsp.id;
    scene->credit = frame.credit;
    scene->count += rsp.status == 0;
    return rsp.status;
}

/* As many as there may be. They say nothing. */
static void connect_until(struct scene *scene, uint32_t port, uint32_t expected)
{
    uint32_t status;
    while ((status = deed_connect(scene, port, IDC_STREAM, 0)) == 0)
        continue;
    if (status != expected)
        hostile_die("another refusal than the awaited one");
}

static void fill_backlog(struct scene *scene)
{
    connect_until(scene, HOSTILE_SMALL, BACKLOG_FULL);
}

static void fill_memory(struct scene *scene)
{
    connect_until(scene, HOSTILE_LARGE, NO_RESOURCES);
}

/* The victim may send a gigabyte, and nobody takes it out of the ring. */
static void never_drain(struct scene *scene)
{
    if (deed_connect(scene, HOSTILE_STREAM, IDC_STREAM, CREDIT_MOST - 1) != 0)
        hostile_die("the victim does not accept");
}

static void no_credit(struct scene *scene)
{
    if (deed_connect(scene, HOSTILE_STREAM, IDC_STREAM, 0) != 0)
        hostile_die("the victim does not accept");
}

static void take_all(struct scene *scene)
{
    struct wire_frame frame;
    while (hostile_try_receive(scene->h, &frame, payload))
        continue;
}

static void stay_silent(struct scene *scene)
{
    take_all(scene);
    hostile_ended(scene->h, 5);
}

/* These never say LAST, whatever the victim says. */
static void few_connections(struct scene *scene)
{
    for (int i = 0; i < HOSTILE_FEW; i++)
        if (deed_connect(scene, HOSTILE_STREAM, IDC_STREAM, 0) != 0)
            hostile_die("the victim does not accept");
}

/* Long messages, each of which has begun and is never finished. */
static void unfinished_messages(struct scene *scene)
{
    static uint8_t part[1024];
    wire_put_u32(part, HOSTILE_MESSAGE);
    for (int i = 0; i < HOSTILE_MESSAGES; i++) {
        if (deed_connect(scene, HOSTILE_SEQPACKET, IDC_SEQPACKET, 0) != 0)
            hostile_die("the victim does not accept");
        hostile_frame(scene->h,
                      FRAME(.type = WIRE_TYPE_DATA, .flags = WIRE_DATA_MORE | WIRE_DATA_TOTAL,
                            .connection = scene->id, .length = sizeof(part)),
                      part);
    }
}

static void connect_and_reset(struct scene *scene)
{
    bool connected = deed_connect(scene, HOSTILE_SMALL, IDC_STREAM, 0) == 0;
    scene->count += !connected; /* a try counts too */
    if (connected)
        deed_frame(scene, FRAME(.type = WIRE_TYPE_DISCONNECT, .flags = WIRE_RESET | WIRE_LAST,
                                .connection = scene->id, .length = 4));
}

/* As many as are allowed wait for their refusal all the time. */
static void refused_requests(struct scene *scene)
{
    uint8_t bytes[WIRE_CONNECT_REQ + IDC_SERVICE_MAX];
    struct wire_frame frame;
    while (hostile_try_receive(scene->h, &frame, payload))
        scene->unanswered -= frame.type == WIRE_TYPE_CONNECT_RSP;
    for (; scene->unanswered < UNANSWERED; scene->unanswered++, scene->count++) {
        struct wire_connect_req req = {
            .id = ++scene->next_id, .source_port = 5, .port = HOSTILE_CLOSED, .type = IDC_STREAM};
        uint32_t length = wire_put_connect_req(bytes, &req);
        hostile_frame(scene->h, FRAME(.type = WIRE_TYPE_CONNECT_REQ, .length = length), bytes);
    }
    hostile_ended(scene->h, 1);
}

/* The next request would be one too many. */
static void await_refusals(struct scene *scene)
{
    struct wire_frame frame;
    while (scene->unanswered > 0) {
        if (!hostile_receive(scene->h, &frame, payload))
            hostile_die("the victim has ended the link");
        scene->unanswered -= frame.type == WIRE_TYPE_CONNECT_RSP;
    }
}

/* ---- floods ---- */

static void bare_events(struct scene *scene)
{
    for (int i = 0; i < AT_ONCE; i++)
        scene->h->ops->channel_notify(scene->h->channel);
    scene->count += AT_ONCE;
}

/* As many of the frame as fit, published at once: that is faster than the victim can read them. */
static void flood_of(struct scene *scene, const struct wire_frame *frame)
{
    static uint8_t block[32768];
    uint32_t each = WIRE_HEADER + frame->length, offset = 0;
    take_all(scene);
    if (ring_space(&scene->h->rings.out) < (int64_t)sizeof(block))
        return;
    for (; offset + each <= sizeof(block); offset += each, scene->count++)
        wire_put_frame(block + offset, frame);
    ring_put(&scene->h->rings.out, 0, block, offset);
    hostile_publish(scene->h, offset);
}

static void skipped_frames(struct scene *scene)
{
    flood_of(scene, FRAME(.type = 200));
}

static void same_credit(struct scene *scene)
{
    flood_of(scene, FRAME(.type = WIRE_TYPE_CREDIT, .connection = scene->id, .credit = 4096));
}

static void same_bye(struct scene *scene)
{
    flood_of(scene, FRAME(.type = WIRE_TYPE_BYE, .length = 4));
}

/* ---- the store ---- */

static void link_churn(struct scene *scene)
{
    uint8_t hello[WIRE_HELLO];
    if (!hostile_try_connect(scene->h))
        return;
    wire_put_hello(hello, &scene->h->hello);
    hostile_frame(scene->h, FRAME(.type = WIRE_TYPE_HELLO, .length = sizeof(hello)), hello);
    hostile_drop(scene->h);
    scene->count++;
}

static void flapping_alive(struct scene *scene)
{
    char value[32];
    snprintf(value, sizeof(value), "%016llx", 0xABCDull + scene->count++);
    hostile_write(scene->h, "alive", value);
    hostile_remove(scene->h, "alive");
    hostile_wait(scene->h, 1);
}

static void steady_alive(struct scene *scene)
{
    hostile_live(scene->h);
}

/* Offers of channels that are not there, and wishes that nobody keeps to. */
static void false_offers(struct scene *scene)
{
    static const char *const values[] = {
        "0", "4294967295", "99999999999999999999", "-1", "x", "/etc", "../../x", "%s%n"};
    const char *value = values[scene->count % (sizeof(values) / sizeof(values[0]))];
    char number[64];
    hostile_write(scene->h, "link/ring-ref", value);
    hostile_write(scene->h, "link/event-channel", value);
    hostile_write(scene->h, "link/socket", value);
    snprintf(number, sizeof(number), "%016llx %llu", (unsigned long long)scene->h->epoch,
             (unsigned long long)++scene->h->generation);
    scene->count++;
    hostile_write(scene->h, "offer", number);
    hostile_write(scene->h, "want", number);
    hostile_wait(scene->h, 1);
}

static void odd_values(struct scene *scene)
{
    static const char *const leaves[] = {"alive", "want", "offer", "link/ring-ref", "link/socket"};
    static char longest[PLATFORM_VALUE_MAX + 1];
    static const char *const values[] = {"",
                                         " ",
                                         "-1",
                                         "0 0 0 0",
                                         "fffffffffffffffff 1",
                                         "1 99999999999999999999",
                                         "%s%n%x",
                                         "\n",
                                         "\1",
                                         "\xff\xfe",
                                         "0x10 5",
                                         longest};
    memset(longest, 'A', PLATFORM_VALUE_MAX);
    for (size_t leaf = 0; leaf < sizeof(leaves) / sizeof(leaves[0]); leaf++)
        for (size_t value = 0; value < sizeof(values) / sizeof(values[0]); value++)
            hostile_write(scene->h, leaves[leaf], values[value]);
    hostile_write(scene->h, "alive/below", "x");
    hostile_write(scene->h, "offer/a/b/c/d/e", "x");
    hostile_write(scene->h, "@", "x");
    hostile_write(scene->h, "link", "x");
    hostile_remove(scene->h, "");
    hostile_live(scene->h);
}

/* Writes as fast as the store takes it. On Xen that is much faster than with the platform, which
 * writes as an honest link_mgr does. */
static void write_node(struct scene *scene, const char *leaf)
{
#ifdef IDC_WITH_XEN
    static struct xs_handle *xs;
    char path[PLATFORM_PATH_MAX + 1];
    if (scene->h->ops == &platform_xen) {
        if (!xs && !(xs = xs_open(0)))
            hostile_die("cannot open Xenstore");
        snprintf(path, sizeof(path), "/local/domain/%d/data/idc/%d/%s", scene->h->domid,
                 scene->h->victim, leaf);
        xs_write(xs, XBT_NULL, path, "x", 1);
        return;
    }
#endif
    hostile_write(scene->h, leaf, "x");
}

/* So many that neither side could want to look at them again and again. */
static void many_nodes(struct scene *scene)
{
    char leaf[32];
    snprintf(leaf, sizeof(leaf), "x%llu", (unsigned long long)(scene->count++ % HOSTILE_NODES));
    write_node(scene, leaf);
}

static void store_flood(struct scene *scene)
{
    char leaf[32];
    snprintf(leaf, sizeof(leaf), "flood%d", (int)(scene->count++ % 8));
    write_node(scene, leaf);
}

const struct deed deeds[] = {
    {"never_hello", STAGE_OPEN, NULL, NULL, NULL, false},
    {"half_hello", STAGE_OPEN, half_hello, NULL, NULL, false},
    {"half_frame", STAGE_UP, half_frame, NULL, other_half, false},
    {"fill_backlog", STAGE_UP, fill_backlog, NULL, NULL, false},
    {"fill_memory", STAGE_UP, fill_memory, NULL, NULL, false},
    {"never_drain", STAGE_UP, never_drain, NULL, NULL, false},
    {"no_credit", STAGE_UP, no_credit, stay_silent, NULL, false},
    {"never_last", STAGE_UP, few_connections, stay_silent, NULL, false},
    {"unfinished_messages", STAGE_UP, unfinished_messages, NULL, NULL, false},
    {"no_answer", STAGE_UP, NULL, stay_silent, NULL, false},
    {"connect_and_reset", STAGE_UP, NULL, connect_and_reset, NULL, false},
    {"refused_requests", STAGE_UP, NULL, refused_requests, await_refusals, false},
    {"bare_events", STAGE_UP, NULL, bare_events, NULL, false},
    {"skipped_frames", STAGE_UP, NULL, skipped_frames, NULL, false},
    {"same_credit", STAGE_STREAM, NULL, same_credit, NULL, false},
    {"same_bye", STAGE_STREAM, NULL, same_bye, NULL, false},
    {"link_churn", STAGE_NONE, NULL, link_churn, NULL, true},
    {"flapping_alive", STAGE_UP, NULL, flapping_alive, steady_alive, true},
    {"false_offers", STAGE_NONE, NULL, false_offers, NULL, true},
    {"odd_values", STAGE_NONE, odd_values, NULL, NULL, true},
    {"many_nodes", STAGE_NONE, NULL, many_nodes, NULL, true},
    {"store_flood", STAGE_UP, NULL, store_flood, NULL, true},
};
const int deed_count = sizeof(deeds) / sizeof(deeds[0]);
