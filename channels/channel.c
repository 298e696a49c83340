/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "channels/channel.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channels/child.h"
#include "channels/clock.h"
#include "channels/hybrid.h"

#define PAUSE_FIRST_MS 100
#define PAUSE_CONNECT_MS 5000
#define PAUSE_LISTEN_MS 500
#define PAUSE_FULL_MS 250 /* less than a second */
#define UNTOLD_SECONDS 5
#define SAY_LINES 10
#define SAY_MS 10000
#define ACCEPTS_AT_ONCE 16
#define CLIENT_SECONDS 10
#define ANSWER_SECONDS CHANNEL_OPEN_SECONDS

struct joint {
    struct channel *channel;
    struct side sides[2]; /* until there is a bridge */
    int opening;          /* which side is being opened */
    unsigned attempt;
    unsigned waited_ms;      /* since its queue was full */
    uint32_t port;           /* that a client of ,connect has named */
    int error;               /* why a connect to IDC has failed, an errno, or 0 */
    struct hybrid_line line; /* of the client that names a port, then of the server that answers */
    int64_t line_limit_ms;   /* when it has to be complete */
    struct event event;      /* of the side that is being opened, or whose line is read */
    struct bridge *bridge;
    TAILQ_ENTRY(joint) entry;
};

struct channel {
    const struct bridge_loop *loop;
    struct channel_settings settings;
    struct opener *openers[2]; /* FROM, TO */
    int listening;             /* the end that listens, or -1 */
    int listener;              /* its descriptor, or -1 */
    bool lost;                 /* it is there, but nobody can come now */
    bool hybrid, ended;
    bool refuses;                   /* when it is full; else it lets them wait */
    unsigned running, processes;    /* of commands that have not ended, and how many there may be */
    struct event acceptable, again; /* again: after a pause */
    unsigned pause_ms;
    TAILQ_HEAD(, joint) joints;
    unsigned open;
    uint64_t joined, failed, bytes[2];
    char why[CHANNEL_WHY_MAX];
    int64_t said_since;
    unsigned said, unsaid;
};

static void joint_open(struct joint *joint);

/* ---- telling ---- */

static bool say_allowed(struct channel *channel)
{
    int64_t now = channels_now_ms();
    if (channel->said == 0 || now - channel->said_since >= SAY_MS) {
        char line[64];
        snprintf(line, sizeof(line), "%u lines were left out", channel->unsaid);
        if (channel->unsaid > 0)
            channel->settings.say(channel->settings.context, line);
        channel->said_since = now;
        channel->said = channel->unsaid = 0;
    }
    if (channel->said < SAY_LINES)
        return channel->said++, true;
    return channel->unsaid++, false;
}

/* why gets the end's text before it. False: it is not to be told, as the same again, attempt by
 * attempt. */
static bool channel_note(struct channel *channel, int end, const char *why, bool repeats)
{
    char line[CHANNEL_WHY_MAX];
    snprintf(line, sizeof(line), "%s: %s", opener_end(channel->openers[end])->text, why);
    bool again = repeats && strcmp(line, channel->why) == 0;
    memcpy(channel->why, line, sizeof(line));
    return !again && say_allowed(channel);
}

static void channel_say(struct channel *channel, int end, const char *why, bool repeats)
{
    if (channel_note(channel, end, why, repeats))
        channel->settings.say(channel->settings.context, channel->why);
}

/* As channel_say, with what can be done about it. */
static void channel_say_advised(struct channel *channel, int end, const char *why, uint32_t port,
                                int error)
{
    const struct channel_settings *settings = &channel->settings;
    char line[CHANNEL_WHY_MAX + CHANNEL_ADVICE_MAX], advice[CHANNEL_ADVICE_MAX];
    if (!channel_note(channel, end, why, channel->listening < 0))
        return;
    settings->advise(settings->context, opener_end(channel->openers[end]), port, error, why,
                     advice);
    snprintf(line, sizeof(line), "%s%s", channel->why, advice);
    settings->say(settings->context, line);
}

/* ---- pauses and the end ---- */

static void channel_end(struct channel *channel, bool failed)
{
    channel->ended = true;
    channel->settings.ended(channel->settings.context, failed);
}

static void channel_pause(struct channel *channel, unsigned longest_ms)
{
    unsigned ms = channel->pause_ms < longest_ms ? channel->pause_ms : longest_ms;
    struct timeval pause = {ms / 1000, (ms % 1000) * 1000};
    if (channel->pause_ms < longest_ms)
        channel->pause_ms *= 2;
    event_add(&channel->again, &pause);
}

/* ---- joints ---- */

/* A command may run for longer than its connection is open. */
static bool channel_has_all(const struct channel *channel)
{
    return channel->open >= channel->settings.max || channel->running >= channel->processes;
}

/* Has the next one to wait? */
static bool channel_is_full(const struct channel *channel)
{
    return channel_has_all(channel) && !channel->refuses;
}

static struct joint *joint_new(struct channel *channel)
{
    struct joint *joint = calloc(1, sizeof(*joint));
    if (joint == NULL)
        return NULL;
    joint->channel = channel;
    joint->sides[0] = joint->sides[1] = SIDE_NONE;
    TAILQ_INSERT_TAIL(&channel->joints, joint, entry);
    channel->open++;
    if (channel->settings.share != NULL)
        share_take(channel->settings.share);
    return joint;
}

static void joint_free(struct joint *joint, int error)
{
    struct channel *channel = joint->channel;
    if (event_initialized(&joint->event))
        event_del(&joint->event);
    if (joint->bridge != NULL)
        bridge_free(joint->bridge);
    for (int i = 0; i < 2; i++)
        side_close(&joint->sides[i], error);
    TAILQ_REMOVE(&channel->joints, joint, entry);
    channel->open--;
    if (channel->settings.share != NULL)
        share_give(channel->settings.share);
    free(joint);
}

/* Goes on after a joint is gone. */
static void channel_go_on(struct channel *channel, bool failed)
{
    if (channel->settings.once)
        channel_end(channel, failed);
    else if (channel->listening < 0)
        channel_pause(channel, PAUSE_CONNECT_MS);
    else if (channel->listener >= 0 && !channel_is_full(channel))
        event_add(&channel->acceptable, NULL);
}

static void channel_child_ended(void *context)
{
    struct channel *channel = context;
    channel->running--;
    if (channel->listener >= 0 && !channel->settings.once && !channel_is_full(channel))
        event_add(&channel->acceptable, NULL);
}

static void joint_give_up(struct joint *joint)
{
    struct channel *channel = joint->channel;
    joint_free(joint, ECONNABORTED);
    channel_go_on(channel, true);
}

static void joint_untold_event(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    joint_give_up(argument);
}

/* A client that has said nothing yet can't be told of a reset. Most say something at once. */
static bool joint_waits_to_tell(struct joint *joint)
{
    static const struct timeval limit = {UNTOLD_SECONDS, 0};
    struct channel *channel = joint->channel;
    const struct side *client = &joint->sides[channel->listening < 0 ? 0 : channel->listening];
    if (channel->listening < 0 || !side_is_untold(client))
        return false;
    event_assign(&joint->event, channel->loop->base, client->in, EV_READ, joint_untold_event,
                 joint);
    return event_add(&joint->event, &limit) == 0;
}

static void joint_note_failed(struct joint *joint, int end, const char *why)
{
    struct channel *channel = joint->channel;
    channel->failed++;
    if (joint->error != 0 && channel->settings.advise != NULL)
        channel_say_advised(channel, end, why, joint->port, joint->error);
    else
        channel_say(channel, end, why, channel->listening < 0);
    if (event_initialized(&joint->event))
        event_del(&joint->event);
}

static void joint_failed(struct joint *joint, int end, const char *why)
{
    joint_note_failed(joint, end, why);
    if (!joint_waits_to_tell(joint))
        joint_give_up(joint);
}

static void joint_open_failed(struct joint *joint, int error, const char *why)
{
    const struct end *end = opener_end(joint->channel->openers[joint->opening]);
    joint->error = end->kind == END_IDC ? -error : 0;
    joint_failed(joint, joint->opening, why);
}

static void joint_over(void *context, const struct bridge_outcome *outcome)
{
    struct joint *joint = context;
    struct channel *channel = joint->channel;
    bool failed = outcome->error != 0;
    joint->bridge = NULL;
    for (int i = 0; i < 2; i++)
        channel->bytes[i] += outcome->bytes[i];
    if (failed) {
        channel->failed++;
        channel_say(channel, outcome->where, outcome->why, false);
    }
    joint_free(joint, outcome->error);
    channel_go_on(channel, failed);
}

static void joint_join(struct joint *joint)
{
    struct channel *channel = joint->channel;
    struct side sides[2] = {joint->sides[0], joint->sides[1]};
    if (channel->hybrid && hybrid_say_ok(&joint->sides[channel->listening], joint->port) < 0) {
        joint_failed(joint, channel->listening, "the client has gone");
        return;
    }
    joint->sides[0] = joint->sides[1] = SIDE_NONE;
    joint->bridge = bridge_new(channel->loop, sides, joint_over, joint);
    if (joint->bridge == NULL) {
        joint_failed(joint, 0, strerror(ENOMEM));
        return;
    }
    channel->joined++;
    channel->pause_ms = PAUSE_FIRST_MS;
    if (channel->listening < 0)
        channel->why[0] = '\0';
}

/* A side is open. Of a channel that does not listen, FROM follows after TO. */
static void joint_opened(struct joint *joint)
{
    if (joint->channel->listening >= 0 || joint->opening == 0) {
        joint_join(joint);
        return;
    }
    joint->opening = 0;
    joint->attempt = 0;
    joint_open(joint);
}

/* ---- the hybrid form: a line by which a port is named, and one that answers ---- */

/* However many bytes come one by one, the time for all of them is the same. False: no memory. */
static bool line_wait(struct joint *joint, int end, event_callback_fn callback)
{
    int64_t left_ms = joint->line_limit_ms - channels_now_ms();
    struct timeval left = {left_ms / 1000, left_ms % 1000 * 1000};
    if (left_ms <= 0)
        left = (struct timeval){0, 1};
    event_assign(&joint->event, joint->channel->loop->base, joint->sides[end].in, EV_READ, callback,
                 joint);
    return event_add(&joint->event, &left) == 0;
}

static void line_begin(struct joint *joint, int end, int seconds, event_callback_fn callback)
{
    joint->line = (struct hybrid_line){.len = 0};
    joint->line_limit_ms = channels_now_ms() + seconds * 1000;
    if (!line_wait(joint, end, callback))
        joint_failed(joint, end, strerror(ENOMEM));
}

static void answer_failed(struct joint *joint, int error)
{
    char why[OPENER_WHY_MAX], shown[HYBRID_SHOWN_MAX];
    if (error == -ETIMEDOUT)
        snprintf(why, sizeof(why), "it does not answer to CONNECT");
    else if (error == -EPROTO)
        snprintf(why, sizeof(why), "it answers \"%s\", and not OK PORT",
                 hybrid_shown(&joint->line, shown));
    else
        snprintf(why, sizeof(why), "it has closed, and not said OK: nobody serves that port");
    joint_failed(joint, joint->opening, why);
}

static void answer_event(evutil_socket_t fd, short what, void *argument)
{
    struct joint *joint = argument;
    (void)fd;
    int error = what & EV_TIMEOUT ? -ETIMEDOUT
                                  : hybrid_read_ok(&joint->line, &joint->sides[joint->opening]);
    if (error == 0)
        joint_opened(joint);
    else if (error != -EAGAIN)
        answer_failed(joint, error);
    else if (!line_wait(joint, joint->opening, answer_event))
        joint_failed(joint, joint->opening, strerror(ENOMEM));
}

/* A side is open. If many ports are behind it, it has to be told which one is meant. */
static void joint_connected(struct joint *joint)
{
    const struct end *end = opener_end(joint->channel->openers[joint->opening]);
    if (end->kind != END_UNIX || !end->hybrid) {
        joint_opened(joint);
        return;
    }
    const struct side *side = &joint->sides[joint->opening];
    int error = hybrid_say_connect(side, end->named_port ? joint->port : end->port);
    if (error < 0)
        answer_failed(joint, error);
    else
        line_begin(joint, joint->opening, ANSWER_SECONDS, answer_event);
}

/* ---- opening ---- */

static void joint_connect_event(evutil_socket_t fd, short what, void *argument)
{
    struct joint *joint = argument;
    struct opener *opener = joint->channel->openers[joint->opening];
    char why[OPENER_WHY_MAX];
    (void)fd;
    if (what & EV_TIMEOUT) {
        joint_failed(joint, joint->opening, "it does not answer");
        return;
    }
    int error = opener_finish(opener, joint->attempt, &joint->sides[joint->opening], why);
    if (error == -EINPROGRESS)
        return;
    event_del(&joint->event);
    if (error == -EAGAIN) {
        side_close(&joint->sides[joint->opening], 0);
        joint->attempt++;
        joint_open(joint);
    } else if (error < 0) {
        joint_open_failed(joint, error, why);
    } else {
        joint_connected(joint);
    }
}

static void joint_open_again(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    joint_open(argument);
}

/* As connect would wait, if it may. The longer it takes, the longer are the pauses. */
static bool joint_wait(struct joint *joint)
{
    unsigned ms = joint->waited_ms < PAUSE_FULL_MS ? joint->waited_ms + 10 : PAUSE_FULL_MS;
    struct timeval pause = {0, ms * 1000};
    if (joint->waited_ms >= CHANNEL_OPEN_SECONDS * 1000)
        return false;
    joint->waited_ms += ms;
    evtimer_assign(&joint->event, joint->channel->loop->base, joint_open_again, joint);
    return event_add(&joint->event, &pause) == 0;
}

static void joint_open(struct joint *joint)
{
    static const struct timeval limit = {CHANNEL_OPEN_SECONDS, 0};
    struct channel *channel = joint->channel;
    struct side *side = &joint->sides[joint->opening];
    char why[OPENER_WHY_MAX] = "";
    int error =
        opener_open(channel->openers[joint->opening], joint->port, joint->attempt, side, why);
    if (side->child != NULL)
        channel->running++;
    if (error == 0) {
        joint_connected(joint);
        return;
    }
    if (error == -EAGAIN && joint_wait(joint))
        return;
    if (error != -EINPROGRESS) {
        joint_open_failed(joint, error, why);
        return;
    }
    event_assign(&joint->event, channel->loop->base, side->out, EV_WRITE | EV_PERSIST,
                 joint_connect_event, joint);
    if (event_add(&joint->event, &limit) < 0)
        joint_failed(joint, joint->opening, strerror(ENOMEM));
}

/* It is wrong itself, and need not be told more than that. */
static void client_failed(struct joint *joint, const char *why)
{
    joint_note_failed(joint, joint->channel->listening, why);
    joint_give_up(joint);
}

static void client_event(evutil_socket_t fd, short what, void *argument)
{
    struct joint *joint = argument;
    int client = joint->channel->listening;
    (void)fd;
    int error = what & EV_TIMEOUT
                    ? -ETIMEDOUT
                    : hybrid_read_connect(&joint->line, &joint->sides[client], &joint->port);
    if (error == 0)
        joint_open(joint);
    else if (error != -EAGAIN)
        client_failed(joint, error == -ETIMEDOUT ? "a client names no port"
                                                 : "a client does not say CONNECT PORT");
    else if (!line_wait(joint, client, client_event))
        client_failed(joint, strerror(ENOMEM));
}

/* ---- listening ---- */

static void channel_relisten(struct channel *channel)
{
    event_del(&channel->acceptable);
    opener_unlisten(channel->openers[channel->listening], channel->listener);
    channel->listener = -1;
    channel_pause(channel, PAUSE_LISTEN_MS);
}

static void accept_failed(struct channel *channel, int error, const char *why)
{
    if (error == -EAGAIN)
        return;
    if (error == OPENER_FOUND) {
        channel->lost = false;
        channel->why[0] = '\0';
        return;
    }
    channel_say(channel, channel->listening, why, true);
    channel->lost = error == OPENER_LOST;
    if (channel->lost)
        return;
    if (error != -EMFILE && error != -ENFILE && error != -ENOBUFS && error != -ENOMEM) {
        channel_relisten(channel);
        return;
    }
    event_del(&channel->acceptable); /* something has to be closed first */
    channel_pause(channel, PAUSE_LISTEN_MS);
}

static void channel_tell_share(const struct channel *channel, const struct shares *shares,
                               char why[OPENER_WHY_MAX])
{
    unsigned total = shares_total(shares);
    if (total == 0)
        snprintf(why, OPENER_WHY_MAX,
                 "refused: the limit of descriptors leaves no connection to %u channels",
                 shares->count);
    else if (shares_are_used_up(shares))
        snprintf(why, OPENER_WHY_MAX,
                 "refused: there are all %u connections already that the limit of descriptors "
                 "allows to all %u channels",
                 total, shares->count);
    else
        snprintf(why, OPENER_WHY_MAX,
                 "refused: with %u connections this channel has its share, of %u that the limit of "
                 "descriptors allows to all %u channels",
                 channel->open, total, shares->count);
}

/* False: somebody has come, and there is no room for him; why says so. */
static bool channel_admits(const struct channel *channel, char why[OPENER_WHY_MAX])
{
    const struct share *share = channel->settings.share;
    if (channel_has_all(channel)) {
        snprintf(why, OPENER_WHY_MAX, "refused: there are %u connections or commands already",
                 channel->settings.max);
        return false;
    }
    if (share == NULL || share_has_room(share))
        return true;
    channel_tell_share(channel, share->shares, why);
    return false;
}

/* Nobody waits for his first byte, by which he could be told of a reset: he may never send it. */
static void channel_refuse(struct channel *channel, struct side *side, const char *why)
{
    side_close(side, ECONNABORTED);
    channel->failed++;
    channel_say(channel, channel->listening, why, true);
}

/* False: there is no other one now. */
static bool channel_accept(struct channel *channel)
{
    struct side side = SIDE_NONE;
    char why[OPENER_WHY_MAX];
    int error = opener_accept(channel->openers[channel->listening], channel->listener, &side, why);
    if (error < 0) {
        accept_failed(channel, error, why);
        return false;
    }
    if (!channel_admits(channel, why)) {
        channel_refuse(channel, &side, why);
        return true;
    }
    struct joint *joint = joint_new(channel);
    if (joint == NULL) {
        side_close(&side, ENOMEM);
        return false;
    }
    joint->sides[channel->listening] = side;
    joint->opening = 1 - channel->listening;
    if (channel->hybrid)
        line_begin(joint, channel->listening, CLIENT_SECONDS, client_event);
    else
        joint_open(joint); /* it may be over with this, or have started a command */
    bool more = !channel_is_full(channel) && !channel->settings.once;
    if (!more)
        event_del(&channel->acceptable);
    return more;
}

static void accept_event(evutil_socket_t fd, short what, void *argument)
{
    struct channel *channel = argument;
    (void)fd;
    (void)what;
    for (int i = 0; i < ACCEPTS_AT_ONCE && !channel->ended && channel_accept(channel); i++)
        ;
}

/* 0 or a negative errno, with the reason in why. */
static int channel_listen(struct channel *channel, char why[OPENER_WHY_MAX])
{
    struct opener *opener = channel->openers[channel->listening];
    int error = opener_listen(opener, &channel->listener, why);
    if (error < 0)
        return error;
    if (opener_reaches(channel->openers[1 - channel->listening], opener)) {
        opener_unlisten(opener, channel->listener);
        channel->listener = -1;
        snprintf(why, OPENER_WHY_MAX, "the other end leads to this one, so it would never stop");
        return -ELOOP;
    }
    event_assign(&channel->acceptable, channel->loop->base, channel->listener, EV_READ | EV_PERSIST,
                 accept_event, channel);
    if (event_add(&channel->acceptable, NULL) < 0) {
        opener_unlisten(opener, channel->listener);
        channel->listener = -1;
        snprintf(why, OPENER_WHY_MAX, "%s", strerror(ENOMEM));
        return -ENOMEM;
    }
    channel->pause_ms = PAUSE_FIRST_MS;
    channel->why[0] = '\0';
    channel->lost = false;
    return 0;
}

/* ---- the channel ---- */

static void channel_join_pair(struct channel *channel)
{
    struct joint *joint = joint_new(channel);
    if (joint == NULL) {
        channel_pause(channel, PAUSE_CONNECT_MS);
        return;
    }
    joint->opening = 1;
    joint_open(joint);
}

static void channel_begin(struct channel *channel)
{
    char why[OPENER_WHY_MAX];
    if (channel->listening < 0 && channel->running >= channel->processes) {
        channel_pause(channel, PAUSE_CONNECT_MS);
    } else if (channel->listening < 0) {
        channel_join_pair(channel);
    } else if (channel->listener >= 0) {
        if (!channel_is_full(channel))
            event_add(&channel->acceptable, NULL);
    } else if (channel_listen(channel, why) < 0) {
        channel_say(channel, channel->listening, why, true);
        channel_pause(channel, PAUSE_LISTEN_MS);
    }
}

static void again_event(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    channel_begin(argument);
}

static struct channel *channel_make(const struct bridge_loop *loop,
                                    const struct channel_settings *settings)
{
    struct channel *channel = calloc(1, sizeof(*channel));
    if (channel == NULL)
        return NULL;
    channel->loop = loop;
    channel->settings = *settings;
    channel->settings.opener.ended = channel_child_ended;
    channel->settings.opener.context = channel;
    channel->listener = -1;
    channel->pause_ms = PAUSE_FIRST_MS;
    TAILQ_INIT(&channel->joints);
    event_assign(&channel->acceptable, loop->base, -1, 0, accept_event, channel);
    evtimer_assign(&channel->again, loop->base, again_event, channel);
    return channel;
}

/* What there is only one of can't be in two joints. */
static void channel_bound(struct channel *channel, const struct end *from, const struct end *to)
{
    bool single = end_is_single(from) || end_is_single(to);
    channel->refuses = channel->settings.share != NULL && channel->settings.max == 0 && !single;
    if (channel->settings.max == 0)
        channel->settings.max = CHANNEL_MAX_DEFAULT;
    channel->processes = channel->settings.max;
    if (single)
        channel->settings.max = 1;
    bool passes = (end_is_single(from) && from->kind != END_PTY) ||
                  (end_is_single(to) && to->kind != END_PTY);
    channel->settings.once = channel->settings.once || passes;
}

static int channel_open_ends(struct channel *channel, const struct end *from, const struct end *to,
                             char why[CHANNEL_WHY_MAX])
{
    const struct end *ends[2] = {from, to}, *listening, *other;
    char wrong[OPENER_WHY_MAX];
    end_match(from, to, &listening, &other, wrong);
    channel->listening = listening == NULL ? -1 : listening == to;
    channel->hybrid = listening != NULL && listening->hybrid;
    for (int i = 0; i < 2; i++) {
        channel->openers[i] = opener_new(ends[i], &channel->settings.opener, wrong);
        if (channel->openers[i] == NULL) {
            snprintf(why, CHANNEL_WHY_MAX, "%s: %s", ends[i]->text, wrong);
            return -1;
        }
    }
    if (listening == NULL || channel_listen(channel, wrong) == 0)
        return 0;
    snprintf(why, CHANNEL_WHY_MAX, "%s: %s", listening->text, wrong);
    if (!channel->settings.patient)
        return -1;
    channel_say(channel, channel->listening, wrong, true);
    channel_pause(channel, PAUSE_LISTEN_MS);
    return 0;
}

struct channel *channel_new(const struct bridge_loop *loop, const struct end *from,
                            const struct end *to, const struct channel_settings *settings,
                            char why[CHANNEL_WHY_MAX])
{
    static const struct timeval at_once = {0, 0};
    struct channel *channel = channel_make(loop, settings);
    if (channel == NULL) {
        snprintf(why, CHANNEL_WHY_MAX, "%s", strerror(ENOMEM));
        return NULL;
    }
    channel_bound(channel, from, to);
    if (channel_open_ends(channel, from, to, why) < 0) {
        channel_free(channel);
        return NULL;
    }
    if (channel->listening < 0)
        event_add(&channel->again, &at_once);
    return channel;
}

void channel_free(struct channel *channel)
{
    struct joint *joint;
    if (channel == NULL)
        return;
    event_del(&channel->acceptable);
    event_del(&channel->again);
    while ((joint = TAILQ_FIRST(&channel->joints)) != NULL)
        joint_free(joint, ECONNABORTED);
    if (channel->listener >= 0)
        opener_unlisten(channel->openers[channel->listening], channel->listener);
    if (!channel->ended)
        child_terminate_all(channel); /* also those whose client has gone */
    child_forget(channel);
    for (int i = 0; i < 2; i++)
        opener_free(channel->openers[i]);
    free(channel);
}

void channel_reopen(struct channel *channel)
{
    char why[OPENER_WHY_MAX];
    for (int i = 0; i < 2; i++)
        if (opener_reopen(channel->openers[i], why) < 0)
            channel_say(channel, i, why, false);
}

void channel_get_state(const struct channel *channel, struct channel_state *state)
{
    const struct joint *joint;
    *state = (struct channel_state){.open = channel->open,
                                    .joined = channel->joined,
                                    .failed = channel->failed,
                                    .bytes = {channel->bytes[0], channel->bytes[1]},
                                    .why = channel->why};
    bool bridged = false;
    TAILQ_FOREACH (joint, &channel->joints, entry) {
        bridged = bridged || joint->bridge != NULL;
        for (int i = 0; i < 2 && joint->bridge != NULL; i++)
            state->bytes[i] += bridge_bytes(joint->bridge, i);
    }
    if (channel->ended)
        state->word = "ended";
    else if (channel->listener >= 0 && !channel->lost)
        state->word = "listening";
    else if (channel->open == 0 || channel->listening >= 0)
        state->word = "waiting";
    else
        state->word = bridged ? "connected" : "connecting";
}
