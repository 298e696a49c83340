/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/serve_child.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "channels/child.h"
#include "common/handover.h"
#include "common/line_out.h"

/* How long a program that could not be run waits for something that stays unread. */
#define UNREAD_MS 5000
#define EXIT_NOT_FOUND 127

/* As execvp looks for it. */
static int check_along_path(const char *name, int how)
{
    const char *path = getenv("PATH");
    char full[PATH_MAX];
    int error = ENOENT;
    for (const char *at = path != NULL ? path : "/usr/bin:/bin"; at != NULL;) {
        size_t len = strcspn(at, ":");
        int written = snprintf(full, sizeof(full), "%.*s/%s", (int)len, len > 0 ? at : ".", name);
        if (written < (int)sizeof(full) && access(full, how) == 0)
            return 0;
        if (errno == EACCES)
            error = EACCES;
        at = at[len] == ':' ? at + len + 1 : NULL;
    }
    return error;
}

/* access says nothing of a directory: it may be "run". But only its first line fails then. */
int serve_child_check(const struct serve_child *child)
{
    const char *name = child->program[0];
    int how = child->user != NULL ? F_OK : X_OK;
    if (strchr(name, '/') == NULL)
        return check_along_path(name, how);
    return access(name, how) == 0 ? 0 : errno;
}

/* Of a message its length says it, but of an empty one only libidc's way to receive. */
static bool child_finds_end(int fd)
{
    char byte;
    size_t length;
    ssize_t got = handover_recv_message(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT, &length);
    return got == HANDOVER_END || got == -ECONNRESET;
}

/* POLLHUP is told when both directions are over, so not of a client that waits for an answer. An
 * empty message behind the mark would not be seen, so with a mark there may always be one. */
bool serve_child_is_unwanted(int fd, bool marked, int type)
{
    struct pollfd p = {.fd = fd};
    int unread = 0;
    if (marked && type == IDC_SEQPACKET)
        return false;
    if (poll(&p, 1, 0) != 1 || !(p.revents & POLLHUP))
        return false;
    if (ioctl(fd, SIOCINQ, &unread) < 0 || unread > (marked ? 1 : 0))
        return false;
    return marked || type == IDC_STREAM || child_finds_end(fd);
}

static void child_set_number(const char *name, uint32_t number)
{
    char text[16];
    snprintf(text, sizeof(text), "%u", number);
    setenv(name, text, 1);
}

static void child_set_environment(const struct serve_child *child, const struct idc_addr *peer,
                                  const char *name)
{
    child_set_number("IDC_PEER_DOMID", peer->domid);
    child_set_number("IDC_PEER_PORT", peer->port);
    child_set_number("IDC_PEER_UID", peer->uid);
    setenv("IDC_PEER_NAME", name, 1);
    setenv("IDC_SERVICE", peer->service, 1);
    if (command_socket != NULL)
        setenv("IDC_SOCKET", command_socket, 1);
    if (child->user == NULL)
        return;
    setenv("HOME", child->user->pw_dir, 1);
    setenv("USER", child->user->pw_name, 1);
    setenv("LOGNAME", child->user->pw_name, 1);
}

static int child_become_user(const struct passwd *user)
{
    if (user == NULL)
        return 0;
    if (initgroups(user->pw_name, user->pw_gid) < 0 || setgid(user->pw_gid) < 0)
        return -1;
    return setuid(user->pw_uid);
}

/* Only what a peer has sent, and nobody has read, makes the close a reset now. */
static int child_fail(const struct serve_child *child, const char *what)
{
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
    failure(child->command, "%s: %s", what, strerror(errno));
    poll(&p, 1, UNREAD_MS);
    return EXIT_NOT_FOUND;
}

/* What the new process is to know. */
struct child_order {
    const struct serve_child *child;
    bool marked;
    const struct idc_addr *peer;
    const char *name;
};

static int child_run(int fd, const void *argument)
{
    const struct child_order *order = argument;
    const struct serve_child *child = order->child;
    bool joined = dup2(fd, STDIN_FILENO) >= 0 && dup2(fd, STDOUT_FILENO) >= 0;
    child_close_private(); /* looking up a user, and what a program can't do, may take a while */
    line_out_again();
    child_set_environment(child, order->peer, order->name);
    if (!joined || child_become_user(child->user) < 0) {
        failure(child->command, "cannot prepare a process: %s", strerror(errno));
        return EXIT_NOT_FOUND; /* with its mark */
    }
    if (order->marked)
        handover_take_mark(STDIN_FILENO);
    execvp(child->program[0], child->program);
    return child_fail(child, child->program[0]);
}

pid_t serve_child_start(const struct serve_child *child, int fd, bool marked,
                        const struct idc_addr *peer, const char *name)
{
    const struct child_order order = {child, marked, peer, name};
    fflush(NULL);
    return child_fork(fd, child_run, &order);
}
