/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The memory of a channel; shared.h has the theory.
 */
#include "link_mgr/platform/local/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096u
#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW)

/* Since Linux 6.3; where vm.memfd_noexec is 2 a memfd cannot be had without it. */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

static size_t size_of(uint32_t ring_size)
{
    return PAGE + 2 * (size_t)ring_size;
}

static int shared_map(struct shared *shared, int fd, uint32_t ring_size)
{
    void *at = mmap(NULL, size_of(ring_size), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        return -errno;
    *shared = (struct shared){.page = at, .size = size_of(ring_size), .ring_size = ring_size};
    return 0;
}

void local_shared_unmap(struct shared *shared)
{
    if (shared->page != NULL)
        munmap(shared->page, shared->size);
    *shared = (struct shared){0};
}

/* ---- making ---- */

static int new_memfd(void)
{
    int fd = memfd_create("idc-link", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL)
        fd = memfd_create("idc-link", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    return fd < 0 ? -errno : fd;
}

/* The memory is allocated now, so that running out of it is an error here and not a signal
 * later. */
static int size_and_seal(int fd, size_t size)
{
    int error = posix_fallocate(fd, 0, (off_t)size);
    if (error != 0)
        return -error;
    return fcntl(fd, F_ADD_SEALS, SEALS | F_SEAL_SEAL) == 0 ? 0 : -errno;
}

void local_shared_begin(const struct shared *shared)
{
    struct ring_page *page = shared->page;
    memset(page, 0, PAGE);
    page->left_order = page->right_order = (uint16_t)__builtin_ctz(shared->ring_size);
    page->srv_live = SHARED_LIVE;
    page->cli_live = SHARED_WAITING;
    page->cli_notify = page->srv_notify = RING_WANT_DATA;
}

int local_shared_make(struct shared *shared, size_t ring_size)
{
    *shared = (struct shared){0};
    bool power = ring_size != 0 && (ring_size & (ring_size - 1)) == 0;
    if (!power || ring_size < 1u << SHARED_ORDER_MIN || ring_size > 1u << SHARED_ORDER_MAX)
        return -EINVAL;
    int fd = new_memfd();
    if (fd < 0)
        return fd;
    int result = size_and_seal(fd, size_of((uint32_t)ring_size));
    if (result == 0)
        result = shared_map(shared, fd, (uint32_t)ring_size);
    if (result != 0) {
        close(fd);
        return result;
    }
    local_shared_begin(shared);
    return fd;
}

/* ---- accepting ---- */

/* The size of the rings, from the file's size; 0: it is not the file of a channel. */
static uint32_t ring_size_of_file(off_t size)
{
    for (unsigned order = SHARED_ORDER_MIN; order <= SHARED_ORDER_MAX; order++) {
        if (size == (off_t)size_of(1u << order))
            return 1u << order;
    }
    return 0;
}

static int shared_refuse(const char **why, const char *text)
{
    *why = text;
    return -EPROTO;
}

/* Anybody may write the page at any time, so each field is read once. */
static bool orders_say(const struct ring_page *page, uint32_t ring_size)
{
    uint16_t left = __atomic_load_n(&page->left_order, __ATOMIC_RELAXED);
    uint16_t right = __atomic_load_n(&page->right_order, __ATOMIC_RELAXED);
    unsigned order = (unsigned)__builtin_ctz(ring_size);
    return left == order && right == order;
}

int local_shared_accept(struct shared *shared, int fd, const char **why)
{
    struct stat status;
    *shared = (struct shared){0};
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0)
        return shared_refuse(why, "it is not a memfd");
    if ((seals & SEALS) != SEALS)
        return shared_refuse(why, "its size is not sealed");
    if (fstat(fd, &status) != 0)
        return -errno;
    uint32_t ring_size = ring_size_of_file(status.st_size);
    if (ring_size == 0)
        return shared_refuse(why, "its size is not that of a page and two rings");
    int result = shared_map(shared, fd, ring_size);
    if (result == -EPERM || result == -EACCES)
        return shared_refuse(why, "it cannot be written");
    if (result == 0 && !orders_say(shared->page, ring_size)) {
        local_shared_unmap(shared);
        return shared_refuse(why, "its page does not say the rings' size");
    }
    return result;
}

/* ---- use ---- */

void local_shared_rings(const struct shared *shared, bool server, struct ring_pair *rings)
{
    uint8_t *left = (uint8_t *)shared->page + PAGE;
    ring_pair_init(rings, server, shared->page, left, shared->ring_size, left + shared->ring_size,
                   shared->ring_size);
}

uint8_t local_shared_live(const uint8_t *flag)
{
    return __atomic_load_n(flag, __ATOMIC_ACQUIRE);
}

void local_shared_set_live(uint8_t *flag, uint8_t live)
{
    __atomic_store_n(flag, live, __ATOMIC_RELEASE);
}
