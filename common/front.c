/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Lengths of fronts; front.h has the theory. */
#include "common/front.h"

#include "common/handover.h"

#define STEP_FIRST 1024u

/* What Linux charges for a message of len bytes, where pages have 4 KiB: a head, whose size is
 * rounded up to a power of two, whole pages behind it, and its own record. */
#define CHARGE_HEAD 16064u
#define CHARGE_PAGE 4096u
#define CHARGE_PAGES (17 * CHARGE_PAGE)
#define CHARGE_SHARED 320u
#define CHARGE_RECORD 256u

static size_t front_charge(size_t len)
{
    size_t pages = 0, head = STEP_FIRST / 2;
    if (len > CHARGE_HEAD)
        pages = (len - CHARGE_HEAD + CHARGE_PAGE - 1) / CHARGE_PAGE * CHARGE_PAGE;
    if (pages > CHARGE_PAGES)
        pages = CHARGE_PAGES;
    while (head < len - pages + CHARGE_SHARED)
        head *= 2;
    return head + pages + CHARGE_RECORD;
}

/* 4, 5, 6, 7 times a power of two, and then 4 times the next one. */
static size_t step_after(size_t step)
{
    size_t power = STEP_FIRST;
    while (2 * power <= step)
        power *= 2;
    return step + power / 4;
}

bool front_is_length(size_t len)
{
    size_t step = STEP_FIRST;
    if (len == FRONT_SHORT || len == HANDOVER_INLINE_MAX || len == HANDOVER_PLAIN_MAX)
        return true;
    while (step - FRONT_SLACK < len)
        step = step_after(step);
    return step - FRONT_SLACK == len;
}

/* The longest front of which the kernel charges at most `most`. */
static size_t front_below(size_t most, size_t len)
{
    size_t best = FRONT_SHORT;
    for (size_t step = STEP_FIRST; step - FRONT_SLACK < len && step <= most;
         step = step_after(step))
        if (front_charge(step - FRONT_SLACK) <= most)
            best = step - FRONT_SLACK;
    return best;
}

/* The shortest front for which the kernel charges at least `least`, or the longest that there is.
 */
static size_t front_above(size_t least, size_t len)
{
    size_t best = FRONT_SHORT;
    for (size_t step = STEP_FIRST; step - FRONT_SLACK < len && front_charge(best) < least;
         step = step_after(step))
        best = step - FRONT_SLACK;
    return best;
}

int front_lengths(enum front_way way, size_t buffer, size_t len, size_t lengths[FRONT_TRIES])
{
    size_t scaled =
        way == FRONT_TO_LINK_MGR ? front_below(buffer / 4, len) : front_above(buffer / 2, len);
    int count = 0;
    if (way == FRONT_TO_PROGRAM && HANDOVER_PLAIN_MAX > scaled && HANDOVER_PLAIN_MAX < len)
        lengths[count++] = HANDOVER_PLAIN_MAX;
    if (way != FRONT_TO_LINK_MGR && HANDOVER_INLINE_MAX > scaled && HANDOVER_INLINE_MAX < len)
        lengths[count++] = HANDOVER_INLINE_MAX;
    lengths[count++] = scaled;
    return count;
}
