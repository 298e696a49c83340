/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SO_PEERCRED has the first group, SO_PEERGROUPS (Linux 4.13) the others. */
#include "link_mgr/base/groups.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* In list[0..GROUPS_MAX). How many there are, or -1. */
static int groups_read(int fd, uint32_t *list)
{
    struct ucred peer;
    socklen_t size = sizeof(peer), others = (GROUPS_MAX - 1) * sizeof(*list);
    _Static_assert(sizeof(gid_t) == sizeof(uint32_t), "the kernel fills in gid_t");
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, list + 1, &others) < 0)
        return -1;
    list[0] = peer.gid;
    return 1 + (int)(others / sizeof(*list));
}

struct groups groups_of_peer(int fd)
{
    uint32_t list[GROUPS_MAX];
    int count = groups_read(fd, list);
    if (count < 0)
        return (struct groups){0};
    return groups_copy(&(struct groups){.known = true, .count = (unsigned)count, .list = list});
}

struct groups groups_copy(const struct groups *groups)
{
    struct groups copy = *groups;
    if (!groups->known || groups->count == 0)
        return (struct groups){.known = groups->known};
    copy.list = malloc(groups->count * sizeof(*copy.list));
    if (!copy.list)
        return (struct groups){0};
    memcpy(copy.list, groups->list, groups->count * sizeof(*copy.list));
    return copy;
}

void groups_free(struct groups *groups)
{
    free(groups->list);
    *groups = (struct groups){0};
}

bool groups_have(const struct groups *groups, uint32_t gid, bool if_unknown)
{
    for (unsigned i = 0; i < groups->count; i++)
        if (groups->list[i] == gid)
            return true;
    return !groups->known && if_unknown;
}
