/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * socket.c - the listening socket and its path. What a killed daemon has left there is replaced,
 * and nothing else (common/socket_file.h). Only the usual directory is made, and removed at the
 * end.
 */
#include <errno.h>
#include <grp.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/socket_file.h"
#include "link_mgr/base/log.h"
#include "link_mgr/base/privileges.h"
#include "link_mgr/rpc/rpc_private.h"

#define GROUP "idc"
#define BACKLOG 4096
#define USUAL_DIRECTORY PRIVILEGES_DIRECTORY

struct rpc_socket {
    int fd;
    struct sockaddr_un address;
    struct socket_file file;
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

static void explain_failure(int error, const char *path, char *why, size_t why_size)
{
    if (error == -EEXIST)
        snprintf(why, why_size, "%s exists and is not a socket", path);
    else if (error == -EADDRINUSE)
        snprintf(why, why_size, "another link_mgr serves %s", path);
    else
        snprintf(why, why_size, "cannot listen on %s: %s", path, strerror(-error));
}

/* Only we may connect before mode and group are set. */
static int open_at(struct rpc_socket *s, char *why, size_t why_size)
{
    const char *path = s->address.sun_path;
    struct stat status = {0};
    s->fd = socket_file_listen(&s->address, 0600, BACKLOG, &s->file);
    if (s->file.lock_is_foreign) {
        snprintf(why, why_size, "cannot listen on %s: %s.lock was made by uid %u, and stays", path,
                 path, (unsigned)s->file.lock_uid);
        return s->fd;
    }
    int error = s->fd < 0 ? s->fd : stat(path, &status) < 0 ? -errno : 0;
    if (error != 0) {
        explain_failure(error, path, why, why_size);
        return error;
    }
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
    socket_file_remove(&s->address, &s->file);
    if (s->made_directory)
        rmdir(USUAL_DIRECTORY);
    if (s->fd >= 0)
        close(s->fd);
    free(s);
}
