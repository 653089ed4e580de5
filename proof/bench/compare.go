// SPDX-License-Identifier: Apache-2.0

// Package bench measures what an agent costs, one agent after the other on the
// same work, and lays the figures side by side.
package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/docker-remote-write/docker-remote-write/proof/bench/agents"
	"github.com/docker-remote-write/docker-remote-write/proof/bench/procstat"
)

// Scenario is what an agent is set to.
type Scenario struct {
	// Name says in each row which one is meant.
	Name  string
	Feeds []Feed
	// TLS: the receiver is reached over it. Self: the agent's metrics of itself are in
	// the stream; without, the series are the same for everyone.
	TLS, Self bool
}

// Plan says how long each phase is, in scrapes of the first target.
type Plan struct {
	// Warm scrapes go by before Live scrapes are measured; after Shape scrapes more all
	// series have been replaced by others. Outage scrapes are made while connections are
	// refused, and Crash in a second outage, before and, as many again, after kill -9. 0
	// leaves that phase out.
	Warm, Live, Shape, Outage, Crash int
}

// Result of one agent; a negative figure was not measured.
type Result struct {
	// CPU a scrape, of each target one, of the whole process, and what it holds after the
	// live phase.
	CPU    time.Duration
	Memory procstat.Memory
	// PeakStart is the highest resident memory by the end of the warm scrapes, PeakShape
	// that of the scrapes with which all series change.
	PeakStart, PeakShape int64
	// FirstSample is from the start of the process to the first sample accepted.
	FirstSample time.Duration
	// LiveBytes is a sample's share of the request bodies, LiveDelay the mean time
	// from a scrape's answer to its arrival.
	LiveBytes float64
	LiveDelay time.Duration
	// DiskBytes is a sample's share of what the data directory grew by in the outage.
	DiskBytes float64
	// CatchUp is from the first accepted request after the outage until the last scrape
	// that waited is in; CatchUpBytes a sample's share of those that waited, CatchUpRate
	// their samples a second. Return is from the receiver's return until the newest of
	// them is there.
	CatchUp      time.Duration
	CatchUpBytes float64
	CatchUpRate  float64
	Return       time.Duration
	// Lost scrapes and samples out of order in all of the run before the crash,
	// and with the outage with kill -9.
	Lost, OutOfOrder           int
	CrashLost, CrashOutOfOrder int
}

// Compare puts one agent through the plan, in a new directory under dir.
func Compare(ctx context.Context, dir string, a *agents.Agent, sc Scenario, p Plan) (Result, error) {
	res := Result{
		PeakStart: -1, PeakShape: -1, DiskBytes: -1, CatchUpBytes: -1, CatchUpRate: -1, CatchUp: -1, Return: -1,
		CrashLost: -1, CrashOutOfOrder: -1,
	}
	r, err := sc.begin(dir, a)
	if err != nil {
		return res, err
	}
	defer r.end()
	if !r.sink.Wait(time.Minute, func() bool { return !r.sink.Resumed().IsZero() }) {
		return res, fmt.Errorf("%s has delivered nothing in a minute; its log is %s", a.Name, r.log())
	}
	res.FirstSample = r.sink.Resumed().Sub(r.proc.Started)
	if err := r.live(ctx, p, &res); err != nil {
		return res, err
	}
	if p.Shape > 0 {
		if err := r.reshape(ctx, p, &res); err != nil {
			return res, err
		}
	}
	if p.Outage > 0 {
		if err := r.outage(ctx, p, &res); err != nil {
			return res, err
		}
	}
	res.OutOfOrder = r.sink.Totals().OutOfOrder
	res.Lost = r.missing(r.none(), r.settled())
	if p.Crash > 0 {
		if err := r.crash(ctx, p, &res); err != nil {
			return res, err
		}
	}
	if t := r.sink.Totals(); t.Malformed > 0 {
		return res, fmt.Errorf("%s sent %d malformed requests, the last: %s", a.Name, t.Malformed, t.Error)
	}
	return res, nil
}

// begin sets an agent to work on the scenario, in a new directory.
func (sc Scenario) begin(dir string, a *agents.Agent) (*run, error) {
	w := agents.Work{Dir: dir, Self: sc.Self}
	if !sc.TLS {
		s, err := receiver(nil)
		if err != nil {
			return nil, err
		}
		return begin(w, a, sc.Feeds, s)
	}
	conf, ca, err := certificate(dir)
	if err != nil {
		return nil, err
	}
	s, err := receiver(conf)
	if err != nil {
		return nil, err
	}
	w.CA = ca
	return begin(w, a, sc.Feeds, s)
}

// settled is what was served, but for the newest scrapes that may still be on their way:
// Prometheus holds samples for five seconds by default.
func (r *run) settled() counts {
	c := r.now()
	for i, f := range r.feeds {
		c[i] -= int(10*time.Second/f.Interval) + 1
	}
	return c
}

func (r *run) live(ctx context.Context, p Plan, res *Result) error {
	if err := r.served(ctx, p.Warm); err != nil {
		return err
	}
	m, err := procstat.ReadMemory(r.proc.Pid)
	if err != nil {
		return err
	}
	res.PeakStart = m.Peak
	first, before := r.now(), r.sink.Totals()
	cpu, err := procstat.CPU(r.proc.Pid)
	if err != nil {
		return err
	}
	if err := r.served(ctx, p.Live); err != nil {
		return err
	}
	after, err := procstat.CPU(r.proc.Pid)
	if err != nil {
		return err
	}
	if res.Memory, err = procstat.ReadMemory(r.proc.Pid); err != nil {
		return err
	}
	last, sent := r.now(), r.sink.Totals().Sub(before)
	res.CPU = (after - cpu) / time.Duration(last[0]-first[0])
	if sent.Samples > 0 {
		res.LiveBytes = float64(sent.Bytes) / float64(sent.Samples)
	}
	var delay time.Duration
	n := 0
	for i, f := range r.feeds {
		for k := first[i]; k <= last[i]; k++ {
			if a, ok := r.sink.Arrived(f.Job, k); ok {
				delay += a.At.Sub(f.At(k))
				n++
			}
		}
	}
	if n > 0 {
		res.LiveDelay = delay / time.Duration(n)
	}
	return nil
}

// reshape replaces all series by others, for that many scrapes, and measures the memory
// that this took.
func (r *run) reshape(ctx context.Context, p Plan, res *Result) error {
	if err := procstat.ForgetPeak(r.proc.Pid); err != nil {
		return err
	}
	for _, value := range []string{"other", ""} {
		for _, f := range r.feeds {
			f.Reshape(value)
		}
		if err := r.served(ctx, p.Shape); err != nil {
			return err
		}
		if res.PeakShape < 0 {
			m, err := procstat.ReadMemory(r.proc.Pid)
			if err != nil {
				return err
			}
			res.PeakShape = m.Peak
		}
	}
	return nil
}
