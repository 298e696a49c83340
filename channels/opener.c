/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "channels/opener.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "channels/foreign.h"
#include "channels/opener_local.h"
#include "common/socket_file.h"
#include "libidc/internal.h"

#define BACKLOG 4096 /* as many as there may be: a burst waits, and is not refused */
#define ADDRESSES_MAX 8

struct address {
    struct sockaddr_storage to;
    socklen_t len;
};

struct opener {
    struct end end;
    struct opener_settings settings;
    struct address addresses[ADDRESSES_MAX]; /* tcp: what the host's name stands for */
    unsigned address_count;
    struct opener_local local; /* pty, file, standard input and output */
    struct socket_file bound;  /* unix-listen */
    bool guarded;              /* unix-listen: who connects can send no descriptors */
};

static int __attribute__((format(printf, 3, 4)))
opener_fail(char *why, int error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, OPENER_WHY_MAX, format, arguments);
    va_end(arguments);
    return -error;
}

static int opener_fail_errno(char *why, int error)
{
    return opener_fail(why, error, "%s", strerror(error));
}

/* ---- addresses ---- */

static int look_up_host(struct opener *opener, char *why)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG}, *found;
    char port[16];
    snprintf(port, sizeof(port), "%u", opener->end.port);
    hints.ai_flags |= end_listens(&opener->end) ? AI_NUMERICHOST : 0;
    int error = getaddrinfo(opener->end.where, port, &hints, &found);
    if (error == EAI_NONAME || error == EAI_ADDRFAMILY) {
        hints.ai_flags &= ~AI_ADDRCONFIG; /* it leaves out loopback where there is no other */
        error = getaddrinfo(opener->end.where, port, &hints, &found);
    }
    if (error != 0)
        return opener_fail(why, EHOSTUNREACH, "%s: %s", opener->end.where, gai_strerror(error));
    for (const struct addrinfo *one = found; one != NULL; one = one->ai_next) {
        struct address *address = &opener->addresses[opener->address_count];
        if (opener->address_count == ADDRESSES_MAX || one->ai_addrlen > sizeof(address->to))
            break;
        memcpy(&address->to, one->ai_addr, one->ai_addrlen);
        address->len = one->ai_addrlen;
        opener->address_count++;
    }
    freeaddrinfo(found);
    return opener->address_count > 0 ? 0 : opener_fail(why, EHOSTUNREACH, "it has no address");
}

static void set_unix_address(struct opener *opener)
{
    struct sockaddr_un *to = (struct sockaddr_un *)&opener->addresses[0].to;
    to->sun_family = AF_UNIX;
    memcpy(to->sun_path, opener->end.where, strlen(opener->end.where));
    opener->addresses[0].len = sizeof(*to);
    opener->address_count = 1;
}

static void set_vsock_address(struct opener *opener)
{
    struct sockaddr_vm *to = (struct sockaddr_vm *)&opener->addresses[0].to;
    to->svm_family = AF_VSOCK;
    to->svm_cid = opener->end.number;
    to->svm_port = opener->end.port;
    opener->addresses[0].len = sizeof(*to);
    opener->address_count = 1;
}

static int opener_prepare(struct opener *opener, char *why)
{
    switch (opener->end.kind) {
    case END_TCP:
    case END_TCP_LISTEN:
        return look_up_host(opener, why);
    case END_UNIX:
    case END_UNIX_LISTEN:
        set_unix_address(opener);
        return 0;
    case END_VSOCK:
        set_vsock_address(opener);
        return 0;
    case END_PTY:
    case END_FILE:
    case END_STDIO:
    case END_FD:
        return opener_local_prepare(&opener->local, &opener->end, why);
    default:
        return 0;
    }
}

struct opener *opener_new(const struct end *end, const struct opener_settings *settings,
                          char why[OPENER_WHY_MAX])
{
    struct opener *opener = calloc(1, sizeof(*opener));
    if (opener == NULL) {
        opener_fail_errno(why, ENOMEM);
        return NULL;
    }
    opener->end = *end;
    opener->settings = *settings;
    opener->local = OPENER_LOCAL_NONE;
    if (opener_prepare(opener, why) == 0)
        return opener;
    opener_free(opener);
    return NULL;
}

void opener_free(struct opener *opener)
{
    if (opener == NULL)
        return;
    opener_local_release(&opener->local, &opener->end);
    free(opener);
}

const struct end *opener_end(const struct opener *opener)
{
    return &opener->end;
}

/* ---- connecting ---- */

static int open_idc(struct opener *opener, uint32_t port, struct side *side, char *why)
{
    struct idc_options options = IDC_OPTIONS_INIT;
    char number[16];
    options.socket = opener->settings.link_mgr;
    options.nonblocking = 1;
    snprintf(number, sizeof(number), "%u", opener->end.named_port ? port : opener->end.port);
    const char *service = opener->end.service[0] != '\0' ? opener->end.service : number;
    int fd = libidc_connect_marked(opener->end.where, service, &options);
    if (fd < 0)
        return opener_fail(why, errno, "%s", idc_last_error());
    *side = side_unix(fd, true);
    return -EINPROGRESS;
}

/* Small writes are not kept back for an answer that may depend on them. */
static void set_no_delay(int fd)
{
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
}

/* What these say of AF_VSOCK is not what they say of other sockets. */
static const char *vsock_meaning(int error)
{
    switch (error) {
    case EAFNOSUPPORT:
        return ": this kernel has no AF_VSOCK; under \"idc run\" it is IDC's";
    case ENODEV:
        return ": no machine has that CID, or this one has no vsock that leads there";
    case ECONNRESET:
        return ": nobody listens on that port, or its queue is full";
    default:
        return "";
    }
}

static int connect_failed(const struct opener *opener, int error, char *why)
{
    /* poll does not tell when a Unix socket's backlog is no longer full */
    if (error == EAGAIN)
        return opener_fail(why, error, "its backlog is full");
    const char *meaning = opener->end.kind == END_VSOCK ? vsock_meaning(error) : "";
    return opener_fail(why, error, "%s%s", strerror(error), meaning);
}

static int open_socket(struct opener *opener, uint32_t port, unsigned attempt, struct side *side,
                       char *why)
{
    struct address address = opener->addresses[attempt % opener->address_count];
    int fd = socket(address.to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return connect_failed(opener, errno, why);
    if (opener->end.kind == END_VSOCK && opener->end.named_port)
        ((struct sockaddr_vm *)&address.to)->svm_port = port;
    if (opener->end.kind == END_TCP)
        set_no_delay(fd);
    *side = side_of(fd, fd);
    side->guarded = opener->end.kind == END_UNIX && foreign_refuse(fd);
    if (connect(fd, (struct sockaddr *)&address.to, address.len) == 0)
        return 0;
    int error = errno;
    if (error == EINPROGRESS)
        return -EINPROGRESS;
    side_close(side, 0);
    if (attempt + 1 < opener->address_count)
        return opener_open(opener, port, attempt + 1, side, why);
    return connect_failed(opener, error, why);
}

int opener_open(struct opener *opener, uint32_t port, unsigned attempt, struct side *side,
                char why[OPENER_WHY_MAX])
{
    *side = SIDE_NONE;
    switch (opener->end.kind) {
    case END_IDC:
        return open_idc(opener, port, side, why);
    case END_UNIX:
    case END_TCP:
    case END_VSOCK:
        return open_socket(opener, port, attempt, side, why);
    case END_EXEC:
        return opener_local_exec(opener->end.where, &opener->settings, side, why);
    default:
        *side = opener->local.side;
        return 0;
    }
}

static int finish_idc(const struct side *side, char *why)
{
    if (idc_connect_finish(side->in) == 0)
        return 0;
    return opener_fail(why, errno, "%s", idc_last_error());
}

int opener_finish(struct opener *opener, unsigned attempt, const struct side *side,
                  char why[OPENER_WHY_MAX])
{
    int error = 0;
    socklen_t len = sizeof(error);
    if (opener->end.kind == END_IDC)
        return finish_idc(side, why);
    if (getsockopt(side->in, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        error = errno;
    if (error == 0)
        return 0;
    if (attempt + 1 < opener->address_count)
        return -EAGAIN;
    return connect_failed(opener, error, why);
}

/* ---- listening ---- */

static int listen_idc(struct opener *opener, int *listener, char *why)
{
    struct idc_options options = IDC_OPTIONS_INIT;
    const char *service = opener->end.service;
    options.socket = opener->settings.link_mgr;
    options.keep = 1;
    *listener = libidc_listen_told(opener->end.port, service[0] != '\0' ? service : NULL, BACKLOG,
                                   &options);
    if (*listener < 0)
        return opener_fail(why, errno, "%s", idc_last_error());
    fcntl(*listener, F_SETFL, fcntl(*listener, F_GETFL) | O_NONBLOCK);
    return 0;
}

static int listen_unix(struct opener *opener, int *listener, char *why)
{
    const struct sockaddr_un *address = (const struct sockaddr_un *)&opener->addresses[0].to;
    int fd = socket_file_listen(address, opener->settings.mode, BACKLOG, &opener->bound);
    if (fd == -EEXIST)
        return opener_fail(why, EEXIST, "what is there is no socket, and stays: %s",
                           strerror(EEXIST));
    if (opener->bound.lock_is_foreign)
        return opener_fail(why, -fd, "its lock file, %s.lock, was made by uid %u, and stays: %s",
                           address->sun_path, (unsigned)opener->bound.lock_uid, strerror(-fd));
    if (fd < 0)
        return opener_fail_errno(why, -fd);
    opener->guarded = foreign_refuse(fd); /* it does since it listens */
    *listener = fd;
    return 0;
}

static int listen_tcp(struct opener *opener, int *listener, char *why)
{
    const struct address *address = &opener->addresses[0];
    int fd = socket(address->to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return opener_fail_errno(why, errno);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(fd, (const struct sockaddr *)&address->to, address->len) < 0 ||
        listen(fd, BACKLOG) < 0) {
        int error = errno;
        close(fd);
        return opener_fail_errno(why, error);
    }
    *listener = fd;
    return 0;
}

/* ---- being its own client ---- */

static bool is_same_socket_file(const struct opener *listening, const struct opener *other)
{
    struct stat there;
    return stat(other->end.where, &there) == 0 && there.st_ino == listening->bound.inode &&
           there.st_dev == listening->bound.device;
}

/* An address of TCP, without its port. NULL: another family's. */
static const void *host_of(const struct address *address, size_t *len)
{
    const struct sockaddr_in *four = (const struct sockaddr_in *)&address->to;
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&address->to;
    *len = address->to.ss_family == AF_INET ? sizeof(four->sin_addr) : sizeof(six->sin6_addr);
    return address->to.ss_family == AF_INET    ? (const void *)&four->sin_addr
           : address->to.ss_family == AF_INET6 ? (const void *)&six->sin6_addr
                                               : NULL;
}

/* 0.0.0.0 and ::, which are all addresses of this machine to a listener, and its loopback to a
 * client. */
static bool host_is_any(const struct address *address)
{
    static const struct in6_addr any = IN6ADDR_ANY_INIT;
    size_t len;
    const void *host = host_of(address, &len);
    return host != NULL && memcmp(host, &any, len) == 0;
}

static bool host_is_loopback(const struct address *address)
{
    const struct sockaddr_in *four = (const struct sockaddr_in *)&address->to;
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&address->to;
    return address->to.ss_family == AF_INET ? ntohl(four->sin_addr.s_addr) == INADDR_LOOPBACK
                                            : IN6_IS_ADDR_LOOPBACK(&six->sin6_addr);
}

/* The kernel knows: only what is this machine's can be bound to. */
static bool host_is_local(const struct address *address)
{
    struct address own = *address;
    if (own.to.ss_family == AF_INET)
        ((struct sockaddr_in *)&own.to)->sin_port = 0;
    else
        ((struct sockaddr_in6 *)&own.to)->sin6_port = 0;
    int fd = socket(own.to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool local = fd >= 0 && bind(fd, (const struct sockaddr *)&own.to, own.len) == 0;
    if (fd >= 0)
        close(fd);
    return local;
}

/* Does a connect to that address reach this listener? Their ports are the same. "::" listens for
 * both families. */
static bool host_is_reached(const struct address *listening, const struct address *other)
{
    size_t len, other_len;
    const void *one = host_of(listening, &len), *two = host_of(other, &other_len);
    bool same_family = listening->to.ss_family == other->to.ss_family;
    if (one == NULL || two == NULL)
        return false;
    if (host_is_any(listening) && (same_family || listening->to.ss_family == AF_INET6))
        return host_is_local(other);
    return same_family &&
           (memcmp(one, two, len) == 0 || (host_is_any(other) && host_is_loopback(listening)));
}

bool opener_reaches(const struct opener *other, const struct opener *listening)
{
    if (other->end.kind == END_UNIX && listening->end.kind == END_UNIX_LISTEN)
        return is_same_socket_file(listening, other);
    if (other->end.kind != END_TCP || listening->end.kind != END_TCP_LISTEN ||
        other->end.port != listening->end.port)
        return false;
    for (unsigned i = 0; i < other->address_count; i++)
        if (host_is_reached(&listening->addresses[0], &other->addresses[i]))
            return true;
    return false;
}

int opener_listen(struct opener *opener, int *listener, char why[OPENER_WHY_MAX])
{
    switch (opener->end.kind) {
    case END_IDC_LISTEN:
        return listen_idc(opener, listener, why);
    case END_UNIX_LISTEN:
        return listen_unix(opener, listener, why);
    default:
        return listen_tcp(opener, listener, why);
    }
}

static int accept_idc(int listener, struct side *side, char *why)
{
    bool marked = false, noted;
    int fd = libidc_accept_marked(listener, NULL, &marked, &noted);
    if (fd < 0 && noted && errno == 0)
        return OPENER_FOUND;
    if (fd < 0 && noted) {
        opener_fail(why, errno, "%s", idc_last_error());
        return OPENER_LOST;
    }
    if (fd < 0)
        return opener_fail(why, errno, "%s", idc_last_error());
    *side = side_unix(fd, marked);
    return 0;
}

int opener_accept(struct opener *opener, int listener, struct side *side, char why[OPENER_WHY_MAX])
{
    if (opener->end.kind == END_IDC_LISTEN)
        return accept_idc(listener, side, why);
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        /* the client has gone already: the next event tells of the next one */
        return opener_fail_errno(why, errno == ECONNABORTED || errno == EINTR ? EAGAIN : errno);
    if (opener->end.kind == END_TCP_LISTEN)
        set_no_delay(fd);
    *side = side_of(fd, fd);
    side->guarded = opener->guarded;
    return 0;
}

void opener_unlisten(struct opener *opener, int listener)
{
    if (opener->end.kind == END_UNIX_LISTEN)
        socket_file_remove((const struct sockaddr_un *)&opener->addresses[0].to, &opener->bound);
    close(listener);
}

int opener_reopen(struct opener *opener, char why[OPENER_WHY_MAX])
{
    return opener->end.kind == END_FILE ? opener_local_reopen(&opener->local, &opener->end, why)
                                        : 0;
}
