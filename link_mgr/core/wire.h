/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * wire.h - frames of the link protocol (docs/protocol.md): encode, decode, validate. Pure
 * functions.
 *
 * Decoding takes bytes that were copied out of the ring. It fills in a struct only if the bytes are
 * right, as far as one can tell without knowing the state of the link. Otherwise it returns a text
 * for the log that says what is wrong.
 */
#ifndef IDC_WIRE_H
#define IDC_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "idc.h"
#include "link_mgr/core/terms.h"

#define WIRE_VERSION_MIN 1u
#define WIRE_VERSION_MAX 1u
#define WIRE_HEADER 16u
#define WIRE_MAGIC 0x31434449u /* "IDC1" */
#define WIRE_FRAME_MIN 1024u   /* bounds of max_frame */
#define WIRE_FRAME_MAX (1024u * 1024)
#define WIRE_REQUESTS_MAX 4096u
#define WIRE_HELLO 56u
#define WIRE_CONNECT_REQ 20u
#define WIRE_CONNECT_RSP 12u
#define WIRE_CONNECT_RSP_UID 16u  /* with WIRE_LISTENER_UID */
#define WIRE_CONNECT_RSP_RULE 20u /* with WIRE_RULES besides */
/* longest payload of a frame other than DATA_ind and skipped ones, whose limit is max_frame */
#define WIRE_CONTROL_MAX 1024u
#define WIRE_TOTAL 4u /* the length of a message, before the bytes of its first part */

enum wire_type {
    WIRE_TYPE_HELLO = 1,
    WIRE_TYPE_CONNECT_REQ,
    WIRE_TYPE_CONNECT_RSP,
    WIRE_TYPE_DATA,
    WIRE_TYPE_CREDIT,
    WIRE_TYPE_DISCONNECT,
    WIRE_TYPE_BYE,
    WIRE_TYPE_COUNT,
    WIRE_TYPE_SKIPPED = 128, /* from here on, by those that do not know them */
    WIRE_TYPE_PING = WIRE_TYPE_SKIPPED,
    WIRE_TYPE_PONG,
};

/* Features, as bits of HELLO. */
#define WIRE_LISTENER_UID 0x1u
#define WIRE_RULES 0x2u /* in use only together with the one before */
#define WIRE_PING 0x4u  /* a PING is answered */
/* those that this side knows */
#define WIRE_FEATURES (WIRE_LISTENER_UID | WIRE_RULES | WIRE_PING)

#define WIRE_DATA_MORE 0x1u
#define WIRE_DATA_TOTAL 0x2u

struct wire_frame {
    uint32_t length;
    uint8_t type;
    uint8_t flags;
    uint32_t connection;
    uint32_t credit;
};

struct wire_hello {
    uint16_t version_min, version_max;
    uint64_t features;
    uint64_t epoch, generation;
    uint32_t max_frame, max_requests;
    uint16_t domid;
    uint64_t wish;
};

struct wire_connect_req {
    uint32_t id;
    uint32_t source_port, port;
    uint32_t uid;
    enum idc_type type;
    char name[IDC_SERVICE_MAX + 1];
};

void wire_put_frame(uint8_t out[WIRE_HEADER], const struct wire_frame *frame);
void wire_put_hello(uint8_t out[WIRE_HELLO], const struct wire_hello *hello);
/* Returns the payload's length. */
uint32_t wire_put_connect_req(uint8_t out[WIRE_CONNECT_REQ + IDC_SERVICE_MAX],
                              const struct wire_connect_req *req);
/* features: those in use. Returns the payload's length. */
uint32_t wire_put_connect_rsp(uint8_t out[WIRE_CONNECT_RSP_RULE], uint64_t features,
                              const struct wire_connect_rsp *rsp);
void wire_put_u32(uint8_t out[4], uint32_t value);
uint32_t wire_get_u32(const uint8_t in[4]);

/* Each returns NULL, or what is wrong. max_frame is what this side announced. */
const char *wire_get_frame(const uint8_t in[WIRE_HEADER], uint32_t max_frame,
                           struct wire_frame *frame);
const char *wire_get_hello(const uint8_t *in, uint32_t length, struct wire_hello *hello);
const char *wire_get_connect_req(const uint8_t *in, uint32_t length, struct wire_connect_req *req);
const char *wire_get_connect_rsp(const uint8_t *in, uint32_t length, uint64_t features,
                                 struct wire_connect_rsp *rsp);

#endif
