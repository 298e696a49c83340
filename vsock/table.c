/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * table.c - what is known of each descriptor's number.
 *
 * It grows by pieces of VSOCK_CHUNK numbers, which are never given back, so it is read without a
 * lock. It only remembers what was found. An entry may be wrong in a child of vfork. It may also be
 * wrong when the program closes and opens descriptors by ways that we don't see (fclose, system
 * calls of its own). Therefore whoever finds "ours" looks again at the descriptor itself. And each
 * call of ours that makes a descriptor writes its entry again.
 */
#include <sys/mman.h>

#include "vsock/vsock.h"

_Atomic(struct vsock_entry *) vsock_chunks[VSOCK_CHUNKS];

static struct vsock_options shared; /* when there is no memory */

static struct vsock_entry *make_entry(int fd)
{
    struct vsock_entry *entry = vsock_entry(fd), *none = NULL;
    unsigned at = (unsigned)fd / VSOCK_CHUNK;
    const size_t size = VSOCK_CHUNK * sizeof(struct vsock_entry);
    if (entry != NULL || at >= VSOCK_CHUNKS)
        return entry;
    void *chunk = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (chunk == MAP_FAILED)
        return NULL;
    if (!atomic_compare_exchange_strong(&vsock_chunks[at], &none, (struct vsock_entry *)chunk))
        munmap(chunk, size);
    return vsock_entry(fd);
}

void vsock_set_mark(int fd, enum vsock_mark mark)
{
    struct vsock_entry *entry = fd >= 0 ? make_entry(fd) : NULL;
    if (entry != NULL)
        atomic_store_explicit(&entry->mark, (unsigned char)mark, memory_order_relaxed);
}

static void copy_options(struct vsock_options *to, const struct vsock_options *from)
{
    to->buffer_size = from->buffer_size;
    to->buffer_min = from->buffer_min;
    to->buffer_max = from->buffer_max;
    to->connect_timeout_ms = from->connect_timeout_ms;
    to->bound_cid = from->bound_cid;
    to->told_send_buffer = from->told_send_buffer;
    to->send_buffer = from->send_buffer;
    to->from_cid = from->from_cid;
    to->from_port = from->from_port;
    to->error_taken = from->error_taken;
    to->messages = from->messages;
}

void vsock_enter(int fd, enum vsock_mark mark)
{
    static const struct vsock_options defaults;
    struct vsock_entry *entry = fd >= 0 ? make_entry(fd) : NULL;
    if (entry == NULL)
        return;
    if (mark == VSOCK_OURS)
        copy_options(&entry->options, &defaults);
    atomic_store_explicit(&entry->mark, (unsigned char)mark, memory_order_relaxed);
}

void vsock_copy(int from, int to)
{
    enum vsock_mark mark = vsock_mark(from);
    if (from == to || (mark != VSOCK_OURS && vsock_mark(to) == VSOCK_UNKNOWN))
        return;
    /* A child of vfork shares the table with its parent, where the number may be one of ours. The
     * parent would believe "other". */
    vsock_set_mark(to, mark == VSOCK_OURS ? VSOCK_OURS : VSOCK_UNKNOWN);
    if (mark == VSOCK_OURS)
        copy_options(vsock_options(to), vsock_options(from));
}

void vsock_forget_range(unsigned first, unsigned last)
{
    if (last >= VSOCK_CHUNK * VSOCK_CHUNKS)
        last = VSOCK_CHUNK * VSOCK_CHUNKS - 1;
    for (unsigned fd = first; fd <= last; fd++) {
        struct vsock_entry *entry = vsock_entry((int)fd);
        if (entry == NULL)
            fd |= VSOCK_CHUNK - 1; /* the next piece */
        else
            atomic_store_explicit(&entry->mark, VSOCK_UNKNOWN, memory_order_relaxed);
    }
}

struct vsock_options *vsock_options(int fd)
{
    struct vsock_entry *entry = make_entry(fd);
    return entry != NULL ? &entry->options : &shared;
}
