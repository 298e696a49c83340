/* SPDX-License-Identifier: GPL-2.0-or-later */
/* attack.h - one program that asks as much of link_mgr as it can, in one of several ways. */
#ifndef BENCH_ATTACK_H
#define BENCH_ATTACK_H

/* Says "ready" when it has begun, and goes on until it is killed. Domain domid has a sink at port.
 * IDC_SOCKET is the socket of this domain's link_mgr. Returns an exit status if it can't begin. */
int attack_run(const char *kind, unsigned domid, unsigned port);

/* The other user: connects and closes `count` times, with a pause before each, so that an attacker
 * on the same processor can go on. Prints the 99th percentile of the time of a connect, in ns. */
int attack_victim(unsigned domid, unsigned port, unsigned count);

#endif
