// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/docker-remote-write/docker-remote-write/internal/spool"
)

// on makes a receiver of loopback's own at that address.
func on(t *testing.T, ip string, answer func(n int, g *got) reply) *receiver {
	t.Helper()
	l, err := net.Listen("tcp", ip+":0")
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{answer: answer, stored: map[point]int{}, newest: map[string]int64{}}
	r.Server = httptest.NewUnstartedServer(r)
	r.Listener.Close()
	r.Listener = l
	r.Start()
	t.Cleanup(r.Close)
	return r
}

// directory is a name's address, and how often it was asked for.
type directory struct {
	mu    sync.Mutex
	at    string
	dials int
}

func (d *directory) move(r *receiver) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = r.Listener.Addr().String()
}

func (d *directory) connect(ctx context.Context, network, address string) (net.Conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dials++; address != "receiver.example:80" {
		return nil, fmt.Errorf("dial %s", address)
	}
	return new(net.Dialer).DialContext(ctx, network, d.at)
}

// TestOldAddress: the receiver's name moves while the old address keeps the connection
// and goes on answering something else than yes. After some failures the new one is asked.
func TestOldAddress(t *testing.T) {
	for _, c := range []struct {
		name  string
		reply reply // of the old address
		proto Protocol
		known spool.Learned
		hold  bool
		most  int // attempts until the new address has the first scrape
		lost  uint64
	}{
		{"503", reply{Status: 503}, V2, spool.Learned{V2: true}, false, renewAfter + 1, 0},
		{"500 in 1.0", reply{Status: 500}, V1, spool.Learned{V1: true}, false, renewAfter + 1, 0},
		{"429", reply{Status: 429}, Auto, spool.Learned{V2: true}, false, renewAfter + 1, 0},
		{"408", reply{Status: 408}, V2, spool.Learned{V2: true}, false, renewAfter + 1, 0},
		{"500 to a 2.0 never accepted", reply{Status: 500}, Auto, spool.Learned{}, false, renewAfter + 2, 0},
		{"404", reply{Status: 404}, V2, spool.Learned{V2: true}, false, 2, 4},
		{"401 and hold", reply{Status: 401}, V1, spool.Learned{V1: true}, true, 2, 0},
		{"a redirect elsewhere", reply{Status: 302, Header: http.Header{"Location": {"http://else.example/"}}}, V2, spool.Learned{V2: true}, false, 2, 4},
		{"407", reply{Status: 407}, V2, spool.Learned{V2: true}, false, 2, 0},
		{"410, paced", reply{Status: 410}, V2, spool.Learned{V2: true}, false, 2, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			old := on(t, "127.0.0.1", func(int, *got) reply { return c.reply })
			home := on(t, "127.0.0.2", func(_ int, g *got) reply { return ok(g) })
			var d directory
			d.move(old)
			q := newQueue(t, 4)
			q.learn(t, c.known)
			o := fast(t, "http://receiver.example/write")
			o.Protocol, o.HoldOnAuthError = c.proto, c.hold
			s := sender(t, o, q)
			s.client.conns.connect = d.connect
			q.fill(t, 1)
			s.step(t.Context()) // there is a connection now
			d.move(home)
			attempts := 1
			for ; len(home.requests()) == 0 && attempts < 50; attempts++ {
				q.fill(t, 1)
				s.step(t.Context())
			}
			if attempts > c.most {
				t.Errorf("the new address was asked after %d attempts, want %d", attempts, c.most)
			}
			if d.dials != 2 {
				t.Errorf("%d connections were made", d.dials)
			}
			drainAll(t, s, q, 20)
			if tally := q.c.Tally(); tally.Sum()-tally.Delivered != c.lost {
				t.Errorf("%+v, want %d lost", tally, c.lost)
			}
			q.balanced(t)
		})
	}
}

// TestConnectionsOfAnOutage: an outage of an hour takes a connection for every five
// attempts, not for each.
func TestConnectionsOfAnOutage(t *testing.T) {
	down := on(t, "127.0.0.1", func(int, *got) reply { return reply{Status: 503} })
	var d directory
	d.move(down)
	q := newQueue(t, 4)
	s := sender(t, fast(t, "http://receiver.example/write"), q)
	s.client.conns.connect = d.connect
	q.fill(t, 1)
	const attempts = 10*renewAfter + 1
	for range attempts {
		s.step(t.Context())
	}
	if n := len(down.requests()); n != attempts || d.dials != 11 {
		t.Errorf("%d requests over %d connections", n, d.dials)
	}
	from := map[string]int{}
	for _, g := range down.requests() {
		from[g.From]++
	}
	for who, n := range from {
		if n > renewAfter || !strings.HasPrefix(who, "127.0.0.1:") {
			t.Errorf("%d requests from %s", n, who)
		}
	}
}
