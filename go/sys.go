// SPDX-License-Identifier: LGPL-2.1-or-later

package idc

import (
	"runtime"
	"syscall"
	"time"
	"unsafe"
)

// What package syscall does not have, or not for our use: it ends an abstract address at its first
// NUL, and a socket's name here has many.

const (
	pollOut   = 0x4
	pollHup   = 0x10
	pollRdHup = 0x2000

	fDupfdCloexec = 1030
	fAddSeals     = 1033
	fGetSeals     = 1034
	sealSeal      = 1
	sealShrink    = 2
	sealGrow      = 4
	sealWrite     = 8

	memfdCloexec      = 1
	memfdAllowSealing = 2
	memfdNoexecSeal   = 8 // since Linux 6.3
)

type numbers struct{ getsockname, getpeername, ppoll, memfdCreate uintptr }

// sysNumbers are the kernel's, of each architecture that the package works on.
var sysNumbers = map[string]numbers{
	"amd64":   {51, 52, 271, 319},
	"386":     {367, 368, 309, 356},
	"arm":     {286, 287, 336, 385},
	"arm64":   {204, 205, 73, 279},
	"riscv64": {204, 205, 73, 279},
	"loong64": {204, 205, 73, 279},
}[runtime.GOARCH]

type pollFd struct {
	fd              int32
	events, revents int16
}

// poll looks at one descriptor; limit 0 does not wait.
func poll(fd int, events int16, limit time.Duration) int16 {
	p := pollFd{fd: int32(fd), events: events}
	end := time.Now().Add(limit)
	for {
		left := syscall.NsecToTimespec(int64(limit))
		n, _, errno := syscall.Syscall6(sysNumbers.ppoll, uintptr(unsafe.Pointer(&p)), 1,
			uintptr(unsafe.Pointer(&left)), 0, 0, 0)
		if errno == 0 && n > 0 {
			return p.revents
		}
		if errno != syscall.EINTR {
			return 0
		}
		if limit = time.Until(end); limit < 0 {
			limit = 0
		}
	}
}

// rawName returns a socket's abstract address without its leading NUL; nil: it has none.
func rawName(number uintptr, fd int) []byte {
	var address syscall.RawSockaddrUnix
	size := uint32(unsafe.Sizeof(address))
	_, _, errno := syscall.RawSyscall(number, uintptr(fd), uintptr(unsafe.Pointer(&address)),
		uintptr(unsafe.Pointer(&size)))
	const fixed = 3 // the family, and a NUL
	if errno != 0 || size <= fixed || address.Family != syscall.AF_UNIX || address.Path[0] != 0 {
		return nil
	}
	name := make([]byte, size-fixed)
	for i := range name {
		name[i] = byte(address.Path[1+i])
	}
	return name
}

func fcntl(fd int, command, value int) (int, error) {
	result, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), uintptr(command),
		uintptr(value))
	if errno != 0 {
		return -1, errno
	}
	return int(result), nil
}

// hasRoom reports why this process could not take one more descriptor. What brings one is left
// where it is then.
func hasRoom(fd int) error {
	probe, err := fcntl(fd, fDupfdCloexec, 0)
	if err == nil {
		syscall.Close(probe)
	}
	return err
}

func memfd() (int, error) {
	name := [...]byte{'i', 'd', 'c', '-', 'm', 'e', 's', 's', 'a', 'g', 'e', 0}
	var errno syscall.Errno
	for _, more := range []uintptr{memfdNoexecSeal, 0} {
		var fd uintptr
		fd, _, errno = syscall.Syscall(sysNumbers.memfdCreate, uintptr(unsafe.Pointer(&name[0])),
			memfdCloexec|memfdAllowSealing|more, 0)
		if errno == 0 {
			return int(fd), nil
		}
		if errno != syscall.EINVAL {
			break
		}
	}
	return -1, errno
}

// descriptors returns those that came beside a message. The caller closes them.
func descriptors(control []byte) []int {
	var fds []int
	messages, err := syscall.ParseSocketControlMessage(control)
	if err != nil {
		return nil
	}
	for i := range messages {
		if some, err := syscall.ParseUnixRights(&messages[i]); err == nil {
			fds = append(fds, some...)
		}
	}
	return fds
}

func closeAll(fds []int) {
	for _, fd := range fds {
		syscall.Close(fd)
	}
}
