/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tell.h - tells the toolstack which connections there are, when it asks (docs/xenstore.md, "What
 * is in use").
 *
 * Theory of operation
 *
 * The toolstack asks by a number in the node policy/ask, and removes the node when it has read the
 * answer. So nothing is written while nobody asks, however many connections come and go. Only the
 * toolstack can write that node, and still there is at most one answer every TELL_PAUSE_MS: of
 * several questions meanwhile the last one is answered.
 *
 * Connections that are the same to a rule are counted together: same peer, direction, port, type,
 * uid and name. What has no room in TELL_PARTS nodes is only counted.
 */
#ifndef IDC_TELL_H
#define IDC_TELL_H

#include <stdbool.h>
#include <stdint.h>

struct core;

#define TELL_PAUSE_MS 100
#define TELL_PARTS 8
/* Of a node: xenstored allows a guest 2,048 bytes by default, and the path counts too. */
#define TELL_PART_MAX 1800
#define TELL_KINDS_MAX 512

struct tell {
    uint64_t asked; /* 0: nobody asks */
    bool due;       /* it is not answered yet */
    bool told;      /* an answer is in the store */
    uint64_t next;  /* ms: no answer before that */
};

/* The node has this value now; NULL: it is gone. */
void tell_event(struct core *core, const char *value);
void tell_turn(struct core *core);
/* ms; UINT64_MAX: nothing is due. */
uint64_t tell_deadline(const struct core *core);

#endif
