/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * socket.c - the listening socket and its path. If nobody answers on a path, it is left over from a
 * daemon that was killed, and is replaced. If somebody answers, the path is not touched. Only the
 * usual directory is made, and removed at the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "link_mgr/base/guard.h"
#include "link_mgr/base/log.h"
#include "link_mgr/base/privileges.h"
#include "link_mgr/rpc/rpc_private.h"

#define GROUP "idc"
#define BACKLOG 4096
#define USUAL_DIRECTORY PRIVILEGES_DIRECTORY

struct rpc_socket {
    int fd;
    struct sockaddr_un address;
    dev_t device; /* of the socket that we made at the path */
    ino_t inode;
    bool made_directory;
};

static int find_directory(struct rpc_socket *s, char *why, size_t why_size)
{
    char copy[sizeof(s->address.sun_path)];
    strcpy(copy, s->address.sun_path);
    const char *directory = dirname(copy);
    if (access(directory, F_OK) == 0)
        return 0;
    int error = errno;
    if (error == ENOENT && strcmp(directory, USUAL_DIRECTORY) == 0) {
        s->made_directory = mkdir(directory, 0755) == 0;
        error = s->made_directory ? 0 : errno;
    }
    if (error != 0)
        snprintf(why, why_size,
                 "no socket can be made in the directory %s: %s; make it, or name another path "
                 "with --socket",
                 directory, strerror(error));
    return -error;
}

/* Does somebody accept connections at the address? 1, 0, or negative errno. */
static int is_served(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int result =
        connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno == EAGAIN
            ? 1
            : -errno;
    close(fd);
    return result == -ECONNREFUSED || result == -ENOENT ? 0 : result;
}

static int remove_stale(const struct sockaddr_un *address, char *why, size_t why_size)
{
    const char *path = address->sun_path;
    struct stat status;
    if (lstat(path, &status) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(status.st_mode)) {
        snprintf(why, why_size, "%s exists and is not a socket", path);
        return -EEXIST;
    }
    int served = is_served(address);
    if (served == 1) {
        snprintf(why, why_size, "another link_mgr serves %s", path);
        return -EADDRINUSE;
    }
    if (served < 0 || unlink(path) < 0) {
        int error = served < 0 ? -served : errno;
        snprintf(why, why_size, "cannot replace %s: %s", path, strerror(error));
        return -error;
    }
    return 0;
}

/* Only we may connect before mode and group are set. */
static int bind_privately(int fd, const struct sockaddr_un *address)
{
    mode_t old = umask(0177);
    int result = bind(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ? 0 : -errno;
    umask(old);
    return result;
}

/* If there is no such group, the socket stays with our own. If we may not give it to that group,
 * only our own user may connect. */
static void set_access(const char *path, gid_t now)
{
    const struct group *group = getgrnam(GROUP);
    if (group != NULL && group->gr_gid != now && chown(path, (uid_t)-1, group->gr_gid) < 0) {
        log_line(LOG_WARNING, "%s cannot be given to group " GROUP " (%s), which cannot use it",
                 path, strerror(errno));
        return;
    }
    chmod(path, 0660);
}

static int open_at(struct rpc_socket *s, char *why, size_t why_size)
{
    const char *path = s->address.sun_path;
    struct stat status = {0};
    int error = remove_stale(&s->address, why, why_size);
    if (error != 0)
        return error;
    s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    error = s->fd < 0 ? -errno : bind_privately(s->fd, &s->address);
    if (error == 0 && (listen(s->fd, BACKLOG) < 0 || stat(path, &status) < 0))
        error = -errno;
    if (error != 0) {
        snprintf(why, why_size, "cannot listen on %s: %s", path, strerror(-error));
        return error;
    }
    guard_begin(s->fd); /* docs/rpc.md: no descriptors before the upgrade */
    s->device = status.st_dev;
    s->inode = status.st_ino;
    set_access(path, status.st_gid);
    return 0;
}

int rpc_socket_open(const char *path, struct rpc_socket **socket_out, char *why, size_t why_size)
{
    const size_t room = sizeof((*socket_out)->address.sun_path);
    if (strlen(path) >= room || path[0] == '\0') {
        snprintf(why, why_size, "the socket's path must have 1 to %zu bytes", room - 1);
        return -ENAMETOOLONG;
    }
    struct rpc_socket *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return -ENOMEM;
    s->fd = -1;
    s->address.sun_family = AF_UNIX;
    strcpy(s->address.sun_path, path);
    int error = find_directory(s, why, why_size);
    if (error == 0)
        error = open_at(s, why, why_size);
    if (error == 0)
        *socket_out = s;
    else
        rpc_socket_remove(s);
    return error;
}

int rpc_socket_fd(const struct rpc_socket *s)
{
    return s->fd;
}

void rpc_socket_remove(struct rpc_socket *s)
{
    struct stat status;
    if (s->inode != 0 && lstat(s->address.sun_path, &status) == 0 && status.st_dev == s->device &&
        status.st_ino == s->inode)
        unlink(s->address.sun_path);
    if (s->made_directory)
        rmdir(USUAL_DIRECTORY);
    if (s->fd >= 0)
        close(s->fd);
    free(s);
}
