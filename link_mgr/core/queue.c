/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The chain of chunks of queue.h. Bytes live in [start, end) of each chunk; only the tail has room
 * to fill. */
#include "link_mgr/core/queue.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct queue_chunk {
    struct queue_chunk *next;
    uint32_t start, end, capacity;
    bool complete; /* messages: all parts have come */
    uint8_t data[];
};

static struct queue_chunk *chunk_new(size_t capacity)
{
    struct queue_chunk *chunk = malloc(sizeof(*chunk) + capacity);
    if (chunk)
        *chunk = (struct queue_chunk){.capacity = (uint32_t)capacity};
    return chunk;
}

static void append_chunk(struct queue *queue, struct queue_chunk *chunk)
{
    if (queue->tail)
        queue->tail->next = chunk;
    else
        queue->head = chunk;
    queue->tail = chunk;
}

static void free_head(struct queue *queue)
{
    struct queue_chunk *head = queue->head;
    queue->head = head->next;
    if (!queue->head)
        queue->tail = NULL;
    free(head);
}

static size_t spans_length(const struct iovec *spans, int count)
{
    size_t length = 0;
    for (int i = 0; i < count; i++)
        length += spans[i].iov_len;
    return length;
}

/* A chain of chunks with room for len bytes beyond the room in the tail. */
static bool chunks_for(size_t len, struct queue_chunk **chain)
{
    *chain = NULL;
    for (size_t room = 0; room < len; room += QUEUE_CHUNK) {
        struct queue_chunk *chunk = chunk_new(QUEUE_CHUNK);
        if (!chunk) {
            while ((chunk = *chain)) {
                *chain = chunk->next;
                free(chunk);
            }
            return false;
        }
        chunk->next = *chain;
        *chain = chunk;
    }
    return true;
}

static void fill_tail(struct queue *queue, struct queue_chunk **chain, const uint8_t *from,
                      size_t len)
{
    while (len > 0) {
        struct queue_chunk *tail = queue->tail;
        if (!tail || tail->end == tail->capacity) {
            tail = *chain;
            /* reserved */
            *chain = tail->next; /* NOLINT(clang-analyzer-core.NullDereference) */
            tail->next = NULL;
            append_chunk(queue, tail);
        }
        size_t part = tail->capacity - tail->end < len ? tail->capacity - tail->end : len;
        memcpy(tail->data + tail->end, from, part);
        tail->end += (uint32_t)part;
        queue->bytes += part;
        from += part;
        len -= part;
    }
}

bool queue_append(struct queue *queue, const struct iovec *spans, int count)
{
    size_t len = spans_length(spans, count);
    size_t room = queue->tail ? queue->tail->capacity - queue->tail->end : 0;
    struct queue_chunk *chain = NULL;
    if (len > room && !chunks_for(len - room, &chain))
        return false;
    for (int i = 0; i < count; i++)
        fill_tail(queue, &chain, spans[i].iov_base, spans[i].iov_len);
    assert(!chain);
    return true;
}

int queue_peek(const struct queue *queue, struct iovec *spans)
{
    int count = 0;
    for (struct queue_chunk *chunk = queue->head; chunk && count < QUEUE_SPANS; chunk = chunk->next)
        spans[count++] = (struct iovec){chunk->data + chunk->start, chunk->end - chunk->start};
    return count;
}

void queue_drop(struct queue *queue, size_t len)
{
    assert(len <= queue->bytes);
    queue->bytes -= len;
    while (len > 0) {
        struct queue_chunk *head = queue->head;
        size_t part = head->end - head->start < len ? head->end - head->start : len;
        head->start += (uint32_t)part;
        len -= part;
        if (head->start == head->end)
            free_head(queue);
    }
}

bool queue_begin_message(struct queue *queue, size_t room)
{
    struct queue_chunk *chunk = chunk_new(room);
    if (chunk)
        append_chunk(queue, chunk);
    return chunk;
}

/* Replaces the tail by a copy with more room. */
static bool grow_tail(struct queue *queue, size_t room)
{
    struct queue_chunk *old = queue->tail, *before = NULL;
    for (struct queue_chunk *chunk = queue->head; chunk != old; chunk = chunk->next)
        before = chunk;
    struct queue_chunk *chunk = realloc(old, sizeof(*chunk) + room);
    if (!chunk)
        return false;
    chunk->capacity = (uint32_t)room;
    queue->tail = chunk;
    if (before)
        before->next = chunk;
    else
        queue->head = chunk;
    return true;
}

bool queue_add_to_message(struct queue *queue, const struct iovec *spans, int count, size_t total)
{
    size_t len = spans_length(spans, count);
    struct queue_chunk *tail = queue->tail;
    assert(tail && !tail->complete);
    if (tail->capacity - tail->end < len) {
        size_t room = (size_t)tail->end + len;
        room = 2 * room < total ? 2 * room : total;
        if (!grow_tail(queue, room))
            return false;
        tail = queue->tail;
    }
    for (int i = 0; i < count; i++) {
        memcpy(tail->data + tail->end, spans[i].iov_base, spans[i].iov_len);
        tail->end += (uint32_t)spans[i].iov_len;
    }
    queue->bytes += len;
    return true;
}

void queue_end_message(struct queue *queue)
{
    queue->tail->complete = true;
}

bool queue_peek_message(const struct queue *queue, struct iovec *span)
{
    const struct queue_chunk *head = queue->head;
    if (!head || !head->complete)
        return false;
    *span = (struct iovec){(void *)head->data, head->end};
    return true;
}

void queue_drop_message(struct queue *queue)
{
    queue->bytes -= queue->head->end;
    free_head(queue);
}

void queue_clear(struct queue *queue)
{
    while (queue->head)
        free_head(queue);
    queue->bytes = 0;
}
