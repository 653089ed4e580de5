// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"sync"
	"time"
)

const (
	// historySpan is what the status page's chart shows.
	historySpan = time.Hour
	// historyStep is the least time between two points: 120 of them are kept.
	historyStep = 30 * time.Second
	historyCap  = int(historySpan / historyStep)
)

// history is the backlog of each endpoint over the last hour, in memory only. It
// is written with every scrape and every status; a new process begins a new one.
type history struct {
	mu        sync.Mutex
	last      time.Time
	endpoints map[string]*track
}

// track is a ring of points.
type track struct {
	points [historyCap]Point
	n      int // points ever written
	seen   time.Time
}

// record adds a point for each endpoint unless the last one is too young. A clock
// that was set back starts again at once.
func (h *history) record(s *State) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d := s.Time.Sub(h.last); d >= 0 && d < historyStep {
		return
	}
	h.last = s.Time
	if h.endpoints == nil {
		h.endpoints = map[string]*track{}
	}
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		t := h.endpoints[e.Name]
		if t == nil {
			t = &track{}
			h.endpoints[e.Name] = t
		}
		t.seen = s.Time
		t.points[t.n%historyCap] = e.point(s.Time)
		t.n++
	}
	for name, t := range h.endpoints {
		if !t.seen.Equal(s.Time) { // no longer configured
			delete(h.endpoints, name)
		}
	}
}

func (e *EndpointState) point(now time.Time) Point {
	return Point{
		Time: now, Age: e.Backlog.Age, Samples: e.Backlog.Samples,
		Lost: e.Lost.Sum(), Failing: e.Failures > 0 || e.Phase == Refusing,
	}
}

// fill copies the points of the last hour into the endpoints, and ends each
// history with what is true now.
func (h *history) fill(s *State) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range s.Endpoints {
		t := h.endpoints[s.Endpoints[i].Name]
		if t == nil {
			continue
		}
		out := make([]Point, 0, min(t.n, historyCap)+1)
		for k := max(0, t.n-historyCap); k < t.n; k++ {
			p := t.points[k%historyCap]
			if age := s.Time.Sub(p.Time); age >= 0 && age <= historySpan {
				out = append(out, p)
			}
		}
		if n := len(out); n == 0 || out[n-1].Time.Before(s.Time) {
			out = append(out, s.Endpoints[i].point(s.Time))
		}
		s.Endpoints[i].History = out
	}
}
