/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pace_private.h - what pace.c, pace_in.c and pace_out.c share; nobody else includes it. */
#ifndef IDC_PACE_PRIVATE_H
#define IDC_PACE_PRIVATE_H

#include "link_mgr/core/pace.h"

/* ---- pace.c ---- */
uint64_t pace_now(const struct pace *pace);
/* The peer's turn is due then, at the latest. */
void pace_plan(struct peer *peer, uint64_t due);
/* ... and at once. */
void pace_soon(struct pace *pace);

/* ---- pace_out.c ---- */
void pace_pass_out(struct pace *pace, uint64_t now);

/* ---- pace_in.c ---- */
/* The credit that goes into the CONNECT_req or CONNECT_rsp, of which the peer has not heard. */
void pace_promise_first(struct conn *conn);
void pace_pass_in(struct pace *pace, uint64_t now);

#endif
