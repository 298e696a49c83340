/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * socket_file.h - a listening Unix socket at a path.
 *
 * Theory of operation
 *
 * A socket's file stays when its program is killed, and no other one can be made there. Such a
 * left-over file is replaced, and nothing else ever is: no socket that somebody has, and no file,
 * link or pipe, since the path may be a mistake.
 *
 * Between a look at a left-over file and its removal, another program may replace it, and would
 * then lose a fresh socket. So only who holds the lock PATH.lock looks and removes. The lock file
 * is there just as long as that takes. Who finds nothing at the path needs no lock: bind(2) makes
 * something for one of them only.
 *
 * Others may make files in a directory such as /tmp, and could keep a lock for ever. So only a lock
 * file counts that is root's or our own user's, and that nobody else may open. Another one is taken
 * away. In a sticky directory only its owner, the directory's or root can do that. Then it is an
 * error, which says whose file it is.
 *
 * Whether somebody has a socket is found out with a datagram socket. It is refused for its type
 * then. So he gets no connection by this, and a socket that is bound and does not listen yet counts
 * too.
 *
 * At the end only what is still the own file is taken away.
 */
#ifndef IDC_SOCKET_FILE_H
#define IDC_SOCKET_FILE_H

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/un.h>

/* What was made at the path. All zeros: nothing. */
struct socket_file {
    dev_t device;
    ino_t inode;
    bool lock_is_foreign; /* the lock file is another user's, or others can lock it */
    uid_t lock_uid;       /* then, its owner */
};

/*
 * Listens at address, a path that ends with a NUL. Returns a stream socket, which is non-blocking
 * and close-on-exec, or a negative errno. What is accepted from it takes no descriptors
 * (common/guard.h) until guard_end. -EADDRINUSE: somebody has that socket, or is just making
 * it. -EEXIST: what is there is no socket. -EPERM with
 * file->lock_is_foreign: somebody else's PATH.lock is in the way. mode is the file's from its first
 * moment; 0: as umask says. umask is changed for a moment, so no other thread may make files
 * meanwhile.
 */
int socket_file_listen(const struct sockaddr_un *address, mode_t mode, int backlog,
                       struct socket_file *file);
/* Takes the file away if it is still ours. To be called before the socket is closed, since it looks
 * left over from then on. */
void socket_file_remove(const struct sockaddr_un *address, struct socket_file *file);

#endif
