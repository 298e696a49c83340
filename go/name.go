// SPDX-License-Identifier: LGPL-2.1-or-later

package idc

import (
	"bytes"
	"encoding/binary"
	"syscall"
)

// link_mgr names its end of a socket pair after the connection, so getpeername(2) on ours tells
// both addresses (common/handover_name.c has the layout).

const nameFixed = 27

const (
	nameSeqpacket = 1 << iota
	nameListener
	nameLocalService
	namePeerService
)

// socketName is what such a name says.
type socketName struct {
	serial      uint64
	listener    bool
	local, peer Addr
}

func (n *socketName) withinDomain() bool { return n.local.Domid == n.peer.Domid }

// decodeName returns nil for a name that is not one of link_mgr's.
func decodeName(in []byte) *socketName {
	if len(in) < nameFixed || !bytes.HasPrefix(in, []byte("IDC\x01")) {
		return nil
	}
	le, flags := binary.LittleEndian, in[26]
	network := Stream
	if flags&nameSeqpacket != 0 {
		network = Seqpacket
	}
	name := &socketName{
		serial:   uint64(le.Uint32(in[4:])) | uint64(le.Uint16(in[8:]))<<32,
		listener: flags&nameListener != 0,
		local: Addr{Net: network, Domid: uint32(le.Uint16(in[10:])), Port: le.Uint32(in[12:]),
			UID: UIDUnknown},
		peer: Addr{Net: network, Domid: uint32(le.Uint16(in[16:])), Port: le.Uint32(in[18:]),
			UID: le.Uint32(in[22:])},
	}
	if flags&nameLocalService != 0 {
		name.local.Service = string(in[nameFixed:])
	}
	if flags&namePeerService != 0 {
		name.peer.Service = string(in[nameFixed:])
	}
	return name
}

// nameOf reads the name of fd's peer. Within a domain, a connecting end may have been named before
// its listener was known: then its own name has what is missing.
func nameOf(fd int) (*socketName, error) {
	name := decodeName(rawName(sysNumbers.getpeername, fd))
	if name == nil {
		return nil, &Error{syscall.EINVAL, "the descriptor is not one of IDC's"}
	}
	if name.listener || name.local.Port != 0 {
		return name, nil
	}
	if own := decodeName(rawName(sysNumbers.getsockname, fd)); own != nil {
		name.local.Port, name.local.Service = own.peer.Port, own.peer.Service
	}
	return name, nil
}
