// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"testing"
	"time"

	"github.com/docker-remote-write/docker-remote-write/internal/remotewrite"
	"github.com/docker-remote-write/docker-remote-write/proof/faultproxy"
	"github.com/docker-remote-write/docker-remote-write/proof/promtest"
)

var protocols = []remotewrite.Protocol{remotewrite.Auto, remotewrite.V2, remotewrite.V1}

// TestEveryScrapeArrives lets a network fail in one way for some time.
func TestEveryScrapeArrives(t *testing.T) {
	for _, f := range []struct {
		name  string
		fault faultproxy.Fault
	}{
		{"latency", faultproxy.Fault{Delay: 30 * time.Millisecond}},
		{"latency beyond the timeout", faultproxy.Fault{Delay: 2 * time.Second}},
		{"slow", faultproxy.Fault{Rate: 20_000}},
		{"cut before the body", faultproxy.Fault{Kind: faultproxy.CutRequest}},
		{"cut within the body", faultproxy.Fault{Kind: faultproxy.CutRequest, Bytes: 100}},
		{"answer lost", faultproxy.Fault{Kind: faultproxy.CutAnswer}},
		{"cut within the answer", faultproxy.Fault{Kind: faultproxy.CutAnswer, Bytes: 30}},
		{"half open", faultproxy.Fault{Kind: faultproxy.Hang}},
		{"503", faultproxy.Status(503, "")},
		{"500", faultproxy.Status(500, "")},
		{"408", faultproxy.Status(408, "")},
		{"429", faultproxy.Status(429, "0")},
		{"429 with a malformed Retry-After", faultproxy.Status(429, "soon")},
	} {
		for _, proto := range protocols {
			t.Run(name(f.name, proto), func(t *testing.T) {
				t.Parallel()
				l := newLink(t, promtest.Options{})
				h := newHost(t, l.Proxy.URL()+"/api/v1/write", proto, time.Now().Add(-time.Hour))
				h.fill(3)
				h.drain()
				l.Set(f.fault)
				met := l.Count(f.fault.Kind)
				h.fill(5)
				h.until("the fault was met", func() bool { return l.Count(f.fault.Kind) > met+1 || h.curs.Backlog().Samples == 0 })
				h.fill(20)
				l.Set(faultproxy.Fault{})
				h.fill(5)
				h.drain()
				h.exact(l)
				lost := h.balanced()
				delete(lost, "refused_after_resend")
				if len(lost) > 0 {
					t.Error("counted as lost:", lost)
				}
			})
		}
	}
}

// TestReceiverAway closes the listener: the connection is refused.
func TestReceiverAway(t *testing.T) {
	for _, proto := range protocols {
		t.Run(proto.String(), func(t *testing.T) {
			t.Parallel()
			l := newLink(t, promtest.Options{})
			l.Down()
			h := newHost(t, l.Proxy.URL()+"/api/v1/write", proto, time.Now().Add(-10*time.Hour))
			for range 3 {
				h.fill(300)
				attempts := h.send.Status().Attempts
				h.until("two more attempts failed", func() bool { return h.send.Status().Attempts > attempts+1 })
				if err := l.Up(); err != nil {
					t.Fatal(err)
				}
				h.drain()
				h.exact(l)
				l.Down()
			}
			if lost := h.balanced(); len(lost) > 0 {
				t.Error("counted as lost:", lost)
			}
		})
	}
}

// TestReceiverChangesItsProtocol goes from 2.0 to 1.0 only, and back, while
// scrapes come.
func TestReceiverChangesItsProtocol(t *testing.T) {
	for _, older := range []struct {
		name   string
		accept promtest.Accept
	}{{"answers 415", promtest.Accept1}, {"reads 2.0 as an empty 1.0", promtest.AcceptAnyAs1}} {
		t.Run(name(older.name), func(t *testing.T) {
			t.Parallel()
			l := newLink(t, promtest.Options{Accept: older.accept})
			h := newHost(t, l.Proxy.URL()+"/api/v1/write", remotewrite.Auto, time.Now().Add(-10*time.Hour))
			for i, accept := range []promtest.Accept{older.accept, promtest.AcceptBoth, older.accept, promtest.Accept2, older.accept} {
				l.SetAccept(accept)
				for range 5 {
					h.fill(20)
					h.drain()
				}
				if i == 0 && h.send.Status().Protocol != remotewrite.V1 {
					t.Error("the protocol in use is", h.send.Status().Protocol)
				}
			}
			h.exact(l)
			if lost := h.balanced(); len(lost) > 0 {
				t.Error("counted as lost:", lost)
			}
		})
	}
}
