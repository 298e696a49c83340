/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pcapng.h - blocks of a pcapng file (draft-ietf-opsawg-pcapng), into memory. A file is a head, any
 * number of packets, and an end. Without the end it is a whole file too.
 */
#ifndef IDC_PCAPNG_H
#define IDC_PCAPNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PCAPNG_LINKTYPE_VSOCK 271
/* A packet's block has so much besides its bytes and its comment, at most. */
#define PCAPNG_BESIDE 128u

/* Where blocks go. The caller sees to it that there is room. */
struct pcapng {
    uint8_t *bytes;
    size_t length, size;
};

struct pcapng_head {
    const char *program, *comment, *interface;
    uint16_t linktype;
};

struct pcapng_packet {
    uint64_t time_ns;
    bool outgoing;
    const uint8_t *head, *data; /* one behind the other */
    uint32_t head_length, data_length;
    uint32_t length;  /* of the whole packet, also what was not captured of it */
    uint64_t dropped; /* packets between the one before and this one */
    const char *comment;
    uint32_t comment_length; /* 0: none */
};

struct pcapng_end {
    uint64_t begin_ns, end_ns;
    uint64_t received, dropped; /* received: those that were dropped included */
    const char *comment;
};

void pcapng_put_head(struct pcapng *out, const struct pcapng_head *head);
void pcapng_put_packet(struct pcapng *out, const struct pcapng_packet *packet);
void pcapng_put_end(struct pcapng *out, const struct pcapng_end *end);

#endif
