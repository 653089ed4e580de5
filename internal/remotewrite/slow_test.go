// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"context"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// piped is a listener for connections within the process, which a virtual clock
// knows of.
type piped struct{ accepted chan net.Conn }

func (p piped) Accept() (net.Conn, error) {
	if c, ok := <-p.accepted; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (p piped) Close() error   { return nil }
func (p piped) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

func (p piped) connect(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	p.accepted <- server
	return client, nil
}

// oneProcessor is what the program gives itself. What is left of an attempt comes
// late then, when the next one has begun.
func oneProcessor(t *testing.T) {
	n := runtime.GOMAXPROCS(1)
	t.Cleanup(func() { runtime.GOMAXPROCS(n) })
}

// pipedClient is a client of a server that answers by f, in a bubble of synctest.
// At the end of the test no connection may be left.
func pipedClient(t *testing.T, f http.HandlerFunc) *client {
	t.Helper()
	network := piped{make(chan net.Conn)}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		f(w, r)
	})}
	served := make(chan error)
	go func() { served <- server.Serve(network) }()
	o := fast(t, "http://receiver.example/write")
	o.Timeout = 30 * time.Second
	if err := o.complete(); err != nil {
		t.Fatal(err)
	}
	client := newClient(&o)
	client.conns.connect = network.connect
	t.Cleanup(func() {
		client.close()
		close(network.accepted)
		<-served
		server.Close()
		synctest.Wait()
		if n := len(client.conns.open); n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})
	return client
}

// TestSlowBodies: an answer is final with its header, whatever it is. A body that
// does not come is waited for a moment and spoils no later attempt.
func TestSlowBodies(t *testing.T) {
	oneProcessor(t)
	for _, c := range []struct {
		name   string
		length string
		status int
		bytes  string // of the body, that come at once
		text   string
	}{
		{"2xx", "50", 200, "x", "200 OK"},
		{"2xx without a byte", "50", 200, "", "200 OK"},
		{"2xx without a length", "", 200, "x", "200 OK"},
		{"4xx", "50", 400, "no: out of", "400 Bad Request: no: out of"},
		{"4xx without a byte", "50", 404, "", "404 Not Found"},
		{"5xx", "", 503, "busy", "503 Service Unavailable: busy"},
		{"429", "50", 429, "busy", "429 Too Many Requests: busy"},
		{"redirect elsewhere", "50", 302, "x", "302 Found: redirects to http://receiver.example/there"},
		{"redirect that is followed", "50", 307, "x", "200 OK"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := pipedClient(t, func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set(writtenHeader, "1")
					status := c.status
					if r.URL.Path == "/there" {
						status = 200
					}
					if c.length != "" {
						w.Header().Set("Content-Length", c.length)
					}
					w.Header().Set("Location", "/there")
					w.WriteHeader(status)
					io.WriteString(w, c.bytes)
					w.(http.Flusher).Flush()
					<-r.Context().Done() // the connection's end
				})
				for i := range 6 {
					a := client.attempt(t.Context(), V2, []byte("body"))
					if want := c.status; (a.status != want && want != 307) || !strings.HasPrefix(a.text, c.text) {
						t.Errorf("attempt %d: %d %q, want %d %q", i, a.status, a.text, want, c.text)
					}
					if a.took > 2*moment {
						t.Errorf("attempt %d took %s of the virtual clock", i, a.took)
					}
				}
			})
		})
	}
}

// TestAfterATimeout: an attempt that gets no answer does not take the next one with
// it.
func TestAfterATimeout(t *testing.T) {
	oneProcessor(t)
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		client := pipedClient(t, func(w http.ResponseWriter, r *http.Request) {
			if asked++; asked%2 == 1 {
				<-r.Context().Done()
			}
			w.WriteHeader(204)
		})
		for i := range 6 {
			a := client.attempt(t.Context(), V2, []byte("body"))
			if want := i % 2 * 204; a.status != want {
				t.Errorf("attempt %d: %d %q, want status %d", i, a.status, a.text, want)
			}
		}
	})
}
