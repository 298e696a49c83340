/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The questions of unix_diag.h, as netlink messages. */
#include "link_mgr/base/unix_diag.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

struct question {
    struct nlmsghdr header;
    struct unix_diag_req body;
};

union answer {
    struct nlmsghdr header;
    char bytes[1024];
};

/* Given by systemd, for the life of the process. */
static int diag_given = -1;

static bool diag_option_is(int fd, int option, int wanted)
{
    int value = -1;
    return getsockopt(fd, SOL_SOCKET, option, &value, &(socklen_t){sizeof(value)}) == 0 &&
           value == wanted;
}

static bool diag_is_one(int fd)
{
    return diag_option_is(fd, SO_DOMAIN, AF_NETLINK) &&
           diag_option_is(fd, SO_PROTOCOL, NETLINK_SOCK_DIAG);
}

/* A number in the environment; -1: it is not there. */
static long diag_variable(const char *name)
{
    const char *text = getenv(name);
    return text && text[0] ? strtol(text, NULL, 10) : -1;
}

void unix_diag_inherit(void)
{
    if (diag_variable("LISTEN_PID") != (long)getpid())
        return;
    for (int fd = 3; fd - 3 < diag_variable("LISTEN_FDS"); fd++) {
        if (diag_given >= 0 || !diag_is_one(fd))
            continue;
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        diag_given = fd;
    }
}

void unix_diag_open(struct unix_diag *diag)
{
    diag->own = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    diag->given = diag_given;
}

void unix_diag_close(struct unix_diag *diag)
{
    if (diag->own >= 0)
        close(diag->own);
    diag->own = diag->given = -1;
}

/* Reads the kernel's answer; or a negative errno. It skips answers to earlier questions. */
static ssize_t read_answer(int diag, uint32_t inode, union answer *answer)
{
    for (;;) {
        ssize_t len = recv(diag, answer, sizeof(*answer), MSG_DONTWAIT);
        if (len < 0 && errno != EINTR)
            return -errno;
        if (len < (ssize_t)sizeof(answer->header) || answer->header.nlmsg_seq != inode)
            continue;
        if (answer->header.nlmsg_type == SOCK_DIAG_BY_FAMILY)
            return NLMSG_OK(&answer->header, (size_t)len) ? len : -EPROTO;
        const struct nlmsgerr *error = NLMSG_DATA(&answer->header);
        return len >= (ssize_t)NLMSG_LENGTH(sizeof(*error)) && error->error < 0 ? error->error
                                                                                : -EPROTO;
    }
}

/* Asks for one attribute of the socket. Copies size bytes of it; 0 or a negative errno. */
static int diag_ask_one(int diag, uint32_t inode, uint32_t show, uint16_t type, void *out,
                        size_t size)
{
    struct question question = {
        .header = {.nlmsg_len = sizeof(question),
                   .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                   .nlmsg_flags = NLM_F_REQUEST,
                   .nlmsg_seq = inode},
        .body = {.sdiag_family = AF_UNIX,
                 .udiag_states = UINT32_MAX,
                 .udiag_ino = inode,
                 .udiag_show = show,
                 .udiag_cookie = {UINT32_MAX, UINT32_MAX}},
    };
    union answer answer;
    if (send(diag, &question, sizeof(question), MSG_DONTWAIT) != sizeof(question))
        return -errno;
    ssize_t len = read_answer(diag, inode, &answer);
    if (len < 0)
        return (int)len;
    len = NLMSG_PAYLOAD(&answer.header, sizeof(struct unix_diag_msg));
    const struct rtattr *attribute =
        (const void *)((const char *)NLMSG_DATA(&answer.header) + sizeof(struct unix_diag_msg));
    for (; RTA_OK(attribute, len); attribute = RTA_NEXT(attribute, len)) {
        if (attribute->rta_type != type || RTA_PAYLOAD(attribute) < size)
            continue;
        memcpy(out, RTA_DATA(attribute), size);
        return 0;
    }
    return -ENOENT;
}

/* The socket is in one of the namespaces, and unknown in the other. */
static int diag_ask(const struct unix_diag *diag, uint32_t inode, uint32_t show, uint16_t type,
                    void *out, size_t size)
{
    int error = diag->own >= 0 ? diag_ask_one(diag->own, inode, show, type, out, size) : -EBADF;
    if (error && diag->given >= 0)
        error = diag_ask_one(diag->given, inode, show, type, out, size);
    return error;
}

int64_t unix_diag_peer(const struct unix_diag *diag, int fd)
{
    struct stat status;
    uint32_t peer = 0;
    if (fstat(fd, &status) < 0)
        return -errno;
    int error = diag_ask(diag, (uint32_t)status.st_ino, UDIAG_SHOW_PEER, UNIX_DIAG_PEER, &peer,
                         sizeof(peer));
    return error < 0 ? error : (int64_t)peer;
}

int unix_diag_memory(const struct unix_diag *diag, uint32_t inode, struct unix_diag_memory *memory)
{
    uint32_t numbers[SK_MEMINFO_SNDBUF + 1];
    int error =
        diag_ask(diag, inode, UDIAG_SHOW_MEMINFO, UNIX_DIAG_MEMINFO, numbers, sizeof(numbers));
    if (error == 0)
        *memory = (struct unix_diag_memory){.charged = numbers[SK_MEMINFO_WMEM_ALLOC],
                                            .send_buffer = numbers[SK_MEMINFO_SNDBUF]};
    return error;
}

/* As the kernel's unix_writable(), where the charge is one more. */
bool unix_diag_writable(const struct unix_diag_memory *memory)
{
    return 4 * ((uint64_t)memory->charged + 1) <= memory->send_buffer;
}

bool unix_diag_blocks_grow(void)
{
    static int grow = -1;
    struct utsname kernel;
    int major = 0, minor = 0;
    if (grow < 0)
        grow = uname(&kernel) < 0 || sscanf(kernel.release, "%d.%d", &major, &minor) != 2 ||
               major < 6 || (major == 6 && minor < 5);
    return grow;
}

int64_t unix_diag_unread(const struct unix_diag *diag, uint32_t inode)
{
    struct unix_diag_rqlen lengths = {0};
    int error = diag_ask(diag, inode, UDIAG_SHOW_RQLEN, UNIX_DIAG_RQLEN, &lengths, sizeof(lengths));
    return error < 0 ? error : (int64_t)lengths.udiag_rqueue;
}
