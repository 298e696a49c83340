/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * queue.h - bytes that arrived on a connection and that the program has not taken yet.
 *
 * A queue is a chain of chunks. For a stream, chunks hold QUEUE_CHUNK bytes and are filled one
 * after the other. So a million writes of one byte cost a million bytes and not a million
 * allocations. For messages, a chunk is one message; the last one may be incomplete. The queue has
 * no limit of its own: the credit that was given bounds what may be put in.
 */
#ifndef IDC_QUEUE_H
#define IDC_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define QUEUE_CHUNK 1000u /* with its header a little less than 1 KiB */
#define QUEUE_SPANS 64

struct queue_chunk;
struct queue {
    struct queue_chunk *head, *tail;
    size_t bytes; /* not yet taken out */
};

static inline bool queue_empty(const struct queue *queue)
{
    return !queue->head;
}

/* Stream: appends the spans' bytes. False when memory is short (nothing was appended). */
bool queue_append(struct queue *queue, const struct iovec *spans, int count);
/* Stream: up to QUEUE_SPANS spans of what comes next; returns how many. */
int queue_peek(const struct queue *queue, struct iovec *spans);
/* Stream: takes out len bytes. */
void queue_drop(struct queue *queue, size_t len);

/* Messages: begins one with room for length bytes, adds bytes to the last one (growing its room if
 * necessary), and reports it complete. False when memory is short. */
bool queue_begin_message(struct queue *queue, size_t room);
bool queue_add_to_message(struct queue *queue, const struct iovec *spans, int count, size_t total);
void queue_end_message(struct queue *queue);
/* The first message, if it is complete: true and its bytes. queue_drop_message takes it out. */
bool queue_peek_message(const struct queue *queue, struct iovec *span);
void queue_drop_message(struct queue *queue);

void queue_clear(struct queue *queue);

#endif
