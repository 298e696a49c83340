/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * terms.h - what the two sides of a connection say to each other (docs/protocol.md), whatever
 * carries it. A connection knows only this header; wire.h has the layout in frames.
 */
#ifndef IDC_TERMS_H
#define IDC_TERMS_H

#include <stdint.h>

#define WIRE_MESSAGE_COST 64u /* credit for the boundary of a message */
#define WIRE_CREDIT_MAX (1u << 30)

/* What a DISCONNECT_ind says. */
#define WIRE_NO_MORE_DATA 0x1u
#define WIRE_NO_MORE_WANTED 0x2u
#define WIRE_RESET 0x4u
#define WIRE_LAST 0x8u

#define WIRE_UID_UNKNOWN UINT32_MAX

/* What a CONNECT_rsp says. */
struct wire_connect_rsp {
    uint32_t status; /* as on the wire; reason_from_wire */
    uint32_t id;
    uint32_t port;
    uint32_t uid; /* of the listener's program; WIRE_UID_UNKNOWN: not known, or refused */
    /* Refused: the place of the rule that refuses it in the pair's list, from 1. 0: none does, or
     * not known */
    uint32_t rule;
};

#endif
