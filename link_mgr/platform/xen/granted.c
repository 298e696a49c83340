/* SPDX-License-Identifier: GPL-2.0-or-later */
/* granted.c - see granted.h. */
#include "link_mgr/platform/xen/granted.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <xen/sys/gntalloc.h>
#include <xenevtchn.h>

#include "common/ring.h"

#define PAGE 4096u
#define LIVE_GONE 0
#define LIVE_AWAITED 2

struct granted {
    struct lent lent;
    int fd;
    uint8_t *pages; /* that which describes the rings, the left ring's, the right ring's */
    uint32_t references[LENT_REFERENCES_MAX];
};

static struct granted *granted_of(const struct lent *lent)
{
    return (struct granted *)((char *)(uintptr_t)lent - offsetof(struct granted, lent));
}

struct ring_page *xen_granted_page(const struct lent *lent)
{
    return (struct ring_page *)granted_of(lent)->pages;
}

static void granted_end(struct lent *lent)
{
    struct granted *granted = granted_of(lent);
    if (granted->pages)
        munmap(granted->pages, (size_t)lent->pages * PAGE);
    if (granted->fd >= 0)
        close(granted->fd);
    free(granted);
}

static int granted_allocate(struct granted *granted, int peer)
{
    uint32_t count = granted->lent.pages;
    struct ioctl_gntalloc_alloc_gref *request =
        calloc(1, sizeof(*request) + count * sizeof(request->gref_ids[0]));
    if (!request)
        return -ENOMEM;
    request->domid = (uint16_t)peer;
    request->flags = GNTALLOC_FLAG_WRITABLE;
    request->count = count;
    int error = ioctl(granted->fd, IOCTL_GNTALLOC_ALLOC_GREF, request) < 0 ? -errno : 0;
    if (!error)
        memcpy(granted->references, request->gref_ids, count * sizeof(request->gref_ids[0]));
    free(request);
    return error;
}

static int granted_map(struct granted *granted)
{
    struct lent *lent = &granted->lent;
    void *pages =
        mmap(NULL, (size_t)lent->pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, granted->fd, 0);
    if (pages == MAP_FAILED)
        return -errno;
    granted->pages = pages;
    lent->left = granted->pages + PAGE;
    lent->right = granted->pages + PAGE + lent->ring_size;
    return 0;
}

static int granted_make(void *arg, int peer, uint32_t ring_size, struct lent **lent)
{
    struct granted *granted = calloc(1, sizeof(*granted));
    (void)arg;
    if (!granted)
        return -ENOMEM;
    granted->lent.ring_size = ring_size;
    granted->lent.pages = 1 + 2 * (ring_size / PAGE);
    granted->lent.references = granted->references;
    granted->fd = open("/dev/xen/gntalloc", O_RDWR | O_CLOEXEC);
    int error = granted->fd < 0 ? -errno : granted_allocate(granted, peer);
    if (!error)
        error = granted_map(granted);
    if (error)
        granted_end(&granted->lent);
    else
        *lent = &granted->lent;
    return error;
}

/* By what the peer, or its kernel, has written there: it may lie. */
static enum lent_use granted_use(const struct lent *lent)
{
    uint8_t live = __atomic_load_n(&xen_granted_page(lent)->cli_live, __ATOMIC_ACQUIRE);
    return live == LIVE_GONE ? LENT_LET_GO : live == LIVE_AWAITED ? LENT_UNUSED : LENT_HELD;
}

static bool domain_is_gone(void *arg, int peer)
{
    xenevtchn_handle *events = xenevtchn_open(NULL, 0);
    (void)arg;
    if (!events)
        return false;
    errno = 0;
    /* No domain offers port 0. */
    bool gone = xenevtchn_bind_interdomain(events, (uint32_t)peer, 0) < 0 && errno == ESRCH;
    xenevtchn_close(events);
    return gone;
}

const struct lender_ops xen_granted = {
    .make = granted_make,
    .end = granted_end,
    .use = granted_use,
    .is_gone = domain_is_gone,
};

static int set_notification(const struct lent *lent, uint32_t offset, uint32_t action,
                            uint32_t port)
{
    struct ioctl_gntalloc_unmap_notify request = {
        .index = offset, .action = action, .event_channel_port = port};
    return ioctl(granted_of(lent)->fd, IOCTL_GNTALLOC_SET_UNMAP_NOTIFY, &request) < 0 ? -errno : 0;
}

int xen_granted_notify_at_end(const struct lent *lent, uint32_t offset, uint32_t port)
{
    return set_notification(lent, offset, UNMAP_NOTIFY_CLEAR_BYTE | UNMAP_NOTIFY_SEND_EVENT, port);
}

void xen_granted_forget_notification(const struct lent *lent)
{
    set_notification(lent, 0, 0, 0);
}
