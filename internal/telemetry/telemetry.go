// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// Options of the telemetry.
type Options struct {
	// State returns a snapshot of the forwarder, with an Endpoints slice of its own
	// at each call. It is called from several goroutines: once with every scrape
	// and once with every HTTP request. What is marked as set by telemetry it
	// leaves alone, and Time, Job, Instance, Process and the assessment as well.
	State func() State
	// Job, Instance and External are the labels that each own series carries. An
	// external label gives way to a label that the series has already.
	Job, Instance string
	External      labels.Labels
	// Self is SELF_METRICS: false keeps all but build info and the newest sent
	// timestamp out of the stream. /metrics always has everything.
	Self bool
	// Now is time.Now unless a test replaces it.
	Now func() time.Time
}

// Telemetry turns snapshots into metrics, status and health.
type Telemetry struct {
	o        Options
	registry *prometheus.Registry
	process  process
	history  history
	began    time.Time

	// What follows belongs to the goroutine that calls Append. A series keeps its
	// pointer for as long as it is in the stream.
	columns    map[column]*entry
	generation uint64
	scrape     *series.Scrape
	put        put
}

// column is the identity of an own series.
type column struct {
	m  *Metric
	lv values
}

type entry struct {
	series     *series.Series
	generation uint64
}

// New returns telemetry whose history begins now.
func New(o Options) *Telemetry {
	if o.Now == nil {
		o.Now = time.Now
	}
	t := &Telemetry{o: o, registry: prometheus.NewRegistry(), began: o.Now(), columns: map[column]*entry{}}
	t.registry.MustRegister(&collector{t})
	t.put = t.append // bound once: a method value made at each scrape would be garbage
	return t
}

// snapshot is a State with what telemetry adds to it at every turn.
func (t *Telemetry) snapshot() State {
	s := t.o.State()
	s.Time = t.o.Now()
	if s.Started.IsZero() {
		s.Started = t.began
	}
	s.Job, s.Instance = t.o.Job, t.o.Instance
	s.Process = t.process.read()
	if s.Endpoints == nil {
		s.Endpoints = []EndpointState{} // null is no list in JSON
	}
	for i := range s.Endpoints {
		b := &s.Endpoints[i].Backlog
		b.Age = 0
		if !b.Oldest.IsZero() {
			b.Age = max(0, Secs(s.Time.Sub(b.Oldest)))
		}
	}
	return s
}

// State is the whole status: a snapshot with its history and its assessment.
func (t *Telemetry) State() State {
	s := t.snapshot()
	t.history.record(&s)
	t.history.fill(&s)
	s.Assess()
	return s
}

// Append adds the own series and their values to a scrape, and a stale marker for
// each one that was in the last scrape and is gone. The markers at the end of all
// scraping are the scraper's. It is for one goroutine.
func (t *Telemetry) Append(sc *series.Scrape) {
	s := t.snapshot()
	t.history.record(&s)
	t.generation++
	t.scrape = sc
	before := len(sc.Series)
	walk(&s, t.put)
	if len(t.columns) > len(sc.Series)-before {
		for c, e := range t.columns {
			if e.generation != t.generation {
				t.add(e.series, stale)
				delete(t.columns, c)
			}
		}
	}
	t.scrape = nil
}

func (t *Telemetry) append(m *Metric, lv values, v float64) {
	if !t.o.Self && !m.Always {
		return
	}
	e := t.columns[column{m, lv}]
	if e == nil {
		e = &entry{series: t.newSeries(m, lv)}
		t.columns[column{m, lv}] = e
	}
	e.generation = t.generation
	t.add(e.series, v)
}

// add appends one sample. Own series have no start timestamps: several of the
// counters are carried over restarts.
func (t *Telemetry) add(s *series.Series, v float64) {
	if len(t.scrape.Starts) > 0 {
		t.scrape.Starts = append(t.scrape.Starts, 0)
	}
	t.scrape.Series = append(t.scrape.Series, s)
	t.scrape.Values = append(t.scrape.Values, v)
}

func (t *Telemetry) newSeries(m *Metric, lv values) *series.Series {
	b := labels.NewBuilder(labels.EmptyLabels())
	t.o.External.Range(func(l labels.Label) { b.Set(l.Name, l.Value) })
	b.Set(model.JobLabel, t.o.Job)
	b.Set(model.InstanceLabel, t.o.Instance)
	for i, name := range m.Labels {
		b.Set(name, lv[i]) // an empty value removes the label, the external one too
	}
	b.Set(model.MetricNameLabel, m.Name)
	return &series.Series{Labels: b.Labels(), Type: m.Type, Help: m.Help, Unit: m.Unit}
}

// stale ends a series.
var stale = math.Float64frombits(value.StaleNaN)
