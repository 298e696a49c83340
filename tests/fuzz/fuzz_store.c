/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzzer for the nodes that other domains and the toolstack write into the store: policy, alive,
 * want and offer. There are two peers, one on each side of the core's domid. The input is a list of
 * steps. A node gets a value (any text, or correct numbers), or goes; a program connects; the
 * link's HELLO comes; a channel dies; time passes. Whatever comes, the core comes to rest, speaks
 * with nobody without permission, and leaks nothing. It attaches only to an offer of the living
 * epoch, and to each once. (That holds as long as it knows the peer: it forgets one that lost its
 * permission.)
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

static uint32_t store_take(struct input *input, unsigned bytes)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < bytes && input->size > 0; i++, input->size--)
        value = value << 8 | *input->data++;
    return value;
}

static uint32_t store_pick(struct input *input, uint32_t count)
{
    return store_take(input, 1) % count;
}

/* ---- the platform: lone's, and what must hold when it is used ---- */

static const struct platform_ops *lone_ops;

static void store_expect(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "fuzz_store: %s\n", what);
    abort();
}

static int begin_channel(struct platform *platform, int peer, const char *path,
                         struct channel **channel)
{
    if (lone.channel_open)
        return -1; /* it has one */
    memset(&lone.page, 0, sizeof(lone.page));
    ring_pair_init(&lone.theirs, true, &lone.page, lone.left, LONE_RING, lone.right, LONE_RING);
    return lone_ops->attach(platform, peer, path, channel);
}

static int store_attach(struct platform *platform, int domid, const char *path,
                        struct channel **channel)
{
    const struct peer *peer = lone.core->by_domid[domid];
    store_expect(peer && peer->allowed, "attached without permission");
    store_expect(domid > lone.core->domid, "attached to one who is to attach to us");
    store_expect(peer->alive != 0 && peer->offer_epoch == peer->alive,
                 "attached to an offer of another epoch");
    if (domid == 2) {
        store_expect(peer->offer_epoch != attached_epoch ||
                         peer->offer_generation > attached_generation,
                     "attached twice");
        attached_epoch = peer->offer_epoch;
        attached_generation = peer->offer_generation;
    }
    return begin_channel(platform, domid, path, channel);
}

static int store_offer(struct platform *platform, int domid, const char *path, size_t ring_size,
                       struct channel **channel)
{
    const struct peer *peer = lone.core->by_domid[domid];
    store_expect(peer && peer->allowed, "offered without permission");
    store_expect(domid < lone.core->domid, "offered to one who is to offer to us");
    store_expect(ring_size >= 4096, "offered no rings");
    return begin_channel(platform, domid, path, channel);
}

static int store_publish(struct platform *platform, const char *path, const char *value, int reader)
{
    store_expect(strncmp(path, "/local/domain/1/data/idc/", 25) == 0,
                 "published something that is not ours");
    store_expect(reader == 0 || reader == 2, "published for somebody else");
    store_expect(strlen(value) >= 16 && strspn(value, "0123456789abcdef ") == strlen(value),
                 "published something malformed");
    return lone_ops->publish(platform, path, value, reader);
}

static void store_begin(void)
{
    static struct platform_ops ops;
    lone_begin(&lone);
    lone_ops = lone.host.ops;
    ops = *lone_ops;
    ops.attach = store_attach;
    ops.offer = store_offer;
    ops.publish = store_publish;
    lone.host.ops = &ops;
    attached_epoch = attached_generation = 0;
}

/* ---- steps ---- */

/* NULL: the node goes. */
static const char *make_value(struct input *input, char text[256])
{
    static const char *const epochs[] = {"00000000000000aa", "00000000000000bb", "0000000000001267",
                                         "0", "ffffffffffffffff"};
    uint32_t kind = store_pick(input, 8), length = 0;
    if (kind == 0)
        return NULL;
    if (kind > 2) { /* EPOCH NUMBER [EPOCH] */
        int n = sprintf(text, "%s %" PRIu32, epochs[store_pick(input, 5)], store_pick(input, 6));
        if (kind > 5)
            sprintf(text + n, " %s", epochs[store_pick(input, 5)]);
        return text;
    }
    for (length = 0; length < store_pick(input, 64) && input->size > 0; length++)
        /* no NUL as a rule; one ends it */
        text[length] = (char)(store_take(input, 1) | (input->size % 7 == 0));
    text[length] = '\0';
    return text;
}

static void step_policy(struct input *input)
{
    static const char *const values[] = {"in=* out=*", "in=80", "out=100-102,a.b", "", NULL,
                                         "in=",        "x"};
    char path[64], text[256];
    uint32_t which = store_pick(input, 9);
    sprintf(path, "/local/domain/1/idc/policy/%d", store_pick(input, 4) == 0 ? 0 : 2);
    lone_store(&lone, path, which < 7 ? values[which] : make_value(input, text));
}

static void step_rendezvous(struct input *input)
{
    static const char *const leaves[] = {"/alive",         "/want", "/offer", "",
                                         "/link/ring-ref", "x",     "/"};
    char path[80], text[256];
    sprintf(path, "/local/domain/%d/data/idc/1%s", store_pick(input, 4) == 0 ? 0 : 2,
            leaves[store_pick(input, 7)]);
    lone_store(&lone, path, make_value(input, text));
}

static void step_hello(struct input *input)
{
    uint8_t hello[WIRE_HELLO];
    const struct peer *peer = lone.core->by_domid[2];
    struct wire_hello values = {
        .version_min = 1, .version_max = 1, .max_frame = 1024, .max_requests = 16, .domid = 2};
    if (!peer || !peer->channel)
        return;
    values.epoch = store_pick(input, 8) == 0 ? 0xbb : attached_epoch;
    values.generation = attached_generation + (store_pick(input, 8) == 0);
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

static void store_step(struct input *input)
{
    enum reason reason;
    struct core_request request = {.port = 80, .name = "", .type = IDC_STREAM, .cookie = &lone};
    switch (store_pick(input, 8)) {
    case 0:
        step_policy(input);
        break;
    case 1:
        request.domid = store_pick(input, 4) == 0 ? 0 : 2;
        core_connect(lone.core, &request, &reason);
        break;
    case 2:
        step_hello(input);
        break;
    case 3:
        step_death();
        break;
    case 4:
        lone.now += store_take(input, 1) * 16;
        break;
    default:
        step_rendezvous(input);
        break;
    }
}

/* Until there is nothing to do. */
static void run_core(void)
{
    bool more = true;
    for (int turns = 0; more; turns++) {
        store_expect(turns < 1000, "it doesn't come to rest");
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
    store_begin();
    lone_store(&lone, "/local/domain/1/idc/policy/2", "in=* out=*"); /* most of it needs that */
    while (input.size > 0) {
        store_step(&input);
        run_core();
        lone.channel_dead = false;
        while (lone.channel_open && lone.core->by_domid[2] && lone.core->by_domid[2]->channel &&
               lone_receive(&lone, &frame, payload, sizeof(payload)))
            ;
    }
    lone_stop(&lone);
    return 0;
}
