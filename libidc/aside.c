/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * aside.c - theory of operation
 *
 * Closes descriptors that another program has sent, or that it can have sent something into. That
 * may take for ever (docs/design.md, "Descriptors that programs send"), and must not hold up the
 * program that calls us. So threads of our own do it. They are made when there is something to
 * close, and end when nothing is left. As long as no program misbehaves, there are none.
 *
 * There are few threads. While all of them are stuck, what is to be closed waits, and takes a
 * descriptor of the process. Where there is no memory for a place in the queue, it stays open.
 *
 * Fork. A child has no thread, and all that waits. The next descriptor that it has to close gets a
 * thread, which closes the others too.
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <unistd.h>

#include "common/handover.h"
#include "libidc/internal.h"

#define ASIDE_THREADS 4
#define STACK_BYTES (256 * 1024)

struct aside {
    STAILQ_ENTRY(aside) entry;
    int fd;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static STAILQ_HEAD(, aside) waiting = STAILQ_HEAD_INITIALIZER(waiting);
static int threads;

static void aside_lock(void)
{
    pthread_mutex_lock(&lock);
}

static void aside_unlock(void)
{
    pthread_mutex_unlock(&lock);
}

static void aside_after_fork_in_child(void)
{
    threads = 0;
    aside_unlock();
}

static void *aside_run(void *unused)
{
    struct aside *next;
    aside_lock();
    while ((next = STAILQ_FIRST(&waiting)) != NULL) {
        int fd = next->fd;
        STAILQ_REMOVE_HEAD(&waiting, entry);
        aside_unlock();
        free(next);
        close(fd);
        aside_lock();
    }
    threads--;
    aside_unlock();
    return unused;
}

/* The lock is held. If none can be made, the next descriptor tries again. */
static void aside_add_thread(void)
{
    pthread_t thread;
    pthread_attr_t attributes;
    sigset_t every, before;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    sigfillset(&every);
    pthread_sigmask(SIG_SETMASK, &every, &before);
    if (pthread_create(&thread, &attributes, aside_run, NULL) == 0)
        threads++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
}

static void aside_close(int fd)
{
    struct aside *new = malloc(sizeof(*new));
    if (new == NULL)
        return;
    new->fd = fd;
    aside_lock();
    STAILQ_INSERT_TAIL(&waiting, new, entry);
    if (threads < ASIDE_THREADS)
        aside_add_thread();
    aside_unlock();
}

void libidc_aside_begin(void)
{
    pthread_atfork(aside_lock, aside_unlock, aside_after_fork_in_child);
    handover_closes_by(aside_close);
}
