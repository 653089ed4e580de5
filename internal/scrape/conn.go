// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"
)

// maxHeader limits an answer's header, as net/http's transport does.
const maxHeader = 64 << 10

var errHeader = errors.New("the answer's header is too long")

// conn asks one thing of one server, over a connection that is kept. What
// http.Transport does for this, with two goroutines a connection and several
// handovers a request, takes twice the processor time.
type conn struct {
	network, address string
	dialer           net.Dialer
	request          *http.Request
	wire             []byte // request as it is sent

	c  net.Conn
	rd limited
	br *bufio.Reader
	// kept says that c has already answered, and may since have been closed.
	kept bool
	stop func() bool
}

// limited counts what is read from a connection and ends it at a limit.
type limited struct {
	r       io.Reader
	n, left int64
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errHeader
	}
	n, err := l.r.Read(p)
	l.n += int64(n)
	l.left -= int64(n)
	return n, err
}

func newConn(network, address string, r *http.Request) (*conn, error) {
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		return nil, err
	}
	return &conn{network: network, address: address, request: r, wire: b.Bytes(), br: bufio.NewReaderSize(nil, 16<<10)}, nil
}

// roundTrip sends the request and reads the header of the answer, until ctx or
// the deadline ends it. done must be called when the body has been read.
func (c *conn) roundTrip(ctx context.Context, deadline time.Time) (*http.Response, error) {
	for {
		resp, again, err := c.try(ctx, deadline)
		if !again {
			return resp, err
		}
	}
}

func (c *conn) try(ctx context.Context, deadline time.Time) (resp *http.Response, again bool, err error) {
	kept := c.kept
	if !kept {
		c.dialer.Deadline = deadline
		nc, err := c.dialer.DialContext(ctx, c.network, c.address)
		if err != nil {
			return nil, false, err
		}
		c.c, c.rd.r = nc, nc
		c.br.Reset(&c.rd)
	}
	nc := c.c
	nc.SetDeadline(deadline)
	c.stop = context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })
	c.rd.n, c.rd.left = 0, maxHeader
	if c.br.Buffered() > 0 {
		err = errors.New("data that nobody asked for")
	} else if _, err = nc.Write(c.wire); err == nil {
		resp, err = http.ReadResponse(c.br, c.request)
		for n := 0; err == nil && resp.StatusCode < 200 && resp.StatusCode != http.StatusSwitchingProtocols && n < 5; n++ {
			resp, err = http.ReadResponse(c.br, c.request)
		}
	}
	if err == nil {
		c.rd.left = 1 << 62 // the body has a limit of its own
		c.kept = true
		return resp, false, nil
	}
	c.close()
	if ctx.Err() != nil {
		return nil, false, ctx.Err()
	}
	// A kept connection that is closed without a byte was closed while it was idle.
	var ne net.Error
	timeout := errors.As(err, &ne) && ne.Timeout()
	return nil, kept && c.rd.n == 0 && !timeout, err
}

// done ends a round trip; whole says that the body was read to its end, without
// which the connection cannot be used again.
func (c *conn) done(resp *http.Response, whole bool) {
	if c.c != nil && (!c.stop() || !whole || resp.Close) {
		c.close()
	}
}

func (c *conn) close() {
	if c.stop != nil {
		c.stop()
	}
	if c.c != nil {
		c.c.Close()
	}
	c.c, c.stop, c.kept = nil, nil, false
}
