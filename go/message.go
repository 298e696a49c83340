// SPDX-License-Identifier: LGPL-2.1-or-later

package idc

import (
	"bytes"
	"io"
	"syscall"
	"time"
)

// A message that is too long for a socket passes as its front, its first bytes. A sealed memfd with
// all of it is beside that (common/handover.h). A front has one of a few lengths (common/front.h),
// which stand for what the kernel charges the socket for it.

// MessageMax is the length of the longest message, 16 MiB.
const MessageMax = 16 << 20

const (
	inlineMax  = 128 << 10 // a longer message goes by memfd
	plainMax   = 320 << 10 // link_mgr sends up to this as it is
	frontShort = 192
	frontSlack = 345
	frontFirst = 1024
	frontLook  = 64
)

// ---- fronts ----

// stepAfter: 4, 5, 6, 7 times a power of two, and then 4 times the next one.
func stepAfter(step int) int {
	power := frontFirst
	for 2*power <= step {
		power *= 2
	}
	return step + power/4
}

func isFrontLength(length int) bool {
	if length == frontShort || length == inlineMax || length == plainMax {
		return true
	}
	step := frontFirst
	for step-frontSlack < length {
		step = stepAfter(step)
	}
	return step-frontSlack == length
}

// frontCharge is what Linux counts for a message, where pages have 4 KiB.
func frontCharge(length int) int {
	const page, inHead = 4096, 16064
	pages, head := 0, frontFirst/2
	if length > inHead {
		pages = (length - inHead + page - 1) / page * page
	}
	if pages > 17*page {
		pages = 17 * page
	}
	for head < length-pages+320 {
		head *= 2
	}
	return head + pages + 256
}

// frontLengths returns those to try, the longest first.
func frontLengths(within bool, buffer, length int) []int {
	best := frontShort
	if !within { // to link_mgr: a quarter of the buffer at most
		for step := frontFirst; step-frontSlack < length && step <= buffer/4; {
			if frontCharge(step-frontSlack) <= buffer/4 {
				best = step - frontSlack
			}
			step = stepAfter(step)
		}
		return []int{best}
	}
	for step := frontFirst; step-frontSlack < length && frontCharge(best) < buffer/2; {
		best = step - frontSlack
		step = stepAfter(step)
	}
	if inlineMax > best && inlineMax < length {
		return []int{inlineMax, best}
	}
	return []int{best}
}

// ---- sending ----

// SendMessage sends a message of up to MessageMax bytes, all of it or nothing. It is for Seqpacket
// connections.
func (c *Conn) SendMessage(message []byte) error {
	if c.local.Net != Seqpacket {
		return c.opError("write", &Error{syscall.EINVAL, "a stream has no messages"})
	}
	if len(message) > MessageMax {
		return c.opError("write", &Error{syscall.EMSGSIZE, "a message has 16 MiB at most"})
	}
	err := error(syscall.EMSGSIZE)
	if len(message) <= inlineMax {
		err = c.sendOnce(message, nil)
	}
	if hasErrno(err, syscall.EMSGSIZE) && len(message) > frontShort {
		err = c.sendLong(message)
	}
	if err != nil {
		return c.failed("write", err)
	}
	return nil
}

// sendOnce waits for room, as long as the deadline allows.
func (c *Conn) sendOnce(message, rights []byte) error {
	raw, err := c.socket.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = raw.Write(func(fd uintptr) bool {
		for {
			_, sent = syscall.SendmsgN(int(fd), message, rights, nil,
				syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL)
			if sent != syscall.EINTR {
				return sent != syscall.EAGAIN
			}
		}
	})
	if err != nil {
		return err
	}
	return sent
}

// sendLong waits for room before megabytes are copied. If too many descriptors of the user are
// under way (ETOOMANYREFS), no event tells that there are fewer, so it tries again.
func (c *Conn) sendLong(message []byte) error {
	raw, err := c.socket.SyscallConn()
	if err != nil {
		return err
	}
	buffer := 0
	err = raw.Write(func(fd uintptr) bool {
		buffer, _ = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF)
		return poll(int(fd), pollOut, 0) != 0
	})
	if err != nil {
		return err
	}
	fd, err := sealed(message)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	rights := syscall.UnixRights(fd)
	for pause := 5 * time.Millisecond; ; pause *= 2 {
		for _, length := range frontLengths(c.local.Domid == c.remote.Domid, buffer, len(message)) {
			if err = c.sendOnce(message[:length], rights); !hasErrno(err, syscall.EMSGSIZE) {
				break
			}
		}
		if !hasErrno(err, syscall.ETOOMANYREFS) {
			return err
		}
		if pause > 80*time.Millisecond {
			pause = 80 * time.Millisecond
		}
		time.Sleep(pause)
	}
}

// sealed returns a memfd with the message, which nobody can change any more.
func sealed(message []byte) (int, error) {
	fd, err := memfd()
	if err != nil {
		return -1, err
	}
	for len(message) > 0 {
		n, err := syscall.Write(fd, message)
		if err != nil && err != syscall.EINTR {
			syscall.Close(fd)
			return -1, err
		}
		if err == nil {
			message = message[n:]
		}
	}
	if _, err = fcntl(fd, fAddSeals, sealSeal|sealShrink|sealGrow|sealWrite); err != nil {
		syscall.Close(fd)
		return -1, err
	}
	return fd, nil
}

// ---- receiving ----

// RecvMessage returns the next message, whatever its length, or io.EOF at the end. It is for
// Seqpacket connections.
func (c *Conn) RecvMessage() ([]byte, error) {
	if c.local.Net != Seqpacket {
		return nil, c.opError("read", &Error{syscall.EINVAL, "a stream has no messages"})
	}
	message, _, err := c.receive(nil)
	return message, err
}

func (c *Conn) readMessage(b []byte) (int, error) {
	if b == nil {
		b = []byte{}
	}
	message, length, err := c.receive(b)
	if err == nil && length > len(b) {
		err = io.ErrShortBuffer
	}
	return len(message), err
}

// receive returns a message in b, perhaps cut, or, if b is nil, in new memory; and its length.
func (c *Conn) receive(b []byte) (message []byte, length int, err error) {
	c.receiving.Lock()
	defer c.receiving.Unlock()
	raw, err := c.socket.SyscallConn()
	if err != nil {
		return nil, 0, c.failed("read", err)
	}
	var got error
	err = raw.Read(func(fd uintptr) bool {
		message, length, got = takeMessage(int(fd), b)
		return got != syscall.EAGAIN
	})
	switch {
	case err != nil:
		return nil, 0, c.failed("read", err)
	case got == io.EOF:
		return nil, 0, c.atEnd()
	case got != nil:
		return nil, 0, c.failed("read", got)
	}
	return message, length, nil
}

// takeMessage does not wait. It looks first, so a front stays where it is if there is no room for
// its descriptor.
func takeMessage(fd int, b []byte) ([]byte, int, error) {
	var look [1]byte
	there, _, err := syscall.Recvfrom(fd, look[:],
		syscall.MSG_PEEK|syscall.MSG_TRUNC|syscall.MSG_DONTWAIT)
	if err == nil && isFrontLength(there) {
		err = hasRoom(fd)
	}
	if err == syscall.EINTR {
		return takeMessage(fd, b)
	}
	if err != nil {
		return nil, 0, err
	}
	space := b
	if b == nil || len(b) < frontLook { // so much is needed to know a front
		space = make([]byte, max(there, frontLook))
	}
	n, fds, err := receiveOne(fd, space)
	defer closeAll(fds)
	if err != nil {
		return nil, 0, err
	}
	have := space[:min(n, len(space))]
	if len(fds) == 1 {
		if total := frontOf(fds[0], have, n); total > 0 {
			if b == nil {
				b = make([]byte, total)
			}
			b = b[:min(total, len(b))]
			return b, total, readAt(fds[0], b)
		}
	}
	if b == nil {
		return have, n, nil
	}
	return b[:copy(b, have)], n, nil
}

// receiveOne returns a message's length and its descriptors. The kernel first looks for a message,
// and then asks whether more can come. So a second look is taken before an end is one. An empty
// message differs from the end by its sender's name.
func receiveOne(fd int, space []byte) (int, []int, error) {
	control := make([]byte, 2048)
	for looks := 0; ; {
		n, controlled, _, from, err := syscall.Recvmsg(fd, space, control,
			syscall.MSG_DONTWAIT|syscall.MSG_CMSG_CLOEXEC|syscall.MSG_TRUNC)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN && looks > 0:
			return 0, nil, io.EOF
		case err != nil:
			return 0, nil, err
		case n > 0 || controlled > 0 || from != nil:
			return n, descriptors(control[:controlled]), nil
		}
		if looks++; looks == 2 {
			return 0, nil, io.EOF
		}
	}
}

// frontOf returns the length of the message that the front of n bytes stands for, or 0. Only memory
// files have seals, so nothing here can wait for somebody, and nothing changes.
func frontOf(file int, front []byte, n int) int {
	var status syscall.Stat_t
	seals, err := fcntl(file, fGetSeals, 0)
	if !isFrontLength(n) || err != nil || seals&(sealShrink|sealWrite) != sealShrink|sealWrite ||
		syscall.Fstat(file, &status) != nil || status.Size <= int64(n) || status.Size > MessageMax {
		return 0
	}
	look := min(frontLook, len(front))
	first, last := make([]byte, look), make([]byte, look)
	if readAt(file, first) != nil || !bytes.Equal(first, front[:look]) {
		return 0
	}
	if k, err := syscall.Pread(file, last, int64(len(front)-look)); err != nil || k != look ||
		!bytes.Equal(last, front[len(front)-look:]) {
		return 0
	}
	return int(status.Size)
}

func readAt(file int, to []byte) error {
	for at := 0; at < len(to); {
		n, err := syscall.Pread(file, to[at:], int64(at))
		if err == syscall.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return syscall.EPROTO
		}
		at += n
	}
	return nil
}

func min(a, b int) int {
	if a < b {
		return a
	}
	return b
}

func max(a, b int) int {
	if a > b {
		return a
	}
	return b
}
