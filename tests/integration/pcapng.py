# SPDX-License-Identifier: GPL-2.0-or-later
"""A reader of pcapng files with one section and one interface, as `idc capture` writes them, and of the vsockmon headers in them.
It knows nothing of the code that wrote the file, and refuses whatever is not as the formats say (the pcapng draft,
linux/vsockmon.h, linux/virtio_vsock.h)."""

import collections
import struct

LINKTYPE_VSOCK = 271
SECTION, INTERFACE, STATISTICS, PACKET = 0x0a0d0d0a, 1, 5, 6
OPERATIONS = {1: "CONNECT", 2: "DISCONNECT", 3: "CONTROL", 4: "PAYLOAD"}
VIRTIO = {None: "", 1: "REQUEST", 2: "RESPONSE", 3: "RST", 4: "SHUTDOWN", 5: "RW", 6: "CREDIT_UPDATE"}

Packet = collections.namedtuple("Packet", "time outgoing lost comment source target op virtio type flags credit length data")
Capture = collections.namedtuple("Capture", "packets end comment")  # end: None, or (received, lost, comment)


def need(condition, what):
    if not condition:
        raise AssertionError("no whole pcapng file: " + what)


def options_of(data):
    found, at = {}, 0
    while at < len(data):
        code, length = struct.unpack_from("=HH", data, at)
        if code == 0:
            need(at + 4 == len(data), "bytes behind the options")
            return found
        need(at + 4 + length <= len(data), "an option that is cut")
        found[code] = data[at + 4:at + 4 + length]
        at += 4 + (length + 3) // 4 * 4
    need(False, "options without an end")
    return None


def blocks_of(data):
    at = 0
    while at < len(data):
        need(at + 12 <= len(data), "half a block at %d of %d" % (at, len(data)))
        kind, length = struct.unpack_from("=II", data, at)
        need(length % 4 == 0 and length >= 12 and at + length <= len(data), "a block that is cut at %d of %d" % (at, len(data)))
        need(struct.unpack_from("=I", data, at + length - 4)[0] == length, "two lengths")
        yield kind, data[at + 8:at + length - 4]
        at += length


def packet_of(body):
    interface, high, low, captured, length = struct.unpack_from("=IIIII", body)
    need(interface == 0 and captured <= length, "a packet's head")
    data = body[20:20 + captured]
    options = options_of(body[20 + (captured + 3) // 4 * 4:])
    source_cid, target_cid, source_port, target_port, op, transport, size = struct.unpack_from("<QQIIHHH", data)
    virtio = kind = flags = credit = None
    need((transport, size) in ((1, 0), (2, 44)), "a transport %d of %d bytes" % (transport, size))
    payload = data[32 + size:]
    if transport == 2:
        *ends, count, kind, virtio, flags, credit, _ = struct.unpack_from("<QQIIIHHIII", data, 32)
        need(ends == [source_cid, target_cid, source_port, target_port], "two headers that differ")
        need(count == length - 76, "a length of %d in a packet of %d" % (count, length))
    direction = struct.unpack("=I", options[2])[0] & 3
    need(direction in (1, 2), "a direction")
    return Packet(high << 32 | low, direction == 2, struct.unpack("=Q", options[4])[0] if 4 in options else 0,
                  options.get(1, b"").decode(), (source_cid, source_port), (target_cid, target_port), OPERATIONS[op],
                  VIRTIO[virtio], kind, flags, credit, length - 32 - size, payload)


def parse(data):
    """A Capture."""
    blocks = list(blocks_of(data))
    need(len(blocks) >= 2, "no head")
    (kind, section), (second, interface), *rest = blocks
    need(kind == SECTION and struct.unpack_from("=IHHQ", section) == (0x1a2b3c4d, 1, 0, (1 << 64) - 1), "the section")
    need(second == INTERFACE and struct.unpack_from("=HHI", interface) == (LINKTYPE_VSOCK, 0, 0), "the interface")
    need(options_of(interface[8:])[9] == b"\x09", "nanoseconds")
    end = None
    if rest and rest[-1][0] == STATISTICS:
        found = options_of(rest.pop()[1][12:])
        end = (*(struct.unpack("=Q", found[code])[0] for code in (4, 5)), found[1].decode())
    need(all(kind == PACKET for kind, _ in rest), "another block")
    return Capture([packet_of(body) for _, body in rest], end, options_of(section[16:])[1].decode())
