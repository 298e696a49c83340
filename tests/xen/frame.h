/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * frame.h - the frames that the test harness and its agents exchange.
 *
 * Theory of operation
 *
 * The host (tests/xen/link.py) speaks with the agent of dom0 over a virtio-serial port. dom0's
 * agent passes frames on to the agents of the guests, over their consoles (consoles.h). A console
 * is shared with the guest's kernel, whose text may appear between frames and, when it panics,
 * within them. So a frame begins with a magic number, and carries a CRC of all that follows, and a
 * sequence number. The reader hunts for the magic, and hands over everything outside a frame as
 * text. Sequence numbers show what was lost or, when a guest is restored from a file, repeated.
 *
 * All numbers are little-endian; agents run on x86 only.
 */
#ifndef TESTS_XEN_FRAME_H
#define TESTS_XEN_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_MAGIC 0x1E0FDCF1u
#define FRAME_PAYLOAD_MAX 16384u

enum frame_type {
    /* host to agent */
    FRAME_SPAWN = 1, /* id: new process; payload: struct frame_spawn, then strings */
    FRAME_STDIN,     /* id, bytes; empty: end of input */
    FRAME_KILL,      /* id; payload: int32 signal, uint32 whether to its whole session */
    FRAME_PING,      /* answered with FRAME_HELLO */
    FRAME_CLEAR,     /* id, payload: beginning of an assignment. Kills all that have it in their
                        environment, whoever started them; answered with FRAME_CLEARED */
    /* agent to host */
    FRAME_HELLO = 32, /* the agent has started, or answers a ping: payload "PID" */
    FRAME_STARTED,    /* id; payload: int32 pid, or negative errno */
    FRAME_STDOUT,     /* id, bytes; empty: end of file */
    FRAME_STDERR,
    FRAME_STDIN_TAKEN, /* id; payload: uint32 bytes that the process's pipe has taken */
    FRAME_EXIT,        /* id; payload: int32 status as of waitpid */
    FRAME_LOG,         /* text: kernel log of the domain, or complaint of the agent */
    /* dom0's agent to host, about the guest that is the frame's target */
    FRAME_ATTACHED, /* payload: int32 domid: a console with that domid is now the guest's */
    FRAME_DETACHED, /* payload: int32 domid: it is gone */
    FRAME_CONSOLE,  /* text that was not part of any frame */
    /* agent to host */
    FRAME_CLEARED, /* id; payload: int32 how many were found */
};

struct frame_header {
    uint32_t magic;
    uint32_t crc; /* of the header from length on, and of the payload */
    uint32_t length;
    uint16_t target; /* 0: dom0; N: the guest named gN */
    uint16_t type;
    uint32_t id;
    uint32_t seq; /* counts the frames that one agent receives, and those that it sends */
};

/* Strings of FRAME_SPAWN, each ended by NUL: argc arguments, envc assignments, the directory. */
struct frame_spawn {
    uint16_t argc, envc;
    uint32_t uid, gid;
};

/* Bytes that wait to be written or to be parsed. */
struct buffer {
    uint8_t *bytes;
    size_t start, end, room;
};

static inline size_t buffer_used(const struct buffer *buffer)
{
    return buffer->end - buffer->start;
}

void buffer_append(struct buffer *buffer, const void *bytes, size_t length);
void buffer_drop(struct buffer *buffer, size_t length);
void buffer_free(struct buffer *buffer);

void frame_append(struct buffer *buffer, uint16_t target, uint16_t type, uint32_t id, uint32_t seq,
                  const void *payload, size_t length);

/* Looks for what buffer begins with. *text: bytes of plain text at the beginning, to be dropped
 * first. Otherwise *header and *payload are filled in and the frame (sizeof header + length bytes)
 * is to be dropped after use. False: more is needed. */
bool frame_next(const struct buffer *buffer, size_t *text, struct frame_header *header,
                const uint8_t **payload);

#endif
