/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * trim.h - gives memory back to the system after connections have ended.
 *
 * The allocator keeps freed memory that lies below something still in use: some kilobytes for each
 * of a thousand connections. So when connections have ended, and only few more end within a whole
 * second, the allocator is asked to give back what it can (malloc_trim). Where connections come and
 * go all the time, the memory is about to be used again, and nothing is done.
 */
#ifndef IDC_TRIM_H
#define IDC_TRIM_H

#include <event2/event.h>
#include <event2/event_struct.h>

struct trim {
    struct event timer;
    unsigned lately; /* connections that ended since the timer was set; 0: it is not */
};

void trim_init(struct trim *trim, struct event_base *base);
void trim_stop(struct trim *trim);
/* A connection has ended. */
void trim_note(struct trim *trim);

#endif
