/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libfaults.so: preloaded into a program, makes one of its calls fail, the n-th of a kind, with the
 * errno that a lack of resources gives.
 *
 * The file that IDC_FAULTS names is shared with the test (tests/integration/test_faults.py), which
 * sets kind and left while the program runs, and reads how many calls of each kind there were. A
 * program with no such file is left alone.
 *
 * IDC_FAULTS_OLD_KERNEL, if it is set, hides SO_PASSRIGHTS (Linux 6.16) from the program.
 *
 *      offset  size
 *           0     4  kind that is to fail, 0: none
 *           4     4  left: its so-many-th call from now on fails, and then none
 *           8     4  failed: how many have
 *          12   4*n  calls of each kind so far, from kind 0 on
 */
#undef _FILE_OFFSET_BITS /* both forms of a function are defined here */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83
#endif

#pragma GCC visibility push(default)

enum kind {
    NONE,
    MALLOC,
    EPOLL_CTL,
    SENDMSG,
    RECVMSG,
    SOCKETPAIR,
    MMAP,
    MEMFD,
    DUP,
    ACCEPT,
    SETSOCKOPT,
    BIND,
    SOCKET,
    EVENTFD,
    KINDS
};

static const int errors[KINDS] = {
    [MALLOC] = ENOMEM,     [EPOLL_CTL] = ENOSPC,  [SENDMSG] = ENOBUFS, [RECVMSG] = ENOMEM,
    [SOCKETPAIR] = EMFILE, [MMAP] = ENOMEM,       [MEMFD] = EMFILE,    [DUP] = EMFILE,
    [ACCEPT] = EMFILE,     [SETSOCKOPT] = ENOMEM, [BIND] = ENOMEM,     [SOCKET] = EMFILE,
    [EVENTFD] = EMFILE,
};

struct control {
    atomic_int kind, left, failed, calls[KINDS];
};

static struct control *control;
static bool old_kernel;

__attribute__((constructor)) static void faults_begin(void)
{
    const char *path = getenv("IDC_FAULTS");
    old_kernel = getenv("IDC_FAULTS_OLD_KERNEL") != NULL;
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *at = (void *)syscall(SYS_mmap, NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED,
                               fd, 0);
    close(fd);
    if (at != MAP_FAILED)
        control = at;
}

static bool faults_fails(enum kind kind)
{
    if (control == NULL)
        return false;
    atomic_fetch_add(&control->calls[kind], 1);
    if (atomic_load(&control->kind) != (int)kind || atomic_fetch_sub(&control->left, 1) != 1)
        return false;
    atomic_fetch_add(&control->failed, 1);
    errno = errors[kind];
    return true;
}

/* ---- memory; glibc's own names, for dlsym allocates ---- */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *at, size_t size);
/* The address sanitizer's, where it is in the program: what they give is for its free. */
__attribute__((weak)) void *__interceptor_malloc(size_t size);
__attribute__((weak)) void *__interceptor_calloc(size_t count, size_t size);
__attribute__((weak)) void *__interceptor_realloc(void *at, size_t size);

/* The C library's declarations name their parameters with two underscores.
 * NOLINTBEGIN(readability-inconsistent-declaration-parameter-name) */

void *malloc(size_t size)
{
    if (faults_fails(MALLOC))
        return NULL;
    return __interceptor_malloc ? __interceptor_malloc(size) : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    if (faults_fails(MALLOC))
        return NULL;
    return __interceptor_calloc ? __interceptor_calloc(count, size) : __libc_calloc(count, size);
}

void *realloc(void *at, size_t size)
{
    if (faults_fails(MALLOC))
        return NULL;
    return __interceptor_realloc ? __interceptor_realloc(at, size) : __libc_realloc(at, size);
}

/* The sanitizer's would not come to the malloc above. */
char *strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = malloc(size);
    return copy != NULL ? memcpy(copy, text, size) : NULL;
}

/* ---- system calls ---- */

/* The function behind ours. */
#define NEXT(name) ((__typeof__(&(name)))(uintptr_t)dlsym(RTLD_NEXT, #name))
#define FAULT(kind, type, name, parameters, arguments)   \
    type name parameters                                 \
    {                                                    \
        static __typeof__(&(name)) next;                 \
        if (next == NULL)                                \
            next = NEXT(name);                           \
        return faults_fails(kind) ? -1 : next arguments; \
    }

/* Taking a descriptor out of a set needs nothing, so it cannot fail for lack of anything. */
int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
    static __typeof__(&epoll_ctl) next;
    if (next == NULL)
        next = NEXT(epoll_ctl);
    return op != EPOLL_CTL_DEL && faults_fails(EPOLL_CTL) ? -1 : next(epfd, op, fd, event);
}

int setsockopt(int fd, int level, int option, const void *value, socklen_t len)
{
    static __typeof__(&setsockopt) next;
    if (next == NULL)
        next = NEXT(setsockopt);
    if (old_kernel && level == SOL_SOCKET && option == SO_PASSRIGHTS) {
        errno = ENOPROTOOPT;
        return -1;
    }
    return faults_fails(SETSOCKOPT) ? -1 : next(fd, level, option, value, len);
}

FAULT(SENDMSG, ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags),
      (fd, message, flags))
FAULT(SENDMSG, ssize_t, send, (int fd, const void *bytes, size_t len, int flags),
      (fd, bytes, len, flags))
FAULT(RECVMSG, ssize_t, recvmsg, (int fd, struct msghdr *message, int flags), (fd, message, flags))
FAULT(RECVMSG, ssize_t, recv, (int fd, void *bytes, size_t len, int flags), (fd, bytes, len, flags))
FAULT(SOCKETPAIR, int, socketpair, (int domain, int type, int protocol, int fds[2]),
      (domain, type, protocol, fds))
FAULT(MEMFD, int, memfd_create, (const char *name, unsigned flags), (name, flags))
FAULT(ACCEPT, int, accept4, (int fd, struct sockaddr *address, socklen_t *len, int flags),
      (fd, address, len, flags))
FAULT(BIND, int, bind, (int fd, const struct sockaddr *address, socklen_t len), (fd, address, len))
FAULT(SOCKET, int, socket, (int domain, int type, int protocol), (domain, type, protocol))
FAULT(EVENTFD, int, eventfd, (unsigned count, int flags), (count, flags))

void *mmap64(void *at, size_t len, int protection, int flags, int fd, off64_t offset)
{
    if (faults_fails(MMAP))
        return MAP_FAILED;
#ifdef SYS_mmap2
    return (void *)syscall(SYS_mmap2, at, len, protection, flags, fd, (long)(offset >> 12));
#else
    return (void *)syscall(SYS_mmap, at, len, protection, flags, fd, offset);
#endif
}

void *mmap(void *at, size_t len, int protection, int flags, int fd, off_t offset)
{
    return mmap64(at, len, protection, flags, fd, offset);
}

static int faults_fcntl(int fd, int command, long argument)
{
    if ((command == F_DUPFD || command == F_DUPFD_CLOEXEC) && faults_fails(DUP))
        return -1;
    return (int)syscall(SYS_fcntl, fd, command, argument);
}

int fcntl(int fd, int command, ...)
{
    va_list list;
    va_start(list, command);
    long argument = va_arg(list, long);
    va_end(list);
    return faults_fcntl(fd, command, argument);
}

int fcntl64(int fd, int command, ...)
{
    va_list list;
    va_start(list, command);
    long argument = va_arg(list, long);
    va_end(list);
    return faults_fcntl(fd, command, argument);
}

/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
