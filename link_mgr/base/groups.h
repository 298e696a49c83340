/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * groups.h - the groups of a program, as the kernel knows them of its process.
 *
 * They are taken from the program's socket, like its uid. The group database is not asked: it may
 * be slow to answer, and does not know what a service's unit file says.
 */
#ifndef IDC_GROUPS_H
#define IDC_GROUPS_H

#include <stdbool.h>
#include <stdint.h>

#define GROUPS_MAX 1024

struct groups {
    bool known; /* false: there are too many of them, memory is short, or the kernel is too old */
    unsigned count;
    uint32_t *list; /* malloced */
};

/* The groups of the program that has made the other end of a socket. groups_free frees them. */
struct groups groups_of_peer(int fd);
struct groups groups_copy(const struct groups *groups);
void groups_free(struct groups *groups);
/* Is it one of them? If they are not known, the answer is `if_unknown`. */
bool groups_have(const struct groups *groups, uint32_t gid, bool if_unknown);

#endif
