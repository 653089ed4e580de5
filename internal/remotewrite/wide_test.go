// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
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
	o.Memory = new(Memory)
	if err := o.Memory.put(memoryKey(o.URL), learned{V2: true}); err != nil {
		t.Fatal(err)
	}
	q := newQueue(t, 4)
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

// TestTableRests: what finds new series goes when none come, and what is sent does
// not change by it: not for the series that are known, not for new ones, and not for
// copies of known ones, which share a line with them.
func TestTableRests(t *testing.T) {
	for _, p := range []Protocol{V2, V1} {
		t.Run(p.String(), func(t *testing.T) {
			numbered := func(i int) *series.Series {
				return &series.Series{Labels: labels.FromStrings("__name__", fmt.Sprintf("m_%05d", i), "job", "docker"), Help: "Help."}
			}
			var known []*series.Series
			for i := range restAbove + 100 {
				known = append(known, numbered(i))
			}
			e := newEncoder(nil)
			encode := func(all []*series.Series, at int64) []byte {
				b := &series.Batch{Times: []int64{at}, Samples: len(all)}
				for _, s := range all {
					b.Rows = append(b.Rows, series.Row{Series: s, Samples: []series.Sample{{T: at, V: 1}}})
				}
				var r request
				e.encode(&r, b, p, 1)
				e.accepted(1)
				return slices.Clone(r.body)
			}
			encode(known, 1) // with help texts
			want := encode(known, 2)
			for range restAfter + 2 {
				if got := encode(known, 2); !bytes.Equal(got, want) {
					t.Fatal("the same batch became another request")
				}
			}
			if e.table.index != nil || e.table.lines != nil || e.table.symbols.ids != nil {
				t.Fatal("the table does not rest")
			}

			other := slices.Insert(slices.Clone(known), 50, numbered(1_000_000))
			other[70] = numbered(69) // a copy: one place further on, for the new one in front of it
			g, err := decode(map[Protocol]string{V1: "application/x-protobuf"}[p], encode(other, 3))
			if err != nil {
				t.Fatal(err)
			}
			if len(g.Points) != len(other) {
				t.Errorf("%d samples became %d", len(other), len(g.Points))
			}
			for i, pt := range g.Points {
				if pt.Series != other[i].Labels.String() {
					t.Fatalf("sample %d is of %s, want %s", i, pt.Series, other[i].Labels)
				}
			}
			if n := len(e.table.known); n != len(known)+2 {
				t.Errorf("%d series are known, want two more than %d", n, len(known))
			}
			if a, b := e.table.lookup(known[69]), e.table.lookup(other[70]); a != b {
				t.Error("a copy of a known series has a line of its own")
			}
		})
	}
}
