/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vchan.c - see vchan.h. */
#include "link_mgr/platform/xen/vchan.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include <xen/io/libxenvchan.h>

#include "common/ring.h"
#include "link_mgr/platform/xen/granted.h"

#define PAGE 4096u
#define RING_PAGES_MAX (VCHAN_RING_MAX / PAGE)
#define ORDER_MIN 12
#define ORDER_MAX 20
#define CLIENT_AWAITED 2

static_assert(sizeof(struct ring_page) == sizeof(struct vchan_interface), "layout of libxenvchan");
#define SAME_OFFSET(ours, theirs)                                                               \
    static_assert(offsetof(struct ring_page, ours) == offsetof(struct vchan_interface, theirs), \
                  "not as libxenvchan")
SAME_OFFSET(left.cons, left.cons);
SAME_OFFSET(left.prod, left.prod);
SAME_OFFSET(right.cons, right.cons);
SAME_OFFSET(right.prod, right.prod);
SAME_OFFSET(left_order, left_order);
SAME_OFFSET(right_order, right_order);
SAME_OFFSET(cli_live, cli_live);
SAME_OFFSET(srv_live, srv_live);
SAME_OFFSET(cli_notify, cli_notify);
SAME_OFFSET(srv_notify, srv_notify);
static_assert(RING_WANT_DATA == VCHAN_NOTIFY_WRITE && RING_WANT_SPACE == VCHAN_NOTIFY_READ,
              "bits of libxenvchan");
static_assert(ORDER_MAX == 20 && VCHAN_RING_MAX == 1u << ORDER_MAX, "as libxenvchan's limit");
static_assert(offsetof(struct vchan_interface, grants) + 2 * RING_PAGES_MAX * sizeof(uint32_t) <=
                  PAGE,
              "the references must fit the page");

/* Some of the library's calls fail without setting errno. */
static int vchan_reason(void)
{
    return errno ? -errno : -EIO;
}

static uint32_t *vchan_references(struct ring_page *page)
{
    return (uint32_t *)(page + 1);
}

int xen_vchan_open(struct vchan *vchan, bool server, int peer)
{
    *vchan = (struct vchan){.server = server, .peer = peer};
    errno = 0;
    vchan->events = xenevtchn_open(NULL, 0);
    if (!vchan->events || fcntl(xenevtchn_fd(vchan->events), F_SETFL, O_NONBLOCK) < 0)
        return vchan_reason();
    return 0;
}

static int vchan_bound(struct vchan *vchan, xenevtchn_port_or_error_t port)
{
    if (port < 0)
        return vchan_reason();
    vchan->port = (evtchn_port_t)port;
    return xenevtchn_unmask(vchan->events, vchan->port) < 0 ? vchan_reason() : 0;
}

/* ---- offering ---- */

/* The page may be one that an earlier peer's mistake or malice has changed. */
static void describe_rings(struct vchan *vchan, uint32_t ring_size)
{
    const struct lent *lent = vchan->lent;
    memset(vchan->page, 0, PAGE);
    memcpy(vchan_references(vchan->page), lent->references + 1,
           (lent->pages - 1) * sizeof(uint32_t));
    vchan->page->left_order = vchan->page->right_order = (uint16_t)__builtin_ctz(ring_size);
    vchan->page->cli_live = CLIENT_AWAITED;
    vchan->page->srv_live = 1;
    vchan->page->cli_notify = RING_WANT_DATA;
}

int xen_vchan_offer(struct vchan *vchan, struct lender *lender, uint32_t ring_size)
{
    if (ring_size < PAGE || ring_size > VCHAN_RING_MAX || (ring_size & (ring_size - 1)))
        return -EINVAL;
    errno = 0;
    int error =
        vchan_bound(vchan, xenevtchn_bind_unbound_port(vchan->events, (uint32_t)vchan->peer));
    if (!error)
        error = lender_take(lender, vchan->peer, ring_size, &vchan->lent);
    if (error)
        return error;
    vchan->lender = lender;
    vchan->page = xen_granted_page(vchan->lent);
    vchan->page_reference = vchan->lent->references[0];
    vchan->left = vchan->lent->left;
    vchan->right = vchan->lent->right;
    vchan->left_size = vchan->right_size = ring_size;
    error = xen_granted_notify_at_end(vchan->lent, offsetof(struct vchan_interface, srv_live),
                                      vchan->port);
    if (!error)
        describe_rings(vchan, ring_size);
    return error;
}

/* ---- attaching ---- */

static int map_rings(struct vchan *vchan, uint32_t left_order, uint32_t right_order)
{
    uint32_t refs[2 * RING_PAGES_MAX];
    uint32_t left_pages = 1u << (left_order - ORDER_MIN),
             right_pages = 1u << (right_order - ORDER_MIN);
    memcpy(refs, vchan_references(vchan->page), (left_pages + right_pages) * sizeof(uint32_t));
    int error = xen_foreign_map(&vchan->mapped, vchan->peer, refs, left_pages,
                                PROT_READ | PROT_WRITE, &vchan->left);
    if (!error)
        error = xen_foreign_map(&vchan->mapped, vchan->peer, refs + left_pages, right_pages,
                                PROT_READ, &vchan->right);
    vchan->left_size = 1u << left_order;
    vchan->right_size = 1u << right_order;
    return error;
}

static int map_page(struct vchan *vchan, uint32_t page_reference)
{
    void *page;
    int error = xen_foreign_open(&vchan->mapped, 1 + 2 * RING_PAGES_MAX);
    if (!error)
        error = xen_foreign_map(&vchan->mapped, vchan->peer, &page_reference, 1,
                                PROT_READ | PROT_WRITE, &page);
    if (!error)
        error = xen_foreign_notify_at_end(&vchan->mapped,
                                          offsetof(struct vchan_interface, cli_live), vchan->port);
    if (!error)
        vchan->page = page;
    return error;
}

int xen_vchan_attach(struct vchan *vchan, uint32_t page_reference, evtchn_port_t remote_port)
{
    errno = 0;
    int error = vchan_bound(
        vchan, xenevtchn_bind_interdomain(vchan->events, (uint32_t)vchan->peer, remote_port));
    if (!error)
        error = map_page(vchan, page_reference);
    if (error)
        return error;
    uint16_t left_order = __atomic_load_n(&vchan->page->left_order, __ATOMIC_ACQUIRE);
    uint16_t right_order = __atomic_load_n(&vchan->page->right_order, __ATOMIC_ACQUIRE);
    if (left_order < ORDER_MIN || left_order > ORDER_MAX || right_order < ORDER_MIN ||
        right_order > ORDER_MAX)
        return -EPROTO;
    error = map_rings(vchan, left_order, right_order);
    if (error)
        return error;
    __atomic_store_n(&vchan->page->cli_live, 1, __ATOMIC_SEQ_CST);
    __atomic_fetch_or(&vchan->page->srv_notify, RING_WANT_DATA, __ATOMIC_SEQ_CST);
    xen_vchan_notify(vchan);
    return 0;
}

void xen_vchan_wake_self(struct vchan *vchan, int own)
{
    /* Xen makes an event pending when a channel is bound. */
    xenevtchn_port_or_error_t port = xenevtchn_bind_unbound_port(vchan->events, (uint32_t)own);
    if (port >= 0)
        port = xenevtchn_bind_interdomain(vchan->events, (uint32_t)own, (evtchn_port_t)port);
    if (port >= 0)
        xenevtchn_notify(vchan->events, (evtchn_port_t)port);
}

/* ---- in use ---- */

int xen_vchan_fd(const struct vchan *vchan)
{
    return xenevtchn_fd(vchan->events);
}

void xen_vchan_drain(struct vchan *vchan)
{
    xenevtchn_port_or_error_t port = xenevtchn_pending(vchan->events);
    if (port >= 0)
        xenevtchn_unmask(vchan->events, (evtchn_port_t)port);
}

void xen_vchan_notify(struct vchan *vchan)
{
    xenevtchn_notify(vchan->events, vchan->port);
}

enum xen_vchan_peer xen_vchan_peer(const struct vchan *vchan)
{
    uint8_t live = __atomic_load_n(vchan->server ? &vchan->page->cli_live : &vchan->page->srv_live,
                                   __ATOMIC_ACQUIRE);
    if (live == 1)
        return VCHAN_PEER_THERE;
    return vchan->server && live == CLIENT_AWAITED ? VCHAN_PEER_AWAITED : VCHAN_PEER_GONE;
}

void xen_vchan_rings(const struct vchan *vchan, struct ring_pair *rings)
{
    ring_pair_init(rings, vchan->server, vchan->page, vchan->left, vchan->left_size, vchan->right,
                   vchan->right_size);
}

/* ---- the end ---- */

void xen_vchan_close(struct vchan *vchan)
{
    bool notify = vchan->page;
    if (vchan->lent) {
        __atomic_store_n(&vchan->page->srv_live, 0, __ATOMIC_SEQ_CST);
        xen_granted_forget_notification(vchan->lent);
        lender_keep(vchan->lender, vchan->lent);
    }
    xen_foreign_close(&vchan->mapped);
    if (notify)
        xen_vchan_notify(vchan);
    if (vchan->events)
        xenevtchn_close(vchan->events);
    *vchan = (struct vchan){0};
}

/*
 * After a restore. Linux (6.1 and before, and as far as we know later versions) has forgotten which
 * interrupt belongs to a port from before the restore. But it still knows that our descriptor has
 * bound that port, and that our pages hold a reference on it. So closing the descriptor is a BUG()
 * if the port has no interrupt now. If somebody else has the port now, closing takes the interrupt
 * away from them.
 *
 * So a new descriptor of ours first binds the port's number again, and two references hold it.
 * Closing the old descriptor takes one of them; giving back the old pages takes the other. Then the
 * new descriptor can be closed. The remaining references are given back last, when the port has no
 * interrupt. The kernel then warns, but does no harm. If somebody else has the number by now,
 * nothing can be done.
 */
#define CLAIM_REFERENCES 2

struct claim {
    xenevtchn_handle *events;
    xengntshr_handle *shared;
    /* pages, of which only the reference to the port is of use */
    void *references[CLAIM_REFERENCES];
};

static bool claim_port(struct claim *claim, evtchn_port_t wanted, int own)
{
    xenevtchn_port_or_error_t port;
    /* Xen gives the lowest number that is free. */
    do {
        port = xenevtchn_bind_unbound_port(claim->events, (uint32_t)own);
    } while (port >= 0 && (evtchn_port_t)port < wanted);
    return port >= 0 && (evtchn_port_t)port == wanted;
}

static bool hold_port(struct claim *claim, evtchn_port_t port, int own)
{
    for (int i = 0; i < CLAIM_REFERENCES; i++) {
        uint32_t ignored;
        claim->references[i] = xengntshr_share_page_notify(claim->shared, (uint32_t)own, &ignored,
                                                           0, (uint32_t)-1, port);
        if (!claim->references[i])
            return false;
    }
    return true;
}

static void end_claim(struct claim *claim)
{
    if (claim->events)
        xenevtchn_close(claim->events);
    for (int i = 0; i < CLAIM_REFERENCES; i++)
        if (claim->references[i])
            xengntshr_unshare(claim->shared, claim->references[i], 1);
    if (claim->shared)
        xengntshr_close(claim->shared);
}

int xen_vchan_retire(struct vchan *vchan, int own)
{
    struct claim claim = {.events = xenevtchn_open(NULL, 0), .shared = xengntshr_open(NULL, 0)};
    bool safe =
        vchan->port == 0 || (claim.events && claim.shared && claim_port(&claim, vchan->port, own) &&
                             hold_port(&claim, vchan->port, own));
    if (safe) {
        if (vchan->mapped.fd)
            xen_foreign_forget_notification(&vchan->mapped);
        if (vchan->lent)
            lender_drop(vchan->lender, vchan->lent);
        xen_foreign_close(&vchan->mapped);
        xenevtchn_close(vchan->events);
        *vchan = (struct vchan){0};
    }
    end_claim(&claim);
    return safe ? 0 : -EBUSY;
}
