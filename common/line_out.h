/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * line_out.h - lines for somebody who may have stopped reading: the log of a program that must not
 * wait for its reader.
 *
 * Theory of operation
 *
 * A write to a full pipe waits until somebody reads. O_NONBLOCK would prevent that, but it belongs
 * to the open file, and others share that one: a terminal with the shell, a pipe with the other
 * programs of a script. So the open file stays as it is, and each kind has its own way:
 *
 * * A pipe or a terminal is opened again through /proc. What we open is ours, and does not block.
 * * A socket is written to with MSG_DONTWAIT.
 * * A pipe of another user's can't be opened again. It is written to with RWF_NOWAIT. A kernel
 *   before Linux 6.4 does not have that for pipes. There the pipe is asked whether it has room for
 *   PIPE_BUF bytes, and gets no more. It could block if others filled it in that very moment.
 * * A terminal of another user's is asked too, and gets TERMINAL_PIECE bytes at a time.
 * * Anything else, a file above all, is written to as it is.
 *
 * A line that finds no room is lost, and so is one whose reader has gone. Lost lines are counted,
 * and the next line that finds room says so first, or the end of the program does. A program with
 * a loop tells it without another line, some time after there is room. No signal is sent for a
 * socket; for a pipe, the program has to ignore SIGPIPE.
 */
#ifndef IDC_LINE_OUT_H
#define IDC_LINE_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define LINE_OUT_MAX 8192 /* bytes of a line; what is longer comes in pieces */

enum line_out_kind {
    LINE_OUT_PLAIN,
    LINE_OUT_SOCKET,
    LINE_OUT_PIPE,     /* of another user's */
    LINE_OUT_TERMINAL, /* of another user's */
};

/* Used by one thread at a time. */
struct line_out {
    const char *program; /* who says that lines were lost */
    int fd;              /* opened again, or as it was given */
    enum line_out_kind kind;
    unsigned lost;
    bool cut; /* the last line was not written to its end */
    char both[LINE_OUT_MAX + 256];
};

/* number: a descriptor. It stays the caller's, and has to stay open. */
void line_out_open(struct line_out *out, int number, const char *program);
/* Writes it in one call, so that lines of several processes don't mix; or counts it. */
void line_out_put(struct line_out *out, const char *line, size_t len);

/* stream: &stdout or &stderr, which the GNU C library lets a program set. What is printed to it by
 * stdio goes to such an output from now on, line by line. The descriptor stays as it is, also for
 * programs that are started. SIGPIPE is ignored from now on. program stays the caller's. If there
 * is no memory, the stream stays as it is. */
void line_out_take(FILE **stream, const char *program);
/* Of such streams: tells what was lost, if there is room now. False: something is still untold. The
 * program then asks again every LINE_OUT_AGAIN_MS. */
bool line_out_tell(void);
#define LINE_OUT_AGAIN_MS 5000
/* For a new process that has closed what it does not need: stderr, if it was taken, gets a
 * descriptor again. */
void line_out_again(void);

#endif
