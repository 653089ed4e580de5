// SPDX-License-Identifier: Apache-2.0

// Package fleet holds a test with many processes of the program at once.
package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"

	"github.com/docker-remote-write/docker-remote-write/proof/bench"
	"github.com/docker-remote-write/docker-remote-write/proof/bench/agents"
	"github.com/docker-remote-write/docker-remote-write/proof/bench/replay"
	"github.com/docker-remote-write/docker-remote-write/proof/promtest"
)

const (
	hosts  = 50
	killed = 5 // of them, in the outage
	series = 40
	// limit is the requests that the receiver takes in a second when it comes back; the
	// fleet makes fifty while all is well.
	limit = 25
)

// limiter answers 429 beyond limit requests in a second, while it is on.
type limiter struct {
	on      atomic.Bool
	refused atomic.Int64

	mu     sync.Mutex
	second int64
	taken  int
}

func (l *limiter) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if l.on.Load() && !l.take(time.Now().Unix()) {
			l.refused.Add(1)
			http.Error(w, "too many requests", http.StatusTooManyRequests)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (l *limiter) take(second int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.second != second {
		l.second, l.taken = second, 0
	}
	l.taken++
	return l.taken <= limit
}

// host is one process with its target.
type host struct {
	name   string
	target *replay.Target
	work   agents.Work
	proc   *agents.Process
	cut    int // answers that a kill may have cut off
}

// Fifty hosts write to one receiver that limits them, through an outage in which
// some of them are killed: at the end the receiver holds what was served, each
// value at its place.
func TestFiftyHostsThroughAnOutage(t *testing.T) {
	dir := t.TempDir()
	agent := build(t, dir)
	l := &limiter{}
	options := promtest.Options{Dir: filepath.Join(dir, "tsdb"), Middleware: l.wrap}
	server, err := promtest.Start(options)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { server.Close() }()
	options.Addr = server.Addr()

	frames := replay.Synthetic(series)
	fleet := make([]*host, hosts)
	defer func() {
		for _, h := range fleet {
			if h != nil {
				h.proc.Kill()
				h.target.Close()
			}
		}
		if t.Failed() {
			t.Log(bench.LogOf(filepath.Join(dir, "host-00")))
		}
	}()
	for i := range fleet {
		h := &host{name: fmt.Sprintf("host-%02d", i)}
		if h.target, err = replay.Serve(frames); err != nil {
			t.Fatal(err)
		}
		h.work = agents.Work{
			Dir: filepath.Join(dir, h.name), Targets: []agents.Target{{Job: "docker", Addr: h.target.Addr, Interval: time.Second}},
			URL: server.WriteURL(), Env: []string{"INSTANCE=" + h.name, "MAX_BACKOFF=3s"},
		}
		if h.proc, err = agent.Start(h.work); err != nil {
			h.target.Close()
			t.Fatal(err)
		}
		fleet[i] = h
	}
	served(t, fleet, 8)

	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	served(t, fleet, 5)
	for _, h := range fleet[:killed] {
		h.proc.Kill()
		h.cut++
		if h.proc, err = agent.Start(h.work); err != nil {
			t.Fatal(err)
		}
	}
	served(t, fleet, 5)
	l.on.Store(true)
	if server, err = promtest.Start(options); err != nil {
		t.Fatal(err)
	}
	served(t, fleet, 5)
	l.on.Store(false)
	served(t, fleet, 5)

	for _, h := range fleet {
		if err := h.proc.Stop(); err != nil {
			t.Errorf("%s: %v", h.name, err)
		}
		h.cut++ // the stop may have cut one off too
	}
	if l.refused.Load() == 0 {
		t.Error("the limiter has refused nothing: the test shows less than it says")
	}
	t.Logf("%d requests were answered 429", l.refused.Load())
	compare(t, server, fleet, frames)
}

// build builds the program as it ships.
func build(t *testing.T, dir string) *agents.Agent {
	t.Helper()
	binary := filepath.Join(dir, "docker-remote-write")
	cmd := exec.Command("go", "build", "-o", binary, "../../../cmd/docker-remote-write")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	a, err := agents.Ours(binary)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// served waits until each host's target has been scraped n times more.
func served(t *testing.T, fleet []*host, n int) {
	t.Helper()
	deadline := time.Now().Add(time.Duration(n)*time.Second + time.Minute)
	want := make([]int, len(fleet))
	for i, h := range fleet {
		want[i] = h.target.Served() + n
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for i, h := range fleet {
		for h.target.Served() < want[i] {
			if time.Now().After(deadline) {
				t.Fatalf("%s has stopped scraping; its log:\n%s", h.name, bench.LogOf(h.work.Dir))
			}
			<-tick.C
		}
	}
}

// anyHost stands for the instance in what is expected.
const anyHost = "any"

// values are those of the n-th answer, by the series' labels.
func values(t *testing.T, frames *replay.Frames, n int) map[string]float64 {
	t.Helper()
	m := map[string]float64{}
	p := textparse.NewPromParser(frames.Append(nil, n-1), labels.NewSymbolTable(), false)
	for {
		entry, err := p.Next()
		if errors.Is(err, io.EOF) {
			return m
		}
		if err != nil {
			t.Fatal(err)
		}
		if entry == textparse.EntrySeries {
			var ls labels.Labels
			p.Labels(&ls)
			b := labels.NewBuilder(ls)
			b.Set("job", "docker")
			b.Set("instance", anyHost)
			_, _, m[b.Labels().String()] = p.Series()
		}
	}
}

// compare looks at each sample that the receiver holds of the fleet's targets.
func compare(t *testing.T, server *promtest.Server, fleet []*host, frames *replay.Frames) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	expected := map[int]map[string]float64{}
	for _, h := range fleet {
		content, err := server.Samples(ctx, fmt.Sprintf(`{__name__=~"bench_.+",instance=%q}`, h.name), time.Time{}, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		if len(content) != frames.Series {
			t.Errorf("%s: %d series, want %d", h.name, len(content), frames.Series)
			continue
		}
		at := map[int64]int{} // which answer a time belongs to
		last := 0
		for name, samples := range content {
			if !strings.Contains(name, replay.SequenceName) {
				continue
			}
			for _, s := range samples {
				n := int(s.V)
				if float64(n) != s.V || n <= last {
					t.Errorf("%s: %v comes after %d", h.name, s, last)
				}
				at[s.T], last = n, n
			}
		}
		if missing := h.target.Served() - len(at); missing > h.cut || missing < 0 {
			t.Errorf("%s: %d scrapes arrived of %d served; its log:\n%s", h.name, len(at), h.target.Served(), bench.LogOf(h.work.Dir))
		}
		for name, samples := range content {
			if len(samples) != len(at) {
				t.Errorf("%s: %s has %d samples, others %d", h.name, name, len(samples), len(at))
			}
			key := strings.Replace(name, fmt.Sprintf("instance=%q", h.name), fmt.Sprintf("instance=%q", anyHost), 1)
			for _, s := range samples {
				n := at[s.T]
				if expected[n] == nil {
					expected[n] = values(t, frames, n)
				}
				want, ok := expected[n][key]
				if !ok || math.Float64bits(want) != math.Float64bits(s.V) {
					t.Fatalf("%s: %s of scrape %d is %v, want %v (%t)", h.name, key, n, s, want, ok)
				}
			}
		}
	}
}
