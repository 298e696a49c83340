// SPDX-License-Identifier: LGPL-2.1-or-later

package idc

import (
	"errors"
	"net"
	"os"
	"syscall"
)

// Error is what link_mgr, or the kernel, has said.
type Error struct {
	Errno syscall.Errno
	Text  string // why, in words; may be empty
}

func (e *Error) Error() string {
	if e.Text == "" {
		return e.Errno.Error()
	}
	return e.Text
}

// Unwrap returns the Errno, for errors.Is.
func (e *Error) Unwrap() error { return e.Errno }

// Timeout reports whether the time was up (ETIMEDOUT).
func (e *Error) Timeout() bool { return e.Errno.Timeout() }

// Temporary reports whether an Accept may go on: http.Serve then waits, and tries again. That is so
// when there are no descriptors left. It is not so when the listener has ended.
func (e *Error) Temporary() bool { return e.Errno == syscall.EMFILE || e.Errno == syscall.ENFILE }

// bare returns what the layers below have put into their own errors. An Errno becomes an *Error.
func bare(err error) error {
	for {
		switch e := err.(type) {
		case *net.OpError:
			err = e.Err
			continue
		case *os.SyscallError:
			err = e.Err
			continue
		case syscall.Errno:
			return &Error{Errno: e}
		}
		return err
	}
}

// hasErrno reports whether err is one of errnos.
func hasErrno(err error, errnos ...syscall.Errno) bool {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return false
	}
	for _, one := range errnos {
		if errno == one {
			return true
		}
	}
	return false
}
