// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/docker-remote-write/docker-remote-write/proof/faultproxy"
	"github.com/docker-remote-write/docker-remote-write/proof/promtest"
)

// link is a receiver behind a network.
type link struct {
	*promtest.Server
	*faultproxy.Proxy
	trace *trace
}

// trace is what reached the receiver and what was done to the host, in that order.
type trace struct {
	mu    sync.Mutex
	lines []string
}

func (tr *trace) note(format string, args ...any) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.lines = append(tr.lines, fmt.Sprintf(format, args...))
}

// request notes which times a request spans, and the answer.
func (tr *trace) request(r *promtest.Request) {
	var times []int64
	if r.Proto() == "2.0" {
		if m, err := r.V2(); err == nil {
			for _, ts := range m.Timeseries {
				for _, s := range ts.Samples {
					times = append(times, s.Timestamp)
				}
			}
		}
	} else if m, err := r.V1(); err == nil {
		for _, ts := range m.Timeseries {
			for _, s := range ts.Samples {
				times = append(times, s.Timestamp)
			}
		}
	}
	slices.Sort(times)
	n := len(times)
	times = slices.Compact(times)
	if n > 0 {
		tr.note("%s: %d samples of %d scrapes, %d to %d: %d", r.Proto(), n, len(times), times[0], times[len(times)-1], r.Status)
	}
}

func newLink(t *testing.T, o promtest.Options) link {
	t.Helper()
	tr := &trace{}
	seen := o.OnRequest
	o.OnRequest = func(r *promtest.Request) {
		tr.request(r)
		if seen != nil {
			seen(r)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("what reached the receiver, at last:\n%s", strings.Join(tr.lines[max(0, len(tr.lines)-300):], "\n"))
		}
	})
	s, err := promtest.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	p, err := faultproxy.New(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return link{s, p, tr}
}
