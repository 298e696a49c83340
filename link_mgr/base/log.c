/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * log.c - theory of operation
 *
 * Whoever reads stderr may stop reading it, and the daemon must not wait for that. So lines are
 * written by common/line_out.h, which loses what finds no room, and counts it.
 */
#include "link_mgr/base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/line_out.h"
#include "common/shown.h"
#include "common/text_cut.h"
#include "link_mgr/base/clock.h"

#define LINES_PER_SECOND 10
#define ALL_LINES_PER_SECOND 100
#define LINE_MAX_BYTES (LINE_OUT_MAX - 32) /* two paths, and words */

static int verbose;
static const char *program = "link_mgr";

static struct {
    pthread_mutex_t mutex; /* of what follows */
    bool open;
    struct line_out out;
} err = {.mutex = PTHREAD_MUTEX_INITIALIZER};

void log_set_verbose(int level)
{
    verbose = level;
}

void log_set_program(const char *name)
{
    program = name;
}

static bool is_shown(int priority)
{
    return priority <= (verbose ? LOG_DEBUG : LOG_NOTICE);
}

static void err_line(const char *line, size_t len)
{
    pthread_mutex_lock(&err.mutex);
    if (!err.open)
        line_out_open(&err.out, STDERR_FILENO, program);
    err.open = true;
    line_out_put(&err.out, line, len);
    pthread_mutex_unlock(&err.mutex);
}

static void write_line(int priority, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));
static void write_line(int priority, const char *format, va_list args)
{
    char text[LINE_MAX_BYTES], shown[LINE_MAX_BYTES], line[LINE_MAX_BYTES + 32];
    if (!is_shown(priority))
        return;
    text_mark_cut(text, sizeof(text), vsnprintf(text, sizeof(text), format, args));
    /* What others have named must not begin a line, nor rule a terminal. */
    shown_text(shown, sizeof(shown), text, strlen(text), SHOWN_ASCII);
    /* systemd reads a priority at the start of each line of a service's stderr. */
    int length = getenv("JOURNAL_STREAM")
                     ? snprintf(line, sizeof(line), "<%d>%s\n", priority, shown)
                     : snprintf(line, sizeof(line), "%s: %s\n", program, shown);
    err_line(line, (size_t)length);
}

void log_line(int priority, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    write_line(priority, format, args);
    va_end(args);
}

/* May one more pass? */
static bool log_admit(struct log_limit *limit, unsigned most, const char *of_what)
{
    uint64_t now = clock_now_ms();
    if (now - limit->window_ms >= 1000) {
        if (limit->held)
            log_line(LOG_NOTICE, "%u %s were left out", limit->held, of_what);
        *limit = (struct log_limit){.window_ms = now};
    }
    if (limit->passed == most) {
        limit->held++;
        return false;
    }
    limit->passed++;
    return true;
}

void log_limited_line(struct log_limit *limit, int priority, const char *format, ...)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static struct log_limit all;
    va_list args;
    if (!is_shown(priority))
        return; /* lines that nobody sees must not use up the limit */
    pthread_mutex_lock(&mutex);
    bool passes = log_admit(limit, LINES_PER_SECOND, "lines like the next one") &&
                  log_admit(&all, ALL_LINES_PER_SECOND, "lines");
    pthread_mutex_unlock(&mutex);
    if (!passes)
        return;
    va_start(args, format);
    write_line(priority, format, args);
    va_end(args);
}
