/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sums and shares; budget.h has the theory. */
#include "link_mgr/core/budget.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>

void budget_init(struct budget *budget, uint64_t ceiling)
{
    /* One sixteenth stays for the headers of chunks and of the allocator, which are not charged one
     * by one. */
    *budget = (struct budget){.ceiling = ceiling - ceiling / 16, .kernel = ceiling / 2};
    TAILQ_INIT(&budget->roomy);
    TAILQ_INIT(&budget->unread);
}

void budget_end(struct budget *budget)
{
    struct budget_unread *unread;
    while ((unread = TAILQ_FIRST(&budget->unread)))
        budget_forget_room(budget, unread);
}

bool budget_open(struct budget *budget)
{
    uint64_t cost = BUDGET_CONNECTION + BUDGET_WINDOW_MIN;
    if (budget->charged + cost > budget->ceiling)
        return false;
    budget->charged += cost;
    return true;
}

void budget_close(struct budget *budget)
{
    assert(budget->charged >= BUDGET_CONNECTION + BUDGET_WINDOW_MIN);
    budget->charged -= BUDGET_CONNECTION + BUDGET_WINDOW_MIN;
}

uint64_t budget_extra(uint64_t outstanding)
{
    return outstanding > BUDGET_WINDOW_MIN ? outstanding - BUDGET_WINDOW_MIN : 0;
}

bool budget_change(struct budget *budget, uint64_t from, uint64_t to)
{
    uint64_t before = budget_extra(from), after = budget_extra(to);
    if (after > before && budget->charged + (after - before) > budget->ceiling)
        return false;
    budget->charged = budget->charged - before + after;
    return true;
}

/* The first window is generous while there is plenty, so that a first request needs no second round
 * trip. Later it leaves room for ten thousand connections. */
static uint64_t share_of_new(const struct budget *budget, uint64_t free_bytes)
{
    return free_bytes > budget->ceiling - budget->ceiling / 8 ? BUDGET_WINDOW_NEW
                                                              : free_bytes / 16384;
}

uint32_t budget_window(const struct budget *budget, uint64_t outstanding, bool busy)
{
    uint64_t others = budget->charged - budget_extra(outstanding);
    uint64_t usable = busy ? budget->ceiling - budget->ceiling / 4 : budget->ceiling;
    uint64_t free_bytes = usable > others ? usable - others : 0;
    uint64_t share = busy ? free_bytes / 16 : share_of_new(budget, free_bytes);
    if (share > BUDGET_WINDOW_MAX)
        return BUDGET_WINDOW_MAX;
    return share < BUDGET_WINDOW_MIN ? BUDGET_WINDOW_MIN : (uint32_t)share;
}

bool budget_take_room(struct budget *budget, uint64_t more)
{
    if (more > (budget->kernel - budget->rooms) / 4)
        return false;
    budget->rooms += more;
    return true;
}

void budget_give_room(struct budget *budget, uint64_t less)
{
    assert(budget->rooms >= less);
    budget->rooms -= less;
}

void budget_keep_room(struct budget *budget, uint64_t room, uint32_t socket)
{
    struct budget_unread *unread = malloc(sizeof(*unread));
    if (!unread) {
        budget_give_room(budget, room);
        return;
    }
    unread->room = room;
    unread->socket = socket;
    TAILQ_INSERT_TAIL(&budget->unread, unread, entry);
}

void budget_forget_room(struct budget *budget, struct budget_unread *unread)
{
    budget_give_room(budget, unread->room);
    TAILQ_REMOVE(&budget->unread, unread, entry);
    free(unread);
}
