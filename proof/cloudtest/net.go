// SPDX-License-Identifier: Apache-2.0

package cloudtest

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"syscall"
)

// Net is a network of pipes, for tests with a virtual clock.
type Net struct {
	mu     sync.Mutex
	hosts  map[string]*pipes // by host:port
	dialed []string
}

// Serve has the handler answer at that address until the function it returns is called;
// nobody is there afterwards.
func (n *Net) Serve(address string, h http.Handler) (stop func()) {
	l := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	n.mu.Lock()
	if n.hosts == nil {
		n.hosts = map[string]*pipes{}
	}
	n.hosts[address] = l
	n.mu.Unlock()
	s := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	return func() {
		n.mu.Lock()
		if n.hosts[address] == l {
			delete(n.hosts, address)
		}
		n.mu.Unlock()
		_ = s.Close()
		<-done
	}
}

// Dialed are the addresses that somebody wanted to reach.
func (n *Net) Dialed() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string(nil), n.dialed...)
}

// Dial is for whoever dials.
func (n *Net) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	n.mu.Lock()
	n.dialed = append(n.dialed, address)
	l := n.hosts[address]
	n.mu.Unlock()
	if l == nil {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: place(address), Err: syscall.ECONNREFUSED}
	}
	ours, theirs := net.Pipe()
	select {
	case l.conns <- theirs:
		return ours, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "dial", Net: network, Addr: place(address), Err: syscall.ECONNREFUSED}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, errors.New("closed")
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return place("pipe") }

type place string

func (place) Network() string  { return "tcp" }
func (p place) String() string { return string(p) }
