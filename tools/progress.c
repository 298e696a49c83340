/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/progress.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tools/command.h"

#define TERMINAL_MS 1000
#define PLAIN_MS 10000

static struct {
    atomic_ullong sent, received;
    double begun_ms;
    int64_t total; /* -1: not known */
    bool running, terminal, over;
    pthread_t thread;
    pthread_mutex_t lock; /* of over */
    pthread_cond_t ended;
} progress = {.total = -1, .lock = PTHREAD_MUTEX_INITIALIZER};

static void print_line(bool last)
{
    char sent[16], received[16], total[32] = "", rate[16], line[160];
    double seconds = (command_now_ms() - progress.begun_ms) / 1000;
    unsigned long long out = atomic_load(&progress.sent), in = atomic_load(&progress.received);
    double speed = seconds > 0 ? (double)(out + in) / seconds : 0;
    format_bytes((int64_t)out, sent, sizeof(sent));
    format_bytes((int64_t)in, received, sizeof(received));
    format_bytes((int64_t)speed, rate, sizeof(rate));
    if (progress.total >= 0) {
        format_bytes(progress.total, total, sizeof(total));
        double part = progress.total > 0 ? 100 * (double)out / (double)progress.total : 100;
        snprintf(line, sizeof(line), "sent %s of %s (%.0f %%), received %s, %s/s, %.0f s", sent,
                 total, part, received, rate, seconds);
    } else {
        snprintf(line, sizeof(line), "sent %s, received %s, %s/s, %.0f s", sent, received, rate,
                 seconds);
    }
    if (progress.terminal)
        fprintf(stderr, "\r%s\033[K%s", line, last ? "\n" : "");
    else
        fprintf(stderr, "%s\n", line);
}

static void *print_on(void *arg)
{
    const int pause = progress.terminal ? TERMINAL_MS : PLAIN_MS;
    struct timespec next;
    (void)arg;
    clock_gettime(CLOCK_MONOTONIC, &next);
    pthread_mutex_lock(&progress.lock);
    while (!progress.over) {
        next.tv_sec += pause / 1000;
        while (!progress.over &&
               pthread_cond_timedwait(&progress.ended, &progress.lock, &next) == 0)
            ;
        if (!progress.over)
            print_line(false);
    }
    pthread_mutex_unlock(&progress.lock);
    return NULL;
}

void progress_begin(void)
{
    struct stat file;
    pthread_condattr_t clock;
    if (fstat(STDIN_FILENO, &file) == 0 && S_ISREG(file.st_mode)) {
        off_t at = lseek(STDIN_FILENO, 0, SEEK_CUR);
        progress.total = at > 0 && at < file.st_size ? file.st_size - at : file.st_size;
    }
    progress.terminal = isatty(STDERR_FILENO);
    progress.begun_ms = command_now_ms();
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&progress.ended, &clock);
    pthread_condattr_destroy(&clock);
    progress.running = pthread_create(&progress.thread, NULL, print_on, NULL) == 0;
}

void progress_sent(size_t bytes)
{
    atomic_fetch_add(&progress.sent, bytes);
}

void progress_received(size_t bytes)
{
    atomic_fetch_add(&progress.received, bytes);
}

void progress_end(void)
{
    if (!progress.running)
        return;
    pthread_mutex_lock(&progress.lock);
    progress.over = true;
    pthread_cond_signal(&progress.ended);
    pthread_mutex_unlock(&progress.lock);
    pthread_join(progress.thread, NULL);
    print_line(true);
    progress.running = false;
}
