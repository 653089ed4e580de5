// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/docker-remote-write/docker-remote-write/proof/faultproxy"
	"github.com/docker-remote-write/docker-remote-write/proof/promtest"
)

// anyFault is what befalls a request on a bad day.
func anyFault(r *rand.Rand) faultproxy.Fault {
	switch r.IntN(12) {
	case 0:
		return faultproxy.Fault{Kind: faultproxy.CutRequest, Bytes: r.IntN(400)}
	case 1:
		return faultproxy.Fault{Kind: faultproxy.CutAnswer, Bytes: r.IntN(2) * r.IntN(100)}
	case 2:
		return faultproxy.Status(429, []string{"", "0", "soon"}[r.IntN(3)])
	case 3:
		return faultproxy.Status(500+r.IntN(5), "")
	case 4:
		return faultproxy.Fault{Delay: time.Duration(r.IntN(20)) * time.Millisecond}
	case 5:
		return faultproxy.Fault{Kind: faultproxy.CutRequest, Delay: time.Duration(r.IntN(5)) * time.Millisecond}
	}
	return faultproxy.Fault{}
}

// TestAnything combines faults, restarts, crashes and changes of the protocol at
// random through hours of scrapes. The receiver ends up with exactly what was
// appended.
func TestAnything(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	for i := range min(loops(t), 20) {
		t.Run(name(i), func(t *testing.T) {
			r := random(t, seed+uint64(i))
			proto := protocols[r.IntN(len(protocols))]
			l := newLink(t, promtest.Options{})
			h := newHost(t, l.Proxy.URL()+"/api/v1/write", proto, time.Now().Add(-20*time.Hour))
			bad := rand.New(rand.NewPCG(r.Uint64(), 1))
			for range 40 {
				if r.IntN(3) > 0 {
					l.Decide(func(*http.Request) faultproxy.Fault { return anyFault(bad) })
				} else {
					l.Set(faultproxy.Fault{})
				}
				h.fill(1 + r.IntN(60))
				switch r.IntN(8) {
				case 0:
					l.trace.note("restart")
					h.close()
					h.open()
				case 1, 2:
					l.trace.note("crash")
					h.crash()
				case 3:
					l.trace.note("down")
					l.Down()
					h.fill(r.IntN(100))
					if err := l.Up(); err != nil {
						t.Fatal(err)
					}
				case 4, 5:
					h.until("half of the backlog drains", func() bool { return h.curs.Backlog().Scrapes < 30 })
				}
			}
			l.Set(faultproxy.Fault{})
			h.drain()
			h.exact(l)
			lost := h.balanced()
			delete(lost, "refused_after_resend")
			if len(lost) > 0 {
				t.Error("counted as lost:", lost)
			}
			t.Logf("%s: %d scrapes, %d requests passed, %d cut, %d answers lost, %d answered otherwise",
				proto, h.n, l.Count(faultproxy.Pass), l.Count(faultproxy.CutRequest), l.Count(faultproxy.CutAnswer), l.Count(faultproxy.Answer))
		})
	}
}

// TestTheComparisonFindsWhatIsBroken gives the queue something else than what is
// expected: a comparison that passes that proves nothing.
func TestTheComparisonFindsWhatIsBroken(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(h *host)
	}{
		{"a scrape is skipped", func(h *host) { h.note(h.scrape()) }},
		{"two are swapped", func(h *host) {
			a, b := h.scrape(), h.scrape()
			h.note(a)
			h.note(b)
			a.Values, b.Values = b.Values, a.Values
			h.append(a)
			h.append(b)
		}},
		{"one comes twice, with another value", func(h *host) {
			sc := h.scrape()
			h.note(sc)
			h.append(sc)
			sc.Time++
			sc.Values[0]++
			h.append(sc)
		}},
		{"one bit of one value", func(h *host) {
			sc := h.scrape()
			h.note(sc)
			sc.Values[3] += 1e-10
			h.append(sc)
		}},
	} {
		t.Run(name(c.name), func(t *testing.T) {
			l := newLink(t, promtest.Options{})
			h := newHost(t, l.Proxy.URL()+"/api/v1/write", protocols[0], time.Now().Add(-time.Hour))
			h.fill(10)
			c.do(h)
			h.fill(10)
			h.drain()
			if difference(t, l, h.want) == "" {
				t.Error("it was not found")
			}
		})
	}
}
