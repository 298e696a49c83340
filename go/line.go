// SPDX-License-Identifier: LGPL-2.1-or-later

package idc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A line is an upgraded connection to link_mgr. It has one call at a time: then closing the line
// gives its call up, and no other one. Lines that are idle are kept for the next calls. A line is
// the user's who opened it, so one of another uid or gid is not used.

const (
	socketDefault = "/run/idc/rpc.sock"
	idleMax       = 8
	headerSize    = 8
	answerMax     = 1 << 20
	responseMax   = 4096
	request       = "GET / HTTP/1.1\r\nHost: idc\r\nConnection: Upgrade\r\n" +
		"Upgrade: idc-rpc/3\r\n\r\n"
)

type line struct {
	*net.UnixConn
	path     string
	pid      int32 // of link_mgr
	uid, gid int
}

var idle struct {
	sync.Mutex
	lines []*line
}

// socketPath returns where link_mgr is.
func socketPath(given string) string {
	if given != "" {
		return given
	}
	if path := os.Getenv("IDC_SOCKET"); path != "" {
		return path
	}
	return socketDefault
}

// takeIdle returns nil if there is none.
func takeIdle(path string) *line {
	uid, gid := os.Geteuid(), os.Getegid()
	idle.Lock()
	defer idle.Unlock()
	var found *line
	kept := idle.lines[:0]
	for _, l := range idle.lines {
		switch {
		case l.uid != uid || l.gid != gid:
			l.Close()
		case found == nil && l.path == path:
			found = l
		default:
			kept = append(kept, l)
		}
	}
	idle.lines = kept
	return found
}

func (l *line) giveBack() {
	idle.Lock()
	defer idle.Unlock()
	if len(idle.lines) == idleMax {
		l.Close()
		return
	}
	idle.lines = append(idle.lines, l)
}

// openLine connects and upgrades. The kernel refuses to wait for a place in link_mgr's backlog on
// behalf of a socket that does not block (EAGAIN), so that is repeated.
func openLine(ctx context.Context, path string, end time.Time) (*line, error) {
	file := path
	if strings.HasPrefix(file, "@") {
		file = "./" + file // package net would take it for an abstract address
	}
	dialer := net.Dialer{Deadline: end}
	for pause := time.Millisecond; ; pause *= 2 {
		conn, err := dialer.DialContext(ctx, "unix", file)
		if err == nil {
			l := &line{UnixConn: conn.(*net.UnixConn), path: path, uid: os.Geteuid(),
				gid: os.Getegid()}
			if err = l.upgrade(ctx, end); err == nil {
				return l, nil
			}
			l.Close()
		}
		if !hasErrno(err, syscall.EAGAIN) || !sleep(ctx, pause, end) {
			return nil, openFailed(path, err)
		}
		if pause > 50*time.Millisecond {
			pause = 25 * time.Millisecond
		}
	}
}

// sleep reports false if the time is up, or ctx has ended.
func sleep(ctx context.Context, pause time.Duration, end time.Time) bool {
	if !end.IsZero() && time.Until(end) < pause {
		return false
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func openFailed(path string, err error) error {
	var text string
	switch {
	case hasErrno(err, syscall.ENOENT, syscall.ECONNREFUSED):
		text = fmt.Sprintf("no link_mgr serves %s: is it running? (IDC_SOCKET names another one)",
			path)
	case hasErrno(err, syscall.EACCES):
		text = fmt.Sprintf("no permission for %s: you need to be root or in the group of that "+
			"socket", path)
	case isTimeout(err):
		return &Error{syscall.ETIMEDOUT, fmt.Sprintf("link_mgr at %s does not answer", path)}
	}
	e, ok := bare(err).(*Error)
	if !ok || e.Text != "" {
		return bare(err)
	}
	if text == "" {
		text = fmt.Sprintf("link_mgr at %s: %s", path, e.Errno)
	}
	return &Error{e.Errno, text}
}

func isTimeout(err error) bool {
	timeout, ok := err.(interface{ Timeout() bool })
	return ok && timeout.Timeout()
}

// upgrade sends no call before it has read the response. So nothing comes behind that, and no
// descriptor is lost.
func (l *line) upgrade(ctx context.Context, end time.Time) error {
	l.pid = peerPid(l.UnixConn)
	l.SetDeadline(end)
	stop := l.watch(ctx)
	defer stop()
	_, sent := l.Write([]byte(request)) // if it was refused before that, the refusal is there
	response := make([]byte, 0, responseMax)
	for !bytes.Contains(response, []byte("\r\n\r\n")) {
		n, err := l.Read(response[len(response):cap(response)])
		if err != nil && sent != nil {
			err = sent
		}
		if err != nil {
			return hungUp(err)
		}
		if response = response[:len(response)+n]; len(response) == cap(response) {
			break
		}
	}
	return l.judge(response)
}

// hungUp turns an end into what it is here.
func hungUp(err error) error {
	if errors.Is(err, io.EOF) || hasErrno(err, syscall.EPIPE) {
		return syscall.ECONNRESET
	}
	return err
}

func (l *line) judge(response []byte) error {
	whole := bytes.Contains(response, []byte("\r\n\r\n"))
	switch {
	case whole && bytes.HasPrefix(response, []byte("HTTP/1.1 101 ")):
		return nil
	case bytes.HasPrefix(response, []byte("HTTP/1.1 426 ")):
		return &Error{syscall.EPROTO, fmt.Sprintf("link_mgr at %s is of another version than this "+
			"program's package idc: restart the older one", l.path)}
	case whole && bytes.HasPrefix(response, []byte("HTTP/1.1 503 ")):
		return &Error{syscall.ENOBUFS,
			fmt.Sprintf("link_mgr at %s: %s", l.path, l.refusal(response))}
	}
	return &Error{syscall.EPROTO, fmt.Sprintf("the program that serves %s is not link_mgr", l.path)}
}

// refusal returns the first line of the text of a refusal.
func (l *line) refusal(response []byte) string {
	l.SetDeadline(time.Now().Add(time.Second))
	at := bytes.Index(response, []byte("\r\n\r\n")) + 4
	for !bytes.Contains(response[at:], []byte("\n")) && len(response) < responseMax {
		n, err := l.Read(response[len(response):responseMax])
		if response = response[:len(response)+n]; err != nil {
			break
		}
	}
	text, _, _ := strings.Cut(string(response[at:]), "\n")
	if text = strings.TrimRight(text, ".\r"); text == "" {
		return "it refuses new connections; its log says why"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text)
}

// watch ends what waits on the line as soon as ctx ends. The function that it returns ends that,
// and must be called.
func (l *line) watch(ctx context.Context) (stop func()) {
	if ctx.Done() == nil {
		return func() {}
	}
	stopping, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-ctx.Done():
			l.SetDeadline(time.Unix(1, 0))
		case <-stopping:
		}
	}()
	return func() {
		close(stopping)
		<-stopped
	}
}

// send writes a call, with descriptors beside it, and reports how many bytes have gone.
func (l *line) send(document []byte, fds []int) (int, error) {
	message := make([]byte, headerSize, headerSize+len(document)) // the tag is 0
	binary.LittleEndian.PutUint32(message, uint32(len(document)))
	message = append(message, document...)
	var control []byte
	if len(fds) > 0 {
		control = syscall.UnixRights(fds...)
	}
	sent, _, err := l.WriteMsgUnix(message, control, nil)
	if err == nil && sent < len(message) {
		var more int
		more, err = l.Write(message[sent:])
		sent += more
	}
	return sent, err
}

// receive reads an answer, and the descriptor that came with it; -1: none.
func (l *line) receive() (document []byte, fd int, err error) {
	header, fd := make([]byte, headerSize), -1
	err = l.readFull(header, &fd)
	if err == nil {
		size := binary.LittleEndian.Uint32(header)
		if size == 0 || size > answerMax {
			err = errNoAnswer
		} else {
			document = make([]byte, size)
			err = l.readFull(document, &fd)
		}
	}
	if err != nil && fd >= 0 {
		syscall.Close(fd)
		fd = -1
	}
	return document, fd, err
}

// readFull fills to. Package net asks for close-on-exec (MSG_CMSG_CLOEXEC).
func (l *line) readFull(to []byte, fd *int) error {
	control := make([]byte, 256)
	for len(to) > 0 {
		n, controlled, flags, _, err := l.ReadMsgUnix(to, control)
		for _, came := range descriptors(control[:controlled]) {
			if *fd >= 0 {
				syscall.Close(came)
			} else {
				*fd = came
			}
		}
		if err == nil && flags&syscall.MSG_CTRUNC != 0 && *fd < 0 {
			return syscall.EMFILE
		}
		if err == nil && n == 0 {
			return syscall.ECONNRESET
		}
		if err != nil {
			return hungUp(err)
		}
		to = to[n:]
	}
	return nil
}

func peerPid(conn syscall.Conn) int32 {
	pid := int32(0)
	control(conn, func(fd int) {
		if credentials, err := syscall.GetsockoptUcred(fd, syscall.SOL_SOCKET,
			syscall.SO_PEERCRED); err == nil {
			pid = credentials.Pid
		}
	})
	return pid
}

// control calls f with the descriptor, which is not closed meanwhile. It reports whether it could.
func control(conn syscall.Conn, f func(fd int)) bool {
	raw, err := conn.SyscallConn()
	return err == nil && raw.Control(func(fd uintptr) { f(int(fd)) }) == nil
}
