// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

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
	// Series numbers the own series; nil: a registry of the telemetry's own.
	Series *series.Registry
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

	// What follows belongs to the goroutine that calls Own. A series is numbered once, and
	// held for as long as it is in the stream.
	columns map[column]*numbered
	round   uint64
	own     series.Scrape
	put     put
}

// column is the identity of an own series.
type column struct {
	m  *Metric
	lv values
}

type numbered struct {
	series *series.Series
	round  uint64 // the last one that had it
}

// New returns telemetry whose history begins now.
func New(o Options) *Telemetry {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Series == nil {
		o.Series = series.NewRegistry()
	}
	t := &Telemetry{o: o, registry: prometheus.NewRegistry(), began: o.Now(), columns: map[column]*numbered{}}
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
	if s.Targets == nil {
		s.Targets = []TargetState{}
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

// Own is the own series and their values at this moment, as columns Series and Values
// that are good until the next call. What is gone from them is for the scraper to end,
// which knows what was sent. It is for one goroutine.
func (t *Telemetry) Own() *series.Scrape {
	s := t.snapshot()
	t.history.record(&s)
	t.round++
	t.own.Reset()
	walk(&s, t.put)
	if len(t.columns) > t.own.Len() {
		for c, n := range t.columns {
			if n.round != t.round {
				t.o.Series.Release([]*series.Series{n.series})
				delete(t.columns, c)
			}
		}
	}
	return &t.own
}

// append appends one sample. Own series have no start timestamps: several of the
// counters are carried over restarts.
func (t *Telemetry) append(m *Metric, lv values, v float64) {
	if !t.o.Self && !m.Always {
		return
	}
	n := t.columns[column{m, lv}]
	if n == nil {
		n = &numbered{series: t.o.Series.Number(t.newSeries(m, lv))}
		t.columns[column{m, lv}] = n
	}
	n.round = t.round
	t.own.Series = append(t.own.Series, n.series)
	t.own.Values = append(t.own.Values, v)
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
