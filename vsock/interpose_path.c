/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * interpose_path.c - the functions that take a path. They exist for /dev/vsock, which may be
 * missing: each finds a stand-in there (control.c).
 */
#include <fcntl.h>
#include <stdarg.h>

#include "vsock/interpose.h"

/* ---- open ---- */

/* The mode is there only when a file may be made. Otherwise the value that is read here is passed
 * on and ignored. */
#define DEFINE_OPEN(name)                                                     \
    int on_##name(const char *path, int flags, ...)                           \
    {                                                                         \
        va_list args;                                                         \
        va_start(args, flags);                                                \
        mode_t mode = va_arg(args, mode_t);                                   \
        va_end(args);                                                         \
        return vsock_is_device(path) ? vsock_open_device(flags)               \
                                     : vsock_next()->name(path, flags, mode); \
    }

#define DEFINE_OPENAT(name)                                                              \
    int on_##name(int directory, const char *path, int flags, ...)                       \
    {                                                                                    \
        va_list args;                                                                    \
        va_start(args, flags);                                                           \
        mode_t mode = va_arg(args, mode_t);                                              \
        va_end(args);                                                                    \
        return vsock_is_device(path) ? vsock_open_device(flags)                          \
                                     : vsock_next()->name(directory, path, flags, mode); \
    }

/* Programs that were compiled with fortification call these. */
#define DEFINE_OPEN_2(name)                                                                        \
    int on_##name(const char *path, int flags)                                                     \
    {                                                                                              \
        return vsock_is_device(path) ? vsock_open_device(flags) : vsock_next()->name(path, flags); \
    }

#define DEFINE_OPENAT_2(name)                                                      \
    int on_##name(int directory, const char *path, int flags)                      \
    {                                                                              \
        return vsock_is_device(path) ? vsock_open_device(flags)                    \
                                     : vsock_next()->name(directory, path, flags); \
    }

DEFINE_OPEN(open)
DEFINE_OPEN(open64)
DEFINE_OPENAT(openat)
DEFINE_OPENAT(openat64)
DEFINE_OPEN_2(__open_2)
DEFINE_OPEN_2(__open64_2)
DEFINE_OPENAT_2(__openat_2)
DEFINE_OPENAT_2(__openat64_2)

/* ---- asking, and stdio ---- */

#define DEFINE_ASK(name, type, parameters, arguments) \
    type on_##name parameters                         \
    {                                                 \
        path = vsock_real_path(path);                 \
        return vsock_next()->name arguments;          \
    }

DEFINE_ASK(access, int, (const char *path, int mode), (path, mode))
DEFINE_ASK(eaccess, int, (const char *path, int mode), (path, mode))
DEFINE_ASK(euidaccess, int, (const char *path, int mode), (path, mode))
DEFINE_ASK(faccessat, int, (int directory, const char *path, int mode, int flags),
           (directory, path, mode, flags))
DEFINE_ASK(stat, int, (const char *path, void *status), (path, status))
DEFINE_ASK(stat64, int, (const char *path, void *status), (path, status))
DEFINE_ASK(lstat, int, (const char *path, void *status), (path, status))
DEFINE_ASK(lstat64, int, (const char *path, void *status), (path, status))
DEFINE_ASK(fstatat, int, (int directory, const char *path, void *status, int flags),
           (directory, path, status, flags))
DEFINE_ASK(fstatat64, int, (int directory, const char *path, void *status, int flags),
           (directory, path, status, flags))
DEFINE_ASK(statx, int, (int directory, const char *path, int flags, unsigned mask, void *status),
           (directory, path, flags, mask, status))
DEFINE_ASK(fopen, void *, (const char *path, const char *mode), (path, mode))
DEFINE_ASK(fopen64, void *, (const char *path, const char *mode), (path, mode))
DEFINE_ASK(freopen, void *, (const char *path, const char *mode, void *stream),
           (path, mode, stream))
DEFINE_ASK(freopen64, void *, (const char *path, const char *mode, void *stream),
           (path, mode, stream))

/* Programs that were linked with a C library older than 2.33 call these. Newer libraries have them
 * only for such programs, and dlsym does not find them. The structure is the same on 64-bit
 * machines. */
#define DEFINE_OLD_ASK(name, new_name)                                                \
    int on_##name(int version, const char *path, void *status)                        \
    {                                                                                 \
        path = vsock_real_path(path);                                                 \
        return vsock_next()->name != NULL ? vsock_next()->name(version, path, status) \
                                          : vsock_next()->new_name(path, status);     \
    }

#define DEFINE_OLD_ASK_AT(name, new_name)                                                \
    int on_##name(int version, int directory, const char *path, void *status, int flags) \
    {                                                                                    \
        path = vsock_real_path(path);                                                    \
        return vsock_next()->name != NULL                                                \
                   ? vsock_next()->name(version, directory, path, status, flags)         \
                   : vsock_next()->new_name(directory, path, status, flags);             \
    }

DEFINE_OLD_ASK(__xstat, stat)
DEFINE_OLD_ASK(__xstat64, stat64)
DEFINE_OLD_ASK(__lxstat, lstat)
DEFINE_OLD_ASK(__lxstat64, lstat64)
DEFINE_OLD_ASK_AT(__fxstatat, fstatat)
DEFINE_OLD_ASK_AT(__fxstatat64, fstatat64)
