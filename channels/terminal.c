/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "channels/terminal.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define QUEUE_BYTES 4096
#define READS_AT_ONCE 256 /* more than the queue holds */
#define SOON_MS 50
#define AGAIN_MS 1000

static LIST_HEAD(, terminal) terminals = LIST_HEAD_INITIALIZER(terminals);
static struct event changed, due;
static int queue = -1;

/* ---- one terminal ---- */

static void terminal_watch(struct terminal *terminal)
{
    terminal->watch = inotify_add_watch(queue, terminal->name, IN_CLOSE);
}

/* Nothing here waits: what was written may stay unread. */
static void terminal_set_back(const struct terminal *terminal)
{
    int discipline = 0, plain = 0; /* N_TTY */
    ioctl(terminal->slave, TIOCNXCL);
    if (ioctl(terminal->slave, TIOCGETD, &discipline) == 0 && discipline != plain)
        ioctl(terminal->slave, TIOCSETD, &plain);
    tcsetattr(terminal->slave, TCSANOW, &terminal->settings);
    tcflow(terminal->slave, TCOON);
}

/* Is it open elsewhere? It is closed here and opened again, which is not to be told. A terminal
 * that somebody has for himself (TIOCEXCL) could not be opened again. */
static bool terminal_is_used(struct terminal *terminal)
{
    struct pollfd master = {.fd = terminal->master};
    int exclusive = 0;
    inotify_rm_watch(queue, terminal->watch);
    ioctl(terminal->slave, TIOCGEXCL, &exclusive);
    ioctl(terminal->slave, TIOCNXCL);
    int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (nothing >= 0)
        dup3(nothing, terminal->slave, O_CLOEXEC); /* the number stays ours */
    bool used = nothing < 0 || poll(&master, 1, 0) != 1 || (master.revents & POLLHUP) == 0;
    int again = ioctl(terminal->master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (again >= 0)
        dup3(again, terminal->slave, O_CLOEXEC);
    if (again >= 0)
        close(again);
    if (nothing >= 0)
        close(nothing);
    if (used && exclusive)
        ioctl(terminal->slave, TIOCEXCL);
    terminal_watch(terminal);
    return used;
}

/* ---- all ---- */

static void terminals_look_in(unsigned ms)
{
    const struct timeval pause = {ms / 1000, (ms % 1000) * 1000};
    event_add(&due, &pause);
}

static void due_event(evutil_socket_t fd, short what, void *unused)
{
    struct terminal *terminal;
    bool again = false;
    (void)fd, (void)what, (void)unused;
    LIST_FOREACH (terminal, &terminals, entry) {
        if (!terminal->left)
            continue;
        terminal->left = terminal_is_used(terminal);
        if (!terminal->left)
            terminal_set_back(terminal); /* after it is watched again */
        again = again || terminal->left;
    }
    if (again)
        terminals_look_in(AGAIN_MS);
}

static void terminals_note(const struct inotify_event *change)
{
    struct terminal *terminal;
    LIST_FOREACH (terminal, &terminals, entry)
        if (terminal->watch == change->wd || (change->mask & IN_Q_OVERFLOW))
            terminal->left = true;
}

/* False: there are no more. */
static bool queue_read(void)
{
    char bytes[QUEUE_BYTES] __attribute__((aligned(__alignof__(struct inotify_event))));
    ssize_t got = read(queue, bytes, sizeof(bytes));
    for (ssize_t at = 0; at < got;) {
        const struct inotify_event *change = (const struct inotify_event *)(bytes + at);
        terminals_note(change);
        at += (ssize_t)(sizeof(*change) + change->len);
    }
    return got > 0;
}

static void queue_event(evutil_socket_t fd, short what, void *unused)
{
    (void)fd, (void)what, (void)unused;
    for (int i = 0; i < READS_AT_ONCE && queue_read(); i++)
        ;
    terminals_look_in(SOON_MS);
}

void terminals_begin(struct event_base *base)
{
    queue = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    event_assign(&changed, base, queue, EV_READ | EV_PERSIST, queue_event, NULL);
    evtimer_assign(&due, base, due_event, NULL);
    if (queue >= 0)
        event_add(&changed, NULL);
}

void terminals_end(void)
{
    event_del(&changed);
    event_del(&due);
    if (queue >= 0)
        close(queue);
    queue = -1;
}

void terminal_begin(struct terminal *terminal, int master, int slave, const char *name)
{
    *terminal = (struct terminal){.master = master, .slave = slave, .watch = -1};
    if (queue < 0 || tcgetattr(slave, &terminal->settings) < 0)
        return;
    snprintf(terminal->name, sizeof(terminal->name), "%s", name);
    terminal_watch(terminal);
    LIST_INSERT_HEAD(&terminals, terminal, entry);
}

void terminal_end(struct terminal *terminal)
{
    if (terminal->name[0] == '\0')
        return;
    inotify_rm_watch(queue, terminal->watch);
    LIST_REMOVE(terminal, entry);
    terminal->name[0] = '\0';
}
