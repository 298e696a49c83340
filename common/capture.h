/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * capture.h - what link_mgr writes for whoever captures (docs/capture.md): records, one behind the
 * other. Both ends are on one machine, so numbers are in its byte order.
 *
 * A record is a struct capture_record, text_length bytes of text, captured bytes of data, and zeros
 * up to size, which is a multiple of 8.
 */
#ifndef IDC_COMMON_CAPTURE_H
#define IDC_COMMON_CAPTURE_H

#include <stdint.h>

#define CAPTURE_VERSION 1
#define CAPTURE_TEXT_MAX 512
#define CAPTURE_DATA_MAX (1u << 20)                   /* no frame has more */
#define CAPTURE_RECORD_MAX (CAPTURE_DATA_MAX + 1024u) /* of size */
#define CAPTURE_PAD(size) (((size) + 7) & ~(uint32_t)7)

enum capture_kind {
    CAPTURE_FRAME = 1,
    CAPTURE_END = 2, /* the last record; text: why link_mgr ends the capture, "": it was asked to */
};

/* Frames of the protocol, and what one of them may say (docs/protocol.md). */
enum capture_type {
    CAPTURE_HELLO = 1,
    CAPTURE_CONNECT_REQ,
    CAPTURE_CONNECT_RSP,
    CAPTURE_DATA,
    CAPTURE_CREDIT,
    CAPTURE_DISCONNECT,
    CAPTURE_BYE,
    CAPTURE_PING = 128,
    CAPTURE_PONG,
};
#define CAPTURE_DATA_MORE 0x1u
#define CAPTURE_NO_MORE_DATA 0x1u
#define CAPTURE_NO_MORE_WANTED 0x2u
#define CAPTURE_RESET 0x4u

struct capture_record {
    uint32_t size;
    uint8_t kind;
    uint8_t outgoing;    /* this domain has sent it */
    uint8_t type, flags; /* of the frame */
    uint64_t time_ns;    /* since 1970 */
    /* frames since the capture began that fitted, this one included; and how many were lost */
    uint64_t frames, dropped;
    uint32_t peer; /* domid */
    uint32_t local_port, peer_port;
    uint32_t credit;      /* of the frame */
    uint32_t length;      /* DATA_ind: bytes of a program; otherwise 0 */
    uint32_t captured;    /* of these */
    uint8_t socket_type;  /* enum idc_type; 0: not known */
    uint8_t refused;      /* CONNECT_rsp: it refuses */
    uint16_t text_length; /* what else the frame says, in words */
    uint32_t unused;
};

#endif
