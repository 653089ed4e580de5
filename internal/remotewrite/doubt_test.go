// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// TestEndAmongResent ends a process while a stored request whose answer was lost is
// being sent again scrape by scrape. The receiver, as Prometheus does over 1.0,
// stores nothing of a request with anything in it that it has already: the next
// process must know where those scrapes end, and merge none of them with new ones.
func TestEndAmongResent(t *testing.T) {
	const stored, fresh = 11, 20
	for after := range stored + 4 {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			var r *receiver
			lose := false
			r = newReceiver(t, func(n int, g *got) reply {
				for _, p := range g.Points {
					if r.stored[p] > 0 {
						return reply{Status: 400}
					}
				}
				if lose {
					lose = false
					r.store(g)
					panic(http.ErrAbortHandler) // the connection is cut
				}
				return ok(g)
			})
			q := newQueue(t, 4)
			o := fast(t, r.URL+"/write")
			o.Protocol = V1
			s := sender(t, o, q)
			q.fill(t, 1)
			drainAll(t, s, q, 2) // 1.0 is proven: what follows is merged

			q.fill(t, stored)
			lose = true
			for range 1 + after {
				s.step(t.Context())
			}
			s.client.close()
			q.fill(t, fresh)
			again := sender(t, o, q)
			drainAll(t, again, q, 100)

			q.complete(t, r, nil)
			q.balanced(t)
			tally := q.c.Tally()
			if n := tally.Lost[series.RefusedAfterResend]; n != 4*stored || tally.Delivered != 4*(1+fresh) {
				t.Errorf("%d samples counted as refused after a resend and %d as delivered, want %d and %d: %+v", n, tally.Delivered, 4*stored, 4*(1+fresh), tally)
			}
		})
	}
}

// TestStoredAndDenied: a gateway answers 504 for requests that the receiver stores.
// They become smaller, and the parts do not end where the first one did; none of
// them may hold scrapes of it together with new ones.
func TestStoredAndDenied(t *testing.T) {
	for _, p := range []Protocol{V1, V2} {
		for stored := 2; stored <= 40; stored++ {
			t.Run(fmt.Sprint(p, " ", stored), func(t *testing.T) {
				var r *receiver
				deny := 0
				r = newReceiver(t, func(n int, g *got) reply {
					for _, p := range g.Points {
						if r.stored[p] > 0 && deny == 0 {
							return reply{Status: 400}
						}
					}
					if deny > 0 {
						if deny == NarrowAfter {
							r.store(g)
						}
						deny--
						return reply{Status: 504}
					}
					return ok(g)
				})
				q := newQueue(t, 4)
				o := fast(t, r.URL+"/write")
				o.Protocol = p
				s := sender(t, o, q)
				q.fill(t, 1)
				drainAll(t, s, q, 2)
				q.fill(t, stored)
				deny = NarrowAfter
				for range NarrowAfter {
					s.step(t.Context())
				}
				q.fill(t, 30)
				drainAll(t, s, q, 200)
				q.complete(t, r, nil)
				q.balanced(t)
				if n := q.c.Tally().Delivered; n != 4*31 {
					t.Errorf("%d samples counted as delivered, want those that were not refused, %d", n, 4*31)
				}
			})
		}
	}
}
