// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/docker-remote-write/docker-remote-write/internal/remotewrite"
	"github.com/docker-remote-write/docker-remote-write/proof/faultproxy"
	"github.com/docker-remote-write/docker-remote-write/proof/promtest"
)

// TestAnswerLost stores a merged request and cuts the connection before its answer
// comes, with and without a crash before it is sent again. The receiver refuses
// what it has already; it must lose nothing that is new.
func TestAnswerLost(t *testing.T) {
	for _, proto := range []remotewrite.Protocol{remotewrite.V2, remotewrite.V1} {
		for _, crash := range []bool{false, true} {
			t.Run(name(proto, "crash", crash), func(t *testing.T) {
				t.Parallel()
				var stored atomic.Int64
				l := newLink(t, promtest.Options{OnRequest: func(*promtest.Request) { stored.Add(1) }})
				h := newHost(t, l.Proxy.URL()+"/api/v1/write", proto, time.Now().Add(-50*time.Minute))
				h.fill(1)
				h.drain()
				// A backlog grows; the request that takes it is stored, its answer lost,
				// and nothing gets through any more.
				l.Set(faultproxy.Status(503, ""))
				h.fill(60)
				before, met := stored.Load(), l.Count(faultproxy.CutAnswer)
				lost := false
				l.Decide(func(*http.Request) faultproxy.Fault {
					if !lost {
						lost = true
						return faultproxy.Fault{Kind: faultproxy.CutAnswer}
					}
					return faultproxy.Fault{Kind: faultproxy.Hang}
				})
				h.until("an answer was lost", func() bool { return l.Count(faultproxy.CutAnswer) > met && stored.Load() > before })
				if crash {
					h.crash()
				}
				h.fill(10)
				l.Set(faultproxy.Fault{})
				h.drain()
				h.fill(3)
				h.drain()
				h.exact(l)
				counted := h.balanced()
				delete(counted, "refused_after_resend")
				if len(counted) > 0 {
					t.Error("counted as lost:", counted)
				}
			})
		}
	}
}

// TestOneRefusedScrape has one scrape in a backlog of sixty that the receiver
// refuses, because it has another value for that time. It costs that scrape alone.
func TestOneRefusedScrape(t *testing.T) {
	for _, proto := range []remotewrite.Protocol{remotewrite.V2, remotewrite.V1} {
		t.Run(proto.String(), func(t *testing.T) {
			t.Parallel()
			l := newLink(t, promtest.Options{})
			h := newHost(t, l.Proxy.URL()+"/api/v1/write", proto, time.Now().Add(-50*time.Minute))
			h.fill(2)
			h.drain()
			l.Down()
			h.fill(30)
			// Its samples lie before those that are there.
			bad := h.scrape()
			keep := bad.Time
			bad.Time = h.time - 40*interval.Milliseconds()
			h.append(bad)
			h.time = keep + 1000
			h.fill(29)
			if err := l.Up(); err != nil {
				t.Fatal(err)
			}
			h.drain()
			h.exact(l)
			lost := h.balanced()
			if lost["refused"] != uint64(len(h.series)) || len(lost) != 1 {
				t.Errorf("counted as lost: %v, want %d refused", lost, len(h.series))
			}
		})
	}
}
