// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// maxReceived bounds what is read from the network for one attempt: TLS
// handshake, header and body, and with OAuth2 the token. It is the bound on the
// header's size, which net/http would let grow to 10 MiB.
const maxReceived = 512 << 10

var errTooMuch = errors.New("the answer is larger than 512 KiB")

// conns are the open connections of one client. They are counted together, since
// it makes one attempt at a time.
type conns struct {
	connect func(ctx context.Context, network, address string) (net.Conn, error)

	mu       sync.Mutex
	open     map[*conn]struct{}
	received int
	over     bool // the attempt is: what is dialed now is of no use
}

func newConns(timeout time.Duration) *conns {
	dialer := net.Dialer{Timeout: timeout}
	return &conns{connect: dialer.DialContext, open: make(map[*conn]struct{})}
}

func (s *conns) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := s.connect(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	k := &conn{Conn: c, all: s}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		c.Close()
		return nil, context.DeadlineExceeded
	}
	s.open[k] = struct{}{}
	return k, nil
}

// begin starts the count of an attempt.
func (s *conns) begin() {
	s.mu.Lock()
	s.received, s.over = 0, false
	s.mu.Unlock()
}

// abort closes all connections and lets none be made until the next attempt. It
// ends what does not follow the context of the attempt: the requests for an OAuth2
// token do not, and there may be two of them.
func (s *conns) abort() {
	s.mu.Lock()
	s.over = true
	open := s.open
	s.open = make(map[*conn]struct{})
	s.mu.Unlock()
	for c := range open {
		c.Conn.Close()
	}
}

type conn struct {
	net.Conn
	all *conns
	buf []byte // for ReadFrom
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.all.mu.Lock()
	c.all.received += n
	over := c.all.received > maxReceived
	c.all.mu.Unlock()
	if over {
		return 0, errTooMuch
	}
	return n, err
}

// maxBuf is the largest piece in which ReadFrom writes a body.
const maxBuf = 32 << 10

// ReadFrom writes a body behind its header. Without TLS net/http's transport asks for
// it, and would else make a buffer for each request: for the requests of a large
// target that is most of all garbage.
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	size := int64(maxBuf)
	if l, ok := r.(*io.LimitedReader); ok {
		size = max(1, min(size, l.N))
	}
	if int64(len(c.buf)) < size {
		c.buf = make([]byte, size)
	}
	// Without the struct io.CopyBuffer would come back here.
	return io.CopyBuffer(struct{ io.Writer }{c.Conn}, r, c.buf)
}

func (c *conn) Close() error {
	c.all.mu.Lock()
	delete(c.all.open, c)
	c.all.mu.Unlock()
	return c.Conn.Close()
}
