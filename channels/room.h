/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * room.h - room for a side's writer in spite of its held byte (side.h).
 *
 * Theory of operation
 *
 * As long as one byte of a block is unread, the kernel charges the whole block to its writer, and
 * wakes the writer only while all its charges are at most a quarter of its SO_SNDBUF. So a writer
 * with a small buffer would wait for ever for a byte that is held. link_mgr has the same question
 * for its own held bytes (link_mgr/program/endpoint_room.c), and it is such a writer itself.
 *
 * So when a side has brought nothing for a while, and a block that may be too large is held, the
 * kernel is asked (unix_diag.h). If its writer has no room, the byte is let go. What comes next is
 * held again. After the first time the side is tight: it is looked at whenever all has been read.
 * So such a writer does not wait for the timer with each block. A program may make its buffer
 * smaller later, so a block that is too large for the smallest buffer is asked about a few times
 * more, ever later. Then no timer runs for it until more comes.
 *
 * A question makes the kernel walk through all Unix sockets. So tight sides ask once in a
 * millisecond, and let go without asking else; and a timer's event asks for a few milliseconds,
 * and then leaves the rest for later.
 *
 * Where the kernel does not tell (no CONFIG_UNIX_DIAG, or a socket of another network namespace),
 * the byte is let go after a second of silence. If more comes at once after that, there seems to be
 * such a writer, and the side is tight from then on.
 *
 * As long as nothing is held, a close of the side cannot be told as a reset.
 */
#ifndef IDC_CHANNELS_ROOM_H
#define IDC_CHANNELS_ROOM_H

#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "link_mgr/base/unix_diag.h"

struct side;
struct event_base;

/* Times are in milliseconds, and are compared by their differences. */
struct room {
    struct side *side;
    TAILQ_ENTRY(room) place;
    uint32_t since;   /* of its place on the list */
    uint32_t guessed; /* when it was let go without the kernel's answer; 0: not of late */
    uint32_t peer;    /* inode of the writer's socket; 0: not known */
    uint8_t list;     /* 1 for the first one; 0: on none */
    bool tight;
    bool measured; /* the kernel has answered: it had room */
};

#define ROOM_LISTS 3
struct room_list {
    unsigned wait_ms;
    struct rooms *rooms;
    TAILQ_HEAD(, room) members; /* the one that brought something last is the last */
    struct event timer;
};

/* What all sides of a loop share. */
struct rooms {
    struct unix_diag diag;
    uint32_t asked; /* when a tight side was last asked about */
    struct room_list lists[ROOM_LISTS];
};

/* Opens a descriptor if it can. */
void rooms_begin(struct rooms *rooms, struct event_base *base);
/* No room is on a list. */
void rooms_end(struct rooms *rooms);

/* To be called after the side was read, when no more is read for now. */
void room_look(struct rooms *rooms, struct room *room);
/* Before the side is closed. */
void room_leave(struct rooms *rooms, struct room *room);

#endif
