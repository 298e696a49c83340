/* SPDX-License-Identifier: GPL-2.0-or-later */
/* foreign.c - see foreign.h. */
#include "link_mgr/platform/xen/foreign.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <xen/sys/gntdev.h>

#define PAGE 4096u
#define TABLE_SPAN (2u * 1024 * 1024) /* what one page table maps */

/* The open ones. Only the event loop's thread changes the list or looks at it, also in the handler.
 */
static LIST_HEAD(, foreign) regions = LIST_HEAD_INITIALIZER(regions);
static const int fault_signals[2] = {SIGBUS, SIGSEGV};
static struct sigaction previous[2];

static struct foreign *find_region(const uint8_t *address)
{
    struct foreign *foreign;
    LIST_FOREACH (foreign, &regions, all)
        if (foreign->region && address >= foreign->region &&
            address < foreign->region + foreign->size)
            return foreign;
    return NULL;
}

static void on_fault(int number, siginfo_t *info, void *context)
{
    struct foreign *foreign = find_region(info->si_addr);
    int error = errno;
    (void)context;
    if (foreign && !foreign->lost) {
        xen_foreign_forget_notification(foreign);
        foreign->lost = mmap(foreign->region, foreign->size, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED;
    }
    /* The fault is not ours: the instruction faults again, and the result is as if this handler
     * were not there. */
    if (!foreign || !foreign->lost)
        for (int i = 0; i < 2; i++)
            if (fault_signals[i] == number)
                sigaction(number, &previous[i], NULL);
    errno = error;
}

void xen_foreign_handle_faults(void)
{
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    struct sigaction now;
    sigemptyset(&action.sa_mask);
    for (int i = 0; i < 2; i++) {
        sigaction(fault_signals[i], &action, &now);
        if (!(now.sa_flags & SA_SIGINFO) || now.sa_sigaction != on_fault)
            previous[i] = now;
    }
}

/* Reserves whole tables' worth of address space. */
static int foreign_reserve(struct foreign *foreign, size_t size)
{
    size_t rounded = (size + TABLE_SPAN - 1) / TABLE_SPAN * TABLE_SPAN;
    uint8_t *space = mmap(NULL, rounded + TABLE_SPAN, PROT_NONE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (space == MAP_FAILED)
        return -errno;
    size_t before = -(uintptr_t)space % TABLE_SPAN;
    if (before)
        munmap(space, before);
    munmap(space + before + rounded, TABLE_SPAN - before);
    foreign->region = space + before;
    foreign->size = rounded;
    return 0;
}

int xen_foreign_open(struct foreign *foreign, size_t pages)
{
    *foreign = (struct foreign){0};
    int fd = open("/dev/xen/gntdev", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    foreign->fd = fd;
    LIST_INSERT_HEAD(&regions, foreign, all);
    return foreign_reserve(foreign, pages * PAGE);
}

static int map_at(struct foreign *foreign, uint64_t index, uint32_t count, int protection,
                  void **where)
{
    size_t size = (size_t)count * PAGE;
    void *address = foreign->region + foreign->used;
    if (mmap(address, size, protection, MAP_SHARED | MAP_FIXED, foreign->fd, (off_t)index) ==
        MAP_FAILED)
        return -errno;
    foreign->used += size;
    *where = address;
    return 0;
}

int xen_foreign_map(struct foreign *foreign, int domid, const uint32_t *references, uint32_t count,
                    int protection, void **where)
{
    if (count == 0 || (size_t)count * PAGE > foreign->size - foreign->used)
        return -EINVAL;
    struct ioctl_gntdev_map_grant_ref *request =
        calloc(1, sizeof(*request) + count * sizeof(request->refs[0]));
    if (!request)
        return -ENOMEM;
    request->count = count;
    for (uint32_t i = 0; i < count; i++)
        request->refs[i] =
            (struct ioctl_gntdev_grant_ref){.domid = (uint32_t)domid, .ref = references[i]};
    int error = ioctl(foreign->fd, IOCTL_GNTDEV_MAP_GRANT_REF, request) < 0 ? -errno : 0;
    if (!error)
        error = map_at(foreign, request->index, count, protection, where);
    free(request);
    return error;
}

static int set_notification(struct foreign *foreign, uint32_t offset, uint32_t action,
                            uint32_t port)
{
    /* The first mapping of a descriptor has the offset 0. */
    struct ioctl_gntdev_unmap_notify request = {
        .index = offset, .action = action, .event_channel_port = port};
    return ioctl(foreign->fd, IOCTL_GNTDEV_SET_UNMAP_NOTIFY, &request) < 0 ? -errno : 0;
}

int xen_foreign_notify_at_end(struct foreign *foreign, uint32_t offset, uint32_t port)
{
    return set_notification(foreign, offset, UNMAP_NOTIFY_CLEAR_BYTE | UNMAP_NOTIFY_SEND_EVENT,
                            port);
}

void xen_foreign_forget_notification(struct foreign *foreign)
{
    set_notification(foreign, 0, 0, 0);
}

void xen_foreign_close(struct foreign *foreign)
{
    if (foreign->region)
        munmap(foreign->region, foreign->size);
    if (foreign->fd) {
        LIST_REMOVE(foreign, all);
        close(foreign->fd);
    }
    *foreign = (struct foreign){0};
}
