// SPDX-License-Identifier: LGPL-2.1-or-later

package idc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// waiting hands a connection over, as link_mgr does.
func waiting(t *testing.T, far int, number uint32, marked bool) int {
	t.Helper()
	near, other := pair(t, false, false)
	message := make([]byte, waitingSize)
	if marked {
		message[14] = 1
		syscall.Write(other, []byte("m"))
	}
	binary.LittleEndian.PutUint32(message[16:], number)
	if err := syscall.Sendmsg(far, message, syscall.UnixRights(near), nil, 0); err != nil {
		t.Fatal(err)
	}
	syscall.Close(near)
	t.Cleanup(func() { syscall.Close(other) })
	return other
}

func listenFake(t *testing.T) (*Listener, int) {
	t.Helper()
	far := make(chan int, 1)
	newFake(t, func(method string, call *answer, _ []int) ([]byte, int) {
		if method != "idc.listen" || call.texts["name"] != "org.example.x" ||
			call.numbers["port"] != 80 || call.numbers["backlog"] != backlogDefault {
			t.Errorf("%s %v", method, call)
		}
		near, end := pair(t, false, true)
		far <- end
		return result().bytes, near
	})
	l, err := (&ListenConfig{Port: 80}).Listen(context.Background(), Stream, "org.example.x")
	if err != nil {
		t.Fatal(err)
	}
	return l, <-far
}

func TestAccept(t *testing.T) {
	l, far := listenFake(t)
	if *l.Addr().(*Addr) != (Addr{Stream, 7, 80, "org.example.x", UIDUnknown, ""}) {
		t.Error(l.Addr())
	}
	for number, marked := range []bool{false, true} {
		client := waiting(t, far, uint32(number+1), marked)
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		syscall.Write(client, []byte("data"))
		got := make([]byte, 9)
		if n, err := conn.Read(got); string(got[:n]) != "data" { // and no mark before it
			t.Errorf("%q %v", got[:n], err)
		}
		conn.Close()
		n, _ := syscall.Read(far, got)
		if !bytes.Equal(got[:n], []byte{'a', byte(number + 1), 0, 0, 0}) {
			t.Errorf("answer %q", got[:n])
		}
	}
	before := descriptorCount()
	near, other := pair(t, false, false)
	syscall.Sendmsg(far, []byte("nonsense"), syscall.UnixRights(near), nil, 0)
	closeAll([]int{near, other})
	_, err := l.Accept()
	wantErrno(t, err, syscall.EPROTO, "not a connection")
	settles(t, descriptorCount, before)
	syscall.Close(far)
	_, err = l.Accept()
	wantErrno(t, err, syscall.ECONNABORTED, "accept idc 7:80: the listener was ended")
	if op := err.(*net.OpError); op.Temporary() || op.Timeout() {
		t.Error("http.Serve would go on")
	}
	l.Close()
}

// A client has taken the mark, or has put a descriptor beside it. The next one is accepted.
func TestAcceptWithoutTheMark(t *testing.T) {
	l, far := listenFake(t)
	before := descriptorCount()
	message := make([]byte, waitingSize)
	message[14] = 1
	for number := byte(1); number <= 2; number++ {
		near, other := pair(t, false, false)
		if number == 2 {
			syscall.Sendmsg(other, []byte("m"), syscall.UnixRights(far), nil, 0)
		}
		message[16] = number
		syscall.Sendmsg(far, message, syscall.UnixRights(near), nil, 0)
		closeAll([]int{near, other})
	}
	l.SetDeadline(time.Now().Add(time.Millisecond))
	if _, err := l.Accept(); err == nil || !err.(*net.OpError).Timeout() {
		t.Error(err)
	}
	l.SetDeadline(time.Time{})
	settles(t, descriptorCount, before)
	waiting(t, far, 3, true)
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	syscall.Close(far)
	l.Close()
}

func TestCloseEndsAcceptAndListener(t *testing.T) {
	goroutines := runtime.NumGoroutine()
	l, far := listenFake(t)
	l.SetDeadline(time.Now().Add(time.Millisecond))
	if _, err := l.Accept(); err == nil || !err.(*net.OpError).Timeout() {
		t.Error(err)
	}
	l.SetDeadline(time.Time{})
	accepted := make(chan error)
	go func() {
		_, err := l.Accept()
		accepted <- err
	}()
	go func() {
		var nothing [1]byte
		if n, err := syscall.Read(far, nothing[:]); n != 0 || err != nil { // its end is told first
			t.Error(n, err)
		}
		syscall.Close(far)
	}()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if err := l.Close(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	settles(t, runtime.NumGoroutine, goroutines+3) // the fake's own
}

func TestListenerThatIsShared(t *testing.T) {
	l, far := listenFake(t)
	defer syscall.Close(far)
	file, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	again, err := FileListener(file)
	file.Close()
	if err != nil {
		t.Fatal(err)
	}
	waiting(t, far, 1, false)
	conn, err := again.Accept()
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	again.Close()
}

// keptFake is a link_mgr that keeps what it is given, and can end.
type keptFake struct {
	*fake
	registered chan [2]int // the far end, and the other end of the life
	refuse     chan []byte
}

func newKeptFake(t *testing.T) *keptFake {
	k := &keptFake{registered: make(chan [2]int, 10), refuse: make(chan []byte, 1)}
	k.fake = newFake(t, func(method string, call *answer, fds []int) ([]byte, int) {
		select {
		case refusal := <-k.refuse:
			return refusal, -1
		default:
		}
		if call.numbers["kept"] != 1 || len(fds) != 1 {
			t.Errorf("%v %v", call, fds)
			return fault(syscall.EINVAL, ""), -1
		}
		far, _ := fcntl(fds[0], fDupfdCloexec, 0)
		if rawName(sysNumbers.getsockname, far) == nil {
			nameEnd(t, far, nameListener|nameLocalService, 7, 80, 0, 0)
		}
		life, other := pair(t, false, true)
		k.registered <- [2]int{far, other}
		return result().bytes, life
	})
	return k
}

func TestKeptListener(t *testing.T) {
	before := runtime.NumGoroutine()
	k := newKeptFake(t)
	l, err := (&ListenConfig{Keep: true}).Listen(context.Background(), Stream, "80")
	if err != nil {
		t.Fatal(err)
	}
	ends := <-k.registered
	k.stop()
	closeAll(ends[:])
	k.refuse <- fault(syscall.EADDRINUSE, "port 80 is taken")
	k.start()
	_, err = l.Accept() // it is told once
	wantErrno(t, err, syscall.EADDRINUSE, "port 80 is taken")
	ends = <-k.registered
	waiting(t, ends[0], 1, false)
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	go func() { // link_mgr sees the end, and then lets go
		for poll(ends[0], pollRdHup, time.Second) == 0 {
		}
		closeAll(ends[:])
	}()
	if err = l.Close(); err != nil {
		t.Error(err)
	}
	k.stop()
	settles(t, runtime.NumGoroutine, before)
}

func TestKeptListenerIsClosedWithoutLinkMgr(t *testing.T) {
	before := runtime.NumGoroutine()
	k := newKeptFake(t)
	l, err := (&ListenConfig{Keep: true}).Listen(context.Background(), Stream, "80")
	if err != nil {
		t.Fatal(err)
	}
	ends := <-k.registered
	k.stop()
	closeAll(ends[:])
	if err = l.Close(); err != nil {
		t.Error(err)
	}
	settles(t, runtime.NumGoroutine, before)
}

func TestServices(t *testing.T) {
	for text, expected := range map[string]int{
		"80 stream -\n1 seqpacket org.example.x\n\n": 2, "\n": 0, "80 stream -\n": -1,
		"0 stream -\n\n": -1, "80 stream\n\n": -1, "80 x -\n\n": -1, "80 stream a b\n\n": -1,
		"80 stream \x1b\n\n": -1,
		"80 stream " + string(bytes.Repeat([]byte("x"), 200)) + "\n\n": -1,
	} {
		text := text
		newFake(t, func(string, *answer, []int) ([]byte, int) {
			near, far := pair(t, false, false)
			syscall.Write(far, []byte(text))
			go func() {
				syscall.Read(far, make([]byte, 100))
				syscall.Close(far)
			}()
			return result().bytes, near
		})
		services, err := Services(context.Background(), "1")
		if (err != nil) != (expected < 0) || (err == nil && len(services) != expected) {
			t.Errorf("%q: %v %v", text, services, err)
		}
	}
}
