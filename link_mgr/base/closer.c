/* SPDX-License-Identifier: GPL-2.0-or-later */
/* closer.c - see closer.h. */
#include "link_mgr/base/closer.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <time.h>
#include <unistd.h>

#include "link_mgr/base/clock.h"
#include "link_mgr/base/log.h"
#include "link_mgr/base/numbers.h"

#define STACK_BYTES (256 * 1024)
#define THREADS_ASLEEP 2 /* no more have nothing to do */
#define PLACES_MIN 1024

struct closer_note {
    struct closer_note *next;  /* of those that are done */
    void (*closed)(void *arg); /* NULL: forgotten; only the loop looks at it */
    void *arg;
};

/* Of a descriptor that waits, by its number. */
struct place {
    int next; /* in the lane; -1: the last one */
    struct closer_note *note;
};

/* A user of whom something waits or is being closed. */
struct lane {
    TAILQ_ENTRY(lane) entry;
    uint32_t uid;
    int first, last;
    unsigned waiting;
    bool active;       /* a thread closes, and is not stuck */
    unsigned stuck;    /* threads */
    uint64_t turns;    /* of active threads */
    uint64_t began_ms; /* the latest turn */
};
TAILQ_HEAD(lane_list, lane);

/* All of it but work and the lines at the end is protected by the mutex. */
static struct {
    pthread_mutex_t mutex;
    sem_t work;           /* threads that sleep wait for it */
    pthread_cond_t ended; /* a thread has ended */
    bool running, stopping;
    unsigned threads;
    unsigned busy;     /* those that close, stuck ones too */
    unsigned sleeping; /* those that sleep, and those that were woken and have not begun yet */
    unsigned woken;
    unsigned waiting; /* in all lanes */
    struct lane lanes[CLOSER_LANES];
    struct lane_list used, unused; /* the one that was served last is the last */
    struct place *places;
    size_t place_count;
    struct closer_note *done;
    /* only the loop uses these */
    uint32_t charged;
    int event_fd; /* and a thread, once it is there */
} closer = {.mutex = PTHREAD_MUTEX_INITIALIZER,
            .used = TAILQ_HEAD_INITIALIZER(closer.used),
            .unused = TAILQ_HEAD_INITIALIZER(closer.unused),
            .event_fd = -1};

static struct timespec closer_deadline(unsigned ms)
{
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += ms / 1000;
    end.tv_nsec += (long)(ms % 1000) * 1000000;
    if (end.tv_nsec >= 1000000000) {
        end.tv_nsec -= 1000000000;
        end.tv_sec++;
    }
    return end;
}

/* ---- lanes ---- */

static struct lane *lane_find(uint32_t uid)
{
    struct lane *lane;
    TAILQ_FOREACH (lane, &closer.used, entry)
        if (lane->uid == uid)
            return lane;
    return NULL;
}

/* For users that are too many to have lanes of their own. */
static struct lane *lane_shared(void)
{
    return TAILQ_LAST(&closer.used, lane_list);
}

static struct lane *lane_enter(uint32_t uid)
{
    struct lane *lane = lane_find(uid);
    if (lane)
        return lane;
    lane = TAILQ_FIRST(&closer.unused);
    if (!lane)
        return lane_shared();
    TAILQ_REMOVE(&closer.unused, lane, entry);
    *lane = (struct lane){.uid = uid, .first = -1, .last = -1};
    TAILQ_INSERT_TAIL(&closer.used, lane, entry);
    return lane;
}

static void lane_leave(struct lane *lane)
{
    if (lane->waiting > 0 || lane->active || lane->stuck > 0)
        return;
    TAILQ_REMOVE(&closer.used, lane, entry);
    TAILQ_INSERT_HEAD(&closer.unused, lane, entry);
}

/* A lane has at most as many threads as it leaves to others. */
static bool lane_wants_thread(const struct lane *lane)
{
    return lane->waiting > 0 && !lane->active && lane->stuck < CLOSER_EACH &&
           lane->stuck < CLOSER_THREADS - closer.busy;
}

static struct lane *lane_next(void)
{
    struct lane *lane;
    TAILQ_FOREACH (lane, &closer.used, entry)
        if (lane_wants_thread(lane))
            return lane;
    return NULL;
}

static void lane_put(struct lane *lane, int fd, struct closer_note *note)
{
    closer.places[fd] = (struct place){.next = -1, .note = note};
    if (lane->waiting++ > 0)
        closer.places[lane->last].next = fd;
    else
        lane->first = fd;
    lane->last = fd;
    closer.waiting++;
}

static int lane_take(struct lane *lane, struct closer_note **note)
{
    int fd = lane->first;
    *note = closer.places[fd].note;
    lane->first = closer.places[fd].next;
    lane->waiting--;
    closer.waiting--;
    return fd;
}

/* The thread does not go on with the lane any more, and another one may. */
static void lane_count_stuck(struct lane *lane)
{
    lane->turns++;
    lane->active = false;
    lane->stuck++;
    log_limited(
        LOG_WARNING,
        "closing a descriptor that a program of uid %u sent takes long (%u of %u at a time)",
        lane->uid, lane->stuck, CLOSER_EACH);
}

static void closer_look_for_stuck(void)
{
    struct lane *lane;
    uint64_t now = clock_now_ms();
    TAILQ_FOREACH (lane, &closer.used, entry)
        if (lane->waiting > 0 && lane->active && now - lane->began_ms >= CLOSER_STUCK_MS)
            lane_count_stuck(lane);
}

/* ---- notes ---- */

static void note_finish(struct closer_note *note)
{
    bool tell = closer.done == NULL;
    note->next = closer.done;
    closer.done = note;
    if (tell)
        eventfd_write(closer.event_fd, 1);
}

/* ---- threads ---- */

static void *closer_run(void *unused);

/* The mutex is held, or there are no threads. */
static int closer_add_thread(void)
{
    pthread_t thread;
    pthread_attr_t attributes;
    sigset_t all, before;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = -pthread_create(&thread, &attributes, closer_run, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (error == 0) {
        closer.threads++;
        closer.sleeping++;
        closer.woken++; /* it looks for work first */
    }
    return error;
}

/* Is there a lane that nobody serves, and a thread to be woken for it? Whoever was woken before
 * wakes the next one. If no thread can be started, the next turn tries again. */
static bool closer_must_wake(void)
{
    if (closer.woken > 0 || lane_next() == NULL)
        return false;
    if (closer.sleeping == 0) {
        if (closer.threads < CLOSER_THREADS)
            closer_add_thread();
        return false;
    }
    closer.woken++;
    return true;
}

static void closer_take_turn(struct lane *lane)
{
    struct closer_note *note;
    int fd = lane_take(lane, &note);
    lane->active = true;
    lane->began_ms = clock_now_ms();
    uint64_t turn = ++lane->turns;
    closer.busy++;
    TAILQ_REMOVE(&closer.used, lane, entry);
    TAILQ_INSERT_TAIL(&closer.used, lane, entry);
    if (closer_must_wake())
        sem_post(&closer.work);
    pthread_mutex_unlock(&closer.mutex);
    close(fd);
    pthread_mutex_lock(&closer.mutex);
    closer.busy--;
    if (lane->turns == turn)
        lane->active = false;
    else
        lane->stuck--;
    lane_leave(lane);
    if (note)
        note_finish(note);
}

/* A semaphore, since it costs no system call but the two that are needed. A thread may be woken for
 * nothing, so whoever returns from here looks again. */
static void closer_sleep(void)
{
    closer.sleeping++;
    pthread_mutex_unlock(&closer.mutex);
    while (sem_wait(&closer.work) < 0)
        ;
    pthread_mutex_lock(&closer.mutex);
}

/* Begins as one that was woken. */
static void *closer_run(void *unused)
{
    pthread_mutex_lock(&closer.mutex);
    for (;;) {
        struct lane *lane;
        closer.sleeping--;
        closer.woken--;
        while ((lane = lane_next()) != NULL)
            closer_take_turn(lane);
        if ((closer.stopping && closer.waiting == 0) || closer.sleeping >= THREADS_ASLEEP)
            break;
        closer_sleep();
    }
    closer.threads--;
    pthread_cond_broadcast(&closer.ended);
    pthread_mutex_unlock(&closer.mutex);
    return unused;
}

int closer_start(void)
{
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    sem_init(&closer.work, 0, 0);
    pthread_cond_init(&closer.ended, &clock);
    pthread_condattr_destroy(&clock);
    for (int i = 0; i < CLOSER_LANES; i++)
        TAILQ_INSERT_TAIL(&closer.unused, &closer.lanes[i], entry);
    pthread_mutex_lock(&closer.mutex);
    int error = closer_add_thread();
    closer.running = error == 0;
    for (int i = 1; i < THREADS_ASLEEP && error == 0; i++)
        closer_add_thread();
    pthread_mutex_unlock(&closer.mutex);
    return error;
}

/* Nothing waits, and nobody comes back soon. */
static bool closer_has_done_all(void)
{
    const struct lane *lane;
    unsigned stuck = 0;
    TAILQ_FOREACH (lane, &closer.used, entry)
        stuck += lane->stuck;
    return closer.waiting == 0 && closer.threads == stuck;
}

/* Threads that sleep find that nothing waits, and end. */
static void closer_wake_all(void)
{
    for (; closer.woken < closer.sleeping; closer.woken++)
        sem_post(&closer.work);
}

void closer_stop(unsigned limit_ms)
{
    uint64_t end = clock_now_ms() + limit_ms;
    pthread_mutex_lock(&closer.mutex);
    closer.stopping = true;
    while (closer.running && !closer_has_done_all() && clock_now_ms() < end) {
        struct timespec soon = closer_deadline(CLOSER_STUCK_MS);
        closer_look_for_stuck();
        if (closer_must_wake())
            sem_post(&closer.work);
        closer_wake_all();
        pthread_cond_timedwait(&closer.ended, &closer.mutex, &soon);
    }
    pthread_mutex_unlock(&closer.mutex);
}

/* ---- for the loop ---- */

bool closer_flush(void)
{
    pthread_mutex_lock(&closer.mutex);
    bool waits = closer.running && closer.waiting > 0;
    if (waits)
        closer_look_for_stuck();
    bool wake = waits && closer_must_wake();
    pthread_mutex_unlock(&closer.mutex);
    if (wake)
        sem_post(&closer.work); /* after the mutex, which the thread takes first */
    return waits;
}

static bool closer_make_place(int fd)
{
    if ((size_t)fd < closer.place_count)
        return true;
    size_t count = closer.place_count > 0 ? closer.place_count : PLACES_MIN;
    while (count <= (size_t)fd)
        count *= 2;
    struct place *places = realloc(closer.places, count * sizeof(*places));
    if (!places)
        return false;
    closer.places = places;
    closer.place_count = count;
    return true;
}

static void closer_take_over(int fd, uint32_t uid, struct closer_note *note)
{
    numbers_note(fd);
    pthread_mutex_lock(&closer.mutex);
    bool direct = !closer.running, room = direct || closer_make_place(fd);
    if (!direct && room)
        lane_put(lane_enter(uid), fd, note);
    pthread_mutex_unlock(&closer.mutex);
    if (direct)
        close(fd);
    else if (!room)
        log_limited(LOG_ERR, "a descriptor that a program sent stays open: out of memory");
    if (note && (direct || !room)) {
        pthread_mutex_lock(&closer.mutex);
        note_finish(note);
        pthread_mutex_unlock(&closer.mutex);
    }
}

void closer_close(int fd, uint32_t uid)
{
    if (fd >= 0)
        closer_take_over(fd, uid, NULL);
}

void closer_charge(uint32_t uid)
{
    closer.charged = uid;
}

void closer_close_charged(int fd)
{
    closer_close(fd, closer.charged);
}

struct closer_note *closer_close_then(int fd, uint32_t uid, void (*closed)(void *arg), void *arg)
{
    struct closer_note *note = closer_event_fd() < 0 ? NULL : calloc(1, sizeof(*note));
    if (!note)
        return NULL;
    *note = (struct closer_note){.closed = closed, .arg = arg};
    closer_take_over(fd, uid, note);
    return note;
}

void closer_forget(struct closer_note *note)
{
    if (note)
        note->closed = NULL;
}

int closer_event_fd(void)
{
    if (closer.event_fd < 0)
        closer.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return closer.event_fd < 0 ? -errno : closer.event_fd;
}

void closer_tell(void)
{
    eventfd_t count;
    eventfd_read(closer.event_fd, &count);
    pthread_mutex_lock(&closer.mutex);
    struct closer_note *note = closer.done;
    closer.done = NULL;
    pthread_mutex_unlock(&closer.mutex);
    while (note) {
        struct closer_note *next = note->next;
        if (note->closed)
            note->closed(note->arg);
        free(note);
        note = next;
    }
}

bool closer_is_full(uint32_t uid)
{
    pthread_mutex_lock(&closer.mutex);
    const struct lane *lane = lane_find(uid);
    if (!lane && TAILQ_EMPTY(&closer.unused))
        lane = lane_shared();
    bool full = lane && lane->waiting >= CLOSER_MANY;
    pthread_mutex_unlock(&closer.mutex);
    return full;
}
