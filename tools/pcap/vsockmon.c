/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The headers of vsockmon.h. All numbers in them are little-endian. */
#include "tools/pcap/vsockmon.h"

#include <endian.h>
#include <linux/virtio_vsock.h>
#include <linux/vsockmon.h>
#include <stdbool.h>
#include <string.h>

#include "idc.h"

_Static_assert(sizeof(struct af_vsockmon_hdr) == VSOCKMON_HEADER, "as in a file");
_Static_assert(sizeof(struct virtio_vsock_hdr) == VSOCKMON_VIRTIO, "as in a file");

#define CID_OF_DOMID 2 /* docs/vsock.md */

/* of virtio-vsock, which older headers of the kernel lack */
#define VIRTIO_TYPE_SEQPACKET 2
#define VIRTIO_END_OF_MESSAGE 1

/* What a frame is, as vsock has it. */
struct vsockmon_op {
    uint16_t op, virtio_op; /* virtio_op 0: it has no header of virtio's */
    uint32_t flags;
};

static struct vsockmon_op vsockmon_disconnect(const struct capture_record *record)
{
    uint32_t flags = 0;
    if (record->flags & CAPTURE_RESET)
        return (struct vsockmon_op){AF_VSOCK_OP_DISCONNECT, VIRTIO_VSOCK_OP_RST, 0};
    if (record->flags & CAPTURE_NO_MORE_DATA)
        flags |= VIRTIO_VSOCK_SHUTDOWN_SEND;
    if (record->flags & CAPTURE_NO_MORE_WANTED)
        flags |= VIRTIO_VSOCK_SHUTDOWN_RCV;
    if (flags == 0) /* LAST alone, the end of a connection that both sides have closed */
        flags = VIRTIO_VSOCK_SHUTDOWN_SEND | VIRTIO_VSOCK_SHUTDOWN_RCV;
    return (struct vsockmon_op){AF_VSOCK_OP_DISCONNECT, VIRTIO_VSOCK_OP_SHUTDOWN, flags};
}

static struct vsockmon_op vsockmon_data(const struct capture_record *record)
{
    bool end = record->socket_type == IDC_SEQPACKET && !(record->flags & CAPTURE_DATA_MORE);
    return (struct vsockmon_op){AF_VSOCK_OP_PAYLOAD, VIRTIO_VSOCK_OP_RW,
                                end ? VIRTIO_END_OF_MESSAGE : 0};
}

static struct vsockmon_op vsockmon_op(const struct capture_record *record)
{
    switch (record->type) {
    case CAPTURE_CONNECT_REQ:
        return (struct vsockmon_op){AF_VSOCK_OP_CONNECT, VIRTIO_VSOCK_OP_REQUEST, 0};
    case CAPTURE_CONNECT_RSP:
        if (record->refused)
            return (struct vsockmon_op){AF_VSOCK_OP_DISCONNECT, VIRTIO_VSOCK_OP_RST, 0};
        return (struct vsockmon_op){AF_VSOCK_OP_CONNECT, VIRTIO_VSOCK_OP_RESPONSE, 0};
    case CAPTURE_DATA:
        return vsockmon_data(record);
    case CAPTURE_CREDIT:
        return (struct vsockmon_op){AF_VSOCK_OP_CONTROL, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0};
    case CAPTURE_DISCONNECT:
        return vsockmon_disconnect(record);
    default: /* HELLO, BYE, and what is skipped: of the link, and not of a connection */
        return (struct vsockmon_op){AF_VSOCK_OP_CONTROL, 0, 0};
    }
}

uint32_t vsockmon_header(const struct capture_record *record, uint32_t own_domid,
                         uint8_t out[VSOCKMON_MAX])
{
    const struct vsockmon_op op = vsockmon_op(record);
    const uint64_t own = htole64((uint64_t)own_domid + CID_OF_DOMID);
    const uint64_t peer = htole64((uint64_t)record->peer + CID_OF_DOMID);
    const struct af_vsockmon_hdr header = {
        .src_cid = record->outgoing ? own : peer,
        .dst_cid = record->outgoing ? peer : own,
        .src_port = htole32(record->outgoing ? record->local_port : record->peer_port),
        .dst_port = htole32(record->outgoing ? record->peer_port : record->local_port),
        .op = htole16(op.op),
        .transport = htole16(op.virtio_op ? AF_VSOCK_TRANSPORT_VIRTIO : AF_VSOCK_TRANSPORT_NO_INFO),
        .len = htole16(op.virtio_op ? VSOCKMON_VIRTIO : 0),
    };
    const struct virtio_vsock_hdr virtio = {
        .src_cid = header.src_cid,
        .dst_cid = header.dst_cid,
        .src_port = header.src_port,
        .dst_port = header.dst_port,
        .len = htole32(record->length),
        .type = htole16(record->socket_type == IDC_SEQPACKET ? VIRTIO_TYPE_SEQPACKET
                                                             : VIRTIO_VSOCK_TYPE_STREAM),
        .op = htole16(op.virtio_op),
        .flags = htole32(op.flags),
        .buf_alloc = htole32(record->credit),
        .fwd_cnt = 0, /* the sum of both is how far the other side may send */
    };
    memcpy(out, &header, sizeof(header));
    if (op.virtio_op == 0)
        return VSOCKMON_HEADER;
    memcpy(out + VSOCKMON_HEADER, &virtio, sizeof(virtio));
    return VSOCKMON_MAX;
}
