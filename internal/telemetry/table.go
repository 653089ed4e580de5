// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"time"

	"github.com/prometheus/common/model"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// prefix begins every own name. It keeps them apart from the engine's, whose
// process_* and go_* they would otherwise meet under the same job and instance:
// of two series with the same labels a receiver silently keeps one.
const prefix = "docker_remote_write_"

// Metric describes one of the forwarder's own metrics. The table of them is what
// the stream, /metrics and docs/metrics.md are made from.
type Metric struct {
	// Name is complete.
	Name string
	Type model.MetricType
	Help string
	// Unit is empty where the value has none.
	Unit string
	// Labels are the names of the labels besides job, instance and the external ones.
	Labels []string
	// Always says that SELF_METRICS=false leaves it in the stream.
	Always bool

	collect func(m *Metric, s *State, put put)
}

// values are a series' label values, in the order of Metric.Labels.
type values [3]string

// put takes one series' value.
type put func(m *Metric, lv values, v float64)

// Metrics returns the table of own metrics in the order of the stream.
func Metrics() []Metric { return append([]Metric(nil), table...) }

const (
	counter = model.MetricTypeCounter
	gauge   = model.MetricTypeGauge
)

// A metric without an endpoint or a target is one of the process; the others have a
// series for each.
var table = []Metric{
	{
		Name: prefix + "build_info", Type: gauge, Always: true, Labels: []string{"version", "goversion"},
		Help: "Always 1; the labels say what is running.",
		collect: func(m *Metric, s *State, put put) {
			put(m, values{s.Version, s.GoVersion}, 1)
		},
	},
	each("newest_sent_timestamp_seconds", gauge, "seconds",
		"Time of the newest sample that the endpoint has taken; missing until it has taken one.",
		func(e *EndpointState) float64 { return unix(e.NewestSent) }).always().unlessZero(),
	{
		Name: prefix + "scrapes_total", Type: counter, Labels: []string{"target", "outcome"},
		Help: "Scrapes by outcome: success or failure. Those of the engine have no target.",
		collect: func(m *Metric, s *State, put put) {
			for i := range s.Targets {
				t := &s.Targets[i]
				put(m, values{t.Name, "success"}, float64(t.Successes))
				put(m, values{t.Name, "failure"}, float64(t.Failures))
			}
		},
	},
	{
		Name: prefix + "samples_scraped_total", Type: counter, Labels: []string{"target"},
		Help: "Samples read from the target. Those of the engine have no target.",
		collect: func(m *Metric, s *State, put put) {
			for i := range s.Targets {
				put(m, values{s.Targets[i].Name}, float64(s.Targets[i].Scraped))
			}
		},
	},
	each("samples_sent_total", counter, "",
		"Samples that the endpoint has taken, over restarts.",
		func(e *EndpointState) float64 { return float64(e.Delivered) }),
	{
		Name: prefix + "samples_dropped_total", Type: counter, Labels: []string{"endpoint", "reason"},
		Help: "Samples that will never reach the endpoint, by reason, over restarts. Those of endpoint_removed have no endpoint.",
		collect: func(m *Metric, s *State, put put) {
			for i := range s.Endpoints {
				e := &s.Endpoints[i]
				for r, n := range e.Lost {
					if r := series.Loss(r); r != series.EndpointRemoved {
						put(m, values{e.Name, r.String()}, float64(n))
					}
				}
			}
			put(m, values{"", series.EndpointRemoved.String()}, float64(s.Spool.Removed))
		},
	},
	each("samples_retried_total", counter, "",
		"Samples in requests that had to be sent again.",
		func(e *EndpointState) float64 { return float64(e.Retried) }),
	{
		Name: prefix + "requests_total", Type: counter, Labels: []string{"endpoint", "protocol", "code"},
		Help: "Requests by remote write version and answer: 2xx, 4xx, 5xx, or error for any other and for none.",
		collect: func(m *Metric, s *State, put put) {
			for i := range s.Endpoints {
				e := &s.Endpoints[i]
				for p := range e.Requests {
					for c, n := range e.Requests[p] {
						put(m, values{e.Name, protocolNames[p], classNames[c]}, float64(n))
					}
				}
			}
		},
	},
	each("request_seconds_total", counter, "seconds",
		"Time spent on requests; divided by their number it is the mean duration.",
		func(e *EndpointState) float64 { return float64(e.RequestTime) }),
	each("sent_bytes_total", counter, "bytes",
		"Bytes of compressed request bodies, those of repeated attempts included.",
		func(e *EndpointState) float64 { return float64(e.SentBytes) }),
	each("queue_scrapes", gauge, "",
		"Scrapes that wait for the endpoint.",
		func(e *EndpointState) float64 { return float64(e.Backlog.Scrapes) }),
	each("queue_samples", gauge, "",
		"Samples that wait for the endpoint.",
		func(e *EndpointState) float64 { return float64(e.Backlog.Samples) }),
	each("queue_seconds", gauge, "seconds",
		"Age of the oldest scrape that waits for the endpoint, 0 when none does.",
		func(e *EndpointState) float64 { return float64(e.Backlog.Age) }),
	each("queue_bytes", gauge, "bytes",
		"Bytes on disk that wait for the endpoint; endpoints share them.",
		func(e *EndpointState) float64 { return float64(e.Backlog.Bytes) }),
	each("clock_offset_seconds", gauge, "seconds",
		"The endpoint's clock minus the host's, from the Date header of its last answer; whole seconds.",
		func(e *EndpointState) float64 { return float64(e.ClockOffset) }),
	one("config_last_reload_successful", gauge, "",
		"Whether the last attempt to load the configuration succeeded.",
		func(s *State) float64 { return bit(!s.Config.ReloadFailed && s.Config.Error == "") }),
	one("spool_durable", gauge, "",
		"Whether scrapes reach the disk; at 0 they wait in memory.",
		func(s *State) float64 { return bit(s.Spool.Error == "") }),
	one("log_lines_dropped_total", counter, "",
		"Log lines dropped because the engine was too slow to take them.",
		func(s *State) float64 { return float64(s.Log.Dropped) }),
	one("process_cpu_seconds_total", counter, "seconds",
		"User and system time of the forwarder.",
		func(s *State) float64 { return float64(s.Process.CPU) }),
	one("process_resident_memory_bytes", gauge, "bytes",
		"Resident memory of the forwarder, pages of its binary included.",
		func(s *State) float64 { return float64(s.Process.ResidentBytes) }),
}

// one is a metric with a single series.
func one(name string, typ model.MetricType, unit, help string, value func(*State) float64) Metric {
	return Metric{Name: prefix + name, Type: typ, Unit: unit, Help: help,
		collect: func(m *Metric, s *State, put put) { put(m, values{}, value(s)) }}
}

// each is a metric with one series for each endpoint.
func each(name string, typ model.MetricType, unit, help string, value func(*EndpointState) float64) Metric {
	return Metric{Name: prefix + name, Type: typ, Unit: unit, Help: help, Labels: []string{"endpoint"},
		collect: func(m *Metric, s *State, put put) {
			for i := range s.Endpoints {
				put(m, values{s.Endpoints[i].Name}, value(&s.Endpoints[i]))
			}
		}}
}

func (m Metric) always() Metric { m.Always = true; return m }

// unlessZero leaves series out whose value is 0, where 0 would be read as a time.
func (m Metric) unlessZero() Metric {
	all := m.collect
	m.collect = func(m *Metric, s *State, p put) {
		all(m, s, func(m *Metric, lv values, v float64) {
			if v != 0 {
				p(m, lv, v)
			}
		})
	}
	return m
}

// walk calls put for every series of the table.
func walk(s *State, put put) {
	for i := range table {
		table[i].collect(&table[i], s, put)
	}
}

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
