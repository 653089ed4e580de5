// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"context"
	"testing"
	"time"
)

func TestDelivers(t *testing.T) {
	for _, p := range []Protocol{Auto, V2, V1} {
		t.Run(p.String(), func(t *testing.T) {
			r := newReceiver(t, func(n int, g *got) reply { return ok(g) })
			q := newQueue(t, 40)
			o := fast(t, r.URL+"/api/v1/write")
			o.Protocol = p
			s := sender(t, o, q)
			q.fill(t, 100)

			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- s.Run(ctx) }()
			flush, stop := context.WithTimeout(t.Context(), 10*time.Second)
			defer stop()
			if err := s.Flush(flush); err != nil {
				t.Fatal(err)
			}
			q.fill(t, 3)
			if err := s.Flush(flush); err != nil {
				t.Fatal(err)
			}
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			q.fill(t, 1)
			if err := s.Flush(flush); err != nil {
				t.Fatal("flush after Run: ", err)
			}
			q.complete(t, r, nil)
			q.balanced(t)
			if n := r.requests()[0].Scrapes; n != 1 {
				t.Errorf("the first request in an unproven protocol carries %d scrapes, want 1", n)
			}
			if n := len(r.requests()); n > 6 {
				t.Errorf("%d requests for 104 scrapes: not merged", n)
			}
		})
	}
}
