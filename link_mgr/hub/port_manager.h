/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * port_manager.h - port 1, the connection manager: a service of the daemon itself, for `idc ping`
 * and `idc services`.
 *
 * Requests are lines of at most PORT_MANAGER_LINE bytes. The answer to "PING text" is "PONG text".
 * The answer to "SERVICES" is a line for each listener to which the caller may connect, and an
 * empty line. The lines are "PORT TYPE NAME", with "-" for no name. The answer to anything else is
 * "ERROR what". It is an ordinary program behind an ordinary listener, except that it runs in the
 * daemon. While a caller doesn't read its answers, nothing is read from it.
 *
 * Each domain has a share of the connections, and each uid a part of its domain's share. So no
 * domain, and no user, keeps others out. Who asks for more is refused before anything is made for
 * it. A connection ends when its client is silent for long, when the rest of a line does not come,
 * or when an answer is not taken.
 *
 * Requests are answered in turns: a turn looks at a limited number of lines and listeners, and the
 * list of services goes on in the next turn.
 */
#ifndef IDC_PORT_MANAGER_H
#define IDC_PORT_MANAGER_H

#include <event2/event.h>

#include "link_mgr/core/core.h"

#define PORT_MANAGER_LINE 256
#define PORT_MANAGER_OF_DOMAIN 64 /* connections at a time from one domain */
#define PORT_MANAGER_OF_USER 16   /* ... from one uid of it */
#define PORT_MANAGER_TURN 64      /* lines and listeners for one client in one turn */
#define PORT_MANAGER_IDLE_SECONDS 60
#define PORT_MANAGER_LATE_SECONDS 10 /* for the rest of a line, and until answers are taken */

struct port_manager;

/* Serves the listener whose program's end is fd (taken over). */
struct port_manager *port_manager_new(struct event_base *base, struct core *core, int fd);
void port_manager_free(struct port_manager *manager);
/* A connection of that user is about to be offered to the listener. False: it has its share. */
bool port_manager_take(struct port_manager *manager, uint32_t domid, uint32_t uid);
/* It was not offered after all. */
void port_manager_give(struct port_manager *manager, uint32_t domid, uint32_t uid);

#endif
