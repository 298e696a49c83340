// SPDX-License-Identifier: LGPL-2.1-or-later

package idc

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// fake plays link_mgr: it upgrades connections, and a function of the test answers the calls.
type fake struct {
	t        *testing.T
	path     string
	listener *net.UnixListener
	response string // to the upgrade
	answer   func(method string, call *answer, fds []int) (document []byte, fd int)
	mu       sync.Mutex
	lines    []*net.UnixConn
	calls    int
}

// newFake starts one. A nil document of its function leaves the call without an answer.
func newFake(t *testing.T, answer func(string, *answer, []int) ([]byte, int)) *fake {
	t.Helper()
	f := &fake{t: t, path: t.TempDir() + "/rpc.sock", answer: answer,
		response: "HTTP/1.1 101 Switching Protocols\r\nUpgrade: idc-rpc/3\r\n\r\n"}
	f.start()
	t.Setenv("IDC_SOCKET", f.path)
	t.Cleanup(f.stop)
	return f
}

func (f *fake) start() {
	var err error
	f.listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: f.path, Net: "unix"})
	if err != nil {
		f.t.Fatal(err)
	}
	go func(l *net.UnixListener) {
		for {
			conn, err := l.AcceptUnix()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.lines = append(f.lines, conn)
			f.mu.Unlock()
			go f.serve(conn)
		}
	}(f.listener)
}

func (f *fake) stop() {
	f.listener.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, conn := range f.lines {
		conn.Close()
	}
	f.lines = nil
}

func (f *fake) serve(conn *net.UnixConn) {
	defer conn.Close()
	head := make([]byte, len(request))
	if _, err := io.ReadFull(conn, head); err != nil || string(head) != request {
		return
	}
	f.mu.Lock()
	response := f.response
	f.mu.Unlock()
	conn.Write([]byte(response[:12])) // a head need not come in one piece
	conn.Write([]byte(response[12:]))
	for f.serveOne(&line{UnixConn: conn}) {
	}
}

func (f *fake) serveOne(l *line) bool {
	header, fd := make([]byte, headerSize), -1
	if l.readFull(header, &fd) != nil {
		return false
	}
	document := make([]byte, binary.LittleEndian.Uint32(header))
	if l.readFull(document, &fd) != nil {
		return false
	}
	length := 3 + int(document[2])
	method := string(document[3:length])
	call, err := decodeAnswer(append([]byte{0, 'R'}, document[length:]...))
	if err != nil {
		f.t.Errorf("%s: %v", method, err)
	}
	var fds []int
	if fd >= 0 {
		fds = []int{fd}
	}
	f.mu.Lock()
	f.calls++
	f.mu.Unlock()
	reply, given := f.answer(method, call, fds)
	closeAll(fds)
	if reply == nil {
		return true
	}
	fds = nil
	if given >= 0 {
		fds = []int{given}
		defer syscall.Close(given)
	}
	_, err = l.send(reply, fds)
	return err == nil
}

func (f *fake) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

func result() *writer { return &writer{bytes: []byte{0, 'R'}} }

func fault(errno syscall.Errno, text string) []byte {
	w := &writer{bytes: []byte{0, 'F'}}
	w.putNumber("code", int64(errno))
	w.putText("text", text)
	return w.bytes
}

// serial makes names of sockets that no other test has.
var serial = struct {
	sync.Mutex
	next uint64
}{next: uint64(os.Getpid()) << 20}

// pair returns both ends of a connection, named as link_mgr names them: 7:80 to 3:4000.
func pair(t *testing.T, seqpacket, listener bool) (near, far int) {
	t.Helper()
	kind, flags := syscall.SOCK_STREAM, byte(0)
	if seqpacket || listener {
		kind = syscall.SOCK_SEQPACKET
	}
	if seqpacket {
		flags |= nameSeqpacket
	}
	if listener {
		flags |= nameListener
	}
	ends, err := syscall.Socketpair(syscall.AF_UNIX, kind|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	nameEnd(t, ends[1], flags|nameLocalService, 7, 80, 3, 4000)
	nameEnd(t, ends[0], flags, 3, 4000, 7, 80)
	return ends[0], ends[1]
}

func nameEnd(t *testing.T, fd int, flags byte, local, port, peer, peerPort uint32) {
	t.Helper()
	serial.Lock()
	serial.next++
	number := serial.next
	serial.Unlock()
	name := make([]byte, nameFixed)
	copy(name, "IDC\x01")
	le := binary.LittleEndian
	le.PutUint32(name[4:], uint32(number))
	le.PutUint16(name[8:], uint16(number>>32))
	le.PutUint16(name[10:], uint16(local))
	le.PutUint32(name[12:], port)
	le.PutUint16(name[16:], uint16(peer))
	le.PutUint32(name[18:], peerPort)
	le.PutUint32(name[22:], 33)
	name[26] = flags
	if flags&nameLocalService != 0 {
		name = append(name, "org.example.x"...)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: "@" + string(name)}); err != nil {
		t.Fatal(err)
	}
}

// connection returns a *Conn and the descriptor of its far end.
func connection(t *testing.T, seqpacket bool) (*Conn, int) {
	t.Helper()
	near, far := pair(t, seqpacket, false)
	conn, err := newConn(near, socketPath(""))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		syscall.Close(far)
	})
	return conn, far
}

func wantErrno(t *testing.T, err error, errno syscall.Errno, text string) {
	t.Helper()
	var op *net.OpError
	if !errors.As(err, &op) || !errors.Is(err, errno) || !strings.Contains(err.Error(), text) {
		t.Fatalf("%v (%T), not %d with %q", err, err, int(errno), text)
	}
}

// settles waits until no more goroutines and descriptors are left than there were.
func settles(t *testing.T, what func() int, before int) {
	t.Helper()
	for try := 0; what() > before; try++ {
		if try == 3000 {
			buffer := make([]byte, 1<<16)
			t.Fatalf("%d, not %d\n%s", what(), before, buffer[:runtime.Stack(buffer, true)])
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func descriptorCount() int {
	entries, _ := os.ReadDir("/proc/self/fd")
	return len(entries)
}
