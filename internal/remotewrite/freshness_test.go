// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// gone is a receiver that no connection can be made to while it is down.
type gone struct {
	*virtual
	down func() bool
	at   []time.Time
}

func (g *gone) RoundTrip(req *http.Request) (*http.Response, error) {
	g.at = append(g.at, time.Now())
	if g.down() {
		return nil, errors.New("connection refused")
	}
	return g.virtual.RoundTrip(req)
}

// TestFreshAfterOutage: however the receiver is away, and for how long, the first attempt
// that can succeed begins within a quarter of the time that it was, at most MAX_BACKOFF;
// and right then all is there that waited. Only one that has said that it has too much is
// given it in steps, within another MAX_BACKOFF.
func TestFreshAfterOutage(t *testing.T) {
	for _, how := range []string{"refuses connections", "cuts connections", "503", "500", "429"} {
		for _, length := range []time.Duration{10 * time.Second, time.Minute, 10 * time.Minute, 3 * time.Hour} {
			t.Run(fmt.Sprint(how, " ", length), func(t *testing.T) {
				at2026(t, func(t *testing.T) {
					var back atomic.Int64
					down := func() bool { return time.Now().UnixNano() < back.Load() }
					v := newVirtual(func(n int, g *got) reply {
						switch {
						case !down():
							return ok(g)
						case how == "503":
							return reply{Status: 503}
						case how == "500":
							return reply{Status: 500}
						case how == "429":
							return reply{Status: 429}
						}
						return reply{} // cut
					})
					q := newQueue(t, 70)
					q.time = time.Now().UnixMilli() - 15_000
					o := usual(t)
					s, err := New(o, q.c)
					if err != nil {
						t.Fatal(err)
					}
					g := &gone{virtual: v, down: func() bool { return how == "refuses connections" && down() }}
					s.client.rt = g
					stop := running(t, s)
					scrape := func(d time.Duration) {
						for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(15 * time.Second) {
							q.fill(t, 1)
						}
					}
					scrape(time.Minute)
					until := time.Now().Add(length - time.Second/2)
					back.Store(until.UnixNano())
					scrape(length)
					waiting := len(q.served)
					// In the middle between two scrapes, so that none counts as one that waited.
					time.Sleep(7 * time.Second)
					scrape(3 * time.Minute)
					stop()
					first := -1
					for i, at := range g.at {
						if !at.Before(until) {
							first = i
							break
						}
					}
					if first < 1 {
						t.Fatalf("%d attempts, none after the outage", len(g.at))
					}
					bound := min(max(o.MinBackoff, length/4), o.MaxBackoff)
					if late := g.at[first].Sub(until); late > bound {
						t.Errorf("the first attempt is made %s after the return, want %s", late, bound)
					}
					end := g.at[first]
					if how == "429" {
						end = end.Add(o.MaxBackoff)
					}
					arrived := map[point]bool{}
					for i, r := range v.all {
						if !v.at[i].After(end) {
							for _, p := range r.Points {
								arrived[p] = arrived[p] || v.stored[p] > 0
							}
						}
					}
					missing := 0
					for _, p := range q.served[:waiting] {
						if !arrived[p] && time.UnixMilli(p.T).Before(g.at[first]) {
							missing++
						}
					}
					if missing > 0 {
						t.Errorf("%d of %d samples that waited are not there with the first attempt", missing, waiting)
					}
					q.complete(t, &v.receiver, nil)
					q.balanced(t)
				})
			})
		}
	}
}

// TestNarrows: a receiver that takes no large request gets all in small ones, whether it
// says so with 429, a gateway's 504 or silence, and whichever size it takes: a bad size is
// no outage, and what failed by its size is not tried at that size for ever.
func TestNarrows(t *testing.T) {
	for _, how := range []int{429, 504, 0} {
		for _, most := range []int{minPiece, 150, 1000, 5000} {
			t.Run(fmt.Sprint(how, " above ", most), func(t *testing.T) {
				at2026(t, func(t *testing.T) {
					v := newVirtual(func(n int, g *got) reply {
						if len(g.Points) > most {
							return reply{Status: how}
						}
						return ok(g)
					})
					q := newQueue(t, 400)
					q.fill(t, 20)
					_, stop := start(t, usual(t), q, v)
					defer stop()
					began := time.Now()
					q.drained(t, 24*time.Hour)
					if took, most := time.Since(began), 6*time.Hour; took > most {
						t.Errorf("it took %s, want less than %s", took, most)
					}
					q.complete(t, &v.receiver, nil)
					q.balanced(t)
					t.Logf("%d requests in %s", len(v.all), time.Since(began))
				})
			})
		}
	}
}
