/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Blocks of a pcapng file; pcapng.h has the contract. Numbers are in the byte order of the machine,
 * as the format allows: the section's magic number shows which it is. */
#include "tools/pcap/pcapng.h"

#include <assert.h>
#include <string.h>

#define BLOCK_SECTION 0x0a0d0d0au
#define BLOCK_INTERFACE 1u
#define BLOCK_STATISTICS 5u
#define BLOCK_PACKET 6u
#define SECTION_MAGIC 0x1a2b3c4du

#define OPTION_COMMENT 1
#define OPTION_PROGRAM 4 /* of a section */
#define OPTION_NAME 2    /* of an interface */
#define OPTION_RESOLUTION 9
#define NANOSECONDS 9  /* 10^-9 */
#define OPTION_FLAGS 2 /* of a packet */
#define OPTION_DROPPED 4
#define OPTION_BEGIN 2 /* of statistics */
#define OPTION_END 3
#define OPTION_RECEIVED 4
#define OPTION_LOST 5

#define FLAG_INCOMING 1u
#define FLAG_OUTGOING 2u

static void put_bytes(struct pcapng *out, const void *bytes, size_t length)
{
    assert(out->length + length <= out->size);
    if (length > 0)
        memcpy(out->bytes + out->length, bytes, length);
    out->length += length;
}

static void put_half(struct pcapng *out, uint16_t value)
{
    put_bytes(out, &value, sizeof(value));
}

static void put_word(struct pcapng *out, uint32_t value)
{
    put_bytes(out, &value, sizeof(value));
}

/* A time is two words, the upper one first. */
static void put_time(struct pcapng *out, uint64_t time)
{
    put_word(out, (uint32_t)(time >> 32));
    put_word(out, (uint32_t)time);
}

static void put_padding(struct pcapng *out)
{
    static const uint8_t zeros[4];
    put_bytes(out, zeros, -out->length & 3); /* blocks begin at multiples of four */
}

static void put_option(struct pcapng *out, uint16_t code, const void *value, size_t length)
{
    put_half(out, code);
    put_half(out, (uint16_t)length);
    put_bytes(out, value, length);
    put_padding(out);
}

static void put_text(struct pcapng *out, uint16_t code, const char *text)
{
    put_option(out, code, text, strlen(text));
}

static void put_number(struct pcapng *out, uint16_t code, uint64_t value)
{
    put_option(out, code, &value, sizeof(value));
}

static void put_time_option(struct pcapng *out, uint16_t code, uint64_t time)
{
    put_half(out, code);
    put_half(out, sizeof(time));
    put_time(out, time);
}

/* Returns where the block begins, for put_block_end. */
static size_t put_block(struct pcapng *out, uint32_t type)
{
    size_t at = out->length;
    put_word(out, type);
    put_word(out, 0);
    return at;
}

static void put_block_end(struct pcapng *out, size_t at)
{
    uint32_t length = (uint32_t)(out->length - at + sizeof(length));
    put_word(out, length);
    memcpy(out->bytes + at + 4, &length, sizeof(length));
}

void pcapng_put_head(struct pcapng *out, const struct pcapng_head *head)
{
    static const uint8_t resolution = NANOSECONDS;
    static const uint64_t unknown = UINT64_MAX; /* how long the section is */
    size_t at = put_block(out, BLOCK_SECTION);
    put_word(out, SECTION_MAGIC);
    put_half(out, 1); /* version 1.0 */
    put_half(out, 0);
    put_bytes(out, &unknown, sizeof(unknown));
    put_text(out, OPTION_COMMENT, head->comment);
    put_text(out, OPTION_PROGRAM, head->program);
    put_option(out, 0, NULL, 0);
    put_block_end(out, at);

    at = put_block(out, BLOCK_INTERFACE);
    put_half(out, head->linktype);
    put_half(out, 0);
    put_word(out, 0); /* packets may have any length */
    put_text(out, OPTION_NAME, head->interface);
    put_option(out, OPTION_RESOLUTION, &resolution, sizeof(resolution));
    put_option(out, 0, NULL, 0);
    put_block_end(out, at);
}

void pcapng_put_packet(struct pcapng *out, const struct pcapng_packet *packet)
{
    const uint32_t flags = packet->outgoing ? FLAG_OUTGOING : FLAG_INCOMING;
    size_t at = put_block(out, BLOCK_PACKET);
    put_word(out, 0); /* the only interface */
    put_time(out, packet->time_ns);
    put_word(out, packet->head_length + packet->data_length);
    put_word(out, packet->length);
    put_bytes(out, packet->head, packet->head_length);
    put_bytes(out, packet->data, packet->data_length);
    put_padding(out);
    put_option(out, OPTION_FLAGS, &flags, sizeof(flags));
    if (packet->dropped > 0)
        put_number(out, OPTION_DROPPED, packet->dropped);
    if (packet->comment_length > 0)
        put_option(out, OPTION_COMMENT, packet->comment, packet->comment_length);
    put_option(out, 0, NULL, 0);
    put_block_end(out, at);
}

void pcapng_put_end(struct pcapng *out, const struct pcapng_end *end)
{
    size_t at = put_block(out, BLOCK_STATISTICS);
    put_word(out, 0); /* the interface */
    put_time(out, end->end_ns);
    put_text(out, OPTION_COMMENT, end->comment);
    put_time_option(out, OPTION_BEGIN, end->begin_ns);
    put_time_option(out, OPTION_END, end->end_ns);
    put_number(out, OPTION_RECEIVED, end->received);
    put_number(out, OPTION_LOST, end->dropped);
    put_option(out, 0, NULL, 0);
    put_block_end(out, at);
}
