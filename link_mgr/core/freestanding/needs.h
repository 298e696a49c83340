/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * needs.h - everything that the core, and the parts of common/ that it uses, need from a C library.
 * A host without a C library, such as a kernel module, has to provide this list.
 *
 * The other headers of this folder only lead here, under the names that the sources include. `make
 * lint-freestanding` compiles the sources with this folder in place of the system's headers. It
 * fails if the objects refer to a function that is not listed below, and runs the simulation on
 * them. A host brings its own needs.h, which is found before this one, and provides:
 *
 *   memory      malloc, calloc and realloc may fail: they then return NULL, and the core copes. The
 *               largest block is a message of 16 MiB, which needs no contiguous pages. struct core
 *               itself has 256 KiB. All calls are made while the host calls the core, so the host
 *               knows whether they may wait for memory.
 *   strings     as in C and POSIX. strerror gives words for a positive errno value, for the log.
 *   formatting  %s %d %u, PRIx64 and PRIu64, with a width and zeros. The answer is the length that
 *               the whole text would have. It is used for the log, and for paths and values of the
 *               store.
 *   assert      ends everything. A condition fails only by a mistake of ours, never because of a
 *               peer.
 *   values      errno and log levels are Linux's, but nothing depends on that.
 *
 * Besides, the compiler must have __atomic_* for bytes and 32-bit words (common/ring.c). It may
 * call memcpy, memmove, memset and memcmp by itself. No floating point is used. The core's deepest
 * call takes about 6 KiB of stack, 4 KiB of them in one place (conn_out.c, look_at_program).
 */
#ifndef IDC_NEEDS_H
#define IDC_NEEDS_H

/* ---- types ---- */

#define NULL ((void *)0)
#define offsetof(type, member) __builtin_offsetof(type, member)
typedef __SIZE_TYPE__ size_t;
typedef __PTRDIFF_TYPE__ ssize_t;

#define bool _Bool
#define true 1
#define false 0

typedef __INT8_TYPE__ int8_t;
typedef __UINT8_TYPE__ uint8_t;
typedef __UINT16_TYPE__ uint16_t;
typedef __INT32_TYPE__ int32_t;
typedef __UINT32_TYPE__ uint32_t;
typedef __INT64_TYPE__ int64_t;
typedef __UINT64_TYPE__ uint64_t;
#define UINT32_MAX __UINT32_MAX__
#define UINT64_MAX __UINT64_MAX__

typedef __builtin_va_list va_list;
#define va_start(list, last) __builtin_va_start(list, last)
#define va_end(list) __builtin_va_end(list)

struct iovec {
    void *iov_base;
    size_t iov_len;
};

/* ---- memory ---- */

void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void *realloc(void *block, size_t size);
void free(void *block);

/* ---- strings ---- */

void *memcpy(void *to, const void *from, size_t length);
void *memmove(void *to, const void *from, size_t length);
void *memset(void *at, int byte, size_t length);
int memcmp(const void *a, const void *b, size_t length);
void *memchr(const void *at, int byte, size_t length);
size_t strlen(const char *text);
size_t strnlen(const char *text, size_t most);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t most);
char *strcpy(char *to, const char *from);
size_t strspn(const char *text, const char *accepted);
size_t strcspn(const char *text, const char *rejected);
char *strerror(int error);

/* ---- formatting ---- */

int snprintf(char *out, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
int vsnprintf(char *out, size_t size, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));
#if __SIZEOF_LONG__ == 8
#define PRIu64 "lu"
#define PRIx64 "lx"
#else
#define PRIu64 "llu"
#define PRIx64 "llx"
#endif

/* ---- assert ---- */

#define assert(condition) ((condition) ? (void)0 : __builtin_trap())
#define static_assert _Static_assert

/* ---- values ---- */

#define EPERM 1
#define ENOENT 2
#define EAGAIN 11
#define ENOMEM 12
#define EACCES 13
#define EINVAL 22
#define ENFILE 23
#define EMFILE 24
#define ENOSPC 28
#define EPIPE 32
#define ENODATA 61
#define EPROTO 71
#define EMSGSIZE 90
#define EPROTOTYPE 91
#define EADDRINUSE 98
#define ECONNRESET 104
#define ENOBUFS 105
#define EDQUOT 122
#define ETIMEDOUT 110
#define ECONNREFUSED 111
#define EHOSTUNREACH 113

#define LOG_ERR 3
#define LOG_WARNING 4
#define LOG_NOTICE 5
#define LOG_INFO 6
#define LOG_DEBUG 7

#define SHUT_RD 0
#define SHUT_WR 1

#endif
