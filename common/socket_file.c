/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/socket_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/guard.h"

#define LOCK_ATTEMPTS 100

static bool is_same_file(const struct stat *one, const struct stat *other)
{
    return one->st_ino == other->st_ino && one->st_dev == other->st_dev;
}

/* ---- the lock ---- */

/* The file that another user has made there is taken away, if that is allowed. In a sticky
 * directory it is not. */
static int lock_remove_foreign(const char *path, const struct stat *there, struct socket_file *file)
{
    if (unlink(path) == 0 || errno == ENOENT)
        return -EAGAIN;
    file->lock_is_foreign = true;
    file->lock_uid = there->st_uid;
    return -EPERM;
}

/* Others can neither lock such a file nor keep it locked. */
static bool lock_is_ours(const struct stat *there)
{
    return S_ISREG(there->st_mode) && there->st_nlink == 1 && (there->st_mode & 077) == 0 &&
           (there->st_uid == geteuid() || there->st_uid == 0);
}

/* 0: what is there is fd's, and counts. */
static int lock_look_at(int fd, const char *path, struct socket_file *file)
{
    struct stat ours, there;
    if (lstat(path, &there) < 0)
        return errno == ENOENT ? -EAGAIN : -errno;
    if (!lock_is_ours(&there))
        return lock_remove_foreign(path, &there, file);
    if (fd < 0 || fstat(fd, &ours) < 0)
        return -EACCES; /* root's */
    return is_same_file(&ours, &there) ? 0 : -EAGAIN;
}

/* The descriptor of the locked file, or a negative errno. -EAGAIN: who had it has just taken it
 * away. */
static int lock_try(const char *path, struct socket_file *file)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600);
    int failed = errno, error;
    if (fd < 0 && failed != EACCES && failed != ELOOP && failed != EISDIR && failed != ENXIO)
        return -failed;
    bool locked = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0;
    failed = fd < 0 ? failed : errno;
    error = lock_look_at(fd, path, file); /* also at one that another one has locked */
    if (error == -EACCES)
        error = -failed;
    if (error == 0 && !locked)
        error = failed == EWOULDBLOCK ? -EADDRINUSE : -failed; /* it replaces the socket just now */
    if (error == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return error;
}

static int lock_take(const char *path, struct socket_file *file)
{
    int fd = -EAGAIN;
    for (int i = 0; i < LOCK_ATTEMPTS && fd == -EAGAIN; i++)
        fd = lock_try(path, file);
    return fd;
}

static void lock_give(const char *path, int fd)
{
    unlink(path); /* while it is locked, so that nobody else's goes */
    close(fd);
}

/* ---- what is there ---- */

/* 0: a left-over socket, or nothing any more. -EADDRINUSE: somebody has it. */
static int look_at_path(const struct sockaddr_un *address)
{
    struct stat there;
    if (lstat(address->sun_path, &there) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(there.st_mode))
        return -EEXIST;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int error = connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ? errno : 0;
    close(fd);
    if (error == ECONNREFUSED || error == ENOENT)
        return 0;
    return error == 0 || error == EPROTOTYPE ? -EADDRINUSE : -error;
}

/* ---- binding ---- */

static int bind_at(int fd, const struct sockaddr_un *address)
{
    return bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ? -errno : 0;
}

static int replace_left_over(int fd, const struct sockaddr_un *address, struct socket_file *file)
{
    char path[sizeof(address->sun_path) + sizeof(".lock")];
    int error = look_at_path(address);
    if (error < 0)
        return error;
    snprintf(path, sizeof(path), "%s.lock", address->sun_path);
    int locked = lock_take(path, file);
    if (locked < 0)
        return locked;
    error = look_at_path(address); /* another one may have replaced it meanwhile */
    if (error == 0 && unlink(address->sun_path) < 0 && errno != ENOENT)
        error = -errno;
    if (error == 0)
        error = bind_at(fd, address);
    lock_give(path, locked);
    return error;
}

static int bind_with_mode(int fd, const struct sockaddr_un *address, mode_t mode,
                          struct socket_file *file)
{
    mode_t before = mode != 0 ? umask(0777 & ~mode) : 0;
    int error = bind_at(fd, address);
    if (error == -EADDRINUSE)
        error = replace_left_over(fd, address, file);
    if (mode != 0)
        umask(before);
    return error;
}

int socket_file_listen(const struct sockaddr_un *address, mode_t mode, int backlog,
                       struct socket_file *file)
{
    struct stat made;
    *file = (struct socket_file){.inode = 0};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int error = bind_with_mode(fd, address, mode, file);
    if (error == 0 && lstat(address->sun_path, &made) == 0)
        *file = (struct socket_file){.device = made.st_dev, .inode = made.st_ino};
    guard_begin(fd); /* and so all that are accepted from it */
    if (error == 0 && listen(fd, backlog) < 0)
        error = -errno;
    if (error == 0)
        return fd;
    socket_file_remove(address, file);
    close(fd);
    return error;
}

void socket_file_remove(const struct sockaddr_un *address, struct socket_file *file)
{
    struct stat now;
    if (file->inode != 0 && lstat(address->sun_path, &now) == 0 && now.st_ino == file->inode &&
        now.st_dev == file->device)
        unlink(address->sun_path);
    file->inode = 0;
}
