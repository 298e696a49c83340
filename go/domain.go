// SPDX-License-Identifier: LGPL-2.1-or-later

package idc

import (
	"bufio"
	"context"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Which domain is meant, and what it offers. The list of services is another domain's: its lines
// are checked, and their number is limited.

const (
	domainLimit = 5 * time.Second // for link_mgr's answer, which waits for nobody
	lineMax     = 128
	servicesMax = 1000000
)

// Domain is what link_mgr was told of a domain. Name and UUID may be empty.
type Domain struct {
	Domid      uint32
	Name, UUID string
}

// Service is what a domain offers. Name may be empty.
type Service struct {
	Port uint32
	Net  string // Stream or Seqpacket
	Name string
}

// Domid returns the own domid.
func Domid(ctx context.Context) (uint32, error) {
	domain, err := (&Dialer{}).Resolve(ctx, "self")
	return domain.Domid, err
}

// Resolve returns which domain is called so now. It is EHOSTUNREACH if this domain knows none.
func Resolve(ctx context.Context, domain string) (Domain, error) {
	return (&Dialer{}).Resolve(ctx, domain)
}

// Services asks a domain what it offers to this one, in no order.
func Services(ctx context.Context, domain string) ([]Service, error) {
	return (&Dialer{}).Services(ctx, domain)
}

// Resolve is the function Resolve, of the link_mgr at d.Socket.
func (d *Dialer) Resolve(ctx context.Context, domain string) (Domain, error) {
	doc := newCall("idc.resolve")
	if domain == "self" {
		doc = newCall("idc.domid")
	} else {
		doc.putText("domain", domain)
	}
	request := call{path: socketPath(d.Socket), doc: doc, limit: domainLimit}
	got, _, err := request.do(ctx)
	if err != nil {
		return Domain{}, &net.OpError{Op: "resolve", Net: Stream,
			Addr: unresolved{Stream, domain}, Err: err}
	}
	return Domain{uint32(got.numbers["domid"]), got.texts["name"], got.texts["uuid"]}, nil
}

// Services is the function Services, with the options of a connect.
func (d *Dialer) Services(ctx context.Context, domain string) ([]Service, error) {
	end := endOf(ctx, d.Timeout)
	conn, err := d.Connect(ctx, Stream, domain, "1")
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	conn.SetDeadline(end)
	stop := (&line{UnixConn: conn.socket}).watch(ctx)
	defer stop()
	services, err := listServices(conn)
	if err != nil && ctx.Err() != nil {
		err = conn.opError("read", ctx.Err())
	}
	return services, err
}

func listServices(conn *Conn) ([]Service, error) {
	if _, err := conn.Write([]byte("SERVICES\n")); err != nil {
		return nil, err
	}
	var services []Service
	malformed := conn.opError("read", &Error{syscall.EPROTO, "this is no list of services"})
	for reader := bufio.NewReaderSize(conn, lineMax); len(services) < servicesMax; {
		text, err := reader.ReadSlice('\n')
		if err == bufio.ErrBufferFull {
			return nil, malformed
		}
		if _, ours := err.(*net.OpError); err != nil && !ours {
			return nil, conn.opError("read",
				&Error{syscall.EPROTO, "the list of services is cut off"})
		} else if err != nil {
			return nil, err
		}
		if len(text) == 1 {
			return services, nil
		}
		service, ok := parseService(string(text[:len(text)-1]))
		if !ok {
			return nil, malformed
		}
		services = append(services, service)
	}
	return nil, malformed
}

// parseService reads "PORT TYPE NAME", where - is no name.
func parseService(text string) (Service, bool) {
	words := strings.Split(text, " ")
	if len(words) != 3 {
		return Service{}, false
	}
	port, err := strconv.ParseUint(words[0], 10, 32)
	service := Service{Port: uint32(port), Net: Stream, Name: words[2]}
	if words[1] == "seqpacket" {
		service.Net = Seqpacket
	} else if words[1] != "stream" {
		return Service{}, false
	}
	if service.Name == "-" {
		service.Name = ""
	}
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789._-"
	named := strings.Trim(strings.ToLower(service.Name), letters) == ""
	return service, err == nil && port > 0 && named && len(service.Name) < 80
}
