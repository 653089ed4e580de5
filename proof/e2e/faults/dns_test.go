// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/docker-remote-write/docker-remote-write/internal/remotewrite"
	"github.com/docker-remote-write/docker-remote-write/proof/promtest"
)

// silent is the code of a name server that does not answer.
const silent = -1

// nameServer answers every question for an IPv4 address with 127.0.0.1, or the address of
// loopback that ends in last, or as code says.
type nameServer struct {
	code    atomic.Int32
	last    atomic.Int32
	address atomic.Pointer[net.UDPAddr]
	over    context.Context
}

// names is the process's name server, from TestMain on: lookups outlive the
// requests that they were made for, so the resolver cannot be exchanged later.
var names nameServer

// dial is a resolver's way to the name server.
func (n *nameServer) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	to := n.address.Load()
	if to == nil {
		return nil, errors.New("there is no name server")
	}
	q, err := new(net.Dialer).DialContext(ctx, "udp", to.String())
	if err == nil {
		// A question that nobody answers is not waited for beyond the test.
		context.AfterFunc(n.over, func() { q.Close() })
	}
	return q, err
}

// serve answers for as long as the test lasts.
func (n *nameServer) serve(t *testing.T) {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			size, from, err := c.ReadFrom(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if reply := n.answer(buf[:size]); reply != nil {
				_, _ = c.WriteTo(reply, from)
			}
		}
	}()
	over, end := context.WithCancel(context.Background())
	n.over = over
	n.address.Store(c.LocalAddr().(*net.UDPAddr))
	t.Cleanup(func() {
		n.address.Store(nil)
		end()
		c.Close()
		<-done
	})
}

func (n *nameServer) answer(question []byte) []byte {
	var m dnsmessage.Message
	code := n.code.Load()
	if code == silent || m.Unpack(question) != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	m.Header = dnsmessage.Header{ID: m.ID, Response: true, RCode: dnsmessage.RCode(code)}
	m.Additionals = nil
	if code == int32(dnsmessage.RCodeSuccess) && q.Type == dnsmessage.TypeA {
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class},
			Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, byte(max(1, n.last.Load()))}},
		}}
	}
	reply, err := m.Pack()
	if err != nil {
		return nil
	}
	return reply
}

// TestNameDoesNotResolve lets the receiver's name fail in each way, and recover.
func TestNameDoesNotResolve(t *testing.T) {
	names.serve(t)
	l := newLink(t, promtest.Options{})
	u, err := url.Parse(l.Proxy.URL())
	if err != nil {
		t.Fatal(err)
	}
	names.code.Store(int32(dnsmessage.RCodeNameError))
	h := newHost(t, "http://receiver.example:"+u.Port()+"/api/v1/write", remotewrite.Auto, time.Now().Add(-10*time.Hour))
	for _, fault := range []int32{int32(dnsmessage.RCodeNameError), int32(dnsmessage.RCodeServerFailure), silent} {
		// A connection that is still open would need no name.
		l.Down()
		names.code.Store(fault)
		h.fill(50)
		h.until("an attempt met the failing name", func() bool {
			return strings.Contains(h.send.Status().LastError, "lookup receiver.example")
		})
		if err := l.Up(); err != nil {
			t.Fatal(err)
		}
		attempts := h.send.Status().Attempts
		h.until("two more attempts failed", func() bool { return h.send.Status().Attempts > attempts+1 })
		names.code.Store(int32(dnsmessage.RCodeSuccess))
		h.fill(5)
		h.drain()
		h.exact(l)
	}
	if lost := h.balanced(); len(lost) > 0 {
		t.Error("counted as lost:", lost)
	}
}

// TestNameMoves: the receiver's name leads to another address, where a Prometheus is, while
// the old one keeps the connection and goes on answering 503, or 404.
func TestNameMoves(t *testing.T) {
	for _, status := range []int{503, 404} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			names.serve(t)
			names.code.Store(int32(dnsmessage.RCodeSuccess))
			names.last.Store(1)
			t.Cleanup(func() { names.last.Store(1) })
			l := newLink(t, promtest.Options{})
			u, err := url.Parse(l.Proxy.URL())
			if err != nil {
				t.Fatal(err)
			}
			var moved atomic.Bool
			var refused atomic.Int32
			forward := httputil.NewSingleHostReverseProxy(u)
			old := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if moved.Load() {
					refused.Add(1)
					w.WriteHeader(status)
					return
				}
				forward.ServeHTTP(w, r)
			}))
			defer old.Close()
			_, port, err := net.SplitHostPort(old.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			there, err := net.Listen("tcp", "127.0.0.2:"+port)
			if err != nil {
				t.Fatal(err)
			}
			home := &http.Server{Handler: forward}
			done := make(chan struct{})
			go func() { defer close(done); _ = home.Serve(there) }()
			defer func() { home.Close(); <-done }()

			h := newHost(t, "http://receiver.example:"+port+"/api/v1/write", remotewrite.Auto, time.Now().Add(-10*time.Hour))
			h.fill(5)
			h.drain()
			moved.Store(true)
			names.last.Store(2)
			h.fill(5)
			h.drain()
			if n := refused.Load(); n == 0 || n > 6 {
				t.Errorf("the old address was asked %d times after the move", n)
			}
			lost := h.balanced()
			if status == 503 {
				h.exact(l)
			} else {
				delete(lost, "refused") // one scrape is what a refusing endpoint is asked with
			}
			if len(lost) > 0 {
				t.Error("counted as lost:", lost)
			}
		})
	}
}
