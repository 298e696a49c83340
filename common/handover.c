/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * handover.c - theory of operation
 *
 * Nothing here keeps state, and nothing here trusts the other side: the daemon runs this code on
 * what programs send, libidc on what the daemon sends. All numbers are little-endian.
 *
 * Names. An abstract Unix address: NUL, then
 *      offset  size
 *           0     4  "IDC" and the layout's version, 1
 *           4     6  serial
 *          10     2  local domid     12  4  local port
 *          16     2  peer domid      18  4  peer port     22  4  uid of the peer
 *          26     1  NAME_* flags
 *          27  0-79  service name, without NUL
 * An abstract address vanishes with its socket, and the serial makes it unique within its network
 * namespace.
 *
 * Descriptors. A descriptor that finds no place in the process's table is lost with its message. So
 * that case is an error (EMFILE), not a message without a descriptor. Descriptors beyond the
 * caller's room are closed here.
 *
 * The end. Linux first looks for a message, and then asks whether more can come. So recvmsg may
 * return 0 on a SOCK_SEQPACKET socket although a message came just before the end. A second look
 * finds it. An empty message differs from the end by its sender's name, since both ends of a
 * connection have one.
 *
 * Long messages. A front differs from a message of the same length by its one descriptor. The
 * descriptor's file is sealed against writing and shrinking, is longer than the front, and begins
 * with it. Whatever is not all of that is an ordinary message, and its descriptors are closed. Only
 * memory files can have seals. So the receiver never waits for something of the sender's making
 * (FUSE, a pipe, a device), and the bytes cannot change while it reads them. It reads with pread,
 * never by mmap, so there is no SIGBUS.
 */
#include "common/handover.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/service_name.h"

/* Since Linux 6.5. */
#ifndef SCM_PIDFD
#define SCM_PIDFD 4
#endif
/* Since Linux 6.3; where vm.memfd_noexec is 2 a memfd cannot be had without it. */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

#define NAME_MAGIC "IDC\1"
#define NAME_FIXED 27

/* So many bytes at either end of a front are compared with its file. */
#define FRONT_LOOK 64

enum {
    NAME_SEQPACKET = 1,     /* else stream */
    NAME_LISTENER = 2,      /* else connection */
    NAME_LOCAL_SERVICE = 4, /* the service name is local's */
    NAME_PEER_SERVICE = 8,  /* the service name is peer's */
    NAME_LOCAL_ONLY = 16,   /* a listener that other domains don't see */
    NAME_FLAGS = 31,
};

static_assert(1 + NAME_FIXED + IDC_SERVICE_MAX <= sizeof(((struct sockaddr_un *)0)->sun_path),
              "a name fits");

/* ---- little-endian numbers ---- */

static uint8_t *put_le(uint8_t *to, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        to[i] = (uint8_t)(value >> (8 * i));
    return to + bytes;
}

static uint64_t get_le(const uint8_t *from, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value |= (uint64_t)from[i] << (8 * i);
    return value;
}

/* ---- names ---- */

static bool valid_domid(uint64_t domid)
{
    return domid < IDC_DOMID_SELF;
}

static uint8_t name_flags(const struct handover_name *name)
{
    uint8_t flags = name->listener ? NAME_LISTENER : 0;
    if (name->local.type == IDC_SEQPACKET)
        flags |= NAME_SEQPACKET;
    if (name->local_only)
        flags |= NAME_LOCAL_ONLY;
    if (name->local.service[0] != '\0')
        flags |= NAME_LOCAL_SERVICE;
    if (name->peer.service[0] != '\0')
        flags |= NAME_PEER_SERVICE;
    return flags;
}

int handover_bind(int fd, const struct handover_name *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    uint8_t *at = (uint8_t *)address.sun_path + 1;
    const char *service = name->local.service[0] != '\0' ? name->local.service : name->peer.service;
    size_t service_len = strnlen(service, IDC_SERVICE_MAX);

    memcpy(at, NAME_MAGIC, 4);
    at = put_le(at + 4, name->serial, HANDOVER_SERIAL_BITS / 8);
    at = put_le(at, name->local.domid, 2);
    at = put_le(at, name->local.port, 4);
    at = put_le(at, name->peer.domid, 2);
    at = put_le(at, name->peer.port, 4);
    at = put_le(at, name->peer.uid, 4);
    *at++ = name_flags(name);
    memcpy(at, service, service_len);

    socklen_t len =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + NAME_FIXED + service_len);
    return bind(fd, (struct sockaddr *)&address, len) == 0 ? 0 : -errno;
}

static int decode_name(const uint8_t *in, size_t len, struct handover_name *name)
{
    if (len < NAME_FIXED || memcmp(in, NAME_MAGIC, 4) != 0 || (in[26] & ~NAME_FLAGS) != 0)
        return -EINVAL;
    const char *service = (const char *)in + NAME_FIXED;
    size_t service_len = len - NAME_FIXED;
    uint8_t flags = in[26];
    uint32_t type = flags & NAME_SEQPACKET ? IDC_SEQPACKET : IDC_STREAM;
    bool named = (flags & (NAME_LOCAL_SERVICE | NAME_PEER_SERVICE)) != 0;

    if (named ? !service_name_valid(service, service_len) : service_len != 0)
        return -EINVAL;
    *name = (struct handover_name){
        .serial = get_le(in + 4, HANDOVER_SERIAL_BITS / 8),
        .listener = flags & NAME_LISTENER,
        .local_only = flags & NAME_LOCAL_ONLY,
        .local = {.domid = (uint32_t)get_le(in + 10, 2),
                  .port = (uint32_t)get_le(in + 12, 4),
                  .uid = UINT32_MAX},
        .peer = {.domid = (uint32_t)get_le(in + 16, 2),
                 .port = (uint32_t)get_le(in + 18, 4),
                 .uid = (uint32_t)get_le(in + 22, 4)},
    };
    name->local.type = name->peer.type = type;
    if (flags & NAME_LOCAL_SERVICE)
        memcpy(name->local.service, service, service_len);
    if (flags & NAME_PEER_SERVICE)
        memcpy(name->peer.service, service, service_len);
    return valid_domid(name->local.domid) && valid_domid(name->peer.domid) ? 0 : -EINVAL;
}

int handover_name(int fd, struct handover_name *name)
{
    struct sockaddr_un address = {0};
    socklen_t len = sizeof(address);
    size_t prefix = offsetof(struct sockaddr_un, sun_path) + 1;

    if (getpeername(fd, (struct sockaddr *)&address, &len) < 0)
        return errno == ENOTSOCK || errno == EBADF ? -errno : -EINVAL;
    if (len > sizeof(address) || len <= prefix || address.sun_family != AF_UNIX ||
        address.sun_path[0] != '\0')
        return -EINVAL;
    return decode_name((const uint8_t *)address.sun_path + 1, len - prefix, name);
}

/* ---- descriptors ---- */

ssize_t handover_sendv(int sock, const struct iovec *parts, int part_count, const int *fds,
                       int count, int flags)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(HANDOVER_FDS_MAX * sizeof(int))];
    } control = {0};
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)parts,
                             .msg_iovlen = (size_t)part_count};
    size_t size = (size_t)count * sizeof(int);

    assert(count >= 0 && count <= HANDOVER_FDS_MAX);
    if (count > 0) {
        control.header = (struct cmsghdr){
            .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(size)};
        memcpy(CMSG_DATA(&control.header), fds, size);
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(size);
    }
    ssize_t sent = sendmsg(sock, &message, MSG_NOSIGNAL | flags);
    return sent < 0 ? -errno : sent;
}

ssize_t handover_send(int sock, const void *buf, size_t len, const int *fds, int count, int flags)
{
    const struct iovec bytes = {(void *)(uintptr_t)buf, len};
    return handover_sendv(sock, &bytes, 1, fds, count, flags);
}

static void close_fds(const int *fds, int count)
{
    for (int i = 0; i < count; i++)
        close(fds[i]);
}

int handover_take_fds(struct msghdr *message, int *fds, int room)
{
    int count = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
        bool rights = c->cmsg_type == SCM_RIGHTS;
        if (c->cmsg_level != SOL_SOCKET || (!rights && c->cmsg_type != SCM_PIDFD))
            continue;
        for (size_t at = CMSG_LEN(0); at + sizeof(int) <= c->cmsg_len; at += sizeof(int)) {
            int fd;
            memcpy(&fd, (const char *)c + at, sizeof(fd));
            if (rights && count < room)
                fds[count] = fd;
            else if (fd >= 0) /* the kernel may say here why there is no descriptor of a process */
                close(fd);
            count += rights;
        }
    }
    return count;
}

/* recvmsg returns 0 for an empty message, which has a sender's name, and at the end. For the end
 * this function returns HANDOVER_END, but only when it has seen it twice (see above). */
static ssize_t receive_twice(int sock, struct msghdr *message, int flags)
{
    struct sockaddr_un sender;
    size_t control_len = message->msg_controllen;
    for (int look = 0; look < 2; look++) {
        message->msg_name = &sender;
        message->msg_namelen = sizeof(sender);
        message->msg_controllen = control_len;
        ssize_t got = recvmsg(sock, message, MSG_CMSG_CLOEXEC | flags);
        message->msg_name = NULL; /* it ends with this function */
        if (got < 0 && (look == 0 || errno != EAGAIN))
            return -errno;
        if (got > 0 || (got == 0 && message->msg_namelen > 0))
            return got;
        flags |= MSG_DONTWAIT;
    }
    return HANDOVER_END;
}

/* As handover_recv, but that the end is HANDOVER_END, and *lacks tells that descriptors were lost.
 */
static ssize_t receive_with_fds(int sock, struct iovec *bytes, int *fds, int *count, int flags,
                                bool *lacks)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(HANDOVER_FDS_MAX * sizeof(int))];
    } control;
    struct msghdr message = {.msg_iov = bytes,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    int room = *count;

    *count = 0;
    ssize_t got = receive_twice(sock, &message, flags);
    if (got < 0)
        return got;
    int total = handover_take_fds(&message, fds, room);
    *lacks = (message.msg_flags & MSG_CTRUNC) && total < HANDOVER_FDS_MAX;
    *count = total < room ? total : room;
    return got;
}

ssize_t handover_recv(int sock, void *buf, size_t len, int *fds, int *count, int flags)
{
    struct iovec bytes = {buf, len};
    bool lacks;
    ssize_t got = receive_with_fds(sock, &bytes, fds, count, flags, &lacks);
    if (got >= 0 && lacks) {
        close_fds(fds, *count);
        *count = 0;
        return -EMFILE;
    }
    return got == HANDOVER_END ? 0 : got;
}

/* ---- the message on a listener: domid, port, uid, type (2 bytes), marked (2), service name padded
 * with NUL ---- */

void handover_encode_waiting(uint8_t out[HANDOVER_WAITING_SIZE], const struct idc_addr *peer,
                             bool marked)
{
    memset(out, 0, HANDOVER_WAITING_SIZE);
    put_le(out, peer->domid, 4);
    put_le(out + 4, peer->port, 4);
    put_le(out + 8, peer->uid, 4);
    put_le(out + 12, peer->type, 2);
    put_le(out + 14, marked, 2);
    memcpy(out + 16, peer->service, strnlen(peer->service, IDC_SERVICE_MAX));
}

int handover_decode_waiting(const uint8_t *in, size_t len, struct idc_addr *peer, bool *marked)
{
    if (len != HANDOVER_WAITING_SIZE || in[len - 1] != '\0')
        return -EINVAL;
    *peer = (struct idc_addr){
        .domid = (uint32_t)get_le(in, 4),
        .port = (uint32_t)get_le(in + 4, 4),
        .uid = (uint32_t)get_le(in + 8, 4),
        .type = (uint32_t)get_le(in + 12, 2),
    };
    uint64_t mark = get_le(in + 14, 2);
    *marked = mark == 1;
    memcpy(peer->service, in + 16, IDC_SERVICE_MAX + 1);
    bool service_ok =
        peer->service[0] == '\0' || service_name_valid(peer->service, strlen(peer->service));
    bool type_ok = peer->type == IDC_STREAM || peer->type == IDC_SEQPACKET;
    return valid_domid(peer->domid) && peer->port != 0 && type_ok && mark <= 1 && service_ok
               ? 0
               : -EINVAL;
}

int handover_take_mark(int fd)
{
    char mark;
    ssize_t got = recv(fd, &mark, 1, MSG_DONTWAIT);
    if (got == 1)
        return 0;
    return got < 0 && errno != EAGAIN ? -errno : -EPROTO;
}

/* When there is no room for a descriptor, accept(2) fails before it takes a connection; so does
 * this. */
static int check_room(int fd)
{
    int probe = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (probe < 0)
        return -errno;
    close(probe);
    return 0;
}

/* An error means that the daemon has gone. The connection that was taken will show that itself. */
static void answer_taken(int listener)
{
    struct pollfd p = {.fd = listener, .events = POLLOUT};
    while (send(listener, &(char){HANDOVER_TAKEN}, 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 &&
           (errno == EAGAIN || errno == EINTR))
        poll(&p, 1, -1);
}

int handover_accept(int listener, struct idc_addr *peer, int flags)
{
    uint8_t message[HANDOVER_WAITING_SIZE + 1];
    int fd = -1, count = 1;
    bool marked;
    int room = check_room(listener);

    if (room < 0)
        return room;
    ssize_t got = handover_recv(listener, message, sizeof(message), &fd, &count, flags);
    if (got == 0 || got == -ECONNRESET)
        return -ECONNABORTED;
    /* If another thread took the last descriptor since, the message is lost. It is still answered,
     * because the answers must stay in step with the connections. */
    if (got >= 0 || got == -EMFILE)
        answer_taken(listener);
    if (got < 0)
        return (int)got;
    int error = count == 1 ? handover_decode_waiting(message, (size_t)got, peer, &marked) : -EPROTO;
    if (error == 0 && marked)
        error = handover_take_mark(fd);
    if (error == 0)
        return fd;
    close_fds(&fd, count);
    return error == -EINVAL ? -EPROTO : error;
}

/* ---- messages of seqpacket connections ---- */

static int new_memfd(void)
{
    int fd = memfd_create("idc-message", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL)
        fd = memfd_create("idc-message", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    return fd < 0 ? -errno : fd;
}

static int append_to_memfd(int fd, const uint8_t *buf, size_t len)
{
    while (len > 0) {
        ssize_t wrote = write(fd, buf, len);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            return wrote < 0 ? -errno : -EIO;
        buf += wrote;
        len -= (size_t)wrote;
    }
    return 0;
}

static int fill_memfd(int fd, const struct iovec *spans, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int error = append_to_memfd(fd, spans[i].iov_base, spans[i].iov_len);
        if (error < 0)
            return error;
    }
    return fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) == 0
               ? 0
               : -errno;
}

/* We notice a full socket that does not block before megabytes are copied in vain. */
void handover_make_room(int fd)
{
    /* The kernel doubles it, and counts some memory in addition to the bytes. */
    int size = 2 * (int)(HANDOVER_INLINE_MAX + HANDOVER_INLINE_MAX / 4);
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

/* We ask for the default once. */
void handover_make_stream_room(int fd)
{
    static atomic_int usual;
    int size = atomic_load_explicit(&usual, memory_order_relaxed);
    if (size == 0 && getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &(socklen_t){sizeof(size)}) == 0)
        atomic_store_explicit(&usual, size, memory_order_relaxed);
    if (size < 2 * HANDOVER_STREAM_BUFFER)
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &(int){HANDOVER_STREAM_BUFFER}, sizeof(int));
}

static bool would_block(int sock, int flags)
{
    if (!(flags & MSG_DONTWAIT) && !(fcntl(sock, F_GETFL) & O_NONBLOCK))
        return false;
    struct pollfd p = {.fd = sock, .events = POLLOUT};
    return poll(&p, 1, 0) == 0;
}

static const size_t front_lengths[] = {HANDOVER_PLAIN_MAX, HANDOVER_INLINE_MAX,
                                       HANDOVER_FRONT_SHORT};
#define FRONTS (sizeof(front_lengths) / sizeof(front_lengths[0]))

/* A program's end has no name for link_mgr. For a program, the peer of a connection to another
 * domain is link_mgr itself. */
static size_t front_for_reader(int sock)
{
    struct handover_name name = {0};
    if (handover_name(sock, &name) < 0)
        return HANDOVER_PLAIN_MAX;
    return name.local.domid == name.peer.domid ? HANDOVER_INLINE_MAX : HANDOVER_FRONT_SHORT;
}

static void handover_gather(uint8_t *to, size_t len, const struct iovec *spans)
{
    for (; len > 0; spans++) {
        size_t part = spans->iov_len < len ? spans->iov_len : len;
        if (part > 0)
            memcpy(to, spans->iov_base, part);
        to += part;
        len -= part;
    }
}

/* The longest front that the socket can carry, and the memfd beside it. A message that is not in
 * one piece has the shortest front. */
static ssize_t send_front(int sock, int memfd, const struct iovec *spans, size_t len, int flags)
{
    uint8_t gathered[HANDOVER_FRONT_SHORT];
    size_t most = front_for_reader(sock);
    ssize_t result = -EMSGSIZE;
    for (size_t i = 0; i < FRONTS && result == -EMSGSIZE; i++) {
        size_t front = front_lengths[i];
        const void *bytes = spans[0].iov_base;
        if (front > most || front >= len)
            continue;
        if (front > spans[0].iov_len && front > HANDOVER_FRONT_SHORT)
            continue;
        if (front > spans[0].iov_len) {
            handover_gather(gathered, front, spans);
            bytes = gathered;
        }
        result = handover_send(sock, bytes, front, &memfd, 1, flags);
    }
    return result;
}

ssize_t handover_send_by_memfd(int sock, const struct iovec *spans, size_t count, size_t len,
                               int flags)
{
    if (would_block(sock, flags))
        return -EAGAIN;
    int fd = new_memfd();
    if (fd < 0)
        return fd;
    ssize_t result = fill_memfd(fd, spans, count);
    if (result == 0)
        result = send_front(sock, fd, spans, len, flags);
    close(fd);
    return result < 0 ? result : (ssize_t)len;
}

ssize_t handover_send_message(int sock, const void *buf, size_t len, int flags)
{
    if (len > IDC_MESSAGE_MAX)
        return -EMSGSIZE;
    if (len > HANDOVER_INLINE_MAX)
        return handover_send_by_memfd(sock, &(struct iovec){(void *)(uintptr_t)buf, len}, 1, len,
                                      flags);
    return handover_send(sock, buf, len, NULL, 0, flags);
}

/* The length of fd, if it is a memory file that nobody can change or shorten any more, and is no
 * longer than a message may be. Else 0. */
static size_t sound_memfd(int fd)
{
    struct stat status;
    const int needed = F_SEAL_SHRINK | F_SEAL_WRITE;
    int seals = fcntl(fd, F_GET_SEALS);
    bool sound = seals >= 0 && (seals & needed) == needed && fstat(fd, &status) == 0 &&
                 S_ISREG(status.st_mode) && status.st_size > 0 && status.st_size <= IDC_MESSAGE_MAX;
    return sound ? (size_t)status.st_size : 0;
}

/* Has fd these bytes there? */
static bool memfd_has(int fd, size_t at, const uint8_t *bytes, size_t len)
{
    uint8_t in_file[FRONT_LOOK];
    return pread(fd, in_file, len, (off_t)at) == (ssize_t)len && memcmp(in_file, bytes, len) == 0;
}

bool handover_may_be_front(size_t len)
{
    for (size_t i = 0; i < FRONTS; i++)
        if (len == front_lengths[i])
            return true;
    return false;
}

size_t handover_front(const uint8_t *bytes, size_t there, size_t len, int fd)
{
    size_t look = there < FRONT_LOOK ? there : FRONT_LOOK;
    if (fd < 0 || !handover_may_be_front(len))
        return 0;
    size_t total = sound_memfd(fd);
    bool same = total > len && memfd_has(fd, 0, bytes, look) &&
                memfd_has(fd, there - look, bytes + there - look, look);
    return same ? total : 0;
}

static ssize_t read_memfd(int fd, size_t message_len, uint8_t *buf, size_t len)
{
    size_t wanted = message_len < len ? message_len : len;
    for (size_t done = 0; done < wanted;) {
        ssize_t got = pread(fd, buf + done, wanted - done, (off_t)done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return -EPROTO;
        done += (size_t)got;
    }
    return (ssize_t)wanted;
}

/* Waits for a message. A front whose descriptor cannot be placed would be cut when it is taken, so
 * it is left where it is. */
static int message_has_room(int sock, int flags)
{
    char byte;
    int none = 0;
    ssize_t there = recv(sock, &byte, 1, MSG_PEEK | MSG_TRUNC | flags);
    if (there < 0)
        return -errno;
    if (!handover_may_be_front((size_t)there))
        return 0;
    ssize_t again = handover_recv(sock, &byte, 1, NULL, &none, MSG_PEEK | MSG_DONTWAIT);
    return again < 0 && again != -EAGAIN ? (int)again : 0;
}

ssize_t handover_recv_message(int sock, void *buf, size_t len, int flags, size_t *length)
{
    /* So much is needed to know a front, even when the caller wants fewer bytes. */
    uint8_t small[FRONT_LOOK];
    bool use_small = len < sizeof(small), lacks;
    struct iovec bytes = {use_small ? small : buf, use_small ? sizeof(small) : len};
    int fds[2] = {-1, -1}, count = 2;
    int error = message_has_room(sock, flags & MSG_DONTWAIT);
    if (error < 0)
        return error;

    ssize_t got = receive_with_fds(sock, &bytes, fds, &count, MSG_TRUNC | flags, &lacks);
    if (got < 0)
        return got;
    size_t there = (size_t)got < bytes.iov_len ? (size_t)got : bytes.iov_len;
    size_t total = handover_front(bytes.iov_base, there, (size_t)got, count == 1 ? fds[0] : -1);
    *length = total > 0 ? total : (size_t)got;
    if (total > 0) {
        got = read_memfd(fds[0], total, buf, len);
    } else {
        got = (size_t)got < len ? got : (ssize_t)len;
        if (use_small && got > 0)
            memcpy(buf, small, (size_t)got);
    }
    close_fds(fds, count);
    /* not if it came alone; another thread has taken what was looked at first */
    return lacks && count == 0 && handover_may_be_front(*length) ? -EMFILE : got;
}
