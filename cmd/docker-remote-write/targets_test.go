// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/value"

	"github.com/docker-remote-write/docker-remote-write/internal/config"
	"github.com/docker-remote-write/docker-remote-write/internal/logging"
	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// host is one with targets, and what a pipeline there hands to the queue.
type host struct {
	exporter, receiver string
	dir                string
	took               []took
}

// took is a scrape by what its series say: those of each job, those that end, the own.
type took struct {
	target     uint8
	time       int64
	jobs       []string
	own, ended int
}

func newHost(t *testing.T) *host {
	h := &host{dir: t.TempDir()}
	serve := func(f http.HandlerFunc) string {
		s := httptest.NewServer(f)
		t.Cleanup(s.Close)
		return s.URL
	}
	h.exporter = serve(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		io.WriteString(w, "a 1\nb 2\n")
	})
	h.receiver = serve(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNoContent)
	})
	appended = func(sc *series.Scrape, err error) {
		if err != nil {
			t.Error(err)
		}
		k := took{target: sc.Target, time: sc.Time}
		for i, s := range sc.Series {
			if job := s.Labels.Get("job"); !slices.Contains(k.jobs, job) {
				k.jobs = append(k.jobs, job)
			}
			name, stale := s.Labels.Get("__name__"), value.IsStaleNaN(sc.Values[i])
			switch own := strings.HasPrefix(name, "docker_remote_write_"); {
			case stale && own:
				t.Errorf("%s ends", s.Labels)
			case stale:
				k.ended++
			case own:
				k.own = 1
			}
		}
		h.took = append(h.took, k)
	}
	t.Cleanup(func() { appended = nil })
	return h
}

// open makes a pipeline with these targets besides the engine's; what it hands to the
// queue by itself is in took.
func (h *host) open(t *testing.T, names ...string) *pipeline {
	t.Helper()
	env := []string{"REMOTE_WRITE_URL=" + h.receiver, "SCRAPE_TARGET=" + h.exporter, "INSTANCE=here", "DATA_DIR=" + h.dir}
	for i, n := range names {
		names[i] = n + "=" + h.exporter
	}
	cfg, _, err := config.Load(config.Run, append(env, "EXTRA_TARGETS="+strings.Join(names, ",")))
	if err != nil {
		t.Fatal(err)
	}
	log, err := logging.New(logging.Options{Stdout: io.Discard, Stderr: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(log.CloseSoon)
	h.took = nil
	p, err := openPipeline(cfg, nil, log)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (h *host) close(t *testing.T, p *pipeline) {
	t.Helper()
	if err := p.close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// A target that is removed or renamed while nothing runs ends at the next start, once;
// the others go on.
func TestRemovedTargetEnds(t *testing.T) {
	h := newHost(t)
	p := h.open(t, "a", "b")
	for _, target := range p.targets[1:] {
		p.take(t.Context(), target, time.Now())
	}
	last := h.took[len(h.took)-1]
	h.close(t, p)

	p = h.open(t, "a", "c")
	h.close(t, p)
	// a, b, up and four scrape_*.
	if len(h.took) != 1 || h.took[0].ended != 7 || !slices.Equal(h.took[0].jobs, []string{"b"}) || h.took[0].time <= last.time {
		t.Errorf("after b at %d was removed: %+v", last.time, h.took)
	}
	for _, names := range [][]string{{"a", "c"}, {}} {
		p = h.open(t, names...)
		h.close(t, p)
		if len(h.took) != 0 {
			t.Errorf("with %v: %+v", names, h.took)
		}
	}
}

// The own metrics travel with the engine's scrapes, and with those of the first other
// target while the engine rests; where they change over, none of them ends.
func TestOwnMetricsTravel(t *testing.T) {
	h := newHost(t)
	p := h.open(t, "a", "b")
	defer h.close(t, p)
	at := time.Now()
	round := func() (own []int) {
		h.took = nil
		for _, target := range p.targets {
			if at = at.Add(time.Millisecond); target.Name != "" || target.running.Load() {
				p.take(t.Context(), target, at)
			}
		}
		for _, k := range h.took {
			if k.own > 0 {
				own = append(own, int(k.target))
			}
			if k.ended > 0 {
				t.Errorf("%+v", k)
			}
		}
		return own
	}
	var got [][]int
	for _, running := range []bool{false, true, true, false, false, true} {
		p.targets[0].running.Store(running)
		got = append(got, round())
		if running {
			continue
		}
		p.targets[0].loop.End(at, true, true)
	}
	if d := cmp.Diff([][]int{{1}, {0}, {0}, {1}, {1}, {0}}, got); d != "" {
		t.Error(d)
	}
	// Of two scrapes of one time, and of one that is earlier, the later made has none.
	p.targets[0].running.Store(true)
	h.took = nil
	at = p.carrier.last
	p.take(t.Context(), p.targets[0], at)
	p.take(t.Context(), p.targets[0], at.Add(-time.Second))
	for _, k := range h.took {
		if k.own > 0 {
			t.Errorf("%+v", k)
		}
	}
}

// Each target is scraped by a goroutine of its own, while others read the state: of what
// they share nothing is without a lock, and each scrape is counted.
func TestTargetsAtOnce(t *testing.T) {
	h := newHost(t)
	p := h.open(t, "a", "b", "c")
	defer h.close(t, p)
	appended = nil
	const each = 20
	began := time.Now()
	var wg sync.WaitGroup
	for _, target := range p.targets {
		wg.Go(func() {
			for i := range each {
				p.take(t.Context(), target, began.Add(time.Duration(i)*time.Millisecond))
			}
		})
	}
	wg.Go(func() {
		for i := range each {
			// The own metrics change over from one to the other.
			p.targets[0].running.Store(i%2 == 0)
			p.state()
		}
	})
	wg.Wait()
	want := int64(each * len(p.targets))
	if n := p.tidier.scrapes.Load(); n != want {
		t.Errorf("%d scrapes counted, want %d", n, want)
	}
	for _, s := range p.state().Targets {
		if s.Successes != each {
			t.Errorf("%q: %d good scrapes in the state, want %d", s.Name, s.Successes, each)
		}
	}
}
