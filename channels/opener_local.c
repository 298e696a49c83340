/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "channels/opener_local.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>

#include "channels/child.h"
#include "channels/foreign.h"
#include "channels/opener.h"

/* UNIX98_PTY_SLAVE_MAJOR and the seven that follow it, in the kernel's major.h */
#define PTY_MAJOR_FIRST 136
#define PTY_MAJOR_LAST 143
/* MEM_MAJOR there, and its minors in the kernel's devices.txt */
#define MEMORY_MAJOR 1
#define MEMORY_NULL 3
#define MEMORY_FULL 7

static int local_fail(char *why, const char *what)
{
    int error = errno;
    const char *text = error == EPROTOTYPE ? "it is a socket of messages, not of a stream of bytes"
                                           : strerror(error);
    snprintf(why, OPENER_WHY_MAX, "%s%s%s", what, what[0] != '\0' ? ": " : "", text);
    return -error;
}

/* ---- file ---- */

/* Something that may keep its writer waiting would stop all channels. */
static bool file_never_waits(const struct stat *about)
{
    bool is_device = S_ISCHR(about->st_mode) && major(about->st_rdev) == MEMORY_MAJOR;
    unsigned device = minor(about->st_rdev);
    return S_ISREG(about->st_mode) ||
           (is_device && (device == MEMORY_NULL || device == MEMORY_FULL));
}

static int file_refuse(char *why)
{
    snprintf(why, OPENER_WHY_MAX, "it is no regular file, nor /dev/null");
    return -EINVAL;
}

/* It is looked at before, since opening a device may do something, and after, since it may be
 * another one by then. */
static int file_open(const struct end *end, char *why)
{
    const int flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    struct stat about;
    if (stat(end->where, &about) == 0 && !S_ISDIR(about.st_mode) && !file_never_waits(&about))
        return file_refuse(why);
    int fd = open(end->where, flags, 0640);
    if (fd < 0)
        return local_fail(why, "");
    if (fstat(fd, &about) == 0 && file_never_waits(&about))
        return fd;
    close(fd);
    return file_refuse(why);
}

static int file_prepare(struct opener_local *local, const struct end *end, char *why)
{
    int fd = file_open(end, why);
    if (fd < 0)
        return fd;
    local->side = (struct side){.in = -1, .out = fd, .form = SIDE_MUTE};
    return 0;
}

int opener_local_reopen(struct opener_local *local, const struct end *end, char *why)
{
    int fd = file_open(end, why);
    if (fd < 0)
        return fd;
    dup3(fd, local->side.out, O_CLOEXEC);
    close(fd);
    return 0;
}

/* ---- pty ---- */

/* Bytes pass as they are: no echo, no lines, no signals. */
static int pty_set_raw(int fd)
{
    struct termios terminal;
    if (tcgetattr(fd, &terminal) < 0)
        return -1;
    cfmakeraw(&terminal);
    return tcsetattr(fd, TCSANOW, &terminal);
}

/* Is it the name of a terminal, which may be gone: /dev/pts/N? */
static bool pty_is_name(const char *target)
{
    static const char directory[] = "/dev/pts/";
    const char *number = target + sizeof(directory) - 1;
    return strncmp(target, directory, sizeof(directory) - 1) == 0 && number[0] != '\0' &&
           number[strspn(number, "0123456789")] == '\0';
}

/* A link that an earlier channel has left, or another path of a terminal. */
static bool pty_may_replace(const char *path, const char *target)
{
    struct stat behind;
    return pty_is_name(target) ||
           (stat(path, &behind) == 0 && S_ISCHR(behind.st_mode) &&
            major(behind.st_rdev) >= PTY_MAJOR_FIRST && major(behind.st_rdev) <= PTY_MAJOR_LAST);
}

/* 0 if nothing is in the way. A mistake in PATH must not cost somebody else's link. */
static int pty_look_at(const char *path, char *why)
{
    char target[PATH_MAX];
    struct stat there;
    if (lstat(path, &there) < 0)
        return 0;
    errno = EEXIST;
    if (!S_ISLNK(there.st_mode))
        return local_fail(why, "it is no link to a terminal, and stays");
    ssize_t len = readlink(path, target, sizeof(target) - 1);
    if (len < 0)
        return local_fail(why, "cannot read the link that is there");
    target[len] = '\0';
    if (pty_may_replace(path, target))
        return 0;
    snprintf(why, OPENER_WHY_MAX, "it is a link to %.200s, which is no terminal, and stays: %s",
             target, strerror(EEXIST));
    return -EEXIST;
}

/* A link to a terminal is replaced in one step. */
static int pty_link(const char *target, const char *path)
{
    char beside[PATH_MAX];
    snprintf(beside, sizeof(beside), "%s.%d", path, (int)getpid());
    unlink(beside);
    if (symlink(target, beside) < 0)
        return -1;
    if (rename(beside, path) == 0)
        return 0;
    int error = errno;
    unlink(beside);
    errno = error;
    return -1;
}

static int pty_prepare(struct opener_local *local, const struct end *end, char *why)
{
    char name[sizeof(local->target)];
    int error = pty_look_at(end->where, why);
    if (error < 0)
        return error;
    int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    local->side = (struct side){.in = fd, .out = fd, .form = SIDE_PTY};
    if (fd < 0 || grantpt(fd) < 0 || unlockpt(fd) < 0)
        return local_fail(why, "cannot make a pty");
    if ((errno = ptsname_r(fd, name, sizeof(name))) != 0)
        return local_fail(why, "cannot name the pty");
    local->slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (local->slave < 0 || pty_set_raw(local->slave) < 0)
        return local_fail(why, name);
    terminal_begin(&local->terminal, fd, local->slave, name);
    if (pty_link(name, end->where) < 0)
        return local_fail(why, "cannot link to the pty");
    memcpy(local->target, name, sizeof(name));
    return 0;
}

/* The link, if it is still ours. */
static void pty_unlink(const struct opener_local *local, const char *path)
{
    char target[sizeof(local->target)];
    ssize_t len = readlink(path, target, sizeof(target) - 1);
    if (local->target[0] == '\0' || len < 0)
        return;
    target[len] = '\0';
    if (strcmp(target, local->target) == 0)
        unlink(path);
}

/* ---- standard input and output, and other descriptors ---- */

/* O_NONBLOCK would be set for everybody who shares the open file, such as the shell whose terminal
 * it is. So it is opened anew, and where that can't be done, the flag is taken back at the end. */
static int flags_before[3] = {-1, -1, -1};

static void standard_restore(void)
{
    for (int fd = STDIN_FILENO; fd <= STDOUT_FILENO; fd++)
        if (flags_before[fd] >= 0)
            fcntl(fd, F_SETFL, flags_before[fd]);
}

static bool is_socket(int fd, struct stat *about)
{
    return fstat(fd, about) == 0 && S_ISSOCK(about->st_mode);
}

/* Was it open when the program began? What it opens itself has the flag, also what takes the place
 * of closed standard descriptors (common/standard_output.h). No flag survives an exec. */
static bool is_inherited(int fd)
{
    int flags = fcntl(fd, F_GETFD);
    return flags >= 0 && (flags & FD_CLOEXEC) == 0;
}

/* Can it be one of those that are read, or written, as a stream of bytes? errno else says why. */
static bool is_usable(int fd, int flags)
{
    int mode = fcntl(fd, F_GETFL) & O_ACCMODE, type = SOCK_STREAM;
    socklen_t len = sizeof(type);
    errno = EBADF;
    if (!is_inherited(fd) || (mode != O_RDWR && mode != flags))
        return false;
    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len);
    errno = EPROTOTYPE; /* what it takes as one message would not be one at the other end */
    return type == SOCK_STREAM;
}

/* An own descriptor for the same file. The number itself then refers to /dev/null, so that closing
 * the own one closes it for others. -1: there is none. */
static int standard_reopen(int fd, int flags)
{
    char path[32];
    struct stat about;
    if (!is_usable(fd, flags) || fstat(fd, &about) < 0)
        return -1;
    if (S_ISREG(about.st_mode) || S_ISSOCK(about.st_mode))
        return fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1); /* with its offset, and no waiting */
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int again = open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (again >= 0)
        return again;
    flags_before[fd] = fcntl(fd, F_GETFL);
    atexit(standard_restore);
    return fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
}

static int standard_take(int fd, int flags)
{
    int again = standard_reopen(fd, flags);
    if (again < 0)
        return -1;
    int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (nothing >= 0 && flags_before[fd] < 0)
        dup2(nothing, fd);
    if (nothing >= 0)
        close(nothing);
    return again;
}

static int standard_prepare(struct opener_local *local, char *why)
{
    struct stat in, out;
    bool one =
        is_socket(STDIN_FILENO, &in) && is_socket(STDOUT_FILENO, &out) && in.st_ino == out.st_ino;
    int reading = standard_take(STDIN_FILENO, O_RDONLY);
    if (reading < 0)
        return local_fail(why, "standard input");
    int writing = standard_take(STDOUT_FILENO, O_WRONLY);
    if (writing < 0) {
        int error = local_fail(why, "standard output");
        close(reading);
        return error;
    }
    if (one) {
        close(writing);
        writing = reading;
    }
    local->side = side_of(reading, writing);
    return 0;
}

static int descriptor_prepare(struct opener_local *local, const struct end *end, char *why)
{
    int fd = (int)end->number;
    if (!is_usable(fd, fcntl(fd, F_GETFL) & O_ACCMODE))
        return local_fail(why, "");
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    local->side = side_of(fd, fd);
    return 0;
}

/* ---- commands ---- */

static int exec_child(int socket, const void *command)
{
    if (dup2(socket, STDIN_FILENO) >= 0 && dup2(socket, STDOUT_FILENO) >= 0)
        execl("/bin/sh", "sh", "-c", (const char *)command, (char *)NULL);
    return 127;
}

int opener_local_exec(const char *command, const struct opener_settings *settings,
                      struct side *side, char *why)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return local_fail(why, "cannot make a socket");
    bool guarded = foreign_refuse(pair[0]);
    /* the held byte, so that a reset can be told from the beginning */
    bool held = send(pair[1], "m", 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1;
    struct child *child =
        child_start(pair[1], exec_child, command, settings->ended, settings->context);
    int status = child == NULL ? local_fail(why, "cannot make a process") : 0;
    close(pair[1]);
    if (status < 0) {
        close(pair[0]);
        return status;
    }
    *side = side_unix(pair[0], held);
    side->guarded = guarded;
    side->child = child;
    return 0;
}

/* ---- all ---- */

int opener_local_prepare(struct opener_local *local, const struct end *end, char *why)
{
    switch (end->kind) {
    case END_FILE:
        return file_prepare(local, end, why);
    case END_PTY:
        return pty_prepare(local, end, why);
    case END_STDIO:
        return standard_prepare(local, why);
    default:
        return descriptor_prepare(local, end, why);
    }
}

void opener_local_release(struct opener_local *local, const struct end *end)
{
    if (end->kind == END_PTY)
        pty_unlink(local, end->where);
    terminal_end(&local->terminal);
    if (local->slave >= 0)
        close(local->slave);
    /* those of a single connection were the bridge's */
    if (side_is_deaf(&local->side) && local->side.out >= 0)
        close(local->side.out);
    *local = OPENER_LOCAL_NONE;
}
