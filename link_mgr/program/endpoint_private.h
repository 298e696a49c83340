/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * endpoint_private.h - what the six parts of an endpoint share; nobody else includes it.
 * endpoint.c has its life, and what goes to the program. endpoint_buffer.c has how much of that
 * lies in the kernel. endpoint_stream.c and endpoint_message.c have what comes from the program.
 * endpoint_lag.c has what is done later, and endpoint_room.c whether the program's writer has room.
 */
#ifndef IDC_ENDPOINT_PRIVATE_H
#define IDC_ENDPOINT_PRIVATE_H

#include "link_mgr/core/conn.h"
#include "link_mgr/program/endpoint.h"

struct endpoint {
    struct endpoint_config config;
    int fd;
    bool own;     /* the pair is one that we made: nobody else reads our end */
    bool guarded; /* ... and no descriptors can come (common/guard.h) */
    bool bulk;    /* the last read was large */
    /* bytes that were forwarded and are still unread: in the end the last byte, or the last
     * message. Stream: 0 only while others wait behind */
    size_t held;
    size_t behind;      /* stream: at least so many wait behind them */
    bool known;         /* seqpacket: the next message was looked at */
    size_t length;      /* ... its length */
    size_t in_socket;   /* ... that of what is in the socket, which may be its front */
    size_t offset;      /* ... how much of it was pulled */
    bool starved;       /* ... waits until there is a descriptor for it */
    int memfd;          /* ... where it is, or -1: in the socket */
    bool reset;         /* ... the kernel has reported a reset, which it does once */
    bool stuffed;       /* there was no memory or no descriptor to give the program something */
    unsigned pieces;    /* stream: looks since everything but the held byte was consumed */
    bool answered;      /* stream: the program was given something since the last look */
    bool cut;           /* something came beside what was read last, which may have ended there */
    bool foreign;       /* the program has sent descriptors that belong nowhere */
    bool ending;        /* an event has shown that nothing comes behind what is there */
    bool drained;       /* stream: the last look took all, and an event will come for more */
    bool bare;          /* nothing is held: it was let go, and nothing has come since */
    bool tight;         /* what is held has kept the program from writing before */
    bool needy;         /* ... it seems so, and the kernel does not tell */
    uint64_t guessed;   /* when it was let go for that reason and nothing has come since, or 0 */
    bool measured;      /* the kernel has said that there is room in the program's buffer */
    size_t batch;       /* what is held came in a block of no more than so much */
    bool batch_ended;   /* all that was there has been pulled, so the next block is another */
    int64_t peer_inode; /* of the program's end; 0: not asked for yet, negative: not known */
    bool untaken;       /* the program has not taken it from its listener */
    bool waits_for_it;  /* ... and something does not fit its share */
    size_t share_bytes; /* ... what it was given so far */
    unsigned share_pieces;
    unsigned buffer;      /* step of the size of its end's send buffer (endpoint_buffer.c) */
    uint64_t buffer_cost; /* that it is charged to the budget with */
    bool used;            /* it was given something since another one looked for room */
    unsigned waits;       /* stream: how often its end has been full since something went into it */
    TAILQ_ENTRY(endpoint) roomy;
    struct endpoint_list *list; /* that it is on, or NULL */
    uint64_t lag_since;
    TAILQ_ENTRY(endpoint) lag;
    struct event readable, writable;
};

/* Discarded bytes go here. Nobody looks at them. */
extern uint8_t endpoint_scratch[64 * 1024];

/* recvmsg that does not wait. Descriptors that a program has sent along are closed, and noted if
 * the endpoint is a stream. Returns how many bytes, -EAGAIN, or -ECONNRESET for all other errors.
 */
ssize_t endpoint_receive(struct endpoint *ep, struct iovec *spans, int count, int flags);
size_t endpoint_length_of(const struct iovec *spans, int count);

/* endpoint_pull, for each of the two types. */
ssize_t endpoint_pull_stream(struct endpoint *ep, const struct iovec *spans, int count);
ssize_t endpoint_pull_message(struct endpoint *ep, const struct iovec *spans, int count);
/* Discards one message of what the program has written. False: nothing is there. */
bool endpoint_discard_message(struct endpoint *ep);
/* Consumes the held bytes, so that closing does not reset the connection. */
void endpoint_release_stream(struct endpoint *ep);
void endpoint_release_message(struct endpoint *ep);

/* So many bytes were pulled: bytes of a stream, or a whole message. */
void endpoint_pulled(struct endpoint *ep, size_t len);
/* Might what is held keep the program from writing? No system call is made for this. */
bool endpoint_may_be_tight(const struct endpoint *ep);
/* Called when all that was sent has been pulled. Makes sure that the held bytes do not keep the
 * program from writing. silent: the program has sent nothing for so long that they are let go if
 * the kernel does not tell. True: they do not keep it now, but may if the program makes its send
 * buffer smaller, or if the kernel does not tell. */
bool endpoint_make_room(struct endpoint *ep, bool silent);
/* For a tight connection of which all was read. Asks at most once in a tick of the clock. */
void endpoint_make_room_now(struct endpoint *ep);

#define BUFFER_TOP 3u /* the largest step */
/* Chooses the size of the send buffer of a new end, and charges it. */
void endpoint_buffer_begin(struct endpoint *ep);
void endpoint_buffer_end(struct endpoint *ep);
/* Looks whether what programs had not read when their connections were over is read by now. It asks
 * the kernel, about few of them, and at most once in a tick of the clock. */
void endpoint_buffer_look_back(struct endpoints *all, struct budget *budget);
/* Makes it larger by a step. False: it can't be, or the budget has no room for that. */
bool endpoint_buffer_grow(struct endpoint *ep);
/* For a message that does not fit it: by memfd if it is long, else as it is, in a buffer that is
 * large for this message only. Its credit is charged until it is received: PUSH_LENT. -1: errno. */
ssize_t endpoint_buffer_lend(struct endpoint *ep, const struct iovec *spans, int count, size_t len);

/* Arranges that the endpoint is looked after when the program sends nothing for a while, if there
 * is a reason. */
void endpoint_lag_begin(struct endpoint *ep);
/* Its end is full. Arranges that it is tried again, whether the kernel wakes us or not. */
void endpoint_lag_full(struct endpoint *ep);
void endpoint_lag_end(struct endpoint *ep);

/* Streams: let_lag_go consumes all that lags, catch_up only if it has become much. Call them when
 * the program does not sleep. Messages: forget_memfd forgets the descriptor of a message that was
 * looked at. */
void endpoint_let_lag_go(struct endpoint *ep);
void endpoint_catch_up(struct endpoint *ep);
void endpoint_forget_memfd(struct endpoint *ep);

#endif
