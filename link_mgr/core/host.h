/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * host.h - what the core needs from whoever runs it: the daemon, the simulation, a unit test.
 *
 * The core has no descriptor, clock, or system call of its own. It reaches the program's side of a
 * connection (an endpoint, which is the host's) and the platform through these functions, and is
 * told the time with each turn. None of them may call back into the core.
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

struct endpoint;
struct conn;
struct listener;

struct host {
    void *ctx;
    const struct platform_ops *ops;
    struct platform *platform;

    /* ---- endpoints ----
     * A new one counts as having nothing yet: the core is told by conn_readable of what is there
     * already. */

    /* Takes bytes from the program, straight into the spans. Returns how many (stream: at least 1;
     * message: all that the spans have room for, of the message that `message` told of); 0: the
     * program will send no more (stream only); -EAGAIN: nothing now, the core is told by
     * conn_readable; -ECONNRESET: the program closed with bytes unread. */
    ssize_t (*pull)(struct endpoint *ep, const struct iovec *spans, int count);
    /* Length of the program's next message (the rest of one that was pulled in part is dropped), or
     * -EAGAIN, -ENODATA (the program will send no more), -ECONNRESET, -EMSGSIZE. */
    ssize_t (*message)(struct endpoint *ep);
    /* After the end of what the program sends: has it closed altogether, or will it still read? */
    bool (*gone)(struct endpoint *ep);
    /* Gives bytes to the program. Stream: returns how many it took (1 or more); message: all or
     * none. -EAGAIN: no room now, the core is told by conn_writable; -EPIPE: the program will not
     * read any more; -ECONNRESET: it has closed. */
    ssize_t (*push)(struct endpoint *ep, const struct iovec *spans, int count);
    /* SHUT_WR: the program reads to the end. SHUT_RD: what the program writes from now on fails
     * with EPIPE. */
    void (*shut)(struct endpoint *ep, int how);
    /* Ends it, and forgets it. REASON_OK: the program reads to the end, and can't write any more
     * (if it has written something that was not pulled, it sees ECONNRESET); other reasons: it sees
     * ECONNRESET once it has read what was given to it. */
    void (*close)(struct endpoint *ep, enum reason reason);

    /* ---- answers ---- */

    /* The end of core_connect. REASON_OK: *ep is to be filled in; false: it could not be made, the
     * connection is given up. Otherwise conn is freed afterwards. cookie is core_connect's. */
    bool (*connected)(struct host *host, void *cookie, struct conn *conn, enum reason reason,
                      struct endpoint **ep);
    /* A connection for listener, whose backlog has room. REASON_OK: *ep was filled in. Otherwise
     * the connection is refused for that reason. */
    enum reason (*incoming)(struct host *host, struct listener *listener, struct conn *conn,
                            struct endpoint **ep);
    /* Does its program still listen? It may have closed it without the core's having been told. */
    bool (*listening)(struct host *host, struct listener *listener);

    /* ---- loop ---- */

    /* The descriptor of a peer's channel is to be watched (fd >= 0; token for core_channel_event)
     * or no more (-1). 0 or negative errno: then it is not watched. */
    int (*watch)(struct host *host, void *token, int fd, void **watch);
    uint64_t (*now)(struct host *host); /* monotonic, ms */
    uint64_t (*random64)(struct host *host);
    /* limit: of the peer that the line is about, so that one which causes many doesn't hide those
     * about others. */
    void (*log)(struct host *host, struct log_limit *limit, int priority, const char *text);
};

#endif
