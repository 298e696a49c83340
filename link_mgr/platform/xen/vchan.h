/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vchan.h - the memory and the event channel of one vchan, in the layout of libxenvchan.
 *
 * Theory of operation
 *
 * The offering side (server) shares a page that describes two rings: struct ring_page, then the
 * grant references of the rings' pages. It also shares the pages of the rings, and opens an event
 * channel to the peer. The peer must learn the reference of the first page and the port. The
 * attaching side (client) binds the port and maps the pages. When a side ends, even by a crash, its
 * kernel clears a byte of the page (cli_live, srv_live) and sends an event.
 *
 * The server's pages outlive the vchan: they are for the next one with the same peer (lent.h). So
 * its kernel must not clear a byte or notify a port for them any more, and the client leaves
 * cli_live to its kernel, which clears it once, when it unmaps the page.
 *
 * A program that uses libxenvchan can be the other side, but libxenvchan itself is not used here.
 * When the kernel's limit of shared pages is reached, libxenvchan_server_init (Xen 4.17) unmaps and
 * frees pointers that it has not set. It returns no reason. And both it and client_init wait for
 * xenstored. Here nothing waits: the caller handles Xenstore, and the calls of the grant and
 * event-channel devices don't wait for anybody.
 *
 * The peer may write the page at any time. Only the peer's live byte is read from it later. At the
 * beginning the client also reads, once, the sizes, which are checked and then kept, and the grant
 * references, which Xen checks.
 */
#ifndef IDC_XEN_VCHAN_H
#define IDC_XEN_VCHAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <xenevtchn.h>
#include <xengnttab.h>

#include "link_mgr/platform/xen/foreign.h"

struct lender;
struct lent;
struct ring_page;
struct ring_pair;

#define VCHAN_RING_MAX (1024u * 1024) /* the references of two such rings just fit the page */

enum xen_vchan_peer {
    VCHAN_PEER_AWAITED,
    VCHAN_PEER_THERE,
    VCHAN_PEER_GONE,
};

struct vchan {
    bool server;
    int peer;
    xenevtchn_handle *events;
    evtchn_port_t port;
    struct lender *lender; /* server */
    struct lent *lent;     /* server */
    struct foreign mapped; /* client */
    struct ring_page *page;
    uint32_t page_reference; /* server */
    void *left, *right;
    uint32_t left_size, right_size;
};

/* Opens the event device only, so that there is a descriptor to poll. These return 0 or a negative
 * errno. Call xen_vchan_close even after an error. */
int xen_vchan_open(struct vchan *vchan, bool server, int peer);
int xen_vchan_offer(struct vchan *vchan, struct lender *lender, uint32_t ring_size);
int xen_vchan_attach(struct vchan *vchan, uint32_t page_reference, evtchn_port_t remote_port);
/* Makes the descriptor readable, for the time when nothing else will do so any more. own: this
 * domain's id. */
void xen_vchan_wake_self(struct vchan *vchan, int own);

int xen_vchan_fd(const struct vchan *vchan);
/* Takes a pending event off the descriptor, which is readable again after a later one. */
void xen_vchan_drain(struct vchan *vchan);
void xen_vchan_notify(struct vchan *vchan);
enum xen_vchan_peer xen_vchan_peer(const struct vchan *vchan);
void xen_vchan_rings(const struct vchan *vchan, struct ring_pair *rings);
/* Tells the peer, and gives everything back; the server's pages go to the lender. */
void xen_vchan_close(struct vchan *vchan);
/* Closes it after this domain was restored, when the ports are no longer what they were. own: the
 * domain's present id. -EBUSY: its resources can't be given back safely, and are kept until the
 * process ends. */
int xen_vchan_retire(struct vchan *vchan, int own);

#endif
