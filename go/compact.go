// SPDX-License-Identifier: LGPL-2.1-or-later

package idc

import (
	"encoding/binary"
	"syscall"
)

// Compact documents (docs/rpc.md). Whoever serves the socket wrote what is decoded here, so each
// length is compared with what is left.

const compactMax = 1024

// writer makes a call.
type writer struct{ bytes []byte }

func newCall(method string) *writer {
	w := &writer{bytes: make([]byte, 0, 256)}
	w.bytes = append(w.bytes, 0, 'C', byte(len(method)))
	w.bytes = append(w.bytes, method...)
	return w
}

func (w *writer) putMember(name string, kind byte) {
	w.bytes = append(w.bytes, byte(len(name)))
	w.bytes = append(w.bytes, name...)
	w.bytes = append(w.bytes, kind)
}

func (w *writer) putNumber(name string, value int64) {
	var number [8]byte
	binary.LittleEndian.PutUint64(number[:], uint64(value))
	w.putMember(name, 'i')
	w.bytes = append(w.bytes, number[:]...)
}

func (w *writer) putTrue(name string) {
	w.putMember(name, 'b')
	w.bytes = append(w.bytes, 1)
}

// putText: a text that is too long for its length makes a call that is too long to be sent.
func (w *writer) putText(name, text string) {
	w.putMember(name, 's')
	w.bytes = append(w.bytes, byte(len(text)), byte(len(text)>>8))
	w.bytes = append(w.bytes, text...)
}

// answer has the members of a result.
type answer struct {
	numbers map[string]int64
	texts   map[string]string
}

var errNoAnswer = &Error{syscall.EPROTO, "link_mgr sent something that is not an answer"}

// decodeAnswer returns the members of a result, or a fault as an *Error.
func decodeAnswer(document []byte) (*answer, error) {
	if len(document) < 2 || document[0] != 0 || (document[1] != 'R' && document[1] != 'F') {
		return nil, errNoAnswer
	}
	got := &answer{numbers: map[string]int64{}, texts: map[string]string{}}
	for rest := document[2:]; len(rest) > 0; {
		if rest = got.takeMember(rest); rest == nil {
			return nil, errNoAnswer
		}
	}
	if document[1] == 'R' {
		return got, nil
	}
	fault := &Error{syscall.EPROTO, got.texts["text"]}
	if code := got.numbers["code"]; code > 0 && code < 4096 {
		fault.Errno = syscall.Errno(code)
	}
	return nil, fault
}

// takeMember returns what follows the first member; nil: it is malformed.
func (a *answer) takeMember(from []byte) []byte {
	length := int(from[0])
	if len(from) < 1+length+1 {
		return nil
	}
	name, kind, from := string(from[1:1+length]), from[1+length], from[2+length:]
	switch {
	case kind == 'i' && len(from) >= 8:
		a.numbers[name] = int64(binary.LittleEndian.Uint64(from))
		return from[8:]
	case kind == 'b' && len(from) >= 1:
		a.numbers[name] = int64(from[0])
		return from[1:]
	case kind == 's' && len(from) >= 2:
		length = int(binary.LittleEndian.Uint16(from))
		if len(from) < 2+length {
			return nil
		}
		a.texts[name] = string(from[2 : 2+length])
		return from[2+length:]
	}
	return nil
}
