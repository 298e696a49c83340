/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * next.c - the functions that the program would call without us: the C library's, or another
 * preloaded library's.
 *
 * The code linked into this library (libidc, common/) calls them by their usual names, and would
 * get ours. The linker gives it the __wrap_ functions instead (--wrap, for each in VSOCK_WRAPPED of
 * the Makefile).
 */
#include <dlfcn.h>
#include <sys/resource.h>

#include "libidc/internal.h"
#include "vsock/vsock.h"

#define CHANNELS_BELOW 1024
#define CHANNELS 64

struct vsock_next vsock_next_functions;
bool vsock_next_found;

/* Two threads may do this at the same time: the result is the same. */
void vsock_find_next(void)
{
#define X(name, type, parameters) *(void **)&vsock_next_functions.name = dlsym(RTLD_NEXT, #name);
    VSOCK_FUNCTIONS(X)
#undef X
    vsock_next_found = true;
}

/* libidc's own descriptors get high numbers, not the next ones, which the program expects for
 * itself. */
__attribute__((constructor)) static void begin(void)
{
    struct rlimit limit;
    vsock_find_next();
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur > 2UL * CHANNELS)
        libidc_line_lowest_fd(
            (int)(limit.rlim_cur < CHANNELS_BELOW ? limit.rlim_cur : CHANNELS_BELOW) - CHANNELS);
}

/* ---- for what is linked in ---- */

int __wrap_socket(int domain, int type, int protocol);
int __wrap_socketpair(int domain, int type, int protocol, int *fds);
int __wrap_bind(int fd, const struct sockaddr *address, socklen_t len);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t len);
int __wrap_getpeername(int fd, struct sockaddr *address, socklen_t *len);
int __wrap_getsockname(int fd, struct sockaddr *address, socklen_t *len);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t len);
ssize_t __wrap_recvmsg(int fd, struct msghdr *message, int flags);
ssize_t __wrap_send(int fd, const void *bytes, size_t len, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_write(int fd, const void *bytes, size_t len);
ssize_t __wrap_recv(int fd, void *buf, size_t len, int flags);
ssize_t __wrap_read(int fd, void *buf, size_t len);
int __wrap_fcntl(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...);
int __wrap_close(int fd);

int __wrap_socket(int domain, int type, int protocol)
{
    return vsock_next()->socket(domain, type, protocol);
}

int __wrap_socketpair(int domain, int type, int protocol, int *fds)
{
    return vsock_next()->socketpair(domain, type, protocol, fds);
}

int __wrap_bind(int fd, const struct sockaddr *address, socklen_t len)
{
    return vsock_next()->bind(fd, address, len);
}

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t len)
{
    return vsock_next()->connect(fd, address, len);
}

int __wrap_getpeername(int fd, struct sockaddr *address, socklen_t *len)
{
    return vsock_next()->getpeername(fd, address, len);
}

int __wrap_getsockname(int fd, struct sockaddr *address, socklen_t *len)
{
    return vsock_next()->getsockname(fd, address, len);
}

int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
    return vsock_next()->getsockopt(fd, level, name, value, len);
}

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
    return vsock_next()->setsockopt(fd, level, name, value, len);
}

ssize_t __wrap_recvmsg(int fd, struct msghdr *message, int flags)
{
    return vsock_next()->recvmsg(fd, message, flags);
}

ssize_t __wrap_send(int fd, const void *bytes, size_t len, int flags)
{
    return vsock_next()->send(fd, bytes, len, flags);
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
    return vsock_next()->sendmsg(fd, message, flags);
}

ssize_t __wrap_write(int fd, const void *bytes, size_t len)
{
    return vsock_next()->write(fd, bytes, len);
}

ssize_t __wrap_recv(int fd, void *buf, size_t len, int flags)
{
    return vsock_next()->recv(fd, buf, len, flags);
}

ssize_t __wrap_read(int fd, void *buf, size_t len)
{
    return vsock_next()->read(fd, buf, len);
}

int __wrap_fcntl(int fd, int command, ...)
{
    va_list args;
    va_start(args, command);
    void *argument = va_arg(args, void *);
    va_end(args);
    return vsock_next()->fcntl(fd, command, argument);
}

/* What fcntl is with _FILE_OFFSET_BITS=64. */
int __wrap_fcntl64(int fd, int command, ...)
{
    va_list args;
    va_start(args, command);
    void *argument = va_arg(args, void *);
    va_end(args);
    return vsock_next()->fcntl64(fd, command, argument);
}

/* The number's mark is removed too, whoever closes the number. */
int __wrap_close(int fd)
{
    vsock_set_mark(fd, VSOCK_UNKNOWN);
    return vsock_next()->close(fd);
}
