/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * worker.h - a thread for what may block, with a queue of jobs.
 *
 * Theory of operation
 *
 * libxenstore's calls wait for xenstored's answer, and xenstored may hang. So the event loop makes
 * no such call itself. It posts a job. The worker's thread calls the jobs' run() in the order of
 * posting; later xen_worker_collect calls done() on the loop's thread. Between jobs the thread also
 * waits for one descriptor (a source), which a job registers. The loop polls worker->ready, which
 * is readable when xen_worker_collect has something to do.
 *
 * A job belongs to the worker from xen_worker_post until done() is called, which frees it. Stopping
 * gives the thread a limited time for the queued jobs. A thread that hangs is left behind, with all
 * the memory that it may still touch.
 */
#ifndef IDC_XEN_WORKER_H
#define IDC_XEN_WORKER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define WORKER_NEVER INT64_MAX

struct worker_job {
    struct worker_job *next;
    void (*run)(struct worker_job *job);  /* worker's thread */
    void (*done)(struct worker_job *job); /* loop's thread; frees the job */
};

struct worker_queue {
    struct worker_job *first, **end;
};

struct worker {
    pthread_t thread;
    pthread_mutex_t mutex; /* protects the queues and stopping, ended */
    pthread_cond_t ended_condition;
    struct worker_queue waiting, finished;
    bool stopping, ended;
    int ready; /* eventfd, polled by the loop */
    int wake;  /* eventfd, polled by the thread */
    /* The thread's own. */
    int source;
    void (*source_ready)(void *context);
    void *source_context;
    int64_t source_due; /* ms: ready is called then, readable or not; or WORKER_NEVER */
};

/* Starts the thread, with all signals blocked in it. 0, or a negative errno. */
int xen_worker_start(struct worker *worker);
void xen_worker_post(struct worker *worker, struct worker_job *job);
/* Makes worker->ready readable. Any thread may call it. */
void xen_worker_tell(struct worker *worker);
/* Makes worker->ready unreadable, and calls done() of the jobs that have run. */
void xen_worker_collect(struct worker *worker);
/* Called by a job: from now on the thread also waits for fd, and calls ready(context) when it is
 * readable. */
void xen_worker_wait_for(struct worker *worker, int fd, void (*ready)(void *context),
                         void *context);
/* Called on the worker's thread: ready is called once more, after so many ms at the latest, and
 * after the jobs that wait. */
void xen_worker_repeat(struct worker *worker, int ms);
/* Lets the thread do the jobs that wait, and ends it, within limit_ms. True: the thread has ended,
 * every done() was called, and the worker's resources are released. False: the thread hangs; the
 * worker and everything that its jobs use must stay where they are. */
bool xen_worker_stop(struct worker *worker, unsigned limit_ms);

#endif
