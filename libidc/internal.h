/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * internal.h - what the parts of libidc share. None of it is exported.
 *
 *   error.c       errno and the text beside it
 *   rpc_line.c     upgraded RPC connections to link_mgr (docs/rpc.md, 4), and the pool of idle ones
 *   call.c        one call: exchange, decode
 *   connect.c     idc_connect*, idc_connect_finish, idc_disconnect
 *   patience.c    waiting for a daemon that is not there yet
 *   listen.c      idc_listen*, idc_accept, idc_unlisten
 *   io.c          idc_send, idc_recv, idc_recv_with
 *   address.c     idc_getsockname, idc_getpeername
 *
 * Functions return 0 or a descriptor, or -1 after libidc_fail; the public ones return that as it
 * is.
 */
#ifndef IDC_LIBIDC_INTERNAL_H
#define IDC_LIBIDC_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/compact.h"
#include "idc.h"

/* ---- error.c ---- */

/* What link_mgr says fits (a whole compact document), with words around it. */
#define LIBIDC_TEXT_MAX (COMPACT_MAX + 256)
/* Sets errno and the thread's text, returns -1. */
int libidc_fail(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* NULL, size 0 or unknown members that are set: -1. All defaults are filled in but the socket's. */
int libidc_options(const struct idc_options *options, struct idc_options *out);

/* ---- rpc_line.c ---- */

struct libidc_line;

#define LIBIDC_HEADER_SIZE 8
#define LIBIDC_WAIT_FOREVER (-1)
/* To be added to a limit in milliseconds: a signal's handler ends the wait, with EINTR, unless all
 * handlers of the process were installed with SA_RESTART. A wait for ever is always so. */
#define LIBIDC_INTERRUPTIBLE 0x40000000
#define LIBIDC_WAIT_MAX (LIBIDC_INTERRUPTIBLE - 1)

/* For a program that does not know of us: descriptors of lines opened from now on are out of its
 * way, from fd on. */
void libidc_line_lowest_fd(int fd);
/* The path that a call is to use: option, environment, default. */
const char *libidc_socket_path(const char *option);
/* The path of the link_mgr that made the socket fd, among those that this process has called; NULL
 * when that is not known. */
const char *libidc_path_of_maker(int fd);

/*
 * Sends a message (header and document) over an idle line, or over a fresh one. The descriptors go
 * with it. *line is then to be given back. wait_ms bounds the whole, if not LIBIDC_WAIT_FOREVER.
 * Tries again only when nothing was sent.
 */
int libidc_line_send(const char *path, const void *message, size_t len, const int *fds,
                     int fd_count, int wait_ms, struct libidc_line **line);
/* The next message: a malloced document with a NUL behind it, and its descriptor (-1: none). */
int libidc_line_recv(struct libidc_line *line, int wait_ms, char **document, size_t *len, int *fd);
/* Into the pool when it is good for another call, else closed. */
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
/* The same, with descriptors; they stay the caller's. */
int libidc_call_with(const char *path, const struct compact_writer *call, int wait_ms,
                     const int *fds, int fd_count, struct libidc_answer *answer, int *fd);
/* A call that has no answer, with descriptors. */
int libidc_post(const char *path, const struct compact_writer *call, int wait_ms, const int *fds,
                int fd_count);

/* ---- patience.c ---- */

#define LIBIDC_TIMEOUT_DEFAULT_MS 30000

/* Calls that are repeated until a daemon serves them. Begins when it is made. */
struct libidc_patience {
    int64_t end_ms; /* -1: no limit */
    int pause_ms;
};

struct libidc_patience libidc_patience_begin(int timeout_ms);
/* After a call that failed. True: for want of a daemon, and there is time for another attempt, now.
 * False: errno and the text tell how it ends. */
bool libidc_patience_again(struct libidc_patience *patience, const char *path);
/* What is left, in the form of struct idc_options. */
int libidc_patience_left(const struct libidc_patience *patience);

int64_t libidc_answer_int(const struct libidc_answer *answer, const char *name, int64_t fallback);
/* Copies at most size - 1 bytes. */
void libidc_answer_text(const struct libidc_answer *answer, const char *name, char *out,
                        size_t size);

#endif
