// SPDX-License-Identifier: LGPL-2.1-or-later

package idc

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// reasons is a link_mgr that only says why connections have ended.
func reasons(t *testing.T, errno syscall.Errno, why string) *fake {
	return newFake(t, func(method string, call *answer, fds []int) ([]byte, int) {
		if method != "idc.reason" || call.numbers["shown"] != 1 || len(fds) != 1 {
			t.Errorf("%s %v %v", method, call, fds)
		}
		w := result()
		w.putNumber("errno", int64(errno))
		w.putText("why", why)
		return w.bytes, -1
	})
}

func TestHalfClose(t *testing.T) {
	f := reasons(t, 0, "")
	conn, far := connection(t, false)
	conn.Write([]byte("question"))
	conn.CloseWrite()
	got := make([]byte, 100)
	if n, _ := syscall.Read(far, got); string(got[:n]) != "question" {
		t.Fatalf("%q", got[:n])
	}
	if n, err := syscall.Read(far, got); n != 0 || err != nil {
		t.Fatal("no end", n, err)
	}
	syscall.Write(far, []byte("answer"))
	syscall.Shutdown(far, syscall.SHUT_WR)
	if answer, err := io.ReadAll(conn); string(answer) != "answer" || err != nil {
		t.Fatalf("%q %v", answer, err)
	}
	if f.count() == 0 { // both directions are over
		t.Error("link_mgr was not asked")
	}
}

func TestEndWhileTheOtherDirectionIsOpen(t *testing.T) {
	f := reasons(t, syscall.EIO, "nobody asks")
	conn, far := connection(t, false)
	syscall.Shutdown(far, syscall.SHUT_WR)
	if _, err := conn.Read(make([]byte, 1)); err != io.EOF || f.count() != 0 {
		t.Fatal(err, f.count())
	}
}

func TestReasonOfAReset(t *testing.T) {
	reasons(t, syscall.EACCES, "the permission was revoked")
	conn, far := connection(t, false)
	conn.Write([]byte("unread"))
	syscall.Close(far)
	_, err := conn.Read(make([]byte, 1))
	wantErrno(t, err, syscall.EACCES, "the permission was revoked")
	_, err = conn.Read(make([]byte, 1)) // the kernel says it once; this sees an end
	wantErrno(t, err, syscall.EACCES, "the permission was revoked")
	_, err = conn.Write([]byte("x"))
	wantErrno(t, err, syscall.EACCES, "the permission was revoked")
	if !errors.Is(err, os.ErrPermission) {
		t.Error(err)
	}
}

func TestResetWithoutLinkMgr(t *testing.T) {
	t.Setenv("IDC_SOCKET", t.TempDir()+"/none")
	conn, far := connection(t, false)
	conn.Write([]byte("unread"))
	syscall.Close(far)
	_, err := conn.Read(make([]byte, 1))
	wantErrno(t, err, syscall.ECONNRESET, "reset")
}

func TestDeadlinesAndClose(t *testing.T) {
	for _, seqpacket := range []bool{false, true} {
		conn, _ := connection(t, seqpacket)
		conn.SetReadDeadline(time.Now().Add(time.Millisecond))
		_, err := conn.Read(make([]byte, 1))
		if !isTimeout(err) || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Time{})
		ended := make(chan error)
		go func() {
			_, err := conn.Read(make([]byte, 1))
			ended <- err
		}()
		conn.Close()
		if err = <-ended; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		if _, err = conn.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	}
}

func TestFile(t *testing.T) {
	conn, far := connection(t, false)
	file, err := conn.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	again, err := FileConn(file)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	defer again.Close()
	again.Write([]byte("x"))
	if n, _ := syscall.Read(far, make([]byte, 9)); n != 1 {
		t.Error(n)
	}
	if again.RemoteAddr().String() != "3:4000" {
		t.Error(again.RemoteAddr())
	}
	null, _ := os.Open("/dev/null")
	defer null.Close()
	if _, err = FileConn(null); err == nil {
		t.Error("a file was taken for a connection")
	}
}

func TestMessages(t *testing.T) {
	conn, far := connection(t, true)
	other, err := newConnOf(t, far)
	if err != nil {
		t.Fatal(err)
	}
	before := descriptorCount()
	for _, length := range []int{0, 1, frontShort, 679, inlineMax, inlineMax + 1, plainMax,
		1 << 20, MessageMax} {
		message := bytes.Repeat([]byte("0123456789abcde"), length/15+1)[:length]
		go func() {
			if err := conn.SendMessage(message); err != nil {
				t.Error(length, err)
			}
		}()
		if got, err := other.RecvMessage(); err != nil || !bytes.Equal(got, message) {
			t.Fatal(length, len(got), err)
		}
	}
	err = conn.SendMessage(make([]byte, MessageMax+1))
	wantErrno(t, err, syscall.EMSGSIZE, "16 MiB")
	conn.Write([]byte("too long"))
	space := make([]byte, 3)
	if n, err := other.Read(space); n != 3 || err != io.ErrShortBuffer || string(space) != "too" {
		t.Error(n, err)
	}
	conn.CloseWrite()
	for i := 0; i < 2; i++ {
		if _, err := other.RecvMessage(); err != io.EOF {
			t.Error(err)
		}
	}
	settles(t, descriptorCount, before)
}

// newConnOf gives the far end of a connection to a *Conn too.
func newConnOf(t *testing.T, far int) (*Conn, error) {
	duplicate, err := fcntl(far, fDupfdCloexec, 0)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := newConn(duplicate, socketPath(""))
	if err == nil {
		t.Cleanup(func() { conn.Close() })
	}
	return conn, err
}

// What looks like a front, and is none, is an ordinary message.
func TestFalseFronts(t *testing.T) {
	conn, far := connection(t, true)
	front := bytes.Repeat([]byte("x"), frontShort)
	long := bytes.Repeat([]byte("x"), 5000)
	unsealed, _ := memfd()
	defer syscall.Close(unsealed)
	syscall.Write(unsealed, long)
	other, _ := sealed(bytes.Repeat([]byte("y"), 5000))
	defer syscall.Close(other)
	short, _ := sealed(front)
	defer syscall.Close(short)
	good, _ := sealed(long)
	defer syscall.Close(good)
	before := descriptorCount()
	for _, fds := range [][]int{{unsealed}, {other}, {short}, {good, good}, {far}} {
		syscall.Sendmsg(far, front, syscall.UnixRights(fds...), nil, 0)
		if got, err := conn.RecvMessage(); err != nil || !bytes.Equal(got, front) {
			t.Error(fds, len(got), err)
		}
	}
	syscall.Sendmsg(far, front, syscall.UnixRights(good), nil, 0)
	if got, err := conn.RecvMessage(); err != nil || !bytes.Equal(got, long) {
		t.Error(len(got), err)
	}
	settles(t, descriptorCount, before)
}

// common/front.h has the figures.
func TestFrontLengths(t *testing.T) {
	for length, expected := range map[int]bool{192: true, 193: false, 679: true, 935: true,
		1024: false, 131072: true, 327680: true, 130727: true} {
		if isFrontLength(length) != expected {
			t.Error(length)
		}
	}
	for _, within := range []bool{false, true} {
		for _, buffer := range []int{4608, 212992, 425984} {
			for _, length := range frontLengths(within, buffer, MessageMax) {
				if !isFrontLength(length) {
					t.Error(within, buffer, length)
				}
			}
		}
	}
}
