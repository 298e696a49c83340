/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * large_rings.c - for LD_PRELOAD: gives a program rings of 256 KiB, whatever it asks libxenvchan
 * for. vchan-socket-proxy asks for no size, and would get rings of 1 and 2 KiB, which have room in
 * the control page.
 */
#include <dlfcn.h>
#include <libxenvchan.h>
#include <stddef.h>

#define RING_SIZE (256 * 1024)

__attribute__((visibility("default"))) struct libxenvchan *libxenvchan_server_init(
    struct xentoollog_logger *logger, int domain, const char *xs_path, size_t read_min,
    size_t write_min)
{
    struct libxenvchan *(*real)(struct xentoollog_logger *, int, const char *, size_t, size_t);
    (void)read_min, (void)write_min;
    *(void **)&real = dlsym(RTLD_NEXT, "libxenvchan_server_init");
    return real ? real(logger, domain, xs_path, RING_SIZE, RING_SIZE) : NULL;
}
