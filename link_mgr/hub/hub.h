/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hub.h - what a program can ask of the daemon. The hub does not know how the request came in
 * (plain XML-RPC over HTTP, or libidc's upgraded connection). Its callers do not know how it is
 * carried out (by the core, or within the domain).
 *
 * A connection or a listener is a descriptor: the program's end of a socket pair whose other end
 * the hub serves. The caller of the hub passes it on (SCM_RIGHTS), or keeps it on behalf of a
 * client that cannot take descriptors. Closing the last copy ends the connection or listener; there
 * is nothing else to free.
 *
 * Errors are negative errno values with one line of explanation in why.
 */
#ifndef IDC_HUB_H
#define IDC_HUB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/naming.h"
#include "common/status.h"
#include "idc.h"

/* One line for a program. It names the object (a service's name has up to 79 bytes), then the
 * cause, then what was tried. No text is cut. */
#define HUB_RULE_MAX 384 /* of a cause: the rule behind it */
#define HUB_CAUSE_MAX 640
#define HUB_WHY_MAX 1024

struct groups;
struct hub;
struct hub_pending;

/* The uid of a client whose uid the kernel did not tell. It owns nothing.
 */
#define HUB_NOBODY UINT32_MAX

struct hub_caller {
    uint32_t uid; /* SO_PEERCRED of the client */
    int pid;
};

struct hub_connect {
    struct hub_caller caller;
    /* which domain. Of one that is not named by its domid, the hub fills in domid, each time anew
     * that it tries */
    struct naming to;
    uint32_t domid;      /* of NAMING_DOMID; IDC_DOMID_SELF is understood */
    uint32_t port;       /* 0 when name is set */
    uint32_t local_port; /* 0: one is picked */
    char name[IDC_SERVICE_MAX + 1];
    enum idc_type type;
    int64_t timeout_ms; /* < 0: none */
    /* Waits for a listener, or a link_mgr, that is not there, as long as timeout_ms allows */
    bool wait;
    /* -1, or the far end of the program's own socket pair, with filler (common/connecting.h) */
    int far_end;
    /* -1, or a duplicate of its near end, which the hub names if the connection is one within the
     * domain. For another domid, which the caller knows, it is -1. The hub takes both over in every
     * case. The caller watches whether the program closes its end, and cancels
     * then */
    int held_end;
    /* Has the caller's client gone without the hub knowing yet? Called with done's arg, before the
     * hub does anything that others see. */
    bool (*gone)(void *arg);
    bool reset_is_end;        /* as in struct endpoint_config */
    uint32_t peer_timeout_ms; /* how long the peer may hang; 0: for ever */
};

struct hub_connected {
    int fd; /* the program's end, for the callback to take over; -1 when far_end was given */
    uint64_t serial; /* the connection's number in this run of the daemon, for hub_reason */
    uint32_t local_port;
    uint32_t peer_domid;
    uint32_t peer_port;
    /* of the listener's program, as its link_mgr vouches for it; UINT32_MAX: not known */
    uint32_t peer_uid;
};

/* result is NULL when error (a negative errno) is not 0. Called exactly once, never from inside
 * hub_connect. */
typedef void hub_connect_done(void *arg, int error, const char *why,
                              const struct hub_connected *result);

/* Starts a connect. Returns a handle with which the caller may cancel; it is valid until done is
 * called. NULL: no memory, and done will not be called. */
struct hub_pending *hub_connect(struct hub *hub, const struct hub_connect *request,
                                hub_connect_done *done, void *arg);
/* Gives the attempt up; done will not be called. */
void hub_cancel(struct hub_pending *pending);

struct hub_listen {
    struct hub_caller caller;
    uint32_t port;                  /* 0: any */
    char name[IDC_SERVICE_MAX + 1]; /* "" : none */
    enum idc_type type;
    int backlog;
    bool local_only; /* only programs of this domain may connect */
    /* takes the port, but refuses connections until hub_listen_reserved. It must have no name */
    bool reserve;
    bool reset_is_end;        /* of the connections that it accepts, as in struct endpoint_config */
    uint32_t peer_timeout_ms; /* of these; 0: none */
    /* far_end, which is taken over on success, is an end of a seqpacket pair whose other end is the
     * program's listener. The program keeps a copy, for the next link_mgr. The descriptor that it
     * gets from us hangs up when the listener is registered no longer. */
    bool kept;
    int far_end;
    const struct groups *groups; /* of the program; they stay the caller's. NULL: not known */
};

struct hub_listening {
    int fd; /* the program's end, for the caller to take over */
    uint32_t port;
};

int hub_listen(struct hub *hub, const struct hub_listen *request, struct hub_listening *result,
               char why[HUB_WHY_MAX]);

/* A reservation is the descriptor that hub_listen with reserve returned. The port is free again
 * when its last copy is closed. Returns the port, 0 when fd is not a reservation. */
uint32_t hub_reserved_port(struct hub *hub, int fd);
/* Begins to listen on the reserved port. far_end, which is taken over on success, is one end of a
 * socket pair (stream or seqpacket, as the reservation). Its other end becomes the program's
 * listener. The reservation no longer holds the port. */
int hub_listen_reserved(struct hub *hub, int reservation, int far_end, int backlog,
                        struct hub_listening *result, char why[HUB_WHY_MAX]);

/* A question about one connection. Root may ask, and so may the uid whose program connected or
 * listened. Anybody who shows the program's end may ask too, for example a server that has changed
 * its uid. */
struct hub_question {
    struct hub_caller caller;
    uint64_t serial;
    int shown; /* a descriptor that the caller has, -1: none. It stays the caller's */
};

/* All fail with -ENOENT when the hub does not know the connection (any more), and with -EACCES
 * when the caller may not ask. */

/* Why the connection ended, or was broken off. *end is a negative errno, or 0 when it ended
 * cleanly or is still open. */
int hub_reason(struct hub *hub, const struct hub_question *question, int *end,
               char why[HUB_WHY_MAX]);
/* How many bytes its program has written that the hub has not yet taken. */
int64_t hub_unsent(struct hub *hub, const struct hub_question *question);
/* Says how long the peer may hang (0: for ever) until the connection ends. 0 if it is open, or has
 * ended already. */
int hub_watch_peer(struct hub *hub, const struct hub_question *question, uint32_t ms);

/* ---- what would become of a connect (hub_prospect.c) ---- */

#define HUB_PROSPECT_RULE 128
#define HUB_PROSPECT_LINK 192

struct hub_prospect {
    uint32_t domid; /* never IDC_DOMID_SELF */
    const char *by; /* what decides: "own" (domain), "rule", (policy) "node", or "none" */
    bool perhaps;   /* another rule may, for only one of the listener's port and name is known */
    char rule[HUB_PROSPECT_RULE]; /* FILE:LINE, as far as there is room; "": no rule */
    int error;                    /* the errno of a connect that would fail here; 0: it goes out */
    char why[HUB_RULE_MAX];
    /* of the caller's uid, with other domains; max 0: without a limit */
    uint64_t connections, connections_max;
    const char *link; /* as in struct status_link; "none": the own domain needs none */
    bool present;     /* ... and so is this */
    char link_error[HUB_PROSPECT_LINK];
};

/* As far as this side decides, by what it knows now. Of the request, caller, to, port or name,
 * and type count. Nobody else learns that it was asked. Errors as of hub_resolve; -EINVAL: that
 * cannot be connected to. */
int hub_prospect(struct hub *hub, const struct hub_connect *request, struct hub_prospect *out,
                 char why[HUB_WHY_MAX]);

/* ---- captures (hub_capture.c) ---- */

struct hub_capture_request {
    struct hub_caller caller;
    bool one_peer; /* only what passes between this domain and domid */
    uint32_t domid;
    uint32_t port; /* only frames of connections from or to it; 0: all frames */
    uint32_t data; /* so many bytes of each DATA_ind; 0: none */
};

/* Begins a capture. *fd is for the caller to pass on: whoever has it reads records
 * (common/capture.h) from it. -EACCES: the caller may not; -EBUSY: there are as many as may be. */
int hub_capture(struct hub *hub, const struct hub_capture_request *request, int *fd,
                char why[HUB_WHY_MAX]);

/* ---- names of domains (hub_names.c) ---- */

/* The domid of the domain that is named so. -EINVAL: `any` names none; -EHOSTUNREACH: this domain
 * is told of no such domain; -ENOTUNIQ: it is told of several, and why has their domids. */
int hub_resolve(struct hub *hub, const struct naming *naming, uint32_t *domid,
                char why[HUB_WHY_MAX]);
/* What this domain is told of a domain: "" for what it is not told. The texts are the rules', until
 * these change. */
struct hub_domain {
    const char *name, *uuid;
};
struct hub_domain hub_domain_of(const struct hub *hub, uint32_t domid);

/* ---- status ---- */

/* Visits each link, each connection (if the visitor has something for them), each listener, and the
 * counters, as they are now. */
void hub_visit(struct hub *hub, const struct status_visitor *visitor);
int hub_domid(const struct hub *hub);
/* How many rules say who may listen; -1: there is no file. *are_old: the file has something wrong
 * in it, and the rules are those from before. */
int hub_rule_count(const struct hub *hub, bool *are_old);
const char *hub_platform(const struct hub *hub);

#endif
