/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * channel.h - FROM and TO, joined by bridges as connections come and go.
 *
 * Theory of operation
 *
 * One of the two ends listens: each connection that it accepts is a joint. The other end is opened
 * for it, in the background, and then a bridge (bridge.h) joins the two. If it can't be opened, the
 * connection gets a reset. With `max` joints, no more connections are accepted. They wait where
 * they came from, and when that has no room, they are refused there. A command counts until its
 * process has ended, also after its joint is over.
 *
 * Among the channels of a process each has a share of its descriptors (share.h). Who comes beyond
 * that is refused at once, and so is who comes beyond the usual max, since nobody has said that he
 * is to wait.
 *
 * Neither end listens: there is one joint at a time. TO is opened first, so that nothing of FROM is
 * taken before there is somebody to take it. When the joint is over, the next one follows after a
 * pause. The pause is doubled each time that nothing came about, up to five seconds.
 *
 * A listener of IDC outlives its link_mgr (libidc). A listener that ends is made anew in the same
 * way, with pauses up to half a second. Connections that are open stay as they are.
 *
 * With `once`, the channel ends after the first joint.
 *
 * What goes wrong is told in one line each, ten lines in ten seconds at most. A later line tells
 * how many were left out. A failure that repeats itself with each attempt is told once.
 */
#ifndef IDC_CHANNELS_CHANNEL_H
#define IDC_CHANNELS_CHANNEL_H

#include "channels/bridge.h"
#include "channels/opener.h"
#include "channels/share.h"

#define CHANNEL_WHY_MAX (END_TEXT_MAX + OPENER_WHY_MAX + 64)
#define CHANNEL_ADVICE_MAX 1024
#define CHANNEL_MAX_DEFAULT 4096
#define CHANNEL_OPEN_SECONDS 30

struct channel;

struct channel_settings {
    struct opener_settings opener;
    unsigned max;        /* joints at a time, and processes of exec; 0: CHANNEL_MAX_DEFAULT */
    struct share *share; /* that must outlive the channel; NULL: there are no others */
    bool once;
    bool patient; /* the first attempt to listen may fail too */
    /* A line without its newline. */
    void (*say)(void *context, const char *line);
    /* What can be done about a connect to IDC that failed: for the end of its line, if that is
     * told. port: the one that a client has named. May be NULL. */
    void (*advise)(void *context, const struct end *end, uint32_t port, int error, const char *why,
                   char advice[CHANNEL_ADVICE_MAX]);
    /* The channel has come to its end. It must not be freed within the call. */
    void (*ended)(void *context, bool failed);
    void *context;
};

struct channel_state {
    const char *word; /* "listening", "connected", "connecting", "waiting", "ended" */
    unsigned open;    /* joints now */
    uint64_t joined, failed, bytes[2]; /* since the beginning, from FROM and from TO */
    const char *why;                   /* what went wrong latest, or "" */
};

/* NULL: why says what is wrong. The ends must match (end_match). loop must outlive the channel. */
struct channel *channel_new(const struct bridge_loop *loop, const struct end *from,
                            const struct end *to, const struct channel_settings *settings,
                            char why[CHANNEL_WHY_MAX]);
/* Connections that are open get a reset. Unless it has ended by itself, commands get SIGTERM. */
void channel_free(struct channel *channel);
/* Reopens files. */
void channel_reopen(struct channel *channel);
void channel_get_state(const struct channel *channel, struct channel_state *state);

#endif
