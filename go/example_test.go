// SPDX-License-Identifier: LGPL-2.1-or-later

package idc_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"

	"idc.example/idc"
)

// HTTP between two domains: the server in one of them, the client in another. (Here the domain is
// the own one.)
func Example_http() {
	config := &idc.ListenConfig{Keep: true}
	listener, err := config.Listen(context.Background(), idc.Stream, "org.example.web")
	if err != nil {
		log.Fatal(err)
	}
	go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "hello,", r.RemoteAddr) // DOMID:PORT
	}))

	dialer := &idc.Dialer{}
	client := http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, idc.Stream, "self:org.example.web")
		},
	}}
	answer, err := client.Get("http://web/")
	if err != nil {
		log.Fatal(err)
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	fmt.Printf("%s", text)
}
