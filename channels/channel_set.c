/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "channels/channel_set.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "common/shown.h"

#define PAUSE_FIRST_MS 100
#define PAUSE_MS 5000
#define PAUSE_LOOK_UP_MS 60000

struct channel_item {
    struct channel_set *set;
    struct channel_line line;
    struct share share;
    struct channel *channel; /* NULL: it could not begin */
    struct event again;
    unsigned pause_ms;
    char why[CHANNEL_WHY_MAX]; /* why it could not */
    bool stays;                /* while lines are compared */
    TAILQ_ENTRY(channel_item) entry;
};

struct channel_set {
    struct channel_set_settings settings;
    struct shares shares;
    TAILQ_HEAD(, channel_item) items;
};

/* ---- one channel ---- */

static void item_say(void *context, const char *text)
{
    const struct channel_item *item = context;
    const struct channel_set_settings *settings = &item->set->settings;
    char line[CHANNEL_NAME_MAX + CHANNEL_WHY_MAX + 4];
    snprintf(line, sizeof(line), "%s: %s", item->line.name, text);
    settings->say(settings->context, line);
}

static void item_pause(struct channel_item *item)
{
    struct timeval pause = {item->pause_ms / 1000, (item->pause_ms % 1000) * 1000};
    event_add(&item->again, &pause);
}

/* No channel of a file comes to its end by itself. If one did, it would begin again. */
static void item_ended(void *context, bool failed)
{
    struct channel_item *item = context;
    (void)failed;
    item_pause(item);
}

static bool end_is_looked_up(const struct end *end)
{
    struct in6_addr address;
    return end->kind == END_TCP && inet_pton(AF_INET, end->where, &address) != 1 &&
           inet_pton(AF_INET6, end->where, &address) != 1;
}

static void item_failed(struct channel_item *item, const char *why)
{
    bool slow = end_is_looked_up(&item->line.from) || end_is_looked_up(&item->line.to);
    unsigned longest = slow ? PAUSE_LOOK_UP_MS : PAUSE_MS;
    if (strcmp(item->why, why) != 0)
        item_say(item, why);
    snprintf(item->why, sizeof(item->why), "%s", why);
    item_pause(item);
    item->pause_ms = item->pause_ms * 2 < longest ? item->pause_ms * 2 : longest;
}

static void item_begin(struct channel_item *item)
{
    const struct channel_set_settings *all = &item->set->settings;
    struct channel_settings settings = {
        .opener = {.link_mgr = all->link_mgr, .mode = item->line.mode},
        .max = item->line.max,
        .share = &item->share,
        .patient = true,
        .say = item_say,
        .ended = item_ended,
        .context = item,
    };
    char why[CHANNEL_WHY_MAX] = "";
    item->channel = channel_new(all->loop, &item->line.from, &item->line.to, &settings, why);
    if (item->channel == NULL) {
        item_failed(item, why);
        return;
    }
    item->why[0] = '\0';
    item->pause_ms = PAUSE_FIRST_MS;
}

static void item_again(evutil_socket_t fd, short what, void *argument)
{
    struct channel_item *item = argument;
    (void)fd;
    (void)what;
    channel_free(item->channel);
    item->channel = NULL;
    item_begin(item);
}

static void item_end(struct channel_item *item)
{
    TAILQ_REMOVE(&item->set->items, item, entry);
    event_del(&item->again);
    channel_free(item->channel);
    share_leave(&item->share);
    free(item);
}

/* Descriptors that are open as long as the channel is there. */
static unsigned end_keeps(const struct end *end)
{
    if (end->kind == END_IDC_LISTEN)
        return 4; /* one of them while it is made anew */
    if (end->kind == END_PTY)
        return 2;
    return end_listens(end) || end->kind == END_FILE;
}

static struct channel_item *item_new(struct channel_set *set, const struct channel_line *line)
{
    struct channel_item *item = calloc(1, sizeof(*item));
    if (item == NULL)
        return NULL;
    item->set = set;
    item->line = *line;
    item->stays = true;
    item->pause_ms = PAUSE_FIRST_MS;
    evtimer_assign(&item->again, set->settings.loop->base, item_again, item);
    share_join(&item->share, &set->shares, end_keeps(&line->from) + end_keeps(&line->to));
    TAILQ_INSERT_TAIL(&set->items, item, entry);
    return item;
}

/* ---- all of them ---- */

static struct channel_item *set_find(const struct channel_set *set, const char *name)
{
    struct channel_item *item;
    TAILQ_FOREACH (item, &set->items, entry)
        if (strcmp(item->line.name, name) == 0)
            return item;
    return NULL;
}

static void set_mark(struct channel_set *set, const struct channel_list *list)
{
    struct channel_item *item;
    TAILQ_FOREACH (item, &set->items, entry)
        item->stays = false;
    for (size_t i = 0; i < list->count; i++) {
        const struct channel_entry *entry = &list->entries[i];
        item = set_find(set, entry->line.name);
        if (item != NULL)
            item->stays = entry->wrong || channel_line_is_same(&item->line, &entry->line);
    }
}

static void set_end_others(struct channel_set *set)
{
    struct channel_item *item, *next;
    for (item = TAILQ_FIRST(&set->items); item != NULL; item = next) {
        next = TAILQ_NEXT(item, entry);
        if (!item->stays)
            item_end(item);
        else if (item->channel != NULL)
            channel_reopen(item->channel);
    }
}

static int set_begin_new(struct channel_set *set, const struct channel_list *list)
{
    int error = 0;
    for (size_t i = 0; i < list->count; i++) {
        const struct channel_entry *entry = &list->entries[i];
        if (entry->wrong || set_find(set, entry->line.name) != NULL)
            continue;
        struct channel_item *item = item_new(set, &entry->line);
        if (item != NULL)
            item_begin(item);
        else
            error = -ENOMEM;
    }
    return error;
}

static void set_warn(const struct channel_set *set)
{
    char line[CHANNEL_WHY_MAX];
    unsigned needed = shares_needed(&set->shares);
    if (needed == 0)
        return;
    snprintf(line, sizeof(line),
             "the limit of %u descriptors is too small for %u channels, some will refuse all who "
             "come: %u would do (LimitNOFILE=, ulimit -n)",
             set->shares.descriptors, set->shares.count, needed);
    set->settings.say(set->settings.context, line);
}

int channel_set_sync(struct channel_set *set, const struct channel_list *list)
{
    set_mark(set, list);
    set_end_others(set);
    int error = set_begin_new(set, list);
    set_warn(set);
    return error;
}

struct channel_set *channel_set_new(const struct channel_set_settings *settings)
{
    struct channel_set *set = calloc(1, sizeof(*set));
    if (set == NULL)
        return NULL;
    set->settings = *settings;
    shares_begin(&set->shares, settings->descriptors);
    TAILQ_INIT(&set->items);
    return set;
}

void channel_set_free(struct channel_set *set)
{
    struct channel_item *item;
    if (set == NULL)
        return;
    while ((item = TAILQ_FIRST(&set->items)) != NULL)
        item_end(item);
    free(set);
}

/* ---- telling ---- */

/* What a reader of the report is told, in one word. */
static const char *state_word(const struct channel_state *state)
{
    if (strcmp(state->word, "listening") == 0)
        return state->open > 0 ? "connected" : "listening";
    if (state->open > 0 && strcmp(state->word, "connecting") != 0)
        return "connected";
    return state->why[0] != '\0' ? "failing" : "waiting";
}

static int report_item(const struct channel_item *item, struct evbuffer *out)
{
    struct channel_state state = {.word = "waiting", .why = item->why};
    char why[CHANNEL_WHY_MAX];
    if (item->channel != NULL)
        channel_get_state(item->channel, &state);
    /* from link_mgr, or from the system */
    shown_text(why, sizeof(why), state.why, strlen(state.why), SHOWN_UTF8);
    return evbuffer_add_printf(
        out, "%s\t%s\t%s\t%s\t%u\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\t%s\n",
        item->line.name, item->line.from.text, item->line.to.text, state_word(&state), state.open,
        state.joined, state.failed, state.bytes[0], state.bytes[1], why);
}

int channel_set_report(const struct channel_set *set, struct evbuffer *out)
{
    const struct channel_item *item;
    int count = 0;
    TAILQ_FOREACH (item, &set->items, entry) {
        if (report_item(item, out) < 0)
            return -ENOMEM;
        count++;
    }
    return count;
}
