// SPDX-License-Identifier: LGPL-2.1-or-later

package idc

import (
	"context"
	"fmt"
	"syscall"
	"time"
)

// link_mgr watches the time of a connect. It is given up this much later, in case link_mgr hangs.
const grace = 2 * time.Second

// call is one call: where to, what, and within which time (0: no limit).
type call struct {
	path  string
	doc   *writer
	fds   []int // go with the call, and stay the caller's
	limit time.Duration
	only  int32 // if not 0: the pid of the link_mgr that alone may be asked
	hasFd bool  // the answer brings a descriptor
}

// do returns the answer and its descriptor. If ctx ends, the error is ctx.Err(), and link_mgr gives
// the call up, because its line is closed.
func (c *call) do(ctx context.Context) (*answer, int, error) {
	if len(c.doc.bytes) > compactMax {
		return nil, -1, &Error{syscall.EINVAL, "the request is too long"}
	}
	if err := ctx.Err(); err != nil {
		return nil, -1, err
	}
	var end time.Time
	if c.limit > 0 {
		end = time.Now().Add(c.limit)
	}
	document, fd, err := c.exchange(ctx, end)
	if err != nil && ctx.Err() != nil {
		return nil, -1, ctx.Err()
	}
	if err != nil {
		return nil, -1, err
	}
	got, err := decodeAnswer(document)
	if err == nil && c.hasFd && fd < 0 {
		err = &Error{syscall.EPROTO, "link_mgr sent no descriptor"}
	}
	if fd >= 0 && (err != nil || !c.hasFd) {
		syscall.Close(fd)
		fd = -1
	}
	return got, fd, err
}

// exchange uses an idle line if there is one. If link_mgr was restarted since, nothing of the call
// goes out on that, and the next one is tried.
func (c *call) exchange(ctx context.Context, end time.Time) ([]byte, int, error) {
	for l := takeIdle(c.path); l != nil; l = takeIdle(c.path) {
		document, fd, sent, err := c.over(ctx, l, end)
		if err == nil || sent > 0 || !hasErrno(err, syscall.EPIPE, syscall.ECONNRESET) {
			return document, fd, err
		}
	}
	l, err := openLine(ctx, c.path, end)
	if err != nil {
		return nil, -1, err
	}
	document, fd, _, err := c.over(ctx, l, end)
	return document, fd, err
}

func (c *call) over(ctx context.Context, l *line, end time.Time) (document []byte, fd, sent int,
	err error) {
	if c.only != 0 && l.pid != c.only {
		l.Close()
		return nil, -1, 0, &Error{syscall.ECONNRESET, "another link_mgr had the connection"}
	}
	l.SetDeadline(end)
	stop := l.watch(ctx)
	sent, err = l.send(c.doc.bytes, c.fds)
	if err == nil {
		document, fd, err = l.receive()
	} else {
		fd = -1
	}
	stop()
	if err != nil {
		l.Close()
		return nil, -1, sent, c.failed(err)
	}
	l.giveBack()
	return document, fd, sent, nil
}

func (c *call) failed(err error) error {
	switch {
	case hasErrno(err, syscall.ECONNRESET):
		return &Error{syscall.ECONNRESET, "link_mgr ended during the call"}
	case isTimeout(err):
		return &Error{syscall.ETIMEDOUT,
			fmt.Sprintf("link_mgr at %s has taken the call, and does not answer", c.path)}
	}
	return bare(err)
}

// patience repeats a call for a link_mgr that is not there yet. The call was not carried out, since
// these errors come of the line only: link_mgr itself waits for all the rest.
func patience(ctx context.Context, path string, end time.Time, try func() error) error {
	for pause := 5 * time.Millisecond; ; pause *= 2 {
		err := try()
		if !hasErrno(err, syscall.ENOENT, syscall.ECONNREFUSED, syscall.ECONNRESET) {
			return err
		}
		if pause > 100*time.Millisecond {
			pause = 100 * time.Millisecond
		}
		if !sleep(ctx, pause, end) {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return &Error{syscall.ETIMEDOUT,
				fmt.Sprintf("no link_mgr serves %s (it was waited for)", path)}
		}
	}
}
