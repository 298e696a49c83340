// SPDX-License-Identifier: LGPL-2.1-or-later

package idc

import (
	"context"
	"errors"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func TestDialSaysWhatItWants(t *testing.T) {
	newFake(t, func(method string, call *answer, _ []int) ([]byte, int) {
		if method != "idc.connect" || call.texts["domain"] != "uuid:0:1" ||
			call.texts["type"] != "seqpacket" || call.texts["name"] != "org.example.x" ||
			call.numbers["fd"] != 1 || call.numbers["timeout_ms"] < 1 ||
			call.numbers["timeout_ms"] > 30000 {
			t.Errorf("%s %v", method, call)
		}
		near, far := pair(t, true, false)
		t.Cleanup(func() { syscall.Close(far) })
		return result().bytes, near
	})
	conn, err := (&Dialer{}).DialContext(context.Background(), Seqpacket, "uuid:0:1:org.example.x")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	local, remote := *conn.LocalAddr().(*Addr), *conn.RemoteAddr().(*Addr)
	if local != (Addr{Seqpacket, 7, 80, "org.example.x", UIDUnknown, ""}) ||
		remote != (Addr{Seqpacket, 3, 4000, "", 33, "uuid:0:1"}) || remote.String() != "3:4000" {
		t.Error(local, remote)
	}
	raw, _ := conn.(*Conn).SyscallConn()
	raw.Control(func(fd uintptr) {
		flags, err := fcntl(int(fd), syscall.F_GETFD, 0)
		if err != nil || flags&syscall.FD_CLOEXEC == 0 {
			t.Error("a child would inherit it")
		}
	})
}

func TestRefusal(t *testing.T) {
	newFake(t, func(string, *answer, []int) ([]byte, int) {
		return fault(syscall.ECONNREFUSED, "domain 1, port 3: nothing listens"), -1
	})
	conn, err := (&Dialer{}).DialContext(context.Background(), "tcp", "1:3")
	wantErrno(t, err, syscall.ECONNREFUSED, "dial tcp 1:3: domain 1, port 3: nothing listens")
	if conn != nil {
		t.Error("a connection that is not nil")
	}
	for address, text := range map[string]string{"1": "DOMAIN:SERVICE", "1:": "no service",
		"1:0": "a port", "1:4294967296": "a port"} {
		if _, err = Dial(address); err == nil || !strings.Contains(err.Error(), text) {
			t.Error(address, err)
		}
	}
	if _, err = (&Dialer{}).DialContext(context.Background(), "udp", "1:3"); err == nil {
		t.Error("udp")
	}
}

func TestNoLinkMgr(t *testing.T) {
	t.Setenv("IDC_SOCKET", t.TempDir()+"/none")
	_, err := Dial("1:3")
	wantErrno(t, err, syscall.ENOENT, "no link_mgr serves")
	if !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	patient := Dialer{Wait: true, Timeout: 20 * time.Millisecond}
	_, err = patient.Connect(context.Background(), Stream, "1", "3")
	wantErrno(t, err, syscall.ETIMEDOUT, "waited for")
}

func TestUpgradeRefused(t *testing.T) {
	f := newFake(t, nil)
	for response, errno := range map[string]syscall.Errno{
		"HTTP/1.1 426 Upgrade Required\r\n\r\nno\n":        syscall.EPROTO,
		"HTTP/1.1 503 Busy\r\n\r\nThe quota of rpc.\nmore": syscall.ENOBUFS,
		"HTTP/1.1 200 OK\r\n\r\n":                          syscall.EPROTO,
		"HTTP/1.1 101 " + strings.Repeat("x", 5000):        0,
	} {
		f.mu.Lock()
		f.response = response
		f.mu.Unlock()
		_, err := Dial("1:3")
		if errno == 0 {
			if err == nil {
				t.Error(response)
			}
			continue
		}
		text := map[bool]string{true: "The quota of rpc", false: ""}[errno == syscall.ENOBUFS]
		wantErrno(t, err, errno, text)
	}
}

// A link_mgr that was restarted has closed the lines that were idle.
func TestRestartBetweenCalls(t *testing.T) {
	f := newFake(t, func(string, *answer, []int) ([]byte, int) {
		w := result()
		w.putNumber("domid", 7)
		return w.bytes, -1
	})
	for i := 0; i < 3; i++ {
		var group sync.WaitGroup
		for j := 0; j < 20; j++ {
			group.Add(1)
			go func() {
				defer group.Done()
				if domid, err := Domid(context.Background()); err != nil || domid != 7 {
					t.Error(domid, err)
				}
			}()
		}
		group.Wait()
		f.stop()
		f.start()
	}
	if f.count() != 60 {
		t.Errorf("%d calls: some were made twice", f.count())
	}
}

func TestLinkMgrEndsDuringACall(t *testing.T) {
	var f *fake
	called := make(chan struct{})
	f = newFake(t, func(string, *answer, []int) ([]byte, int) {
		close(called)
		return nil, -1
	})
	go func() {
		<-called
		f.stop()
	}()
	_, err := Dial("1:3")
	wantErrno(t, err, syscall.ECONNRESET, "ended during the call")
	if f.count() != 1 {
		t.Error("the call was made again")
	}
}

func TestCancel(t *testing.T) {
	called := make(chan struct{})
	f := newFake(t, func(string, *answer, []int) ([]byte, int) {
		close(called)
		return nil, -1
	})
	goroutines := runtime.NumGoroutine() - 1 // that of the fake's line ends with it
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-called
		cancel()
	}()
	conn, err := (&Dialer{Timeout: -1}).DialContext(ctx, Stream, "1:3")
	if !errors.Is(err, context.Canceled) || conn != nil {
		t.Fatal(conn, err)
	}
	settles(t, runtime.NumGoroutine, goroutines+1)
	_, err = (&Dialer{}).DialContext(ctx, Stream, "1:3")
	if !errors.Is(err, context.Canceled) || f.count() != 1 {
		t.Error("a context that had ended made a call", err)
	}
}

func TestDeadlineOfAContext(t *testing.T) {
	newFake(t, func(_ string, call *answer, _ []int) ([]byte, int) {
		if ms := call.numbers["timeout_ms"]; ms < 1 || ms > 50 {
			t.Errorf("timeout_ms %d", ms)
		}
		return nil, -1
	})
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err := (&Dialer{}).DialContext(ctx, Stream, "1:3")
	if !errors.Is(err, context.DeadlineExceeded) || !isTimeout(err) {
		t.Fatal(err)
	}
}

// A descriptor that nobody asked for, or one with an answer that is no good, is closed.
func TestStrayDescriptors(t *testing.T) {
	documents := [][]byte{result().bytes, fault(syscall.EACCES, "no"), {0, 'R', 9}, {1}, {0, 'X'},
		{0, 'R', 1, 'x', 's', 255, 255, 'a'}, {0, 'R', 1, 'x', 'i', 1}, {0, 'R', 1, 'x', 'z', 1}}
	var next atomic.Int32
	newFake(t, func(string, *answer, []int) ([]byte, int) {
		near, far := pair(t, false, false)
		syscall.Close(far)
		return documents[next.Add(1)-1], near
	})
	before := -1
	for range documents {
		if _, err := Resolve(context.Background(), "web"); err == nil && next.Load() != 1 {
			t.Errorf("%q was taken", documents[next.Load()-1])
		}
		if before < 0 {
			before = descriptorCount()
		}
	}
	settles(t, descriptorCount, before)
}

func TestLongRequest(t *testing.T) {
	f := newFake(t, nil)
	_, err := Dial(strings.Repeat("x", 1100) + ":3")
	wantErrno(t, err, syscall.EINVAL, "too long")
	if f.count() != 0 {
		t.Error("it was sent")
	}
}
