/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * consoles.h - dom0's agent is the back end of the guests' consoles, and so reaches their agents.
 *
 * Theory of operation
 *
 * It does what xenconsoled does otherwise (which doesn't run): it maps the page that each guest
 * shares for its console, and binds its event channel. So nothing is added to what a guest has
 * anyway: no grant, event channel, watch or store node of the harness shows up in what tests count.
 * xenconsoled's way over a pty was not taken for its limit of 30 events in 200 ms.
 *
 * A console is attached when Xenstore shows a new domain, by the guest's name "gN" (N is the target
 * in frames). It is detached when the domain is gone. A guest that was saved comes back under a new
 * domid with what its page held then.
 */
#ifndef TESTS_XEN_CONSOLES_H
#define TESTS_XEN_CONSOLES_H

#include "tests/xen/frame.h"

#include <poll.h>

/* Sends a frame of dom0's agent about guest target to the host. */
void agent_tell(uint16_t target, uint16_t type, const void *payload, size_t length);
/* Passes a frame of a guest's agent on to the host. */
void agent_forward(uint16_t target, const struct frame_header *header, const uint8_t *payload);

/* False: no Xenstore; a reason has been sent. */
bool consoles_open(void);
int consoles_poll(struct pollfd *fds, int room);
void consoles_ready(const struct pollfd *fds, int count);
/* Logs how far each console's rings are, for somebody who looks for why a guest is silent. */
void consoles_tell(void);
/* Sends a frame of the host to the guest; it is lost when the guest isn't there. */
void consoles_send(const struct frame_header *header, const uint8_t *payload);

#endif
