/* SPDX-License-Identifier: GPL-2.0-or-later */
/* transports.h - what IDC is compared with. Tables end with NULL; bench.c looks names up in them.
 */
#ifndef IDC_BENCH_TRANSPORTS_H
#define IDC_BENCH_TRANSPORTS_H

#include "tools/measure/measure.h"

extern const struct transport transport_unix, transport_socketpair, transport_tcp, transport_vsock,
    transport_chain;
extern const struct transport *const transports[];
/* Those that a program has in addition, or no such table. */
extern const struct transport *const more_transports[] __attribute__((weak));

const struct transport *transport_number(size_t number);  /* NULL: there are no more */
const struct transport *find_transport(const char *name); /* NULL */

/* For transports of several processes: places with a struct watch of what their processes use, or
 * NULL. */
struct watch *place_watch(struct place *place);
/* On which processor the client and what stands at its side run, and the server with what stands at
 * its: -1 for any. */
enum side { CLIENT_SIDE, SERVER_SIDE };
extern int side_cpus[2];
void pin_to_side(enum side side); /* the calling thread, and what it starts from now on */

/* A child that ends with its parent: 0 in the child, its pid in the parent, -1 after an error. */
pid_t fork_tied(void);

/* relay.c: accepts on a Unix socket's path (or on a descriptor that listens), connects to another
 * path for each, and copies both ways. Returns after an error only. */
int relay_listen(const char *path); /* a descriptor, or -1 */
int relay_run(int listener, const char *to);

/* calls.c: an exit status. */
int calls_run(void);

#endif
