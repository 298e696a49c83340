/* SPDX-License-Identifier: GPL-2.0-or-later */
/* reason.h - why a connect failed or a connection ended (docs/protocol.md, Reasons). */
#ifndef IDC_REASON_H
#define IDC_REASON_H

#include <stdbool.h>
#include <stdint.h>

enum reason {
    REASON_OK = 0,
    REASON_NO_LISTENER = 1,
    REASON_BACKLOG_FULL = 2,
    REASON_POLICY = 3,
    REASON_NO_RESOURCES = 4,
    REASON_WRONG_TYPE = 5,
    REASON_PROGRAM_RESET = 6,
    REASON_REVOKED = 7,
    REASON_LISTENER_CLOSED = 8,
    REASON_TIMED_OUT = 9,
    REASON_UNREACHABLE = 10,
    REASON_VERSION = 11,
    REASON_LINK_LOST = 12,
    REASON_PROTOCOL = 13,
    REASON_SHUTDOWN = 14,
    REASON_TOO_LONG = 15,
    REASON_SHARE = 16,
    REASON_DESCRIPTORS = 17,
    REASON_RULE_CONNECTIONS = 18,
    REASON_RULE_RATE = 19,
    REASON_SILENT = 20,
    REASON_COUNT
};

/* The code for a peer that does not know all reasons. */
uint32_t reason_to_wire(enum reason reason, bool knows_rules);
/* A code from the wire; unknown ones become REASON_PROGRAM_RESET. */
enum reason reason_from_wire(uint32_t code);
/* The errno (positive; 0 for REASON_OK) and the explanation for people. */
int reason_errno(enum reason reason);
const char *reason_text(enum reason reason);

#endif
