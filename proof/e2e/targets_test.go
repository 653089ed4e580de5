// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/value"

	"github.com/docker-remote-write/docker-remote-write/proof/engine"
	"github.com/docker-remote-write/docker-remote-write/proof/promtest"
)

// moody is a target that behaves as it is told.
type moody struct {
	*httptest.Server
	mood atomic.Int32
}

const (
	good = iota
	hangs
	floods
	breaks
	lies
)

// lie is the engine's own series, with its labels.
const lie = "up 7\nup{job=\"docker\"} 7\nengine_daemon_engine_info{job=\"docker\"} 7\n"

func newMoody(t *testing.T) *moody {
	m := &moody{}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		switch m.mood.Load() {
		case good:
			io.WriteString(w, "moody 1\n")
		case hangs:
			<-r.Context().Done()
		case floods:
			for line := strings.Repeat("# flood\n", 8192); ; {
				if _, err := io.WriteString(w, line); err != nil {
					return
				}
			}
		case breaks:
			io.WriteString(w, lie+"broken{")
		case lies:
			io.WriteString(w, lie)
		}
	}))
	t.Cleanup(m.Close)
	return m
}

// TestThreeTargets: the plugin forwards the engine, the distribution's node exporter and
// a target that hangs, floods and lies. Each has its labels, and what the third does is
// nothing to the others.
func TestThreeTargets(t *testing.T) {
	e := sharedEngine(t)
	exporter := server(t, engine.NodeExporter, "prometheus-node-exporter")
	third := newMoody(t)
	r := newReceiver(t, promtest.Options{})
	p := create(t, e, "REMOTE_WRITE_URL="+r.WriteURL(), "SCRAPE_INTERVAL=1s", "SCRAPE_MAX_BYTES=4MiB",
		"EXTRA_TARGETS=node="+exporter.URL+"/metrics,moody@500ms="+third.URL)
	p.enable()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	is := func(what, expr string, n int) {
		t.Helper()
		r.await(what, func() bool {
			found, err := r.Query(t.Context(), expr, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			return len(found) == n
		})
	}
	labels := func(job string) string { return fmt.Sprintf(`{job=%q,instance=%q}`, job, host) }
	is("the engine", "engine_daemon_engine_info"+labels("docker"), 1)
	is("the exporter", "node_uname_info"+labels("node")+" and on (instance) up"+labels("node")+" == 1", 1)
	is("the third target", "moody"+labels("moody"), 1)
	began := time.Now()
	for mood := int32(hangs); mood <= breaks; mood++ {
		third.mood.Store(mood)
		is(fmt.Sprintf("mood %d", mood), "up"+labels("moody")+" == 0", 1)
		is(fmt.Sprintf("the end of its series in mood %d", mood), "moody"+labels("moody"), 0)
		third.mood.Store(good)
		is(fmt.Sprintf("its good mood after %d", mood), "up"+labels("moody")+" == 1 and on (instance) moody", 1)
	}
	if found, err := r.Query(t.Context(), `{exported_job!=""}`, time.Now()); err != nil || len(found) > 0 {
		t.Errorf("of a body that is broken there is %v, %v", found, err)
	}
	third.mood.Store(lies)
	is("its lie as its own", `engine_daemon_engine_info{job="moody",exported_job="docker"} == 7 and on (job) up`+labels("moody")+" == 1", 1)
	r.up(1, time.Now())
	r.noLoss(time.Second)
	r.untouched(labels("docker"), began)
	r.untouched(labels("node"), began)
	r.await("every series of the engine", func() bool {
		series, err := r.Series(t.Context(), labels("docker"))
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]bool{}
		for _, l := range series {
			got[l.String()] = true
		}
		return len(missingFrom(engineSeries(t, e), got)) == 0
	})
	tell(t, "the engine's and the node exporter's series from one plugin, beside a target that hangs, floods and lies")
}

// untouched holds each scrape of a target since then to what it said of itself: it was
// good, as many samples arrived as were scraped, and none ended a series of the engine's.
func (r *receiver) untouched(labels string, from time.Time) {
	r.t.Helper()
	var to int64
	read := func(name string, found func(series string, s promtest.Sample)) {
		content, err := r.Samples(r.t.Context(), strings.Replace(labels, "{", "{__name__"+name+",", 1), from, time.UnixMilli(to))
		if err != nil {
			r.t.Fatal(err)
		}
		for series, samples := range content {
			for _, s := range samples {
				found(series, s)
			}
		}
	}
	up, said, arrived := map[int64]float64{}, map[int64]float64{}, map[int64]float64{}
	to = time.Now().UnixMilli()
	read(`="scrape_samples_post_metric_relabeling"`, func(_ string, s promtest.Sample) { said[s.T] = s.V })
	to = slices.Max(slices.Collect(maps.Keys(said)))
	read(`="up"`, func(_ string, s promtest.Sample) { up[s.T] += s.V * said[s.T] })
	read(`!~"up|scrape_.*|docker_remote_write_.*"`, func(series string, s promtest.Sample) {
		if !s.Stale() {
			arrived[s.T]++
		} else if strings.Contains(series, `job="docker"`) {
			r.t.Errorf("%s ends at %d", series, s.T)
		}
	})
	if len(said) < 3 || !maps.Equal(said, arrived) || !maps.Equal(said, up) {
		r.t.Errorf("of %s arrived %v, up was %v, scraped were %v", labels, arrived, up, said)
	}
}

// counters is a target at each path, which counts its scrapes.
type counters struct {
	*httptest.Server
	mu     sync.Mutex
	served map[string]float64
}

func newCounters(t *testing.T) *counters {
	c := &counters{served: map[string]float64{}}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.served[q.URL.Path[1:]]++
		fmt.Fprintf(w, "served{path=%q} %v\n", q.URL.Path[1:], c.served[q.URL.Path[1:]])
	}))
	t.Cleanup(c.Close)
	return c
}

// targets is the setting for names with their paths.
func (c *counters) targets(list ...string) string {
	return "EXTRA_TARGETS=" + strings.ReplaceAll(strings.Join(list, ","), "=", "="+c.URL+"/")
}

func (c *counters) count(path string) float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.served[path]
}

// some waits for three more scrapes of each path.
func (c *counters) some(t *testing.T, paths ...string) {
	t.Helper()
	for _, path := range paths {
		n := c.count(path)
		eventually(t, "scrapes of "+path, func() bool { return c.count(path) >= n+3 })
	}
}

// whole holds what was sent of a path to what it has served: each scrape once, but for
// the one in progress at each of so many ends of the plugin's process.
func (r *receiver) whole(c *counters, path string, ends float64) {
	r.t.Helper()
	want := c.count(path) - ends
	var got []float64
	r.await("what "+path+" has served", func() bool {
		at := map[int64][]float64{}
		for _, q := range r.got() {
			m, err := q.V2()
			if err != nil {
				r.t.Fatal(err)
			}
			for _, ts := range m.Timeseries {
				if name, labels := metricOf(m.Symbols, ts.LabelsRefs); name == "served" && strings.Contains(labels+" ", " path="+path+" ") {
					for _, s := range ts.Samples {
						// What was in flight at the end of a process is sent again.
						if !value.IsStaleNaN(s.Value) && !slices.Contains(at[s.Timestamp], s.Value) {
							at[s.Timestamp] = append(at[s.Timestamp], s.Value)
						}
					}
				}
			}
		}
		got = nil
		for _, t := range slices.Sorted(maps.Keys(at)) {
			got = append(got, at[t]...)
		}
		return len(got) > 0 && got[len(got)-1] >= want
	})
	next := 1.0
	for _, v := range got {
		if ends -= v - next; v < next || ends < 0 {
			r.t.Fatalf("of %s arrived %v", path, got)
		}
		next = v + 1
	}
}

// TestTargetsChangeInAnOutage: one is added, one removed and one renamed while the receiver
// is down. What is gone ends, all else goes on, and no scrape is lost or doubled.
func TestTargetsChangeInAnOutage(t *testing.T) {
	e, c, r := sharedEngine(t), newCounters(t), newReceiver(t, promtest.Options{})
	p := create(t, e, "REMOTE_WRITE_URL="+r.WriteURL(), "SCRAPE_INTERVAL=1s", c.targets("removed=removed", "old=renamed", "kept=kept"))
	p.enable()
	c.some(t, "removed", "renamed", "kept")
	r.setFault(refuseAll(http.StatusServiceUnavailable))
	c.some(t, "removed", "renamed", "kept")
	down := window{from: time.Now()}
	p.disable()
	p.set(c.targets("kept=kept", "new=renamed", "added=added"))
	p.enable()
	down.to = time.Now()
	c.some(t, "renamed", "kept", "added")
	r.setFault(nil)
	for path, ends := range map[string]float64{"removed": 1, "renamed": 1, "kept": 1, "added": 0} {
		r.whole(c, path, ends)
	}
	r.up(1, down.to)
	r.noLoss(time.Second, down)
	for job, ends := range map[string]bool{"removed": true, "old": true, "kept": false, "new": false, "added": false} {
		content, err := r.Samples(t.Context(), fmt.Sprintf("{job=%q}", job), time.Time{}, time.Time{})
		if err != nil || len(content) != 6 { // served, up and four scrape_*
			t.Errorf("of %s there is %v, %v", job, content, err)
		}
		for series, samples := range content {
			for i, s := range samples {
				if s.Stale() != (ends && i == len(samples)-1) {
					t.Errorf("%s: %v", series, samples)
				}
			}
		}
	}
}

// TestLifeOthersGoOn: while the engine is killed, or restarts with live-restore, the other
// targets are scraped on. The own metrics travel with the engine's target, which is down,
// or, while that rests, with the first other one.
func TestLifeOthersGoOn(t *testing.T) {
	for name, x := range map[string]struct {
		down    func(*plugin)
		carrier string
	}{
		"kill -9":      {(*plugin).Kill, upSelector},
		"live-restore": {(*plugin).Stop, `served{job="first"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCounters(t)
			p, r := living(t, engine.Options{LiveRestore: name == "live-restore"}, c.targets("first=first", "second@500ms=second"))
			c.some(t, "first", "second")
			x.down(p)
			away := time.Now()
			c.some(t, "first", "second")
			back := time.Now()
			p.engineUp()
			r.up(1, back)
			at := func(selector string) map[int64]bool {
				content, err := r.Samples(t.Context(), selector, away, back)
				if err != nil {
					t.Fatal(err)
				}
				times := map[int64]bool{}
				for _, samples := range content {
					for _, s := range samples {
						times[s.T] = true
					}
				}
				return times
			}
			carrier, own := at(x.carrier), at("docker_remote_write_build_info")
			for when := range own {
				if !carrier[when] {
					t.Errorf("own metrics at %d, scrapes of their carrier at %v", when, carrier)
				}
			}
			if len(own) < 2 {
				t.Errorf("own metrics at %v only", own)
			}
			r.whole(c, "first", 1)
			r.whole(c, "second", 1)
		})
	}
}
