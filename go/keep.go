// SPDX-License-Identifier: LGPL-2.1-or-later

package idc

import (
	"context"
	"encoding/binary"
	"net"
	"syscall"
	"time"
)

// Listeners that outlive their link_mgr. We make the socket pair. The near end is the listener, and
// stays the same. The far end goes to link_mgr, and we keep a copy. With its answer link_mgr sends
// another descriptor, the life, which ends when link_mgr does, or has ended the listener. Then a
// goroutine, one for each such listener, gives the far end to the next link_mgr.
//
// What has to be told is a note to the near end, as libidc sends it, so Accept waits for one thing
// only. The goroutine owns the far end, and closes it when the listener is over: after link_mgr has
// closed its own, so that Close sees that port and name are free.

const (
	keepPauseFirst = 10 * time.Millisecond
	keepPauseMax   = 500 * time.Millisecond
)

type keeper struct {
	registration
	farEnd int
	life   *net.UnixConn
	ctx    context.Context // ends when the listener is closed
	close  context.CancelFunc
	said   syscall.Errno // the error that was told; 0: none
}

func (r *registration) listenKept(ctx context.Context) (*Listener, error) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, &Error{Errno: err.(syscall.Errno)}
	}
	k := &keeper{registration: *r, farEnd: pair[1]}
	if err = k.register(ctx); err != nil {
		closeAll(pair[:])
		return nil, err
	}
	l, err := newListener(pair[0], r.path)
	if err != nil {
		k.life.Close()
		syscall.Close(k.farEnd)
		return nil, err
	}
	if (r.service == "0" || r.service == "") && r.port == 0 {
		k.port = l.addr.Port // a port that was picked alone is the listener's from now on
	}
	k.ctx, k.close = context.WithCancel(context.Background())
	l.keep = k
	go k.run()
	return l, nil
}

func (k *keeper) register(ctx context.Context) error {
	fd, err := k.registration.register(ctx, k.farEnd)
	if err != nil {
		return err
	}
	k.life, err = adopt(fd)
	return err
}

// run ends when the listener is over.
func (k *keeper) run() {
	defer syscall.Close(k.farEnd)
	defer k.close()
	for {
		k.life.Read(make([]byte, 1)) // nothing is sent here: it is the end
		k.life.Close()
		if !k.again() {
			return
		}
	}
}

// isOver: the near end was closed or shut down, by this process or another one.
func (k *keeper) isOver() bool {
	return k.ctx.Err() != nil || poll(k.farEnd, pollRdHup, 0) != 0
}

// again registers the listener with the next link_mgr, and reports false if it is over.
func (k *keeper) again() bool {
	for pause := keepPauseFirst; ; pause *= 2 {
		if k.isOver() {
			return false
		}
		err := k.register(k.ctx)
		if err == nil {
			k.said = 0
			return true
		}
		k.tell(err)
		if pause > keepPauseMax {
			pause = keepPauseMax
		}
		if !sleep(k.ctx, pause, time.Time{}) {
			return false
		}
	}
}

// tell has Accept fail once for each reason. That link_mgr is away, or has no room, will pass.
func (k *keeper) tell(err error) {
	e, ok := err.(*Error)
	if !ok || e.Errno == k.said || hasErrno(err, syscall.ENOENT, syscall.ECONNREFUSED,
		syscall.ECONNRESET, syscall.ETIMEDOUT, syscall.ENOBUFS, syscall.EMFILE, syscall.ENFILE,
		syscall.ENOMEM) {
		return
	}
	k.said = e.Errno
	note := make([]byte, noteFixed, noteMax)
	copy(note, "note")
	binary.LittleEndian.PutUint32(note[4:], uint32(e.Errno))
	note = append(note, e.Text[:min(len(e.Text), noteMax-noteFixed)]...)
	syscall.Sendmsg(k.farEnd, note, nil, nil, syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL)
}
