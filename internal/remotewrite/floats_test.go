// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
	"github.com/docker-remote-write/docker-remote-write/internal/spool"
)

// histograms counts the native ones of a request.
func (g *got) histograms() (n int) {
	if g.V2 != nil {
		for i := range g.V2.Timeseries {
			n += len(g.V2.Timeseries[i].Histograms)
		}
		return n
	}
	for i := range g.V1.Timeseries {
		n += len(g.V1.Timeseries[i].Histograms)
	}
	return n
}

// fillWithHistograms appends n scrapes, each with a native histogram, and all of them with
// floats unless bare is true.
func (q *queue) fillWithHistograms(t *testing.T, n int, bare bool) {
	t.Helper()
	h := &histogram.Histogram{Schema: 1, Count: 2, PositiveSpans: []histogram.Span{{Offset: 0, Length: 1}}, PositiveBuckets: []int64{2}}
	for range n {
		q.time += 15_000
		sc := &series.Scrape{Time: q.time, Histograms: []series.Histogram{{Series: q.native, Int: h}}}
		for _, s := range q.series {
			if bare {
				break
			}
			sc.Series, sc.Values = append(sc.Series, s), append(sc.Values, 1)
			q.served = append(q.served, point{s.Labels.String(), q.time, 1})
		}
		if _, err := q.Append(t.Context(), sc); err != nil && !errors.Is(err, spool.ErrNotDurable) {
			t.Fatal(err)
		}
	}
}

// TestHistogramsSpoilNothing: a receiver that refuses native histograms gets all the rest
// of each scrape, in whatever protocol, merged or not; they alone are counted as refused.
func TestHistogramsSpoilNothing(t *testing.T) {
	for _, c := range []struct {
		proto   Protocol // the one that the receiver speaks
		status  int
		written string // of the refusal, "-" for none
		learned bool   // the receiver has accepted something before
	}{
		{V2, 400, "0", true}, {V2, 400, "-", true}, {V2, 409, "-", false}, {V2, 422, "x", false}, {V2, 418, "0", true}, {V2, 410, "-", true}, {V2, 400, "0", false},
		{V1, 400, "-", true}, {V1, 400, "-", false}, {V1, 422, "-", true}, {V1, 418, "-", true}, {V1, 418, "-", false},
	} {
		for _, auto := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s %d %s learned=%v auto=%v", c.proto, c.status, c.written, c.learned, auto), func(t *testing.T) {
				rc := newReceiver(t, func(_ int, g *got) reply {
					if g.histograms() == 0 && (c.proto == V1) == (g.V1 != nil) {
						return ok(g)
					}
					a := reply{Status: c.status, Header: http.Header{}}
					if g.histograms() == 0 {
						a.Status = 400 // to the other protocol
					}
					if c.written != "-" {
						a.Header.Set(writtenHeader, c.written)
					}
					return a
				})
				q := newQueue(t, 4)
				o := fast(t, rc.URL)
				if !auto {
					o.Protocol = c.proto
				}
				if c.learned {
					l := spool.Learned{V1: c.proto == V1, V2: c.proto == V2}
					if c.proto == V1 {
						l.FellBack = time.Now().Unix() // of 2.0 it is known that it is not understood
					}
					q.learn(t, l)
				}
				s := sender(t, o, q)
				for range 3 {
					q.fillWithHistograms(t, 3, false)
					drainAll(t, s, q, 20)
				}
				q.fillWithHistograms(t, 1, true)
				drainAll(t, s, q, 20)
				tally := q.c.Tally()
				if tally.Delivered != 36 || tally.Lost[series.Refused] != 10 || tally.Sum() != 46 {
					t.Errorf("%+v, want 36 delivered and the 10 histograms refused", tally)
				}
				q.complete(t, rc, nil)
				if st := s.Status(); !strings.Contains(st.LastError, "SEND_NATIVE_HISTOGRAMS=false") || st.Protocol != c.proto {
					t.Errorf("protocol %s, last error %q", st.Protocol, st.LastError)
				}
			})
		}
	}
}

// TestRefusedWithoutHistograms: where native histograms were not what was wrong the
// refusal is final, and nothing is asked for ever.
func TestRefusedWithoutHistograms(t *testing.T) {
	for _, p := range []Protocol{Auto, V2, V1} {
		rc := newReceiver(t, func(int, *got) reply { return reply{Status: 400} })
		q := newQueue(t, 4)
		o := fast(t, rc.URL)
		o.Protocol = p
		s := sender(t, o, q)
		q.fillWithHistograms(t, 1, false)
		drainAll(t, s, q, 8)
		var seen []string
		for _, g := range rc.requests() {
			seen = append(seen, fmt.Sprint(g.V1 != nil, g.histograms()))
		}
		want := map[Protocol]string{
			Auto: "[false 1 false 0 true 1 true 0]", V2: "[false 1 false 0]", V1: "[true 1 true 0]",
		}[p]
		if tally := q.c.Tally(); tally.Lost[series.Refused] != 5 || fmt.Sprint(seen) != want {
			t.Errorf("%s: %+v, requests %v, want %s", p, tally, seen, want)
		}
	}
}

// TestHistogramsThatCrash: 5xx to native histograms holds what waits, the status names the
// setting, and with it all of the rest goes out; the histograms are counted.
func TestHistogramsThatCrash(t *testing.T) {
	rc := newReceiver(t, func(_ int, g *got) reply {
		if g.histograms() > 0 {
			return reply{Status: 500}
		}
		return ok(g)
	})
	q := newQueue(t, 4)
	o := fast(t, rc.URL)
	s := sender(t, o, q)
	q.fillWithHistograms(t, 5, false)
	s.step(t.Context())
	if st := s.Status(); !strings.Contains(st.LastError, "500") || !strings.Contains(st.LastError, "SEND_NATIVE_HISTOGRAMS=false") || st.Failures != 1 {
		t.Errorf("%+v", st)
	}
	o.Omit.NativeHistograms = true
	s = sender(t, o, q)
	drainAll(t, s, q, 8)
	q.complete(t, rc, nil)
	if tally := q.c.Tally(); tally.Delivered != 20 || tally.Lost[series.Relabelled] != 5 {
		t.Errorf("%+v, want 20 delivered and the 5 histograms left out", tally)
	}
}
