/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * host.h - what the core needs from whoever runs it: the daemon, the simulation, a unit test.
 *
 * The core has no descriptor, clock, or system call of its own. Through these functions it reaches
 * the platform, the clock, and the program's side of a connection (an endpoint, which belongs to
 * the host). None of them may call back into the core.
 */
#ifndef IDC_HOST_H
#define IDC_HOST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "common/log_limit.h"
#include "idc.h"
#include "link_mgr/core/reason.h"
#include "link_mgr/core/platform.h"

#define PUSH_LENT ((ssize_t)IDC_MESSAGE_MAX + 1) /* more than any length */

struct endpoint;
struct capture_frame;
struct conn;
struct judge_question;
struct judge_verdict;
struct listener;

struct host {
    void *ctx;
    const struct platform_ops *ops;
    struct platform *platform;

    /* ---- endpoints ----
     * The core takes a new endpoint to have nothing yet. If bytes are there already, the host calls
     * conn_readable. */

    /* Takes bytes from the program, straight into the spans. Returns how many. Of a stream that is
     * at least 1. Of a message, the one whose length `message` returned, it is all that the spans
     * have room for. 0: the program will send no more (stream only). -EAGAIN: there is nothing now;
     * the host will call conn_readable. -ECONNRESET: the program closed with bytes unread.
     * -EPERM: it has sent descriptors. */
    ssize_t (*pull)(struct endpoint *ep, const struct iovec *spans, int count);
    /* Length of the program's next message, or -EAGAIN, -ENODATA (the program will send no more),
     * -ECONNRESET, -EMSGSIZE, -EPERM. If a message was pulled in part, its rest is dropped. */
    ssize_t (*message)(struct endpoint *ep);
    /* Asked after the end of what the program sends. Has it closed altogether, so that it will not
     * read either? */
    bool (*gone)(struct endpoint *ep);
    /* Gives bytes to the program. Stream: returns how many it took (1 or more). Message: it takes
     * all or none. PUSH_LENT: it took the message, which stays in our memory until the program has
     * received it. Then the host will call conn_writable, and nothing is pushed before. -EAGAIN:
     * there is no room now; the host will call conn_writable. -EPIPE: the program will not read any
     * more. -ECONNRESET: it has closed. */
    ssize_t (*push)(struct endpoint *ep, const struct iovec *spans, int count);
    /* SHUT_WR: the program reads to the end. SHUT_RD: the program's writes fail with EPIPE from now
     * on. */
    void (*shut)(struct endpoint *ep, int how);
    /* Ends the endpoint, and forgets it. REASON_OK: the program reads to the end, and can't write
     * any more. (If it has written something that was not pulled, it sees ECONNRESET.) Other
     * reasons: the program sees ECONNRESET once it has read what was given to it. */
    void (*close)(struct endpoint *ep, enum reason reason);

    /* ---- answers ---- */

    /* The answer to core_connect, whose cookie this is. REASON_OK: the host fills in *ep, or
     * returns false if it could not make one; then the connection is given up. After any other
     * reason conn is freed. */
    bool (*connected)(struct host *host, void *cookie, struct conn *conn, enum reason reason,
                      struct endpoint **ep);
    /* A connection has come for listener, whose backlog has room. REASON_OK: *ep was filled in.
     * Otherwise the connection is refused for that reason. */
    enum reason (*incoming)(struct host *host, struct listener *listener, struct conn *conn,
                            struct endpoint **ep);
    /* A request of another domain was refused, for any reason. The verdict is that of our policy,
     * about the listener that there may be. NULL: the host does not ask. */
    void (*refused)(struct host *host, const struct judge_question *question, enum reason reason,
                    const struct judge_verdict *verdict);
    /* Does its program still listen? It may have closed the listener without the core knowing yet.
     * offer: a connection is about to be handed to it (incoming). Then the answer may be yes if the
     * hand-over would notice and say REASON_NO_LISTENER. */
    bool (*listening)(struct host *host, struct listener *listener, bool offer);

    /* The listener has ended, and is about to be freed. */
    void (*unlistened)(struct host *host, const struct listener *listener);

    /* ---- loop ---- */

    /* Watches the descriptor of a peer's channel (token is for core_channel_event), or stops
     * watching it (fd -1). 0 or negative errno; then it is not watched. */
    int (*watch)(struct host *host, void *token, int fd, void **watch);
    uint64_t (*now)(struct host *host);  /* monotonic, ms */
    uint64_t (*wall)(struct host *host); /* since 1970, ms; somebody may set it */
    uint64_t (*random64)(struct host *host);
    /* limit is that of the peer that the line is about. So a peer that causes many lines doesn't
     * hide the lines about others. */
    void (*log)(struct host *host, struct log_limit *limit, int priority, const char *text);
    /* A frame passes (capture.h). NULL, which the host may set and take away between two turns:
     * nobody wants to see them. */
    void (*frame)(struct host *host, const struct capture_frame *frame);
};

#endif
