// SPDX-License-Identifier: LGPL-2.1-or-later

package idc

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// A listener is one end of a SOCK_SEQPACKET pair. For each connection that waits link_mgr sends a
// message with a descriptor. Each message has a number, and we answer it when we have taken the
// connection (common/handover.h).

const (
	backlogDefault = 128
	listenLimit    = 10 * time.Second // for a link_mgr that hangs
	unlistenLimit  = 5 * time.Second
	waitingSize    = 100
	noteFixed      = 9
	noteMax        = 249
	answersBuffer  = 128 << 10 // room for the answers to all messages that can be under way
)

// ListenConfig has the options of a listen. The zero ListenConfig is a good one.
type ListenConfig struct {
	// Backlog is how many connections may wait to be accepted; 0 means 128.
	Backlog int
	// Port is for a listener that has a port beside its name; 0 means that one is picked.
	Port uint32
	// Keep makes the listener outlive its link_mgr: it is registered with the next one.
	Keep bool
	// Wait makes a listen wait for this domain's link_mgr, as long as Timeout allows. Timeout is
	// as Dialer's, and matters only with Wait.
	Wait    bool
	Timeout time.Duration
	// Socket is as Dialer's.
	Socket string
}

// Listener is a net.Listener. Several goroutines may accept at once.
type Listener struct {
	socket *net.UnixConn
	addr   Addr
	path   string
	keep   *keeper // nil: it is not kept
	shared atomic.Bool
	closed atomic.Bool
}

// Listen listens for streams. The service is a name, or a port in digits, perhaps behind a colon.
// With "0" a port is picked: see Addr.
func Listen(service string) (*Listener, error) {
	return (&ListenConfig{}).Listen(context.Background(), Stream, service)
}

// Listen listens for connections of a network, Stream or Seqpacket. ctx is for the call only.
func (lc *ListenConfig) Listen(ctx context.Context, network, service string) (*Listener, error) {
	l, err := lc.listen(ctx, network, strings.TrimPrefix(service, ":"))
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Addr: unresolved{network, service},
			Err: err}
	}
	return l, nil
}

// registration is what link_mgr is asked for: for a listener that is kept, more than once.
type registration struct {
	path, network, service string
	port                   uint32
	backlog                int
}

func (lc *ListenConfig) listen(ctx context.Context, network, service string) (l *Listener,
	err error) {
	if network, err = networkOf(network); err != nil {
		return nil, err
	}
	r := &registration{socketPath(lc.Socket), network, service, lc.Port, lc.Backlog}
	if r.backlog == 0 {
		r.backlog = backlogDefault
	}
	try := func() error {
		if lc.Keep {
			l, err = r.listenKept(ctx)
		} else {
			l, err = r.listenOnce(ctx)
		}
		return err
	}
	if lc.Wait {
		return l, patience(ctx, r.path, endOf(ctx, lc.Timeout), try)
	}
	return l, try()
}

// register returns the descriptor that link_mgr sends: the listener itself, or, with a far end, its
// life.
func (r *registration) register(ctx context.Context, farEnd int) (int, error) {
	doc := newCall("idc.listen")
	switch {
	case strings.Trim(r.service, "0") == "" && r.service != "": // any port
		doc.putNumber("port", int64(r.port))
	case strings.Trim(r.service, "0123456789") == "":
		if err := doc.putService(r.service); err != nil {
			return -1, err
		}
	default:
		doc.putText("name", r.service)
		doc.putNumber("port", int64(r.port))
	}
	if r.network == Seqpacket {
		doc.putText("type", "seqpacket")
	}
	doc.putNumber("backlog", int64(r.backlog))
	doc.putTrue("fd")
	request := call{path: r.path, doc: doc, limit: listenLimit, hasFd: true}
	if farEnd >= 0 {
		doc.putTrue("kept")
		request.fds = []int{farEnd}
	}
	_, fd, err := request.do(ctx)
	return fd, err
}

func (r *registration) listenOnce(ctx context.Context) (*Listener, error) {
	fd, err := r.register(ctx, -1)
	if err != nil {
		return nil, err
	}
	return newListener(fd, r.path)
}

// newListener takes fd over, also when it fails.
func newListener(fd int, path string) (*Listener, error) {
	name, err := nameOf(fd)
	if err == nil && !name.listener {
		err = &Error{syscall.EINVAL, "the descriptor is not a listener"}
	}
	if err != nil {
		syscall.Close(fd)
		return nil, err
	}
	socket, err := adopt(fd)
	if err != nil {
		return nil, err
	}
	return &Listener{socket: socket, addr: name.local, path: path}, nil
}

// FileListener returns a listener that was inherited, for example from systemd by way of `idc
// serve`. The file stays the caller's. Its Close closes this copy only.
func FileListener(f *os.File) (*Listener, error) {
	fd, err := duplicate(f)
	if err != nil {
		return nil, &net.OpError{Op: "file", Net: Stream, Err: err}
	}
	l, err := newListener(fd, socketPath(""))
	if err != nil {
		return nil, &net.OpError{Op: "file", Net: Stream, Err: err}
	}
	l.shared.Store(true)
	return l, nil
}

// Addr returns an *Addr, with the port that was picked.
func (l *Listener) Addr() net.Addr { return &l.addr }

// SetDeadline is for Accept.
func (l *Listener) SetDeadline(t time.Time) error { return l.socket.SetReadDeadline(t) }

// SyscallConn gives the descriptor, which polls readable when a connection waits.
func (l *Listener) SyscallConn() (syscall.RawConn, error) { return l.socket.SyscallConn() }

// File returns a duplicate of the descriptor, for a child process. From then on Close closes this
// copy only, and the listener lives on as long as there is another one. (One that is kept is kept
// by this process, and after that ends with its link_mgr.)
func (l *Listener) File() (*os.File, error) {
	l.shared.Store(true)
	f, err := l.socket.File()
	if err != nil {
		return nil, l.opError("file", bare(err))
	}
	return f, nil
}

// Close ends the listener. Accepts that wait fail with net.ErrClosed. When Close returns, port and
// name are free again, and connections that waited were reset; except after File.
func (l *Listener) Close() error {
	if l.closed.Swap(true) {
		return l.opError("close", net.ErrClosed)
	}
	ended := true
	if !l.shared.Load() {
		l.socket.CloseWrite() // ends it for all; link_mgr closes its end when all is free
		if l.keep != nil {
			l.keep.close()
		}
		control(l.socket, func(fd int) { ended = poll(fd, 0, unlistenLimit) != 0 })
	}
	if err := l.socket.Close(); err != nil {
		return l.opError("close", bare(err))
	}
	if !ended {
		return l.opError("close", &Error{syscall.ETIMEDOUT, "link_mgr does not answer: the " +
			"listener is closed, and its port and name are free once link_mgr goes on"})
	}
	return nil
}

func (l *Listener) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: l.addr.Net, Addr: &l.addr, Err: err}
}

// Accept waits for the next connection. What it returns is a *Conn.
func (l *Listener) Accept() (net.Conn, error) {
	conn, err := l.AcceptIDC()
	if err != nil {
		return nil, err // no *Conn that is nil
	}
	return conn, nil
}

// AcceptIDC is Accept. When the listener or its link_mgr has ended, the error is ECONNABORTED. A
// listener that is kept cannot end so. It may fail with an error of a listen, once for each reason:
// it could not be registered again then, and will be as soon as that is possible.
func (l *Listener) AcceptIDC() (*Conn, error) {
	conn, err := l.accept()
	if err != nil && l.closed.Load() {
		err = net.ErrClosed
	}
	if err != nil {
		return nil, l.opError("accept", bare(err))
	}
	return conn, nil
}

func (l *Listener) accept() (*Conn, error) {
	raw, err := l.socket.SyscallConn()
	if err != nil {
		return nil, err
	}
	for {
		fd, taken := -1, error(nil)
		if err = raw.Read(func(listener uintptr) bool {
			fd, taken = take(int(listener))
			return taken != syscall.EAGAIN
		}); err != nil {
			return nil, err
		}
		if taken != nil {
			return nil, taken
		}
		if fd >= 0 { // else it was a note that all is well
			return newConn(fd, l.path)
		}
	}
}

// take does not wait. -1 without an error: what came is of no interest.
func take(listener int) (int, error) {
	if err := hasRoom(listener); err != nil {
		return -1, err
	}
	message := make([]byte, noteMax+1)
	n, fds, err := takeFrom(listener, message)
	if err != nil {
		return -1, err
	}
	message = message[:n]
	if len(fds) == 0 && n >= noteFixed && bytes.HasPrefix(message, []byte("note")) {
		return -1, noteError(message)
	}
	if n == waitingSize {
		answerTaken(listener, message[16:20])
	}
	if n != waitingSize || len(fds) != 1 {
		closeAll(fds)
		if len(fds) == 0 { // another goroutine took the last descriptor since
			return -1, syscall.EMFILE
		}
		return -1, &Error{syscall.EPROTO, "link_mgr sent something that is not a connection"}
	}
	if binary.LittleEndian.Uint16(message[14:]) == 1 && !takeMark(fds[0]) {
		go closeAll(fds) // what is in its queue may be slow to close
		return -1, nil
	}
	return fds[0], nil
}

func takeFrom(listener int, message []byte) (int, []int, error) {
	n, fds, err := receiveOne(listener, message)
	if err != nil && err != syscall.EAGAIN && err != syscall.EMFILE {
		err = &Error{syscall.ECONNABORTED, "the listener was ended, or its link_mgr was"}
	}
	return n, fds, err
}

func noteError(note []byte) error {
	errno := syscall.Errno(binary.LittleEndian.Uint32(note[4:]))
	if errno == 0 || note[8] != 0 { // what is quiet is for libidc's own tools
		return nil
	}
	return &Error{errno, string(note[noteFixed:])}
}

// answerTaken: an error means that link_mgr has gone, which the connection will show. If a program
// has made the buffer small, it is given the size that all answers need.
func answerTaken(listener int, number []byte) {
	answer := append([]byte{'a'}, number...)
	for {
		err := syscall.Sendmsg(listener, answer, nil, nil,
			syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL)
		if err != syscall.EAGAIN && err != syscall.EINTR {
			return
		}
		syscall.SetsockoptInt(listener, syscall.SOL_SOCKET, syscall.SO_SNDBUF, answersBuffer)
		poll(listener, pollOut, time.Second)
	}
}

// takeMark takes the byte out that resets a connection within the domain if nobody takes it. The
// client may have kept a copy of the socket, and taken the byte itself, or put another one there
// with descriptors beside it. Such a connection is of no interest.
func takeMark(fd int) bool {
	n, fds, err := receiveOne(fd, make([]byte, 1))
	if len(fds) > 0 {
		go closeAll(fds) // they may be slow to close
	}
	return err == nil && n == 1 && len(fds) == 0
}
