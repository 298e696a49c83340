/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * internal.h - what the parts of libidc share. None of it is exported.
 *
 *   error.c       errno and the text beside it
 *   rpc_line.c     upgraded RPC connections to link_mgr (docs/rpc.md, 4), and the pool of idle ones
 *   call.c        one call: exchange, decode
 *   connect.c     idc_connect*, idc_connect_finish, idc_disconnect
 *   domain.c      idc_resolve, idc_domid, idc_services
 *   patience.c    waiting for a daemon that is not there yet
 *   listen.c      idc_listen*, idc_accept, idc_unlisten
 *   keep.c        listeners that outlive their link_mgr
 *   io.c          idc_send, idc_recv, idc_recv_with
 *   watch.c       idc_peer_timeout
 *   address.c     idc_getsockname, idc_getpeername
 *
 * Functions return 0 or a descriptor, or -1 after libidc_fail. The public functions return that as
 * it is.
 */
#ifndef IDC_LIBIDC_INTERNAL_H
#define IDC_LIBIDC_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/compact.h"
#include "idc.h"

/* ---- error.c ---- */

/* Room for what link_mgr says (a whole compact document) and for words around it. */
#define LIBIDC_TEXT_MAX (COMPACT_MAX + 256)
/* Sets errno and the thread's text, returns -1. */
int libidc_fail(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Fills in all defaults except the socket's. -1: options is NULL, its size is 0, or unknown members
 * are set. */
int libidc_options(const struct idc_options *options, struct idc_options *out);

/* ---- rpc_line.c ---- */

struct libidc_line;

#define LIBIDC_HEADER_SIZE 8
#define LIBIDC_WAIT_FOREVER (-1)
/* Added to a limit in milliseconds: a signal's handler ends the wait with EINTR, unless all
 * handlers of the process were installed with SA_RESTART. A wait without a limit always behaves
 * so. */
#define LIBIDC_INTERRUPTIBLE 0x40000000
#define LIBIDC_WAIT_MAX (LIBIDC_INTERRUPTIBLE - 1)

/* For a program that does not know of us: lines that are opened from now on get descriptors from fd
 * on, out of the program's way. */
void libidc_line_lowest_fd(int fd);
/* The path that a call is to use: option, environment, default. */
const char *libidc_socket_path(const char *option);
/* The path of the link_mgr that made the socket fd, if this process has called that link_mgr; else
 * NULL. */
const char *libidc_path_of_maker(int fd);
/* Identifies a socket: no other one ever has the same. 0: fd is not a socket. */
uint64_t libidc_cookie_of(int fd);
/* CLOCK_MONOTONIC, in milliseconds. */
int64_t libidc_now_ms(void);
/* Has the process that made the socket fd ended? False if that can't be seen from here. */
bool libidc_maker_is_gone(int fd);

/*
 * Sends a message (header and document) over an idle line, or over a new one. The descriptors go
 * with it. The caller has to give *line back. wait_ms bounds the whole call, unless it is
 * LIBIDC_WAIT_FOREVER. The call tries again only when nothing was sent.
 */
int libidc_line_send(const char *path, const void *message, size_t len, const int *fds,
                     int fd_count, int wait_ms, struct libidc_line **line);
/* The next message: a malloced document with a NUL behind it, and its descriptor (-1: none). */
int libidc_line_recv(struct libidc_line *line, int wait_ms, char **document, size_t *len, int *fd);
/* Puts the line into the pool when it is good for another call, else closes it. */
void libidc_line_give_back(struct libidc_line *line, bool good);

/* ---- call.c ---- */

/* The members of a result. */
struct libidc_answer {
    size_t len;
    uint8_t bytes[COMPACT_MAX];
};

/* One call. answer and fd may be NULL; the descriptor that is returned is the caller's. */
int libidc_call(const char *path, const struct compact_writer *call, int wait_ms,
                struct libidc_answer *answer, int *fd);
/* As libidc_call, with descriptors that go with the call; they stay the caller's. */
int libidc_call_with(const char *path, const struct compact_writer *call, int wait_ms,
                     const int *fds, int fd_count, struct libidc_answer *answer, int *fd);
/* A call that has no answer, with descriptors. */
int libidc_post(const char *path, const struct compact_writer *call, int wait_ms, const int *fds,
                int fd_count);

/* ---- listen.c, keep.c ---- */

struct libidc_listen {
    uint32_t port;
    const char *service; /* NULL: none */
    int type, backlog, peer_timeout_ms;
    bool told; /* kept: as libidc_listen_told */
};

/* One call of idc.listen. far_end, which stays the caller's: of a listener that is kept, else -1.
 * *fd is the listener, or the life of one that is kept. */
int libidc_listen_call(const char *path, const struct libidc_listen *listen, int far_end, int *fd);
/* Listens, and keeps the listener. Returns it. */
int libidc_keep(const char *path, const struct libidc_listen *listen);

/* ---- connect.c, listen.c: for programs that pass a connection on ---- */

/* As idc_listen_with. A listener that is kept tells everything: see libidc_accept_marked. */
int libidc_listen_told(uint32_t port, const char *service, int backlog,
                       const struct idc_options *options);

/*
 * As idc_connect_to with nonblocking, and as idc_accept. But one byte is unread in the descriptor
 * from the beginning, the mark, which the caller has to take out before it reads. As long as it is
 * there, close() resets the connection, and so does the end of the process. *marked: is it there?
 * Of the connections that are accepted, only those from within the domain have it.
 *
 * *noted: the call fails because of how a listener that is kept stands with its link_mgr. errno and
 * the text say why it is not registered now. errno 0: it is again. The listener goes on.
 */
int libidc_connect_marked(const char *domain, const char *service,
                          const struct idc_options *options);
int libidc_accept_marked(int listener, struct idc_addr *peer, bool *marked, bool *noted);

/* ---- error.c ---- */

/* 0, or -1 with errno and the text. */
int libidc_check_peer_timeout(int ms);

/* ---- io.c: for the same programs ---- */

#define LIBIDC_NOT_KNOWN (-1)
/* Is fd a connection of IDC? */
bool libidc_is_connection(int fd);
/* Asks link_mgr why it has cut fd off, for a second at most. Returns an errno, with words in why; 0
 * when it has not; or LIBIDC_NOT_KNOWN. errno and the thread's text may change. */
int libidc_reason(int fd, char *why, size_t size);
/* As libidc_reason, of an attempt to connect that has failed (connecting_cut_number). */
int libidc_reason_of_attempt(int fd, uint64_t number, char *why, size_t size);

/* ---- patience.c ---- */

#define LIBIDC_TIMEOUT_DEFAULT_MS 30000

/* Calls that are repeated until a daemon serves them. The time begins with
 * libidc_patience_begin. */
struct libidc_patience {
    int64_t end_ms; /* -1: no limit */
    int pause_ms;
};

struct libidc_patience libidc_patience_begin(int timeout_ms);
/* Called after a call that failed. True: no daemon was there, and there is time for another attempt
 * now. False: errno and the text say how it ends. */
bool libidc_patience_again(struct libidc_patience *patience, const char *path);
/* The time that is left, in the form of struct idc_options. */
int libidc_patience_left(const struct libidc_patience *patience);

/* A number, or 0 or 1 for a boolean. */
int64_t libidc_answer_int(const struct libidc_answer *answer, const char *name, int64_t fallback);
/* Copies at most size - 1 bytes. */
void libidc_answer_text(const struct libidc_answer *answer, const char *name, char *out,
                        size_t size);

/* ---- aside.c ---- */

/* From now on foreign descriptors are closed by threads. Called when the library is loaded. */
void libidc_aside_begin(void);

#endif
