/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Room for the program's writer in spite of the held bytes. As long as one byte of a block is
 * unread, the kernel charges the whole block to the writer. That is up to 64 KiB of a spliced file,
 * 49 KiB of a write, or a whole message. It is more where pages are large, or where sendfile adds
 * to the last block (Linux before 6.5). The kernel wakes a writer, and lets it poll writable, only
 * while the charge is at most a quarter of the writer's SO_SNDBUF.
 *
 * The buffer that a connection begins with (HANDOVER_STREAM_BUFFER) is large enough for the blocks
 * that were named first. But the program may have made it smaller, or may have found a way to make
 * larger blocks. So when the program has sent nothing for a while, the kernel is asked for the
 * charge (base/unix_diag.h). If the answer means that nothing more can come, the held bytes are let
 * go. As long as the block is large, the kernel is asked again, because a program may make its
 * buffer smaller at any time. After the first time the connection is tight: the kernel is asked
 * whenever all has been read. So such a writer does not wait for the timer with each block. A
 * question makes the kernel walk through all Unix sockets, so there is one in a tick of the clock,
 * and the other tight connections let go without asking.
 *
 * Where the kernel does not tell, what is held is let go after a second of silence: a writer that
 * waits cannot break it. If bytes come at once after that, there seems to be such a writer (needy).
 * From then on the held bytes are let go whenever all has been read. A guess that is wrong costs a
 * reset, or a second.
 */
#include "common/handover.h"
#include "link_mgr/base/clock.h"
#include "link_mgr/base/unix_diag.h"
#include "link_mgr/program/endpoint_private.h"

/* A program that sends so soon after something was let go has waited for that. */
#define GUESS_MS 100

void endpoint_pulled(struct endpoint *ep, size_t len)
{
    bool whole = ep->config.conn->type == IDC_SEQPACKET;
    if (ep->guessed)
        ep->needy = clock_now_ms() - ep->guessed < GUESS_MS;
    ep->guessed = 0;
    if (whole || (ep->batch_ended && !unix_diag_blocks_grow()))
        ep->batch = 0;
    ep->batch += len;
    ep->batch_ended = false;
    ep->bare = false;
    endpoint_lag_begin(ep);
}

bool endpoint_may_be_tight(const struct endpoint *ep)
{
    return !ep->bare && ep->batch > UNIX_DIAG_BATCH_SURE;
}

/* Asks the kernel about the program's end. False: it doesn't answer. */
static bool room_measure(struct endpoint *ep, struct unix_diag_memory *memory)
{
    const struct unix_diag *diag = &ep->config.all->diag;
    if (ep->peer_inode == 0)
        ep->peer_inode = unix_diag_peer(diag, ep->fd);
    return ep->peer_inode > 0 && unix_diag_memory(diag, (uint32_t)ep->peer_inode, memory) == 0;
}

static bool room_let_go(struct endpoint *ep)
{
    ep->tight = true;
    ep->batch = 0;
    if (ep->config.conn->type == IDC_STREAM)
        endpoint_release_stream(ep);
    else
        endpoint_release_message(ep);
    return false;
}

/* The kernel does not tell: what is held is let go when there is reason. How much came at once is
 * none, because many small blocks look like a large one. */
static bool room_guess(struct endpoint *ep, bool silent)
{
    if (!silent && !ep->needy)
        return true;
    ep->guessed = clock_now_ms();
    return room_let_go(ep);
}

bool endpoint_make_room(struct endpoint *ep, bool silent)
{
    struct unix_diag_memory memory;
    if (!endpoint_may_be_tight(ep) || endpoint_unsent(ep) > 0)
        return false; /* what is there will be pulled, and then this is asked again */
    if (!room_measure(ep, &memory))
        return room_guess(ep, silent);
    if (!unix_diag_writable(&memory))
        /* What the program has sent since is charged as well, and will be pulled. */
        return endpoint_unsent(ep) > 0 ? false : room_let_go(ep);
    ep->measured = true;
    ep->tight = ep->tight && memory.send_buffer < 2 * HANDOVER_STREAM_BUFFER;
    if (memory.charged > UNIX_DIAG_CHARGE_SURE)
        return true;
    ep->batch = 0;
    return false;
}

void endpoint_make_room_now(struct endpoint *ep)
{
    struct endpoints *all = ep->config.all;
    uint64_t now = clock_now_ms();
    if (!endpoint_may_be_tight(ep) || endpoint_unsent(ep) > 0)
        return;
    if (all->asked_ms == now) {
        room_let_go(ep);
        return;
    }
    all->asked_ms = now;
    endpoint_make_room(ep, false);
}
