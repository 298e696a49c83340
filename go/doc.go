// SPDX-License-Identifier: LGPL-2.1-or-later

// Package idc connects programs in the domains of one Xen host: net.Conn and net.Listener over
// IDC. It needs a link_mgr in this domain, and nothing else: no cgo, no C library, no preloaded
// library. So it also serves static programs.
//
// # Theory of operation
//
// The package asks link_mgr by RPC (docs/rpc.md, "Upgraded connections"), in the form that libidc
// uses, idc-rpc/3. The answer to a connect or a listen brings a descriptor, which is one end of a
// Unix socket pair. The other end is link_mgr's, or, within a domain, the other program's. So bytes
// need no RPC, and the runtime's poller waits for them. Each file has one part of it:
//
//	compact.go  compact documents, coded and decoded
//	line.go     an upgraded connection to link_mgr; lines that are idle are kept
//	call.go     one call: its limits, its cancellation, what its failure means
//	name.go     the name of a socket, which has both addresses of its connection
//	dial.go     connecting
//	listen.go   listening, accepting
//	keep.go     listeners that outlive their link_mgr
//	conn.go     a connection
//	message.go  messages, also those that no socket can carry as they are
//	domain.go   which domain is meant, and what it offers
//	sys.go      the few system calls that package syscall does not have
//
// A connection is of one of two networks: "idc", a stream of bytes, or "idc-seqpacket", messages
// whose boundaries are kept. Both ends must use the same one.
//
// # Addresses
//
// An address is DOMAIN:SERVICE. DOMAIN is a domid, a name, or another text of docs/rpc.md ("Naming
// a domain"): "7", "web", "uuid:...", "self", "any". SERVICE is a port in decimal digits, or the
// name of a service. The last colon divides the two.
//
// # Errors
//
// Calls fail with a *net.OpError. When link_mgr or the kernel has refused something, it wraps an
// *Error, whose text says why and whose Errno says what. So errors.Is(err, syscall.ECONNREFUSED)
// works. A context that has ended, a deadline and a closed connection are context.Canceled,
// context.DeadlineExceeded, os.ErrDeadlineExceeded and net.ErrClosed, as in package net.
//
// # Versions
//
// This package belongs to the link_mgr of the same version, as libidc does. If the two do not agree
// on idc-rpc/3, calls fail with EPROTO.
package idc
