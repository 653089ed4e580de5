// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"net"
	"net/http"
	"testing"

	"github.com/docker-remote-write/docker-remote-write/internal/spool"
)

// TestNeverLeft: a request for which no connection could be made is made anew, so
// that what has come in the meantime is merged with it.
func TestNeverLeft(t *testing.T) {
	r := newReceiver(t, func(n int, g *got) reply { return ok(g) })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close() // connections to it are refused
	o := fast(t, "http://"+l.Addr().String()+"/write")
	q := newQueue(t, 4)
	q.learn(t, spool.Learned{V2: true})
	s := sender(t, o, q)
	for range 5 {
		q.fill(t, 3)
		s.step(t.Context())
	}
	if st := s.Status(); st.Failures != 5 || st.RetriedSamples != 0 || st.WireBytes != 0 {
		t.Errorf("%d failures, %d samples retried, %d bytes sent: want 5 and nothing", st.Failures, st.RetriedSamples, st.WireBytes)
	}
	// One that holds all that it may has nothing to gain.
	s.o.MaxSamples = 4 * 10
	q.fill(t, 1)
	s.step(t.Context())
	made := s.enc.request
	q.fill(t, 1)
	s.step(t.Context())
	if s.enc.request != made {
		t.Error("a full request was made anew")
	}
	if l, err = net.Listen("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	back := &http.Server{Handler: r}
	go back.Serve(l)
	defer back.Close()
	drainAll(t, s, q, 2)
	if all := r.requests(); len(all) != 2 || all[0].Scrapes != 10 || all[1].Scrapes != 7 {
		t.Errorf("%d requests, want 10 of 17 scrapes in one and the others in another", len(all))
	}
	q.complete(t, r, nil)
	q.balanced(t)
}

// TestWide: a scrape of many series leaves in parts, in order, and nothing of it is
// sent twice.
func TestWide(t *testing.T) {
	for _, p := range []Protocol{V2, V1} {
		t.Run(p.String(), func(t *testing.T) {
			r := newReceiver(t, func(n int, g *got) reply { return ok(g) })
			q := newQueue(t, 2*minWidth+100)
			o := fast(t, r.URL+"/write")
			o.Protocol = p
			s := sender(t, o, q)
			q.fill(t, 3)
			drainAll(t, s, q, 9)
			all := r.requests()
			if len(all) != 9 {
				t.Errorf("%d requests for three scrapes, want 9", len(all))
			}
			for i, g := range all {
				if g.Scrapes != 1 || len(g.Points) > minWidth || len(g.Points) < minWidth/2 {
					t.Errorf("request %d: %d samples of %d scrapes", i, len(g.Points), g.Scrapes)
				}
			}
			q.complete(t, r, nil)
			q.balanced(t)
		})
	}
}
