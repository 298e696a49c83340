// SPDX-License-Identifier: LGPL-2.1-or-later

package idc

import (
	"context"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Conn is a connection. It is a net.Conn, and all its methods may be called by several goroutines
// at once.
type Conn struct {
	socket        *net.UnixConn
	local, remote Addr
	serial        uint64
	path          string     // of link_mgr's socket
	receiving     sync.Mutex // one RecvMessage at a time: it looks before it takes
}

// reasonLimit is for link_mgr's answer to why a connection has ended, which waits for nobody.
const reasonLimit = time.Second

// newConn takes fd over, also when it fails.
func newConn(fd int, path string) (*Conn, error) {
	name, err := nameOf(fd)
	if err == nil && name.listener {
		err = &Error{syscall.EINVAL, "the descriptor is a listener"}
	}
	if err != nil {
		syscall.Close(fd)
		return nil, err
	}
	socket, err := adopt(fd)
	if err != nil {
		return nil, err
	}
	return &Conn{socket: socket, local: name.local, remote: name.peer, serial: name.serial,
		path: path}, nil
}

// adopt gives fd to the runtime's poller. It takes fd over, also when it fails.
func adopt(fd int) (*net.UnixConn, error) {
	file := os.NewFile(uintptr(fd), "idc")
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, bare(err)
	}
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		conn.Close()
		return nil, &Error{syscall.EINVAL, "the descriptor is not a Unix socket"}
	}
	return socket, nil
}

// FileConn returns a connection that was inherited, or came from another program. The file stays
// the caller's.
func FileConn(f *os.File) (*Conn, error) {
	fd, err := duplicate(f)
	if err != nil {
		return nil, &net.OpError{Op: "file", Net: Stream, Err: err}
	}
	conn, err := newConn(fd, socketPath(""))
	if err != nil {
		return nil, &net.OpError{Op: "file", Net: Stream, Err: err}
	}
	return conn, nil
}

// duplicate leaves the mode of the file as it is, as File.Fd would not.
func duplicate(f *os.File) (fd int, err error) {
	if !control(f, func(number int) { fd, err = fcntl(number, fDupfdCloexec, 0) }) {
		return -1, os.ErrClosed
	}
	return fd, bare(err)
}

// LocalAddr returns an *Addr.
func (c *Conn) LocalAddr() net.Addr { return &c.local }

// RemoteAddr returns an *Addr, whose Domid and UID say who is there.
func (c *Conn) RemoteAddr() net.Addr { return &c.remote }

// Read reads from a stream. Of a Seqpacket connection it reads one message. If that is longer than
// b, the rest is lost, and the error is io.ErrShortBuffer. An empty message is 0 bytes, and no
// error. After a connection was cut off, the error says why.
func (c *Conn) Read(b []byte) (int, error) {
	if c.local.Net == Seqpacket {
		return c.readMessage(b)
	}
	n, err := c.socket.Read(b)
	if err == io.EOF {
		return n, c.atEnd()
	}
	if err != nil {
		return n, c.failed("read", err)
	}
	return n, nil
}

// Write writes to a stream. Of a Seqpacket connection it sends one message.
func (c *Conn) Write(b []byte) (int, error) {
	if c.local.Net == Seqpacket {
		if err := c.SendMessage(b); err != nil {
			return 0, err
		}
		return len(b), nil
	}
	n, err := c.socket.Write(b)
	if err != nil {
		return n, c.failed("write", err)
	}
	return n, nil
}

// Close closes the connection. What was written before is delivered. With data unread, the other
// end sees a reset.
func (c *Conn) Close() error { return c.result("close", c.socket.Close()) }

// CloseWrite says that nothing more will be written. The other end reads to the end of the stream,
// and may still answer.
func (c *Conn) CloseWrite() error { return c.result("close", c.socket.CloseWrite()) }

// CloseRead says that nothing more will be read. The other end's writes fail.
func (c *Conn) CloseRead() error { return c.result("close", c.socket.CloseRead()) }

// SetDeadline, SetReadDeadline and SetWriteDeadline work as those of every net.Conn.
func (c *Conn) SetDeadline(t time.Time) error { return c.result("set", c.socket.SetDeadline(t)) }

// SetReadDeadline is described there.
func (c *Conn) SetReadDeadline(t time.Time) error {
	return c.result("set", c.socket.SetReadDeadline(t))
}

// SetWriteDeadline is described there.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	return c.result("set", c.socket.SetWriteDeadline(t))
}

// SyscallConn gives the descriptor, for calls of one's own. It is an ordinary socket.
func (c *Conn) SyscallConn() (syscall.RawConn, error) { return c.socket.SyscallConn() }

// File returns a duplicate of the descriptor, for a child process or another program.
func (c *Conn) File() (*os.File, error) {
	f, err := c.socket.File()
	return f, c.result("file", err)
}

func (c *Conn) result(op string, err error) error {
	if err == nil {
		return nil
	}
	return c.opError(op, bare(err))
}

func (c *Conn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: c.local.Net, Source: &c.local, Addr: &c.remote, Err: err}
}

// failed asks link_mgr why, if the connection was cut off.
func (c *Conn) failed(op string, err error) error {
	err = bare(err)
	if hasErrno(err, syscall.ECONNRESET, syscall.EPIPE) {
		if reason := c.reason(); reason != nil && reason.Errno != 0 {
			err = reason
		}
	}
	return c.opError(op, err)
}

// atEnd returns io.EOF, or why this end is none. The kernel reports a reset to one call only, and
// then both directions are over. So is a connection whose link_mgr has ended: nobody can say then
// that its end was clean. If a link_mgr that runs has forgotten it, the end is taken for clean.
func (c *Conn) atEnd() error {
	if c.local.Domid == c.remote.Domid || !c.isOver() {
		return io.EOF
	}
	reason := c.reason()
	switch {
	case reason != nil && reason.Errno != 0:
		return c.opError("read", reason)
	case reason == nil && c.makerIsGone():
		return c.opError("read", &Error{syscall.ECONNRESET, "the connection's link_mgr has ended"})
	}
	return io.EOF
}

func (c *Conn) isOver() (over bool) {
	control(c.socket, func(fd int) { over = poll(fd, 0, 0)&pollHup != 0 })
	return over
}

func (c *Conn) makerIsGone() bool {
	pid := peerPid(c.socket)
	return pid > 0 && syscall.Kill(int(pid), 0) == syscall.ESRCH
}

// reason returns what the link_mgr that made the connection knows of its end. nil: nothing. Errno
// 0: the end was clean.
func (c *Conn) reason() *Error {
	var got *answer
	pid := peerPid(c.socket)
	control(c.socket, func(fd int) {
		doc := newCall("idc.reason")
		doc.putNumber("serial", int64(c.serial))
		doc.putTrue("shown")
		request := call{path: c.path, doc: doc, fds: []int{fd}, limit: reasonLimit, only: pid}
		got, _, _ = request.do(context.Background())
	})
	if got == nil {
		return nil
	}
	return &Error{syscall.Errno(got.numbers["errno"]), got.texts["why"]}
}
