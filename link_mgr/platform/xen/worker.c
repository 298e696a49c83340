/* SPDX-License-Identifier: GPL-2.0-or-later */
/* worker.c - see worker.h. */
#include "link_mgr/platform/xen/worker.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

static void queue_init(struct worker_queue *queue)
{
    queue->first = NULL;
    queue->end = &queue->first;
}

static void queue_add(struct worker_queue *queue, struct worker_job *job)
{
    job->next = NULL;
    *queue->end = job;
    queue->end = &job->next;
}

static struct worker_job *queue_take(struct worker_queue *queue)
{
    struct worker_job *job = queue->first;
    if (!job)
        return NULL;
    queue->first = job->next;
    if (!queue->first)
        queue->end = &queue->first;
    return job;
}

static void raise_event(int fd)
{
    const uint64_t one = 1;
    ssize_t ignored =
        write(fd, &one, sizeof(one)); /* it fails only when the descriptor is readable anyway */
    (void)ignored;
}

static void clear_event(int fd)
{
    uint64_t count;
    ssize_t ignored = read(fd, &count, sizeof(count));
    (void)ignored;
}

static struct worker_job *next_job(struct worker *worker, bool *stop)
{
    pthread_mutex_lock(&worker->mutex);
    struct worker_job *job = queue_take(&worker->waiting);
    *stop = worker->stopping;
    pthread_mutex_unlock(&worker->mutex);
    return job;
}

static void worker_finished(struct worker *worker, struct worker_job *job)
{
    pthread_mutex_lock(&worker->mutex);
    queue_add(&worker->finished, job);
    pthread_mutex_unlock(&worker->mutex);
    xen_worker_tell(worker);
}

static int64_t worker_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* For poll. */
static int worker_pause(const struct worker *worker)
{
    if (worker->source_due == WORKER_NEVER)
        return -1;
    int64_t left = worker->source_due - worker_now();
    return left > 0 ? (int)left : 0;
}

static void wait_for_work(struct worker *worker)
{
    struct pollfd fds[2] = {
        {.fd = worker->wake, .events = POLLIN},
        {.fd = worker->source, .events = POLLIN},
    };
    if (poll(fds, 2, worker_pause(worker)) < 0)
        return;
    if (fds[0].revents)
        clear_event(worker->wake);
    if (!fds[1].revents && worker_pause(worker) != 0)
        return;
    worker->source_due = WORKER_NEVER;
    if (worker->source >= 0)
        worker->source_ready(worker->source_context);
}

static void *worker_run(void *context)
{
    struct worker *worker = context;
    bool stop = false;
    while (!stop) {
        struct worker_job *job = next_job(worker, &stop);
        if (job) {
            job->run(job);
            worker_finished(worker, job);
            stop = false; /* not before the queue is empty */
        } else if (!stop) {
            wait_for_work(worker);
        }
    }
    pthread_mutex_lock(&worker->mutex);
    worker->ended = true;
    pthread_cond_signal(&worker->ended_condition);
    pthread_mutex_unlock(&worker->mutex);
    return NULL;
}

static void worker_release(struct worker *worker)
{
    pthread_cond_destroy(&worker->ended_condition);
    pthread_mutex_destroy(&worker->mutex);
    close(worker->ready);
    close(worker->wake);
}

int xen_worker_start(struct worker *worker)
{
    pthread_condattr_t clock;
    sigset_t all, before;
    *worker = (struct worker){.source = -1, .source_due = WORKER_NEVER};
    queue_init(&worker->waiting);
    queue_init(&worker->finished);
    worker->ready = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    worker->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (worker->ready < 0 || worker->wake < 0) {
        int error = -errno;
        close(worker->ready);
        close(worker->wake);
        return error;
    }
    pthread_mutex_init(&worker->mutex, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&worker->ended_condition, &clock);
    pthread_condattr_destroy(&clock);
    /* libxenstore starts a thread of its own from this one; that thread inherits the mask. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = -pthread_create(&worker->thread, NULL, worker_run, worker);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error)
        worker_release(worker);
    return error;
}

void xen_worker_post(struct worker *worker, struct worker_job *job)
{
    pthread_mutex_lock(&worker->mutex);
    queue_add(&worker->waiting, job);
    pthread_mutex_unlock(&worker->mutex);
    raise_event(worker->wake);
}

void xen_worker_tell(struct worker *worker)
{
    raise_event(worker->ready);
}

static struct worker_job *finished_job(struct worker *worker)
{
    pthread_mutex_lock(&worker->mutex);
    struct worker_job *job = queue_take(&worker->finished);
    pthread_mutex_unlock(&worker->mutex);
    return job;
}

void xen_worker_collect(struct worker *worker)
{
    struct worker_job *job;
    clear_event(worker->ready);
    while ((job = finished_job(worker)))
        job->done(job);
}

void xen_worker_wait_for(struct worker *worker, int fd, void (*ready)(void *context), void *context)
{
    worker->source = fd;
    worker->source_ready = ready;
    worker->source_context = context;
}

void xen_worker_repeat(struct worker *worker, int ms)
{
    const int64_t due = worker_now() + ms;
    if (due < worker->source_due)
        worker->source_due = due;
}

static struct timespec worker_deadline(unsigned limit_ms)
{
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += limit_ms / 1000;
    end.tv_nsec += (long)(limit_ms % 1000) * 1000000;
    if (end.tv_nsec >= 1000000000) {
        end.tv_nsec -= 1000000000;
        end.tv_sec++;
    }
    return end;
}

bool xen_worker_stop(struct worker *worker, unsigned limit_ms)
{
    struct timespec end = worker_deadline(limit_ms);
    int error = 0;
    pthread_mutex_lock(&worker->mutex);
    worker->stopping = true;
    raise_event(worker->wake);
    while (!worker->ended && error == 0)
        error = pthread_cond_timedwait(&worker->ended_condition, &worker->mutex, &end);
    bool ended = worker->ended;
    pthread_mutex_unlock(&worker->mutex);
    if (!ended) {
        pthread_detach(worker->thread);
        return false;
    }
    pthread_join(worker->thread, NULL);
    xen_worker_collect(worker);
    worker_release(worker);
    return true;
}
