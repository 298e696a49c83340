/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * transport_upgraded.c - libidc's connections: tagged calls and answers, with descriptors
 * (docs/rpc.md, 4).
 *
 * Theory of operation
 *
 * Input. One recvmsg reads what has come, and every message that is whole in it is run from there.
 * Only a message that comes in several pieces is copied together. The kernel ends a read behind the
 * data with which descriptors were sent. So descriptors belong to the last message that begins in
 * the bytes that were read. libmicrohttpd may have read bytes beyond the HTTP request; those are
 * taken first.
 *
 * Without free descriptors, the kernel closes those that it cannot deliver. A program that connects
 * without waiting could then not be told why: its far end would be gone. So there is a spare
 * descriptor, which is given up for a read that finds no other one free. The far end is the first
 * descriptor, so it comes. Such a call is refused, and the next read takes the spare one back.
 * Whether there is another one is asked only if numbers are scarce (base/numbers.h).
 *
 * Output. An answer is written at once if no other waits; the rest that the socket does not take is
 * queued. A descriptor goes with the first byte of its message. A client that does not read is
 * disconnected when more than OUTPUT_MAX has piled up.
 *
 * Descriptors that belong nowhere end the connection, right after the call that they came with.
 *
 * End. Whatever goes wrong while a call is run or answered only marks the connection broken and
 * activates its event. The event ends the connection. So an answer never destroys the session while
 * somebody is answering.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/compact.h"
#include "common/guard.h"
#include "common/handover.h"
#include "link_mgr/base/closer.h"
#include "link_mgr/base/log.h"
#include "link_mgr/base/numbers.h"
#include "link_mgr/base/own_error.h"
#include "link_mgr/base/spare.h"
#include "link_mgr/rpc/delivery.h"
#include "link_mgr/rpc/dispatch.h"
#include "link_mgr/rpc/transport.h"

#define HEADER_SIZE 8
#define INPUT_MAX (1024u * 1024)
#define OUTPUT_MAX (4u * 1024 * 1024)
/* A message that was begun must go on. Otherwise a client could send the only copy of its own
 * socket along with half a message. Then the connection would not even end when the client dies.
 */
static const struct timeval piece_timeout = {.tv_sec = 5};
/* So much is read at a time, and less where calls begin in it, which may be small and many. More
 * stays in the socket, which is polled level-triggered, until other clients had their turn. */
#define PIECE_MAX (16u * 1024)
#define PIECE_OF_CALLS 1024u
#define FLUSH_MAX 64 /* answers that waited, sent in one turn */

struct output {
    TAILQ_ENTRY(output) entry;
    int fd;          /* -1: none, or sent */
    uint32_t charge; /* for closing it */
    size_t len, sent;
    uint8_t bytes[];
};

/* Descriptors that came with a piece, and belong to no message yet. */
struct descriptors {
    int fds[RPC_CALL_FDS];
    int count;
    bool lacks; /* more of them were lost */
};

struct upgraded {
    struct rpc_session *session;
    struct MHD_UpgradeResponseHandle *mhd;
    int fd;
    bool broken;
    bool timed; /* readable has a timeout */
    struct event *readable, *writable;

    uint8_t *extra; /* the bytes that libmicrohttpd had read already, until they are taken */
    size_t extra_len, extra_at;

    /* A message that has begun and is not complete: */
    uint8_t header[HEADER_SIZE];
    size_t header_have;
    char *document; /* NULL while the header is incomplete */
    size_t document_len, document_have;
    int fds[RPC_CALL_FDS];
    int fd_count;
    bool lacks;

    TAILQ_HEAD(, output) outputs;
    size_t output_bytes;
};

/* Pieces are read to here; it is used by one connection at a time. */
static uint8_t piece[PIECE_MAX];

static void mark_broken(struct upgraded *u)
{
    if (u->broken)
        return;
    u->broken = true;
    event_active(u->readable, EV_READ, 0);
}

/* ---- output ---- */

static void output_free(struct upgraded *u, struct output *o)
{
    TAILQ_REMOVE(&u->outputs, o, entry);
    u->output_bytes -= o->len;
    rpc_memory_give(u->session, o->len);
    closer_close(o->fd, o->charge);
    free(o);
}

static ssize_t write_output(struct upgraded *u, struct output *o)
{
    ssize_t sent = handover_send(u->fd, o->bytes + o->sent, o->len - o->sent, &o->fd,
                                 o->fd >= 0 ? 1 : 0, MSG_DONTWAIT);
    if (sent > 0 && o->fd >= 0) {
        closer_close(o->fd, o->charge);
        o->fd = -1;
    }
    if (sent > 0)
        o->sent += (size_t)sent;
    return sent;
}

static void upgraded_flush(struct upgraded *u)
{
    struct output *o;
    for (int i = 0; (o = TAILQ_FIRST(&u->outputs)) != NULL; i++) {
        if (i == FLUSH_MAX && event_add(u->writable, NULL) == 0)
            return;
        ssize_t sent = write_output(u, o);
        if (sent == -EINTR)
            continue;
        if (sent == -EAGAIN && event_add(u->writable, NULL) == 0)
            return;
        if (sent < 0) {
            mark_broken(u);
            return;
        }
        if (o->sent == o->len)
            output_free(u, o);
    }
    event_del(u->writable);
    u->session->sending = false;
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    upgraded_flush(arg);
}

/* Puts the rest of a message that the socket did not take into the queue. False: there is no room
 * for it. */
static bool upgraded_enqueue(struct upgraded *u, const struct iovec parts[2], size_t sent, int fd)
{
    size_t len = parts[0].iov_len + parts[1].iov_len;
    if ((u->output_bytes > 0 && u->output_bytes + len > OUTPUT_MAX) ||
        !rpc_memory_take(u->session, len))
        return false;
    struct output *o = malloc(sizeof(*o) + len);
    if (o == NULL) {
        rpc_memory_give(u->session, len);
        return false;
    }
    *o = (struct output){.fd = fd, .charge = u->session->fd_charge, .len = len, .sent = sent};
    memcpy(o->bytes, parts[0].iov_base, parts[0].iov_len);
    memcpy(o->bytes + parts[0].iov_len, parts[1].iov_base, parts[1].iov_len);
    u->output_bytes += len;
    TAILQ_INSERT_TAIL(&u->outputs, o, entry);
    return true;
}

/* Writes as much as the socket takes now. */
static size_t write_now(struct upgraded *u, const struct iovec parts[2], int *fd)
{
    ssize_t sent = handover_sendv(u->fd, parts, 2, fd, *fd >= 0 ? 1 : 0, MSG_DONTWAIT);
    if (sent <= 0)
        return 0; /* upgraded_flush will see why */
    if (*fd >= 0 && u->session->fd_own)
        close(*fd);
    else
        closer_close(*fd, u->session->fd_charge);
    *fd = -1;
    return (size_t)sent;
}

/* Takes fd over. document is NULL if none could be made. False: the answer cannot be sent. */
static bool send_document(struct upgraded *u, uint32_t tag, const void *document, size_t len,
                          int fd)
{
    uint32_t header[2] = {htole32((uint32_t)len), htole32(tag)};
    const struct iovec parts[2] = {{header, HEADER_SIZE}, {(void *)(uintptr_t)document, len}};
    bool idle = TAILQ_EMPTY(&u->outputs);
    size_t sent = document != NULL && !u->broken && idle ? write_now(u, parts, &fd) : 0;
    if (sent == HEADER_SIZE + len) {
        u->session->sending = false;
        return true;
    }
    if (document == NULL || u->broken || !upgraded_enqueue(u, parts, sent, fd)) {
        closer_close(fd, u->session->fd_charge);
        mark_broken(u);
        return false;
    }
    /* Not at once: the calls of one piece would each try again what has just failed. */
    if (idle && event_add(u->writable, NULL) < 0)
        mark_broken(u);
    u->session->sending = true;
    return true;
}

static bool upgraded_answer(void *arg, uint32_t tag, struct rpc_answer *answer, int fd)
{
    if (answer == NULL)
        return send_document(arg, tag, NULL, 0, fd);
    rpc_answer_uncount(answer); /* the rest that the socket does not take is counted in the queue */
    bool sent = send_document(arg, tag, xmlrpc_mem_block_contents(answer->block),
                              xmlrpc_mem_block_size(answer->block), fd);
    rpc_answer_free(answer);
    return sent;
}

static bool answer_compact(void *arg, uint32_t tag, const struct compact_writer *document, int fd)
{
    return send_document(arg, tag, document->failed ? NULL : document->bytes, document->len, fd);
}

static const struct rpc_transport upgraded_transport = {
    .descriptors = true, .answer = upgraded_answer, .answer_compact = answer_compact};

/* ---- input ---- */

/* The length of the message with this header; 0: no message may have it. */
static size_t document_length(const uint8_t header[HEADER_SIZE])
{
    uint32_t len;
    memcpy(&len, header, sizeof(len));
    return le32toh(len) <= INPUT_MAX ? le32toh(len) : 0;
}

static void drop_document(struct upgraded *u)
{
    if (u->document != NULL)
        rpc_memory_give(u->session, u->document_len);
    free(u->document);
    u->document = NULL;
    u->header_have = 0;
}

/* Adds the descriptors to those of the message that has begun, and closes those that are too
 * many. */
static void add_descriptors(struct upgraded *u, struct descriptors *came)
{
    for (int i = 0; i < came->count; i++) {
        if (u->fd_count < RPC_CALL_FDS)
            u->fds[u->fd_count++] = came->fds[i];
        else
            closer_close(came->fds[i], u->session->caller.uid);
    }
    u->lacks = u->lacks || came->lacks;
    came->count = 0;
    came->lacks = false;
}

/* The client has the answer, which says why, unless it does not read. */
static int upgraded_refuse_foreign(const struct upgraded *u)
{
    log_limited(LOG_WARNING,
                "a program of uid %u sent descriptors with a call that has no use for them, and "
                "its RPC connection ends",
                (unsigned)u->session->caller.uid);
    return -EPERM;
}

/* A whole message, whose descriptors are in u->fds. */
static int upgraded_run(struct upgraded *u, const uint8_t header[HEADER_SIZE], const char *document,
                        size_t len)
{
    uint32_t tag;
    memcpy(&tag, header + 4, sizeof(tag));
    struct rpc_call *call = rpc_call_new(u->session, le32toh(tag));
    if (call == NULL)
        return -ENOBUFS;
    memcpy(call->fds, u->fds, sizeof(call->fds));
    call->fd_count = u->fd_count;
    call->lacks = u->lacks;
    u->fd_count = 0;
    u->lacks = false;
    u->session->foreign = call->fd_count > 0; /* until a method has a use for them */
    rpc_dispatch(call, document, len);
    return u->session->foreign ? upgraded_refuse_foreign(u) : 0;
}

/* Runs the message at the start of in if it is whole, and returns its size. 0: it is not whole.
 * Negative errno: the connection has to end. */
static ssize_t run_in_place(struct upgraded *u, const uint8_t *in, size_t len,
                            struct descriptors *came)
{
    size_t size = len >= HEADER_SIZE ? HEADER_SIZE + document_length(in) : 0;
    if (size == HEADER_SIZE)
        return -EPROTO;
    if (size == 0 || size > len)
        return 0;
    if (size == len)
        add_descriptors(u, came);
    int error = upgraded_run(u, in, (const char *)in + HEADER_SIZE, size - HEADER_SIZE);
    return error < 0 ? error : (ssize_t)size;
}

static int begin_document(struct upgraded *u)
{
    size_t len = document_length(u->header);
    if (len == 0 || !rpc_memory_take(u->session, len))
        return -EPROTO;
    u->document = malloc(len);
    if (u->document == NULL) {
        rpc_memory_give(u->session, len);
        return -ENOMEM;
    }
    u->document_len = len;
    u->document_have = 0;
    return 0;
}

/* Adds to the message that has begun, and runs it when it is whole. Returns how many bytes were
 * used, or negative errno. */
static ssize_t add_piece(struct upgraded *u, const uint8_t *in, size_t len,
                         struct descriptors *came)
{
    bool header = u->document == NULL;
    uint8_t *to = header ? u->header + u->header_have : (uint8_t *)u->document + u->document_have;
    size_t wanted = header ? HEADER_SIZE - u->header_have : u->document_len - u->document_have;
    size_t used = len < wanted ? len : wanted;
    int error = 0;
    memcpy(to, in, used);
    *(header ? &u->header_have : &u->document_have) += used;
    if (used == wanted && header) {
        error = begin_document(u);
    } else if (used == wanted) {
        if (used == len)
            add_descriptors(u, came);
        error = upgraded_run(u, u->header, u->document, u->document_len);
        drop_document(u);
    }
    return error < 0 ? error : (ssize_t)used;
}

/* 0 or negative errno. */
static int take_input(struct upgraded *u, const uint8_t *in, size_t len, struct descriptors *came)
{
    while (len > 0 && !u->broken) {
        ssize_t used = u->header_have == 0 ? run_in_place(u, in, len, came) : 0;
        if (used == 0)
            used = add_piece(u, in, len, came);
        if (used < 0)
            return (int)used;
        in += used;
        len -= (size_t)used;
    }
    add_descriptors(u, came);
    return 0;
}

/* Takes a part of it. 0, or negative errno at the end. */
static int take_extra(struct upgraded *u)
{
    struct descriptors none = {.count = 0};
    const uint8_t *at = u->extra + u->extra_at;
    size_t left = u->extra_len - u->extra_at;
    size_t len = left < PIECE_OF_CALLS ? left : PIECE_OF_CALLS;
    u->extra_at += len;
    int error = take_input(u, at, len, &none);
    if (error < 0 || len == left) {
        free(u->extra);
        u->extra = NULL;
    }
    return error;
}

static void make_room_for_one(const struct upgraded *u, int *spare)
{
    int probe = fcntl(u->fd, F_DUPFD_CLOEXEC, 0);
    if (probe < 0)
        spare_give(spare);
    else
        close(probe);
}

/* As handover_recv. If descriptors came, the first one is there, unless the spare one has not come
 * back from an earlier call. */
static ssize_t upgraded_receive(struct upgraded *u, size_t most, struct descriptors *came)
{
    int *spare = &u->session->server->spare;
    spare_take(spare);
    if (numbers_are_scarce())
        make_room_for_one(u, spare);
    closer_charge(u->session->caller.uid);
    ssize_t got = handover_recv_lacking(u->fd, piece, most, came->fds, &came->count, MSG_DONTWAIT,
                                        &came->lacks);
    if (got > 0 && came->lacks)
        log_limited(LOG_WARNING, "a program's descriptors could not be received, and its %s: %s",
                    came->count > 0 ? "call is refused" : "RPC connection ends",
                    own_error_text(-EMFILE));
    spare_take(spare);
    if (got > 0 && came->lacks)
        numbers_lack();
    for (int i = 0; got >= 0 && i < came->count; i++)
        numbers_note(came->fds[i]);
    return got > 0 && came->lacks && came->count == 0 ? -EMFILE : got;
}

/* As much as there is left of a long document, but no calls behind it. */
static size_t piece_size(const struct upgraded *u)
{
    size_t left = u->document != NULL ? u->document_len - u->document_have : 0;
    if (left < PIECE_OF_CALLS)
        return PIECE_OF_CALLS;
    return left < PIECE_MAX ? left : PIECE_MAX;
}

/* Reads and runs what has come. 0 or negative errno; -ESHUTDOWN: the client has closed the
 * connection. */
static int read_input(struct upgraded *u)
{
    struct descriptors came = {.count = RPC_CALL_FDS};
    if (u->extra != NULL)
        return take_extra(u);
    ssize_t got = upgraded_receive(u, piece_size(u), &came);
    if (got == -EAGAIN || got == -EINTR)
        return 0;
    if (got <= 0)
        return got < 0 ? (int)got : -ESHUTDOWN;
    uint32_t uid = u->session->caller.uid;
    int error = came.count > 0 && closer_is_full(uid) ? -ENOBUFS : 0;
    if (error == 0)
        error = take_input(u, piece, (size_t)got, &came);
    for (int i = 0; i < came.count; i++)
        closer_close(came.fds[i], uid);
    return error;
}

/* ---- begin and end ---- */

static void upgraded_free(struct upgraded *u)
{
    struct output *o;
    while ((o = TAILQ_FIRST(&u->outputs)) != NULL)
        output_free(u, o);
    for (int i = 0; i < u->fd_count; i++)
        closer_close(u->fds[i], u->session->caller.uid);
    drop_document(u);
    if (u->readable != NULL)
        event_free(u->readable);
    if (u->writable != NULL)
        event_free(u->writable);
    free(u->extra);
    free(u);
}

/* Nothing more can come, but something may be unread, with descriptors. Whoever closes the socket
 * last closes them too. With a copy that is not libmicrohttpd, in the loop. */
static void upgraded_keep_unread(const struct upgraded *u)
{
    struct rpc_server *server = u->session->server;
    int unread;
    if (ioctl(u->fd, FIONREAD, &unread) < 0 || unread == 0)
        return;
    u->session->last = fcntl(u->fd, F_DUPFD_CLOEXEC, 0);
    if (u->session->last >= 0)
        return;
    spare_give(&server->spare);
    u->session->last = fcntl(u->fd, F_DUPFD_CLOEXEC, 0);
}

/* The session stays, empty, until libmicrohttpd closes the connection. in_order: the client has
 * closed it, and had read everything that was written. */
static void upgraded_end(struct upgraded *u, bool in_order)
{
    struct rpc_session *session = u->session;
    struct MHD_UpgradeResponseHandle *mhd = u->mhd;
    u->broken = true;
    rpc_delivery_session_ends(session, in_order && TAILQ_EMPTY(&u->outputs));
    rpc_session_end(session);
    shutdown(u->fd, SHUT_RDWR);
    upgraded_keep_unread(u);
    upgraded_free(u);
    session->carrier = NULL;
    session->transport = NULL;
    MHD_upgrade_action(mhd, MHD_UPGRADE_ACTION_CLOSE);
    rpc_run_soon(session->server);
}

/* 0 or negative errno. The bytes that libmicrohttpd had read go on in the next turn. Without a
 * limit the client could go on for ever with half a message. */
static int watch_progress(struct upgraded *u)
{
    /* not zero: libevent then takes a persistent event out for good */
    static const struct timeval at_once = {.tv_usec = 1};
    bool begun = u->header_have > 0;
    if (u->extra != NULL) {
        u->timed = true;
        return event_add(u->readable, &at_once) < 0 ? -ENOMEM : 0;
    }
    if (begun && event_add(u->readable, &piece_timeout) < 0)
        return -ENOMEM;
    if (!begun && u->timed)
        event_remove_timer(u->readable);
    u->timed = begun;
    return 0;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct upgraded *u = arg;
    (void)fd;
    int error = (what & EV_TIMEOUT) && u->extra == NULL ? -ETIMEDOUT : 0;
    u->session->closing |= (what & EV_CLOSED) != 0;
    if (error == 0 && !u->broken)
        error = read_input(u);
    if (error == 0 && !u->broken)
        error = watch_progress(u);
    if (u->broken || error < 0)
        upgraded_end(u, !u->broken && error == -ESHUTDOWN);
}

static int upgraded_init(struct upgraded *u, const char *extra, size_t extra_len)
{
    struct event_base *base = u->session->server->base;
    u->readable = event_new(base, u->fd, EV_READ | EV_CLOSED | EV_PERSIST, on_readable, u);
    u->writable = event_new(base, u->fd, EV_WRITE | EV_PERSIST, on_writable, u);
    u->extra = extra_len > 0 ? malloc(extra_len) : NULL;
    if (u->readable == NULL || u->writable == NULL || (extra_len > 0 && u->extra == NULL) ||
        event_add(u->readable, NULL) < 0)
        return -ENOMEM;
    if (extra_len > 0)
        memcpy(u->extra, extra, extra_len);
    u->extra_len = extra_len;
    return 0;
}

static struct upgraded *upgraded_new(struct rpc_session *session, int fd,
                                     struct MHD_UpgradeResponseHandle *mhd)
{
    struct upgraded *u = calloc(1, sizeof(*u));
    if (u == NULL)
        return NULL;
    u->session = session;
    u->mhd = mhd;
    u->fd = fd;
    TAILQ_INIT(&u->outputs);
    return u;
}

static void on_upgrade(void *cls, struct MHD_Connection *connection, void *request,
                       const char *extra, size_t extra_len, MHD_socket fd,
                       struct MHD_UpgradeResponseHandle *mhd)
{
    struct rpc_session *session = cls;
    struct upgraded *u = upgraded_new(session, fd, mhd);
    (void)connection, (void)request;
    rpc_http_leave(session);
    if (u == NULL) {
        MHD_upgrade_action(mhd, MHD_UPGRADE_ACTION_CLOSE);
        rpc_run_soon(session->server);
        return;
    }
    session->transport = &upgraded_transport;
    session->carrier = u;
    evutil_make_socket_nonblocking(fd);
    if (upgraded_init(u, extra, extra_len) < 0)
        upgraded_end(u, false);
    else if (extra_len > 0)
        event_active(u->readable, EV_READ, 0);
}

enum MHD_Result rpc_upgrade(struct rpc_session *session, struct MHD_Connection *connection)
{
    struct MHD_Response *response = MHD_create_response_for_upgrade(on_upgrade, session);
    if (response == NULL)
        return MHD_NO;
    enum MHD_Result result =
        MHD_add_response_header(response, MHD_HTTP_HEADER_UPGRADE,
                                session->compact ? RPC_UPGRADE_COMPACT : RPC_UPGRADE_PROTOCOL);
    /* the client may send descriptors as soon as it has read the answer */
    guard_end(session->fd);
    if (result == MHD_YES)
        result = MHD_queue_response(connection, MHD_HTTP_SWITCHING_PROTOCOLS, response);
    MHD_destroy_response(response);
    return result;
}

bool rpc_is_upgraded(const struct rpc_session *session)
{
    return session->transport == &upgraded_transport;
}

void rpc_upgraded_stop(struct rpc_session *session)
{
    upgraded_end(session->carrier, false);
}
