/* SPDX-License-Identifier: GPL-2.0-or-later */
/* frame.c - see frame.h. The agent has nothing to fall back to, so it ends when memory is out. */
#include "tests/xen/frame.h"

#include <stdlib.h>
#include <string.h>

void buffer_append(struct buffer *buffer, const void *bytes, size_t length)
{
    if (buffer->end + length > buffer->room) {
        size_t used = buffer_used(buffer);

        if (buffer->start)
            memmove(buffer->bytes, buffer->bytes + buffer->start, used);
        buffer->start = 0;
        buffer->end = used;
        if (used + length > buffer->room) {
            buffer->room = (used + length) * 2;
            buffer->bytes = realloc(buffer->bytes, buffer->room);
            if (!buffer->bytes)
                abort();
        }
    }
    memcpy(buffer->bytes + buffer->end, bytes, length);
    buffer->end += length;
}

void buffer_drop(struct buffer *buffer, size_t length)
{
    buffer->start += length;
    if (buffer->start == buffer->end)
        buffer->start = buffer->end = 0;
}

void buffer_free(struct buffer *buffer)
{
    free(buffer->bytes);
    memset(buffer, 0, sizeof(*buffer));
}

/* CRC-32 as zlib's, four bits at a time. */
static uint32_t crc32_update(uint32_t crc, const uint8_t *bytes, size_t length)
{
    static uint32_t table[16];

    if (!table[1]) {
        for (uint32_t i = 0; i < 16; i++) {
            uint32_t value = i;

            for (int bit = 0; bit < 4; bit++)
                value = value & 1 ? 0xEDB88320u ^ (value >> 1) : value >> 1;
            table[i] = value;
        }
    }
    for (; length; length--, bytes++) {
        crc ^= *bytes;
        crc = table[crc & 15] ^ (crc >> 4);
        crc = table[crc & 15] ^ (crc >> 4);
    }
    return crc;
}

static uint32_t frame_crc(const struct frame_header *header, const uint8_t *payload)
{
    size_t skip = offsetof(struct frame_header, length);
    uint32_t crc =
        crc32_update(0xFFFFFFFFu, (const uint8_t *)header + skip, sizeof(*header) - skip);

    return ~crc32_update(crc, payload, header->length);
}

void frame_append(struct buffer *buffer, uint16_t target, uint16_t type, uint32_t id, uint32_t seq,
                  const void *payload, size_t length)
{
    struct frame_header header = {
        .magic = FRAME_MAGIC,
        .length = (uint32_t)length,
        .target = target,
        .type = type,
        .id = id,
        .seq = seq,
    };

    header.crc = frame_crc(&header, payload);
    buffer_append(buffer, &header, sizeof(header));
    if (length)
        buffer_append(buffer, payload, length);
}

/* Bytes before the next place where a frame may begin, looking from offset on. */
static size_t text_length(const uint8_t *bytes, size_t used, size_t offset)
{
    const uint32_t magic = FRAME_MAGIC;

    for (; offset < used; offset++) {
        size_t left = used - offset;

        if (memcmp(bytes + offset, &magic, left < sizeof(magic) ? left : sizeof(magic)) == 0)
            return offset;
    }
    return used;
}

bool frame_next(const struct buffer *buffer, size_t *text, struct frame_header *header,
                const uint8_t **payload)
{
    const uint8_t *bytes = buffer->bytes + buffer->start;
    size_t used = buffer_used(buffer);

    *text = used ? text_length(bytes, used, 0) : 0;
    if (*text)
        return true;
    if (used < sizeof(*header))
        return false;
    memcpy(header, bytes, sizeof(*header));
    *payload = bytes + sizeof(*header);
    if (header->length <= FRAME_PAYLOAD_MAX) {
        if (used < sizeof(*header) + header->length)
            return false;
        if (frame_crc(header, *payload) == header->crc)
            return true;
    }
    /* Damaged: what looked like its beginning is text. */
    *text = text_length(bytes, used, 1);
    return true;
}
