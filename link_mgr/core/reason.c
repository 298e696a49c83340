/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of reasons: one row for each code of the protocol. */
#include "link_mgr/core/reason.h"

#include <assert.h>
#include <errno.h>

static const struct {
    int error;
    const char *text;
} reasons[] = {
    [REASON_OK] = {0, "ended cleanly"},
    [REASON_NO_LISTENER] = {ECONNREFUSED, "nothing listens on that port or service"},
    [REASON_BACKLOG_FULL] =
        {ECONNREFUSED, "the listener's backlog is full: its program does not accept fast enough"},
    [REASON_POLICY] = {EACCES, "policy does not allow it"},
    [REASON_NO_RESOURCES] = {ENOBUFS, "the memory for that domain, or a link_mgr's memory or "
                                      "descriptors, are used up: see its log"},
    [REASON_WRONG_TYPE] = {EPROTOTYPE, "the listener is of the other type (stream or seqpacket)"},
    [REASON_PROGRAM_RESET] = {ECONNRESET,
                              "the program on the other side closed without reading everything"},
    [REASON_REVOKED] = {EACCES, "the permission for this connection was withdrawn"},
    [REASON_LISTENER_CLOSED] = {ECONNRESET,
                                "the listener closed before it accepted the connection"},
    [REASON_TIMED_OUT] = {ETIMEDOUT, "the other domain did not answer in time"},
    [REASON_UNREACHABLE] = {EHOSTUNREACH,
                            "there is no such domain, or no link_mgr that answers in it"},
    [REASON_VERSION] = {EPROTO, "the two link_mgr have no protocol version in common"},
    [REASON_LINK_LOST] = {ECONNRESET, "the link was lost: the other domain or its link_mgr ended"},
    [REASON_PROTOCOL] = {ECONNRESET,
                         "the link was ended because the other side broke the protocol"},
    [REASON_SHUTDOWN] = {ECONNRESET, "link_mgr was told to end"},
    [REASON_TOO_LONG] = {EMSGSIZE, "a message is longer than the receiving side can take"},
    [REASON_SHARE] = {ENOBUFS,
                      "too many connections there: of its user, of this domain, or of this "
                      "user"},
    [REASON_DESCRIPTORS] = {EPERM,
                            "a program sent descriptors over the connection, which carries none"},
    [REASON_RULE_CONNECTIONS] = {ENOBUFS, "the rule that allows it has as many connections open as "
                                          "it may have"},
    [REASON_RULE_RATE] = {ENOBUFS, "the rule that allows it lets no more connections through in "
                                   "this second"},
    [REASON_SILENT] = {ETIMEDOUT, "the other domain is paused or hangs: no sign of life for as "
                                  "long as it may"},
};
static_assert(sizeof(reasons) / sizeof(reasons[0]) == REASON_COUNT, "one row for each reason");

enum reason reason_from_wire(uint32_t code)
{
    return code < REASON_COUNT ? (enum reason)code : REASON_PROGRAM_RESET;
}

uint32_t reason_to_wire(enum reason reason, bool knows_rules)
{
    bool limit = reason == REASON_RULE_CONNECTIONS || reason == REASON_RULE_RATE;
    return limit && !knows_rules ? REASON_SHARE : reason;
}

int reason_errno(enum reason reason)
{
    return reasons[reason].error;
}

const char *reason_text(enum reason reason)
{
    return reasons[reason].text;
}
