/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzzer: what other domains, and the toolstack, write into the store: policy, alive, want and offer, of two peers, one on
 * each side of the core's domid. The input is a list of steps: a node gets a value (any text, or numbers as they should be), or
 * goes; a program connects; the link's HELLO comes; a channel dies; time passes. Whatever comes, the core comes to rest, speaks
 * with nobody without permission, attaches only to an offer of the living epoch, and to each once (as long as it knows the peer:
 * one that lost its permission is forgotten), and leaks nothing.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "link_mgr/core/peer.h"
#include "tests/lone/lone.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *data;
    size_t size;
};

static struct lone lone;
static uint64_t attached_epoch, attached_generation;

static uint32_t take(struct input *input, unsigned bytes)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < bytes && input->size > 0; i++, input->size--)
        value = value << 8 | *input->data++;
    return value;
}

static uint32_t pick(struct input *input, uint32_t count)
{
    return take(input, 1) % count;
}

/* ---- the platform: lone's, and what must hold when it is used ---- */

static const struct platform_ops *lone_ops;

static void expect(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "fuzz_store: %s\n", what);
    abort();
}

static int begin_channel(struct platform *platform, int peer, const char *path, struct channel **channel)
{
    if (lone.channel_open)
        return -1; /* it has one */
    memset(&lone.page, 0, sizeof(lone.page));
    ring_pair_init(&lone.theirs, true, &lone.page, lone.left, LONE_RING, lone.right, LONE_RING);
    return lone_ops->attach(platform, peer, path, channel);
}

static int attach(struct platform *platform, int domid, const char *path, struct channel **channel)
{
    const struct peer *peer = lone.core->by_domid[domid];
    expect(peer && peer->allowed, "attached without permission");
    expect(domid > lone.core->domid, "attached to one who is to attach to us");
    expect(peer->alive != 0 && peer->offer_epoch == peer->alive, "attached to an offer of another epoch");
    if (domid == 2) {
        expect(peer->offer_epoch != attached_epoch || peer->offer_generation > attached_generation, "attached twice");
        attached_epoch = peer->offer_epoch;
        attached_generation = peer->offer_generation;
    }
    return begin_channel(platform, domid, path, channel);
}

static int offer(struct platform *platform, int domid, const char *path, size_t ring_size, struct channel **channel)
{
    const struct peer *peer = lone.core->by_domid[domid];
    expect(peer && peer->allowed, "offered without permission");
    expect(domid < lone.core->domid, "offered to one who is to offer to us");
    expect(ring_size >= 4096, "offered no rings");
    return begin_channel(platform, domid, path, channel);
}

static int publish(struct platform *platform, const char *path, const char *value, int reader)
{
    expect(strncmp(path, "/local/domain/1/data/idc/", 25) == 0, "published something that is not ours");
    expect(reader == 0 || reader == 2, "published for somebody else");
    expect(strlen(value) >= 16 && strspn(value, "0123456789abcdef ") == strlen(value), "published something malformed");
    return lone_ops->publish(platform, path, value, reader);
}

static void begin(void)
{
    static struct platform_ops ops;
    lone_begin(&lone);
    lone_ops = lone.host.ops;
    ops = *lone_ops;
    ops.attach = attach;
    ops.offer = offer;
    ops.publish = publish;
    lone.host.ops = &ops;
    attached_epoch = attached_generation = 0;
}

/* ---- steps ---- */

/* NULL: the node goes. */
static const char *make_value(struct input *input, char text[256])
{
    static const char *const epochs[] = {"00000000000000aa", "00000000000000bb", "0000000000001267", "0", "ffffffffffffffff"};
    uint32_t kind = pick(input, 8), length = 0;
    if (kind == 0)
        return NULL;
    if (kind > 2) { /* EPOCH NUMBER [EPOCH] */
        int n = sprintf(text, "%s %" PRIu32, epochs[pick(input, 5)], pick(input, 6));
        if (kind > 5)
            sprintf(text + n, " %s", epochs[pick(input, 5)]);
        return text;
    }
    for (length = 0; length < pick(input, 64) && input->size > 0; length++)
        text[length] = (char)(take(input, 1) | (input->size % 7 == 0)); /* no NUL as a rule; one ends it */
    text[length] = '\0';
    return text;
}

static void step_policy(struct input *input)
{
    static const char *const values[] = {"in=* out=*", "in=80", "out=100-102,a.b", "", NULL, "in=", "x"};
    char path[64], text[256];
    uint32_t which = pick(input, 9);
    sprintf(path, "/local/domain/1/idc/policy/%d", pick(input, 4) == 0 ? 0 : 2);
    lone_store(&lone, path, which < 7 ? values[which] : make_value(input, text));
}

static void step_rendezvous(struct input *input)
{
    static const char *const leaves[] = {"/alive", "/want", "/offer", "", "/link/ring-ref", "x", "/"};
    char path[80], text[256];
    sprintf(path, "/local/domain/%d/data/idc/1%s", pick(input, 4) == 0 ? 0 : 2, leaves[pick(input, 7)]);
    lone_store(&lone, path, make_value(input, text));
}

static void step_hello(struct input *input)
{
    uint8_t hello[WIRE_HELLO];
    const struct peer *peer = lone.core->by_domid[2];
    struct wire_hello values = {.version_min = 1, .version_max = 1, .max_frame = 1024, .max_requests = 16, .domid = 2};
    if (!peer || !peer->channel)
        return;
    values.epoch = pick(input, 8) == 0 ? 0xbb : attached_epoch;
    values.generation = attached_generation + (pick(input, 8) == 0);
    wire_put_hello(hello, &values);
    lone_send(&lone, &(struct wire_frame){.type = WIRE_TYPE_HELLO, .length = WIRE_HELLO}, hello);
}

static void step_death(void)
{
    lone.channel_dead = true;
    for (int domid = 0; domid <= 2; domid += 2)
        if (lone.core->by_domid[domid] && lone.core->by_domid[domid]->channel)
            peer_channel_event(lone.core->by_domid[domid]);
}

static void step(struct input *input)
{
    enum reason reason;
    switch (pick(input, 8)) {
    case 0: step_policy(input); break;
    case 1: core_connect(lone.core, pick(input, 4) == 0 ? 0 : 2, 80, "", IDC_STREAM, 0, &lone, &reason); break;
    case 2: step_hello(input); break;
    case 3: step_death(); break;
    case 4: lone.now += take(input, 1) * 16; break;
    default: step_rendezvous(input); break;
    }
}

/* Until there is nothing to do. */
static void run_core(void)
{
    bool more = true;
    for (int turns = 0; more; turns++) {
        expect(turns < 1000, "it doesn't come to rest");
        more = core_turn(lone.core);
        if (lone.core->by_domid[2] == NULL)
            attached_epoch = attached_generation = 0;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    struct wire_frame frame;
    uint8_t payload[2048];
    begin();
    lone_store(&lone, "/local/domain/1/idc/policy/2", "in=* out=*"); /* most of it needs that */
    while (input.size > 0) {
        step(&input);
        run_core();
        lone.channel_dead = false;
        while (lone.channel_open && lone.core->by_domid[2] && lone.core->by_domid[2]->channel &&
               lone_receive(&lone, &frame, payload, sizeof(payload)))
            ;
    }
    lone_stop(&lone);
    return 0;
}
