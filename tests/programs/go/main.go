// SPDX-License-Identifier: GPL-2.0-or-later

// goprobe is a service and a client on package idc, for tests/integration/test_go.py. Each line
// that it prints is an answer; what goes wrong is one line "errno NUMBER TEXT", and exit status 1.
//
//	goprobe serve NETWORK SERVICE [keep]    answers what it gets, until stdin ends
//	goprobe ask NETWORK ADDRESS BYTES N     N at once, each BYTES there and back, to the exact end
//	goprobe hold ADDRESS                    says "connected", and then how the connection ended
//	goprobe cancel ADDRESS                  gives up when stdin ends
//	goprobe http SERVICE                    serves HTTP until stdin ends
//	goprobe get N URL                       N at once
//	goprobe list DOMAIN                     who that is, and its services
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"idc.example/idc"
)

func say(format string, values ...any) { fmt.Printf(format+"\n", values...) }

func fail(err error) {
	var errno syscall.Errno
	errors.As(err, &errno)
	say("errno %d %v", int(errno), err)
	os.Exit(1)
}

func check(err error) {
	if err != nil {
		fail(err)
	}
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	check(err)
	return n
}

// echo answers with what it gets, up to the end.
func echo(conn *idc.Conn) {
	defer conn.Close()
	var err error
	if conn.LocalAddr().Network() == idc.Stream {
		_, err = io.Copy(conn, conn)
	} else {
		err = echoMessages(conn)
	}
	if err == nil {
		err = conn.CloseWrite()
	}
	if err != nil {
		say("echo: %v", err)
	}
}

func echoMessages(conn *idc.Conn) error {
	for {
		message, err := conn.RecvMessage()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = conn.SendMessage(message)
		}
		if err != nil {
			return err
		}
	}
}

func listen(network, service string, keep bool) *idc.Listener {
	config := idc.ListenConfig{Keep: keep, Backlog: 1000}
	l, err := config.Listen(context.Background(), network, service)
	check(err)
	say("ready %d", l.Addr().(*idc.Addr).Port)
	return l
}

// tidy tells how many goroutines are left, beside this one and those of the program itself.
func tidy(most int) {
	for try := 0; try < 3000 && runtime.NumGoroutine() > most; try++ {
		time.Sleep(10 * time.Millisecond)
	}
	say("goroutines %v", runtime.NumGoroutine() <= most)
}

func serve(network, service string, keep bool) {
	l := listen(network, service, keep)
	go func() {
		for {
			conn, err := l.AcceptIDC()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			check(err)
			peer := conn.RemoteAddr().(*idc.Addr)
			say("from %d uid %d service %s", peer.Domid, peer.UID, peer.Service)
			go echo(conn)
		}
	}()
	io.Copy(io.Discard, os.Stdin)
	check(l.Close())
	tidy(1)
}

// exchange sends size bytes and reads them back.
func exchange(conn *idc.Conn, seed byte, size int) error {
	defer conn.Close()
	sent := make([]byte, size)
	for i := range sent {
		sent[i] = byte(i*7+i>>9) ^ seed
	}
	var got []byte
	var err error
	if conn.LocalAddr().Network() == idc.Stream {
		go func() {
			conn.Write(sent)
			conn.CloseWrite()
		}()
		got, err = io.ReadAll(conn)
	} else {
		if err = conn.SendMessage(sent); err == nil {
			err = conn.CloseWrite()
		}
		if err == nil {
			got, err = conn.RecvMessage()
		}
		if err == nil {
			if _, end := conn.RecvMessage(); end != io.EOF {
				return fmt.Errorf("no end: %w", end)
			}
		}
	}
	if err == nil && !bytes.Equal(got, sent) {
		err = fmt.Errorf("%d of %d bytes came back, or others", len(got), size)
	}
	return err
}

func all(n int, one func(i int) error) {
	done := make(chan error)
	for i := 0; i < n; i++ {
		go func(i int) { done <- one(i) }(i)
	}
	for i := 0; i < n; i++ {
		check(<-done)
	}
	say("done %d", n)
}

func ask(network, address string, size, n int) {
	dialer := idc.Dialer{Timeout: -1}
	all(n, func(i int) error {
		conn, err := dialer.DialContext(context.Background(), network, address)
		if err != nil {
			return err
		}
		return exchange(conn.(*idc.Conn), byte(i), size)
	})
	tidy(1)
}

func hold(address string) {
	conn, err := idc.Dial(address)
	check(err)
	say("connected %v uid %d", conn.RemoteAddr(), conn.RemoteAddr().(*idc.Addr).UID)
	got, err := io.ReadAll(conn)
	check(err)
	say("end %d", len(got))
}

func cancel(address string) {
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	say("waiting")
	_, err := (&idc.Dialer{Timeout: -1, Wait: true}).DialContext(ctx, idc.Stream, address)
	say("canceled %v", errors.Is(err, context.Canceled))
	tidy(1)
}

func serveHTTP(service string) {
	l := listen(idc.Stream, service, false)
	server := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %d", r.Method, r.URL.Path, len(body))
	})}
	go func() {
		io.Copy(io.Discard, os.Stdin)
		server.Close()
	}()
	if err := server.Serve(l); err != http.ErrServerClosed {
		fail(err)
	}
	say("closed")
}

func get(n int, url string) {
	transport := &http.Transport{DialContext: (&idc.Dialer{Timeout: -1}).DialContext}
	client := http.Client{Transport: transport}
	all(n, func(i int) error {
		answer, err := client.Post(url, "text/plain", bytes.NewReader(make([]byte, 1000*i)))
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		got, err := io.ReadAll(answer.Body)
		if expected := fmt.Sprintf("POST /x %d", 1000*i); err == nil && string(got) != expected {
			err = fmt.Errorf("%q, not %q", got, expected)
		}
		return err
	})
}

func list(domain string) {
	own, err := idc.Domid(context.Background())
	check(err)
	found, err := idc.Resolve(context.Background(), domain)
	check(err)
	say("own %d that %d", own, found.Domid)
	services, err := idc.Services(context.Background(), domain)
	check(err)
	for _, one := range services {
		say("service %d %s %s", one.Port, one.Net, one.Name)
	}
}

func main() {
	words := append(os.Args[1:], "", "", "", "", "")
	switch words[0] {
	case "serve":
		serve(words[1], words[2], words[3] == "keep")
	case "ask":
		ask(words[1], words[2], number(words[3]), number(words[4]))
	case "hold":
		hold(words[1])
	case "cancel":
		cancel(words[1])
	case "http":
		serveHTTP(words[1])
	case "get":
		get(number(words[1]), words[2])
	case "list":
		list(words[1])
	default:
		fmt.Fprintln(os.Stderr, "goprobe: see main.go")
		os.Exit(2)
	}
}
