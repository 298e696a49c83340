/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * probe.c - the xen platform alone, driven by lines on standard input, for test_platform.py.
 *
 *     publish PATH READER VALUE       retract PATH        subscribe PATH       unsubscribe PATH
 *     offer NAME PEER PATH SIZE       attach NAME PEER PATH                    close NAME
 *     send NAME COUNT                 bytes of a known sequence, as the ring has room
 *     receive NAME COUNT              checks that they come
 *     scribble NAME                   writes nonsense into the page that both share
 *     abandon                         ends at once, without closing anything
 *     quit                            closes the platform
 *
 * Answers and events are lines on standard output, each with the time in microseconds first:
 *     domid N | event PATH = VALUE | event PATH absent | channel NAME pending|open|dead | sent NAME
 *     | received NAME | wrong NAME ... | error COMMAND: ... | closed MICROSECONDS
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/ring.h"
#include "link_mgr/core/platform.h"

#define CHANNELS_MAX 16

static struct probe_channel {
    char name[16];
    struct channel *channel;
    enum channel_state state;
    struct ring_pair rings;
    uint64_t to_send, to_receive, sent, received;
} channels[CHANNELS_MAX];

static const struct platform_ops *const ops = &platform_xen;
static struct platform *platform;

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void probe_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void probe_say(const char *format, ...)
{
    va_list arguments;
    printf("%" PRIu64 " ", now_us());
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
    fflush(stdout);
}

static void log_line(int priority, const char *text)
{
    fprintf(stderr, "<%d> %s\n", priority, text);
}

/* Byte number index of what is sent. */
static uint8_t probe_sequence(uint64_t index)
{
    return (uint8_t)((index * 2654435761u) >> 16);
}

static struct probe_channel *probe_find(const char *name)
{
    for (int i = 0; i < CHANNELS_MAX; i++)
        if (channels[i].channel && strcmp(channels[i].name, name) == 0)
            return &channels[i];
    return NULL;
}

static struct probe_channel *new_channel(const char *name)
{
    for (int i = 0; i < CHANNELS_MAX; i++) {
        if (channels[i].channel)
            continue;
        channels[i] = (struct probe_channel){.state = CHANNEL_PENDING};
        snprintf(channels[i].name, sizeof(channels[i].name), "%s", name);
        return &channels[i];
    }
    return NULL;
}

/* ---- bytes ---- */

static uint32_t put_some(struct probe_channel *c, uint32_t space)
{
    uint8_t piece[65536];
    uint32_t count = space < sizeof(piece) ? space : (uint32_t)sizeof(piece);
    if (count > c->to_send)
        count = (uint32_t)c->to_send;
    for (uint32_t i = 0; i < count; i++)
        piece[i] = probe_sequence(c->sent + i);
    ring_put(&c->rings.out, 0, piece, count);
    ring_publish(&c->rings.out, count);
    c->sent += count;
    c->to_send -= count;
    if (ring_take_wish(&c->rings, RING_WANT_DATA))
        ops->channel_notify(c->channel);
    return count;
}

static void send_bytes(struct probe_channel *c)
{
    while (c->to_send) {
        int64_t space = ring_space(&c->rings.out);
        if (space == 0) {
            ring_want(&c->rings, RING_WANT_SPACE);
            space = ring_space(&c->rings.out);
        }
        if (space < 0)
            probe_say("wrong %s: the index of the peer", c->name);
        if (space <= 0)
            return;
        put_some(c, (uint32_t)space);
        if (!c->to_send)
            probe_say("sent %s", c->name);
    }
}

static bool take_some(struct probe_channel *c, uint32_t ready)
{
    uint8_t piece[65536];
    uint32_t count = ready < sizeof(piece) ? ready : (uint32_t)sizeof(piece);
    ring_get(&c->rings.in, 0, piece, count);
    ring_consume(&c->rings.in, count);
    for (uint32_t i = 0; i < count; i++) {
        if (piece[i] != probe_sequence(c->received + i)) {
            probe_say("wrong %s: byte %" PRIu64, c->name, c->received + i);
            return false;
        }
    }
    c->received += count;
    if (c->to_receive && c->received >= c->to_receive) {
        c->to_receive = 0;
        probe_say("received %s", c->name);
    }
    if (ring_take_wish(&c->rings, RING_WANT_SPACE))
        ops->channel_notify(c->channel);
    return true;
}

static void receive_bytes(struct probe_channel *c)
{
    while (c->to_receive) {
        int64_t ready = ring_ready(&c->rings.in);
        if (ready == 0) {
            ring_want(&c->rings, RING_WANT_DATA);
            ready = ring_ready(&c->rings.in);
        }
        if (ready < 0)
            probe_say("wrong %s: the index of the peer", c->name);
        if (ready <= 0 || !take_some(c, (uint32_t)ready))
            return;
    }
}

static void look_at(struct probe_channel *c)
{
    static const char *const names[] = {"pending", "open", "dead"};
    enum channel_state state = ops->channel_poll(c->channel);
    if (state != c->state) {
        probe_say("channel %s %s", c->name, names[state]);
        if (state == CHANNEL_OPEN)
            ops->channel_rings(c->channel, &c->rings);
    }
    c->state = state;
    if (state == CHANNEL_OPEN) {
        send_bytes(c);
        receive_bytes(c);
    }
}

/* ---- commands ---- */

static int make_channel(const char *name, int peer, const char *path, size_t size)
{
    struct probe_channel *c = new_channel(name);
    if (!c)
        return -ENOSPC;
    return size ? ops->offer(platform, peer, path, size, &c->channel)
                : ops->attach(platform, peer, path, &c->channel);
}

static int channel_command(const char *command, struct probe_channel *c, uint64_t count)
{
    if (!c)
        return -ENOENT;
    if (strcmp(command, "close") == 0) {
        ops->channel_close(c->channel);
        c->channel = NULL;
        return 0;
    }
    if (strcmp(command, "send") == 0)
        c->to_send += count;
    else if (strcmp(command, "receive") == 0)
        c->to_receive = c->received + count;
    else if (strcmp(command, "scribble") == 0)
        memset((void *)c->rings.in.shared, 0xA5, 16);
    else
        return -EINVAL;
    look_at(c);
    return 0;
}

static int probe_obey(const char *command, char *line)
{
    char a[256] = "", b[256] = "", c[256] = "", d[256] = "";
    int value = 0;
    sscanf(line, "%*s %255s %255s %n%255s %255s", a, b, &value, c, d);
    if (strcmp(command, "publish") == 0)
        return ops->publish(platform, a, line + value, atoi(b));
    if (strcmp(command, "retract") == 0)
        return ops->retract(platform, a);
    if (strcmp(command, "subscribe") == 0)
        return ops->subscribe(platform, a);
    if (strcmp(command, "unsubscribe") == 0)
        return ops->unsubscribe(platform, a);
    if (strcmp(command, "offer") == 0)
        return make_channel(a, atoi(b), c, strtoul(d, NULL, 10));
    if (strcmp(command, "attach") == 0)
        return make_channel(a, atoi(b), c, 0);
    if (strcmp(command, "abandon") == 0)
        _exit(0);
    return channel_command(command, probe_find(a), strtoull(b, NULL, 10));
}

/* False: the end. */
static bool take_line(void)
{
    char line[8192], command[32] = "";
    if (!fgets(line, sizeof(line), stdin))
        return false;
    line[strcspn(line, "\n")] = '\0';
    sscanf(line, "%31s", command);
    if (strcmp(command, "quit") == 0)
        return false;
    int error = probe_obey(command, line);
    if (error)
        probe_say("error %s: %s", command, strerror(-error));
    return true;
}

static bool tell_events(void)
{
    static struct store_event event;
    int result;
    while ((result = ops->next_event(platform, &event)) > 0) {
        if (event.present)
            probe_say("event %s = %s", event.path, event.value);
        else
            probe_say("event %s absent", event.path);
    }
    return result == 0;
}

static bool probe_turn(void)
{
    struct pollfd fds[2 + CHANNELS_MAX] = {
        {.fd = STDIN_FILENO, .events = POLLIN},
        {.fd = ops->event_fd(platform), .events = POLLIN},
    };
    for (int i = 0; i < CHANNELS_MAX; i++)
        fds[2 + i] =
            (struct pollfd){.fd = channels[i].channel ? ops->channel_fd(channels[i].channel) : -1,
                            .events = POLLIN};
    poll(fds, 2 + CHANNELS_MAX, -1);
    for (int i = 0; i < CHANNELS_MAX; i++)
        if (fds[2 + i].revents && channels[i].channel)
            look_at(&channels[i]);
    if (fds[1].revents && !tell_events())
        return false;
    return !fds[0].revents || take_line();
}

int main(void)
{
    struct platform_config config = {.domid = -1, .log = log_line};
    char why[256];
    setvbuf(stdin, NULL, _IONBF, 0);
    if (ops->open(&config, &platform, why, sizeof(why)) < 0) {
        fprintf(stderr, "probe: %s\n", why);
        return 1;
    }
    probe_say("domid %d", ops->domid(platform));
    while (probe_turn())
        ;
    uint64_t before = now_us();
    ops->close(platform);
    probe_say("closed %" PRIu64, now_us() - before);
    return 0;
}
