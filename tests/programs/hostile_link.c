/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The rendezvous from the side that has no link_mgr, and frames on the rings. One channel at a
 * time. */
#include "tests/programs/hostile_link.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define RING_SIZE (256u * 1024)

void hostile_die(const char *what)
{
    fprintf(stderr, "hostile: %s\n", what);
    exit(1);
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- the store ---- */

static void publish_node(struct hostile *h, const char *leaf, const char *value)
{
    char path[PLATFORM_PATH_MAX + 1];
    snprintf(path, sizeof(path), "/local/domain/%d/data/idc/%d/%s", h->domid, h->victim, leaf);
    if (h->ops->publish(h->platform, path, value, h->victim) < 0)
        hostile_die("cannot write to the store");
}

static void publish_number(struct hostile *h, const char *leaf, uint64_t number)
{
    char value[64];
    snprintf(value, sizeof(value), "%016" PRIx64 " %" PRIu64, h->epoch, number);
    publish_node(h, leaf, value);
}

static void take_node(struct hostile *h, const struct store_event *event)
{
    char base[PLATFORM_PATH_MAX + 1];
    uint64_t epoch = 0, number = 0;
    int length = snprintf(base, sizeof(base), "/local/domain/%d/data/idc/%d/", h->victim, h->domid);
    if (strncmp(event->path, base, (size_t)length) != 0)
        return;
    if (event->present)
        sscanf(event->value, "%16" SCNx64 " %20" SCNu64, &epoch, &number);
    if (strcmp(event->path + length, "alive") == 0)
        h->victim_epoch = epoch;
    else if (strcmp(event->path + length, "want") == 0)
        h->victim_wish = number;
    else if (strcmp(event->path + length, "offer") == 0)
        h->offer_generation = number;
}

/* Looks at what has happened, waiting for something until the deadline. */
static void hostile_link_turn(struct hostile *h, int64_t deadline)
{
    static struct store_event event;
    int64_t left = deadline - now_ms();
    struct pollfd fds[2] = {{.fd = h->ops->event_fd(h->platform), .events = POLLIN},
                            {.fd = -1, .events = POLLIN}};
    if (h->channel && !h->dead)
        fds[1].fd = h->ops->channel_fd(h->channel);
    poll(fds, 2, left > 50 ? 50 : left < 0 ? 0 : (int)left);
    while (h->ops->next_event(h->platform, &event) > 0)
        take_node(h, &event);
}

static void log_line(int priority, const char *text)
{
    fprintf(stderr, "hostile: <%d> %s\n", priority, text);
}

void hostile_open(struct hostile *h, const char *platform, const char *store, int domid, int victim)
{
    char path[PLATFORM_PATH_MAX + 1], why[256] = "";
    struct platform_config config = {.store = store, .domid = domid, .log = log_line};
    *h = (struct hostile){.ops = &platform_local, .domid = domid, .victim = victim};
#ifdef IDC_WITH_XEN
    if (strcmp(platform, "xen") == 0)
        h->ops = &platform_xen;
#else
    (void)platform;
#endif
    if (h->ops->open(&config, &h->platform, why, sizeof(why)) < 0)
        hostile_die(why);
    h->domid = h->ops->domid(h->platform);
    h->epoch = (uint64_t)getpid() << 32 | (uint64_t)(now_ms() & 0xFFFFFFFF);
    snprintf(path, sizeof(path), "/local/domain/%d/data/idc/%d", h->victim, h->domid);
    if (h->ops->subscribe(h->platform, path) < 0)
        hostile_die("cannot watch the store");
    hostile_live(h);
}

void hostile_live(struct hostile *h)
{
    char value[32];
    snprintf(value, sizeof(value), "%016" PRIx64, h->epoch);
    publish_node(h, "alive", value);
}

void hostile_write(struct hostile *h, const char *leaf, const char *value)
{
    char path[PLATFORM_PATH_MAX + 1];
    snprintf(path, sizeof(path), "/local/domain/%d/data/idc/%d/%s", h->domid, h->victim, leaf);
    h->ops->publish(h->platform, path, value, h->victim);
}

void hostile_remove(struct hostile *h, const char *leaf)
{
    char path[PLATFORM_PATH_MAX + 1];
    snprintf(path, sizeof(path), "/local/domain/%d/data/idc/%d/%s", h->domid, h->victim, leaf);
    h->ops->retract(h->platform, path);
}

void hostile_wait(struct hostile *h, int ms)
{
    hostile_link_turn(h, now_ms() + ms);
}

/* ---- the channel ---- */

static void wait_open(struct hostile *h)
{
    int64_t deadline = now_ms() + HOSTILE_WAIT_MS;
    enum channel_state state;
    while ((state = h->ops->channel_poll(h->channel)) == CHANNEL_PENDING && now_ms() < deadline)
        hostile_link_turn(h, deadline);
    if (state != CHANNEL_OPEN)
        hostile_die("the channel does not open");
    h->ops->channel_rings(h->channel, &h->rings);
}

static void hostile_link_offer(struct hostile *h)
{
    char path[PLATFORM_PATH_MAX + 1];
    snprintf(path, sizeof(path), "/local/domain/%d/data/idc/%d/link", h->domid, h->victim);
    if (h->ops->offer(h->platform, h->victim, path, RING_SIZE, &h->channel) < 0)
        hostile_die("cannot offer a channel");
    h->generation++;
    publish_number(h, "offer", h->generation);
    h->hello.epoch = h->epoch;
    h->hello.generation = h->generation;
}

static void hostile_link_attach(struct hostile *h)
{
    char path[PLATFORM_PATH_MAX + 1];
    snprintf(path, sizeof(path), "/local/domain/%d/data/idc/%d/link", h->victim, h->domid);
    if (h->ops->attach(h->platform, h->victim, path, &h->channel) < 0)
        hostile_die("cannot attach");
    h->answered = h->offer_generation;
    h->hello.epoch = h->victim_epoch;
    h->hello.generation = h->offer_generation;
}

/* Until the victim is there, and has done what we wait for. */
static void wait_victim(struct hostile *h, const uint64_t *number)
{
    int64_t deadline = now_ms() + HOSTILE_WAIT_MS;
    while (h->victim_epoch == 0 || (number && *number <= h->answered)) {
        if (now_ms() > deadline)
            hostile_die("the victim does not come");
        hostile_link_turn(h, deadline);
    }
}

static bool hostile_offers(const struct hostile *h)
{
    return h->domid > h->victim;
}

static void hostile_begin_channel(struct hostile *h)
{
    h->hello = (struct wire_hello){.version_min = 1,
                                   .version_max = 1,
                                   .max_frame = 16384,
                                   .max_requests = 256,
                                   .domid = (uint16_t)h->domid,
                                   .wish = hostile_offers(h) ? 0 : h->generation};
    if (hostile_offers(h))
        h->answered = h->victim_wish;
    h->dead = h->asked = false;
    if (hostile_offers(h))
        hostile_link_offer(h);
    else
        hostile_link_attach(h);
}

void hostile_want(struct hostile *h)
{
    publish_number(h, "want", ++h->generation);
}

void hostile_connect(struct hostile *h, bool wanted)
{
    wait_victim(h, hostile_offers(h) && wanted ? &h->victim_wish : NULL);
    if (!hostile_offers(h) && !wanted)
        hostile_want(h);
    if (!hostile_offers(h))
        wait_victim(h, &h->offer_generation);
    hostile_begin_channel(h);
    wait_open(h);
}

bool hostile_try_connect(struct hostile *h)
{
    enum channel_state state = h->channel ? h->ops->channel_poll(h->channel) : CHANNEL_DEAD;
    if (state == CHANNEL_DEAD) {
        hostile_drop(h);
        if (!hostile_offers(h) && !h->asked)
            hostile_want(h);
        h->asked = true;
        if (h->victim_epoch && (hostile_offers(h) || h->offer_generation > h->answered))
            hostile_begin_channel(h);
    }
    if (state == CHANNEL_OPEN)
        h->ops->channel_rings(h->channel, &h->rings);
    else
        hostile_wait(h, 5);
    return state == CHANNEL_OPEN;
}

bool hostile_ended(struct hostile *h, int ms)
{
    int64_t deadline = now_ms() + ms;
    while (!h->dead && now_ms() < deadline) {
        h->dead = h->ops->channel_poll(h->channel) == CHANNEL_DEAD;
        if (!h->dead)
            hostile_link_turn(h, deadline);
    }
    return h->dead;
}

void hostile_drop(struct hostile *h)
{
    if (h->channel)
        h->ops->channel_close(h->channel);
    h->channel = NULL;
}

void hostile_close(struct hostile *h)
{
    char path[PLATFORM_PATH_MAX + 1];
    hostile_drop(h);
    snprintf(path, sizeof(path), "/local/domain/%d/data/idc/%d", h->domid, h->victim);
    h->ops->retract(h->platform, path);
    h->ops->close(h->platform);
}

/* ---- frames ---- */

void hostile_put(struct hostile *h, uint32_t *offset, const void *bytes, uint32_t length)
{
    int64_t deadline = now_ms() + HOSTILE_WAIT_MS;
    while (ring_space(&h->rings.out) < (int64_t)(*offset + length)) {
        if (now_ms() > deadline || hostile_ended(h, 1))
            hostile_die("no room in the ring");
    }
    ring_put(&h->rings.out, *offset, bytes, length);
    *offset += length;
}

void hostile_publish(struct hostile *h, uint32_t length)
{
    ring_publish(&h->rings.out, length);
    h->ops->channel_notify(h->channel);
}

void hostile_frame(struct hostile *h, const struct wire_frame *frame, const void *payload)
{
    uint8_t header[WIRE_HEADER];
    uint32_t offset = 0;
    wire_put_frame(header, frame);
    hostile_put(h, &offset, header, sizeof(header));
    if (frame->length)
        hostile_put(h, &offset, payload, frame->length);
    hostile_publish(h, offset);
}

/* Waits a moment for an event of it, or for its end. */
static void look_at_channel(struct hostile *h)
{
    hostile_wait(h, 20);
    h->dead = h->ops->channel_poll(h->channel) == CHANNEL_DEAD;
}

bool hostile_try_receive(struct hostile *h, struct wire_frame *frame, uint8_t *payload)
{
    uint8_t header[WIRE_HEADER];
    int64_t ready = ring_ready(&h->rings.in);
    if (ready < (int64_t)WIRE_HEADER)
        return false;
    ring_get(&h->rings.in, 0, header, sizeof(header));
    if (wire_get_frame(header, WIRE_FRAME_MAX, frame))
        hostile_die("the victim sends rubbish");
    if (ready < (int64_t)(WIRE_HEADER + frame->length))
        return false;
    ring_get(&h->rings.in, WIRE_HEADER, payload, frame->length);
    ring_consume(&h->rings.in, WIRE_HEADER + frame->length);
    if (ring_take_wish(&h->rings, RING_WANT_SPACE))
        h->ops->channel_notify(h->channel);
    return true;
}

bool hostile_receive(struct hostile *h, struct wire_frame *frame, uint8_t *payload)
{
    int64_t deadline = now_ms() + HOSTILE_WAIT_MS, ready;
    for (;;) {
        if (hostile_try_receive(h, frame, payload))
            return true;
        if (h->dead)
            return false;
        if (now_ms() > deadline)
            hostile_die("the victim says nothing");
        ready = ring_ready(&h->rings.in);
        ring_want(&h->rings, RING_WANT_DATA);
        if (ring_ready(&h->rings.in) == ready)
            look_at_channel(h);
    }
}
