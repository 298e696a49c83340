/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * address.c - CIDs and domids: CID = domid + 2. So dom0 is VMADDR_CID_HOST. No domain has 0
 * (hypervisor), 1 (this domain) or 4294967295 (any).
 */
#include <errno.h>
#include <string.h>

#include "libidc/internal.h"
#include "vsock/vsock.h"

#define CALL_MS 5000

int64_t vsock_domid_of(uint32_t cid)
{
    if (cid == VMADDR_CID_LOCAL)
        return IDC_DOMID_SELF;
    return cid >= VSOCK_CID_OF_DOMID && cid - VSOCK_CID_OF_DOMID < IDC_DOMID_SELF
               ? (int64_t)cid - VSOCK_CID_OF_DOMID
               : -1;
}

uint32_t vsock_cid_of(uint32_t domid)
{
    return domid + VSOCK_CID_OF_DOMID;
}

/* This asks each time, because a domain that was restored or migrated has another one. */
uint32_t vsock_own_cid(void)
{
    struct compact_writer call;
    struct libidc_answer answer;
    compact_begin(&call, COMPACT_CALL, "idc.status");
    compact_put_boolean(&call, "detail", false);
    if (libidc_call(libidc_socket_path(NULL), &call, CALL_MS, &answer, NULL) < 0) {
        vsock_say("own CID: %s", idc_last_error());
        return VMADDR_CID_ANY;
    }
    int64_t domid = libidc_answer_int(&answer, "domid", -1);
    return domid >= 0 ? vsock_cid_of((uint32_t)domid) : VMADDR_CID_ANY;
}

struct sockaddr_vm vsock_address(uint32_t cid, uint32_t port)
{
    return (struct sockaddr_vm){.svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port};
}

int vsock_read_address(const struct sockaddr *address, socklen_t len, struct sockaddr_vm *out)
{
    if (address != NULL && len >= sizeof(*out)) {
        memcpy(out, address, sizeof(*out));
        if (out->svm_family == AF_VSOCK)
            return 0;
    }
    errno = EINVAL;
    return -1;
}

void vsock_give_address(const struct sockaddr_vm *from, struct sockaddr *to, socklen_t *len)
{
    memcpy(to, from, *len < sizeof(*from) ? *len : sizeof(*from));
    *len = sizeof(*from);
}

static int address_give(const struct sockaddr_vm *from, struct sockaddr *to, socklen_t *len)
{
    if (to == NULL || len == NULL) {
        errno = EFAULT;
        return -1;
    }
    vsock_give_address(from, to, len);
    return 0;
}

/* The own CID is kept with the descriptor's number; CID 1 is in the name. */
static uint32_t listeners_cid(int fd, const struct handover_name *name)
{
    uint32_t cid = vsock_options(fd)->bound_cid;
    if (name->local_only)
        return VMADDR_CID_LOCAL;
    return cid != 0 ? cid : VMADDR_CID_ANY;
}

int vsock_getsockname(int fd, const struct vsock_socket *socket, struct sockaddr *address,
                      socklen_t *len)
{
    struct sockaddr_vm own;
    vsock_bound_before(fd, &own); /* connecting, or failed */
    if (socket->state == VSOCK_FRESH)
        own = socket->bound;
    else if (socket->state == VSOCK_CONNECTED)
        own = vsock_address(vsock_cid_of(socket->name.local.domid), socket->name.local.port);
    else if (socket->state == VSOCK_LISTENING)
        own = vsock_address(listeners_cid(fd, &socket->name), socket->name.local.port);
    return address_give(&own, address, len);
}

int vsock_getpeername(const struct vsock_socket *socket, struct sockaddr *address, socklen_t *len)
{
    if (socket->state != VSOCK_CONNECTED) {
        errno = ENOTCONN;
        return -1;
    }
    struct sockaddr_vm peer =
        vsock_address(vsock_cid_of(socket->name.peer.domid), socket->name.peer.port);
    return address_give(&peer, address, len);
}
