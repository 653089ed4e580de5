// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"math"
	"sort"
	"time"

	"github.com/prometheus/prometheus/promql"

	"github.com/docker-remote-write/docker-remote-write/proof/promtest"
)

// figures is what one screen shows. Every number in it is the answer of a PromQL
// query on what the receiver was sent; NaN stands for one that is not there yet.
type figures struct {
	At time.Time

	Version, OS, Kernel, Driver, Architecture string
	CPUs, Memory                              float64

	Up, Series, ScrapeSeconds float64
	// Those of the host's node exporter, and the memory that it calls available.
	HostUp, HostSeries, HostScrapeSeconds, Available float64

	// Running, Paused and Stopped are containers.
	Running, Paused, Stopped float64
	Actions                  []action
	// Checks and FailedChecks are health checks since the demo began.
	Checks, FailedChecks float64

	// CPU is in cores, Resident in bytes, of the engine's daemon.
	CPU, Resident, Goroutines float64
	CPUHistory, MemoryHistory []float64

	// Samples and Bytes were sent since the plugin started, as it counts them;
	// the rates are per second.
	Samples, SampleRate, Bytes, ByteRate float64
	Requests, Lost, Waiting              float64
	Protocol                             string
}

// action is one kind of container action: how many since the demo began, and the
// quantiles of their latency in seconds during the last minute.
type action struct {
	Name          string
	Count         float64
	P50, P90, P99 float64
}

// queries reads figures from the receiver.
type queries struct {
	server *promtest.Server
	// began is the time of the first scrape: counters are shown as they grew since.
	began time.Time
}

const (
	actionCount  = `engine_daemon_container_actions_seconds_count`
	actionBucket = `engine_daemon_container_actions_seconds_bucket`
	own          = `docker_remote_write_`
	// rateWindow holds some scrapes at the demo's interval.
	rateWindow = `[10s]`
	// historySteps is the width of the little histories, a column a second.
	historySteps = 24
)

// read evaluates all queries at one time. The first error ends it.
func (q queries) read(ctx context.Context, at time.Time) (figures, error) {
	f := figures{At: at}
	var err error
	vector := func(expr string) promql.Vector {
		if err != nil {
			return nil
		}
		var v promql.Vector
		v, err = q.server.Query(ctx, expr, at)
		return v
	}
	one := func(expr string) float64 {
		if v := vector(expr); len(v) > 0 {
			return v[0].F
		}
		return math.NaN()
	}
	for _, s := range vector(`engine_daemon_engine_info`) {
		f.Version, f.OS = s.Metric.Get("version"), s.Metric.Get("os")
		f.Kernel, f.Driver = s.Metric.Get("kernel"), s.Metric.Get("graphdriver")
		f.Architecture = s.Metric.Get("architecture")
	}
	f.CPUs = one(`engine_daemon_engine_cpus_cpus`)
	f.Memory = one(`engine_daemon_engine_memory_bytes`)

	f.Up = one(`up{job="docker"}`)
	f.Series = one(`scrape_samples_scraped{job="docker"}`)
	f.ScrapeSeconds = one(`scrape_duration_seconds{job="docker"}`)

	f.HostUp = one(`up{job="node"}`)
	f.HostSeries = one(`scrape_samples_scraped{job="node"}`)
	f.HostScrapeSeconds = one(`scrape_duration_seconds{job="node"}`)
	f.Available = one(`node_memory_MemAvailable_bytes`)

	const states = `engine_daemon_container_states_containers`
	f.Running = one(states + `{state="running"}`)
	f.Paused = one(states + `{state="paused"}`)
	f.Stopped = one(states + `{state="stopped"}`)

	actions := map[string]*action{}
	for _, s := range vector(q.since(`sum by (action) (` + actionCount + `%s)`)) {
		if s.F > 0 {
			name := s.Metric.Get("action")
			actions[name] = &action{Name: name, Count: s.F, P50: math.NaN(), P90: math.NaN(), P99: math.NaN()}
		}
	}
	for _, quantile := range []struct {
		phi string
		to  func(*action) *float64
	}{
		{"0.5", func(a *action) *float64 { return &a.P50 }},
		{"0.9", func(a *action) *float64 { return &a.P90 }},
		{"0.99", func(a *action) *float64 { return &a.P99 }},
	} {
		for _, s := range vector(`histogram_quantile(` + quantile.phi + `, sum by (action, le) (rate(` + actionBucket + `[1m])))`) {
			if a := actions[s.Metric.Get("action")]; a != nil {
				*quantile.to(a) = s.F
			}
		}
	}
	for _, a := range actions {
		f.Actions = append(f.Actions, *a)
	}
	sort.Slice(f.Actions, func(i, j int) bool { return f.Actions[i].Name < f.Actions[j].Name })

	f.Checks = one(q.since(`engine_daemon_health_checks_total%s`))
	f.FailedChecks = one(q.since(`engine_daemon_health_checks_failed_total%s`))

	const cpu, resident = `rate(process_cpu_seconds_total{job="docker"}` + rateWindow + `)`, `process_resident_memory_bytes{job="docker"}`
	f.CPU = one(cpu)
	f.Resident = one(resident)
	f.Goroutines = one(`go_goroutines{job="docker"}`)

	f.Samples = one(`sum(` + own + `samples_sent_total)`)
	f.SampleRate = one(`sum(rate(` + own + `samples_sent_total` + rateWindow + `))`)
	f.Bytes = one(`sum(` + own + `sent_bytes_total)`)
	f.ByteRate = one(`sum(rate(` + own + `sent_bytes_total` + rateWindow + `))`)
	f.Requests = one(`sum(` + own + `requests_total)`)
	f.Lost = one(`sum(` + own + `samples_dropped_total)`)
	f.Waiting = one(`sum(` + own + `queue_samples)`)
	for _, s := range vector(`topk(1, sum by (protocol) (` + own + `requests_total{code="2xx"}))`) {
		f.Protocol = s.Metric.Get("protocol")
	}
	if err != nil {
		return f, err
	}
	if f.CPUHistory, err = q.history(ctx, cpu, at); err != nil {
		return f, err
	}
	f.MemoryHistory, err = q.history(ctx, resident, at)
	return f, err
}

// since makes of a counter, with %s where a modifier goes, what it grew by since
// the demo began. A series that was not there then counts from 0.
func (q queries) since(counter string) string {
	now, then := fmt.Sprintf(counter, ""), fmt.Sprintf(counter, fmt.Sprintf(" @ %.3f", float64(q.began.UnixMilli())/1000))
	return now + " - (" + then + " or " + now + " * 0)"
}

// history is an expression's value at each of the last seconds, the oldest first.
// It is shorter at the beginning.
func (q queries) history(ctx context.Context, expr string, at time.Time) ([]float64, error) {
	m, err := q.server.QueryRange(ctx, expr, at.Add(-(historySteps-1)*time.Second), at, time.Second)
	if err != nil || len(m) == 0 {
		return nil, err
	}
	var out []float64
	for _, p := range m[0].Floats {
		out = append(out, p.F)
	}
	return out, nil
}

// received is what the summary says of the receiver's content, stale markers
// included.
type received struct {
	Scrapes, Series, Samples int
}

// count looks at all that arrived.
func (q queries) count(ctx context.Context) (received, error) {
	all, err := q.server.Samples(ctx, `{__name__=~".+"}`, time.Time{}, time.Time{})
	r := received{Series: len(all), Samples: all.Samples()}
	if err != nil {
		return r, err
	}
	ups, err := q.server.Samples(ctx, `up`, time.Time{}, time.Time{})
	for _, samples := range ups {
		for _, s := range samples {
			if !s.Stale() {
				r.Scrapes++
			}
		}
	}
	return r, err
}
