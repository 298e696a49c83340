/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * child.h - processes that are started from within an event loop.
 *
 * Theory of operation
 *
 * A new process has everything of the old one until it runs another program. Two things of that
 * must not be used there. The handlers of the event loop's signals write into a socket that both
 * have, so a signal to the new process would be one to the old. Therefore all signals are blocked
 * around fork, and have their default action in the new process before they are let in again. And a
 * descriptor that is marked close-on-exec, such as a listener, would stay open if the new process
 * waits, or can't run its program, while the old one has ended.
 *
 * A descriptor that a client has sent, or a socket that it can have sent one into, must not reach a
 * new process at all. The last close of such a descriptor may take for ever (foreign.h), and what
 * runs a program closes all that are marked. So a thread of the old process forks, which first
 * gives up all numbers above a reserved one, without closing them: it gets a table of descriptors
 * of its own, to which these are not copied (close_range with CLOSE_RANGE_UNSHARE, since Linux
 * 5.9). Under the reserved number the new process finds the one descriptor that it is given. All
 * below were there before the first client: what this process has inherited, up to number 63, and
 * its own.
 *
 * The number of a process may be another one's as soon as it was waited for, and so may that of
 * its group. A record of each process says whether it has ended. It belongs to two: to whoever
 * started the process, until child_release, and to the process, until child_reaped. The last of
 * them frees it.
 *
 * Records are those of the whole process. All functions are for the thread of the event loop.
 */
#ifndef IDC_CHANNELS_CHILD_H
#define IDC_CHANNELS_CHILD_H

#include <sys/types.h>

struct child;

/* Reserves the number, before there are clients. Without it, or where something is missing for
 * that, a new process has all descriptors. */
void child_begin(void);
/* Runs that in a new process, in a process group of its own; what it returns is the exit status. fd
 * may be another number there, and is closed if a program is run. -1: there is none. Signals that
 * are ignored stay so, except for SIGPIPE and SIGCHLD, and so does the mask of blocked ones.
 * Returns the process, or -1 with errno. */
typedef int child_main(int fd, const void *argument);
pid_t child_fork(int fd, child_main *run, const void *argument);
/* In the new process: closes what running a program would close, except for 0, 1 and 2. */
void child_close_private(void);

/* child_fork with a record. NULL with errno. When the process has ended, ended is called with
 * context from child_reaped; it may be NULL. */
struct child *child_start(int fd, child_main *run, const void *argument,
                          void (*ended)(void *context), void *context);
/* The process was waited for. One that has no record is nobody's business. */
void child_reaped(pid_t pid);
/* SIGTERM to its process group, once, if it has not ended. */
void child_terminate(struct child *child);
void child_release(struct child *child);
/* Nobody is told any more who gave this context. */
void child_forget(const void *context);
/* child_terminate for all that were started with this context, also those that were released. */
void child_terminate_all(const void *context);

#endif
