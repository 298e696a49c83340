/* SPDX-License-Identifier: GPL-2.0-or-later */
/* memory.c - see memory.h. */
#include "link_mgr/platform/local/memory.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "link_mgr/platform/local/local.h"
#include "link_mgr/platform/local/rendezvous.h"
#include "link_mgr/platform/local/shared.h"

#define PAGE 4096u

struct memory {
    struct lent lent;
    struct shared shared;
    int fd;
    int socket; /* of the channel that had it last; -1: it was not handed over */
};

static struct memory *memory_of(const struct lent *lent)
{
    return (struct memory *)((char *)(uintptr_t)lent - offsetof(struct memory, lent));
}

static int memory_make(void *arg, int peer, uint32_t ring_size, struct lent **lent)
{
    struct memory *memory = calloc(1, sizeof(*memory));
    (void)arg, (void)peer;
    if (memory == NULL)
        return -ENOMEM;
    memory->fd = local_shared_make(&memory->shared, ring_size);
    if (memory->fd < 0) {
        int error = memory->fd;
        free(memory);
        return error;
    }
    memory->socket = -1;
    memory->lent.ring_size = ring_size;
    memory->lent.pages = (uint32_t)(memory->shared.size / PAGE);
    memory->lent.left = (uint8_t *)memory->shared.page + PAGE;
    memory->lent.right = (uint8_t *)memory->lent.left + ring_size;
    *lent = &memory->lent;
    return 0;
}

static void drop_socket(struct memory *memory)
{
    if (memory->socket >= 0)
        close(memory->socket);
    memory->socket = -1;
}

static void memory_end(struct lent *lent)
{
    struct memory *memory = memory_of(lent);
    drop_socket(memory);
    close(memory->fd);
    local_shared_unmap(&memory->shared);
    free(memory);
}

/* Nothing is read: what the peer writes there does not matter, and may have no end. */
static bool peer_has_closed(int socket)
{
    struct pollfd look = {.fd = socket, .events = POLLRDHUP};
    return poll(&look, 1, 0) > 0;
}

static enum lent_use memory_use(const struct lent *lent)
{
    struct memory *memory = memory_of(lent);
    if (memory->socket < 0)
        return LENT_LET_GO;
    if (!peer_has_closed(memory->socket))
        return LENT_HELD;
    drop_socket(memory);
    return LENT_LET_GO;
}

static bool memory_is_gone(void *arg, int peer)
{
    const struct platform *platform = arg;
    return local_rendezvous_presence(&platform->store, peer) == PLATFORM_GONE;
}

const struct lender_ops local_memory = {
    .make = memory_make,
    .end = memory_end,
    .use = memory_use,
    .is_gone = memory_is_gone,
};

const struct shared *local_memory_shared(const struct lent *lent)
{
    return &memory_of(lent)->shared;
}

int local_memory_fd(const struct lent *lent)
{
    return memory_of(lent)->fd;
}

void local_memory_leave_socket(struct lent *lent, int socket)
{
    struct memory *memory = memory_of(lent);
    drop_socket(memory);
    memory->socket = socket;
    shutdown(socket, SHUT_WR); /* the peer sees the end */
}
