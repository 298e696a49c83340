/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * handover_name.c - theory of operation
 *
 * Nothing here trusts the other side. All numbers are little-endian.
 *
 * Names. An abstract Unix address: NUL, then
 *      offset  size
 *           0     4  "IDC" and the layout's version, 1
 *           4     6  serial
 *          10     2  local domid     12  4  local port
 *          16     2  peer domid      18  4  peer port     22  4  uid of the peer
 *          26     1  NAME_* flags
 *          27  0-79  service name, without NUL
 * Within a domain, the end of a connecting program may be named before the listener is known. Its
 * local port is 0. The accepting program finds its port and service in the name of its own end,
 * where they are the peer's.
 * An abstract address vanishes with its socket, and the serial makes it unique within its network
 * namespace.
 */
#include "common/handover_private.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "common/service_name.h"

#define NAME_MAGIC "IDC\1"
#define NAME_FIXED 27

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
    at = handover_put_le(at + 4, name->serial, HANDOVER_SERIAL_BITS / 8);
    at = handover_put_le(at, name->local.domid, 2);
    at = handover_put_le(at, name->local.port, 4);
    at = handover_put_le(at, name->peer.domid, 2);
    at = handover_put_le(at, name->peer.port, 4);
    at = handover_put_le(at, name->peer.uid, 4);
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
        .serial = handover_get_le(in + 4, HANDOVER_SERIAL_BITS / 8),
        .listener = flags & NAME_LISTENER,
        .local_only = flags & NAME_LOCAL_ONLY,
        .local = {.domid = (uint32_t)handover_get_le(in + 10, 2),
                  .port = (uint32_t)handover_get_le(in + 12, 4),
                  .uid = UINT32_MAX},
        .peer = {.domid = (uint32_t)handover_get_le(in + 16, 2),
                 .port = (uint32_t)handover_get_le(in + 18, 4),
                 .uid = (uint32_t)handover_get_le(in + 22, 4)},
    };
    name->local.type = name->peer.type = type;
    if (flags & NAME_LOCAL_SERVICE)
        memcpy(name->local.service, service, service_len);
    if (flags & NAME_PEER_SERVICE)
        memcpy(name->peer.service, service, service_len);
    return handover_valid_domid(name->local.domid) && handover_valid_domid(name->peer.domid)
               ? 0
               : -EINVAL;
}

typedef int name_getter(int fd, struct sockaddr *address, socklen_t *len);

static int get_name(int fd, name_getter *get, struct handover_name *name)
{
    struct sockaddr_un address = {0};
    socklen_t len = sizeof(address);
    size_t prefix = offsetof(struct sockaddr_un, sun_path) + 1;

    if (get(fd, (struct sockaddr *)&address, &len) < 0)
        return errno == ENOTSOCK || errno == EBADF ? -errno : -EINVAL;
    if (len > sizeof(address) || len <= prefix || address.sun_family != AF_UNIX ||
        address.sun_path[0] != '\0')
        return -EINVAL;
    return decode_name((const uint8_t *)address.sun_path + 1, len - prefix, name);
}

bool handover_is_named(int fd)
{
    struct handover_name own = {0};
    return get_name(fd, getsockname, &own) == 0 && own.listener;
}

/* A name that programs could have set in another network namespace would be the same, byte by byte.
 */
bool handover_is_peer_of(int fd, int other)
{
    struct sockaddr_un own = {0}, peer = {0};
    socklen_t own_len = sizeof(own), peer_len = sizeof(peer);
    return getsockname(fd, (struct sockaddr *)&own, &own_len) == 0 &&
           getpeername(other, (struct sockaddr *)&peer, &peer_len) == 0 && own_len == peer_len &&
           own_len <= sizeof(own) && memcmp(&own, &peer, own_len) == 0;
}

int handover_name(int fd, struct handover_name *name)
{
    struct handover_name own = {0};
    int error = get_name(fd, getpeername, name);
    if (error < 0 || name->listener || name->local.port != 0 || get_name(fd, getsockname, &own) < 0)
        return error;
    name->local.port = own.peer.port;
    strcpy(name->local.service, own.peer.service);
    return 0;
}
