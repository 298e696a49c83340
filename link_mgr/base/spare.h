/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * spare.h - a descriptor that is kept only for its place. When link_mgr has none left, it gives the
 * spare one up. So it can still receive one more, and say with it what is wrong.
 */
#ifndef IDC_SPARE_H
#define IDC_SPARE_H

#include <sys/eventfd.h>
#include <unistd.h>

#define SPARE_NONE (-1)

static inline void spare_take(int *spare)
{
    if (*spare < 0)
        *spare = eventfd(0, EFD_CLOEXEC);
}

static inline void spare_give(int *spare)
{
    if (*spare >= 0)
        close(*spare);
    *spare = SPARE_NONE;
}

#endif
