/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * granted.h - memory that this domain has granted to another: the pages of one link (lent.h), by
 * the kernel's device gntalloc.
 *
 * Theory of operation
 *
 * Each piece has a descriptor of gntalloc of its own, in which its pages begin at index 0: the one
 * that describes the rings, then theirs. (libxengnttab takes pages out of the descriptor as soon as
 * they are mapped, so that later nobody can set another port to notify.) Closing the descriptor and
 * unmapping the pages ends the grants. Where the peer still has a page mapped, the kernel (Linux
 * 6.1) can't end its grant. It then keeps page and grant in a list, which it looks through once a
 * second, and tells nobody. Its limit of shared pages does not count them.
 *
 * Whether a domain is there is asked of Xen: binding an event channel to one that is not fails with
 * ESRCH. Xen knows a domain until all that it had mapped was unmapped. So a domain that Xen does
 * not know holds no grant, and a later domain of the same number is not known before the earlier
 * one is gone. Xenstore knows less: the toolstack removes a domain's part of it before it destroys
 * the domain.
 */
#ifndef IDC_XEN_GRANTED_H
#define IDC_XEN_GRANTED_H

#include <stdint.h>

#include "link_mgr/platform/lent.h"

struct ring_page;

extern const struct lender_ops xen_granted;

/* The page that describes the rings. */
struct ring_page *xen_granted_page(const struct lent *lent);
/* Sets which byte of that page the kernel clears, and which port it notifies, when this process
 * ends. 0, or a negative errno. */
int xen_granted_notify_at_end(const struct lent *lent, uint32_t offset, uint32_t port);
void xen_granted_forget_notification(const struct lent *lent);

#endif
