/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * closer.h - closes descriptors that a program has sent, without waiting for that.
 *
 * Theory of operation
 *
 * A program may send any descriptor along with an RPC call, a message or a listener's answer. When
 * link_mgr has the last copy, its close() may block: a TCP socket with SO_LINGER waits for its
 * peer, a file on FUSE or NFS for a server, a tty or a tape for a device. The same holds for a Unix
 * socket, because what is in its queue is closed with it. And it holds for recv without room for
 * the descriptors of a message: the kernel closes them before recv returns. So the loop closes
 * nothing of the kind itself. It receives every descriptor, and hands it to closer_close.
 *
 * Lanes. Each descriptor is charged to a user: to the one whose programs may have sent it, or have
 * sent something into its queue. That is not always the user whose program has the socket. Each
 * user has a queue of its own, the lane, and threads serve the lanes by turns. At any time one
 * thread closes for a lane. If that takes longer than CLOSER_STUCK_MS, the thread counts as stuck,
 * and another one goes on with the lane. So many threads of a lane may be stuck as CLOSER_EACH,
 * and never more than are left for others. So a user's slow closes hold up that user alone, unless
 * many users take all CLOSER_THREADS together.
 *
 * Threads. The loop wakes one thread in a turn, for all that has come (closer_flush). That one
 * wakes another if there are lanes that nobody serves. If no thread sleeps, one is started. A
 * thread that finds nothing to do sleeps, and ends if two others sleep. While something waits, the
 * loop looks from time to time who is stuck. So nobody watches a close that is quick.
 *
 * Bounds. What waits has a place by its number, so there are as many places as link_mgr may have
 * descriptors, and nothing else is allocated for it. When CLOSER_MANY of one user wait,
 * closer_is_full says so. Until fewer wait, that user loses an RPC connection over which it sends a
 * descriptor, and none of its RPC connections is upgraded. So it can send no new ones, and without
 * an RPC connection it gets no new sockets to send through. There are CLOSER_LANES at most. Users
 * beyond that share the lane of another one.
 *
 * Notes. Some work can go on only when a descriptor was closed. closer_close_then reports that, by
 * an event of a descriptor that the loop watches.
 *
 * What is known to be harmless is closed directly: link_mgr's own ends of sockets in whose queues
 * nothing of a program can be (common/guard.h), and memory files that link_mgr has made. No lane
 * can hold these up. A turn in which something else is closed costs two system calls more. One
 * wakes the thread, and in the other one the thread waits again.
 *
 * Where no thread was started (unit tests, tools), closer_close is close.
 */
#ifndef IDC_CLOSER_H
#define IDC_CLOSER_H

#include <stdbool.h>
#include <stdint.h>

#define CLOSER_THREADS 32
#define CLOSER_EACH 4
#define CLOSER_STUCK_MS 50
#define CLOSER_MANY 1024
#define CLOSER_LANES 256

/* Starts the threads, with all signals blocked in them. 0 or negative errno. */
int closer_start(void);
/* Closes what waits, for as long as limit_ms, and ends the threads. Those that are stuck are left
 * behind; the end of the process ends them. */
void closer_stop(unsigned limit_ms);

/* Takes fd over; -1 is allowed. It never waits. uid is charged. The thread begins at the next
 * closer_flush. */
void closer_close(int fd, uint32_t uid);
/* The same for descriptors that common/ closes: uid is that of the latest closer_charge. */
void closer_charge(uint32_t uid);
void closer_close_charged(int fd);

struct closer_note;
/* As closer_close; closed is called from closer_tell when it is done. NULL: there is no memory, and
 * fd is still the caller's. */
struct closer_note *closer_close_then(int fd, uint32_t uid, void (*closed)(void *arg), void *arg);
/* The note's function is not called any more. NULL is allowed. */
void closer_forget(struct closer_note *note);
/* Becomes readable when closer_tell has something to tell. Negative errno: there is none. */
int closer_event_fd(void);
void closer_tell(void);

/* Called once in each turn of the loop. True: something waits, so call it again within
 * CLOSER_STUCK_MS or so, even if nothing else happens. */
bool closer_flush(void);
/* Does so much of uid wait that it should send no more descriptors? */
bool closer_is_full(uint32_t uid);

#endif
