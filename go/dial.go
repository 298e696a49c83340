// SPDX-License-Identifier: LGPL-2.1-or-later

package idc

import (
	"context"
	"math"
	"net"
	"time"
)

const timeoutDefault = 30 * time.Second

// Dialer has the options of a connect. The zero Dialer is a good one.
type Dialer struct {
	// Timeout is for the whole connect. 0 means 30 seconds, and less than 0 means no limit. The
	// deadline of a context counts as well.
	Timeout time.Duration
	// Wait makes a connect wait for what is not there yet: this domain's link_mgr, the other
	// domain, its link_mgr, the listener, a place in its backlog. A refusal by policy is final.
	Wait bool
	// Socket is link_mgr's RPC socket. Empty means IDC_SOCKET of the environment, or else
	// /run/idc/rpc.sock.
	Socket string
}

// Dial connects to a stream service at DOMAIN:SERVICE.
func Dial(address string) (*Conn, error) {
	domain, service, err := splitAddress(address)
	if err != nil {
		return nil, dialFailed(Stream, address, err)
	}
	return (&Dialer{}).Connect(context.Background(), Stream, domain, service)
}

// DialContext is Connect to DOMAIN:SERVICE, in the form that http.Transport and others want. The
// network is Stream (or "tcp", which http.Transport says), or Seqpacket. What it returns is a
// *Conn.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	domain, service, err := splitAddress(address)
	if err != nil {
		return nil, dialFailed(network, address, err)
	}
	conn, err := d.Connect(ctx, network, domain, service)
	if err != nil {
		return nil, err // no *Conn that is nil
	}
	return conn, nil
}

// Connect connects to a service, a name or a port in digits, of a domain. If ctx ends first, the
// attempt is given up.
func (d *Dialer) Connect(ctx context.Context, network, domain, service string) (*Conn, error) {
	conn, err := d.connect(ctx, network, domain, service)
	if err != nil {
		return nil, dialFailed(network, domain+":"+service, err)
	}
	conn.remote.Name = domain
	return conn, nil
}

func dialFailed(network, address string, err error) error {
	return &net.OpError{Op: "dial", Net: network, Addr: unresolved{network, address}, Err: err}
}

func (d *Dialer) connect(ctx context.Context, network, domain, service string) (*Conn, error) {
	network, err := networkOf(network)
	if err != nil {
		return nil, err
	}
	end := endOf(ctx, d.Timeout)
	path := socketPath(d.Socket)
	var conn *Conn
	try := func() error {
		conn, err = connectOnce(ctx, path, network, domain, service, d.Wait, end)
		return err
	}
	if d.Wait {
		err = patience(ctx, path, end, try)
	} else {
		err = try()
	}
	return conn, err
}

// endOf returns when time is up; zero: never.
func endOf(ctx context.Context, timeout time.Duration) time.Time {
	var end time.Time
	if timeout == 0 {
		timeout = timeoutDefault
	}
	if timeout > 0 {
		end = time.Now().Add(timeout)
	}
	if deadline, ok := ctx.Deadline(); ok && (end.IsZero() || deadline.Before(end)) {
		end = deadline
	}
	return end
}

// leftMs is what link_mgr is told: at least a millisecond, and -1 for no limit.
func leftMs(end time.Time) int64 {
	if end.IsZero() {
		return -1
	}
	ms := (time.Until(end) + time.Millisecond - 1).Milliseconds()
	if ms < 1 {
		return 1
	}
	if ms > math.MaxInt32 {
		return math.MaxInt32
	}
	return ms
}

func connectOnce(ctx context.Context, path, network, domain, service string, wait bool,
	end time.Time) (*Conn, error) {
	doc, ms := newCall("idc.connect"), leftMs(end)
	doc.putText("domain", domain)
	if err := doc.putService(service); err != nil {
		return nil, err
	}
	if network == Seqpacket {
		doc.putText("type", "seqpacket")
	}
	if wait {
		doc.putTrue("wait")
	}
	doc.putNumber("timeout_ms", ms)
	doc.putTrue("fd")
	request := call{path: path, doc: doc, hasFd: true}
	if ms > 0 {
		request.limit = time.Duration(ms)*time.Millisecond + grace
	}
	_, fd, err := request.do(ctx)
	if err != nil {
		return nil, err
	}
	return newConn(fd, path)
}
