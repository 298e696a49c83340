// SPDX-License-Identifier: LGPL-2.1-or-later

package idc

import (
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"
	"syscall"
)

// The networks: a stream of bytes, and messages whose boundaries are kept.
const (
	Stream    = "idc"
	Seqpacket = "idc-seqpacket"
)

// Self is the domid that means the own domain.
const Self = 0x7FF0

// UIDUnknown is the UID of who is not known.
const UIDUnknown = math.MaxUint32

// Addr is one end of a connection, or a listener.
type Addr struct {
	Net     string // Stream or Seqpacket
	Domid   uint32 // of a peer it is known from the link, and cannot be forged
	Port    uint32
	Service string // of a peer, at either end: the name that was connected to; may be empty
	UID     uint32 // of a peer, as its own link_mgr vouches for it; else UIDUnknown
	Name    string // of the domain, as it was given to Dial; may be empty
}

// Network returns Stream or Seqpacket.
func (a *Addr) Network() string { return a.Net }

// String returns DOMID:PORT, which can be dialled.
func (a *Addr) String() string { return fmt.Sprintf("%d:%d", a.Domid, a.Port) }

// unresolved is an address that was asked for.
type unresolved struct{ network, text string }

func (a unresolved) Network() string { return a.network }
func (a unresolved) String() string  { return a.text }

// networkOf takes "tcp" for a stream, since that is what net/http asks for.
func networkOf(network string) (string, error) {
	switch network {
	case Stream, "tcp":
		return Stream, nil
	case Seqpacket:
		return Seqpacket, nil
	}
	return network, net.UnknownNetworkError(network)
}

// splitAddress divides DOMAIN:SERVICE at the last colon: no service has one, and a domain may.
func splitAddress(address string) (domain, service string, err error) {
	at := strings.LastIndexByte(address, ':')
	if at < 0 {
		return "", "", &net.AddrError{Err: "no service (DOMAIN:SERVICE)", Addr: address}
	}
	return address[:at], address[at+1:], nil
}

// putService writes a port or a name into a call. What a name may be, link_mgr knows.
func (w *writer) putService(service string) error {
	if service == "" {
		return &Error{syscall.EINVAL, "no service is named"}
	}
	if strings.Trim(service, "0123456789") != "" {
		w.putText("name", service)
		return nil
	}
	port, err := strconv.ParseUint(service, 10, 32)
	if err != nil || port == 0 {
		return &Error{syscall.EINVAL, "a port is 1 to 4294967295, not " + service}
	}
	w.putNumber("port", int64(port))
	return nil
}
