// SPDX-License-Identifier: Apache-2.0

// Package bench measures what an agent costs, one agent after the other on the
// same work, and lays the figures side by side.
package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/docker-remote-write/docker-remote-write/proof/bench/agents"
	"github.com/docker-remote-write/docker-remote-write/proof/bench/procstat"
	"github.com/docker-remote-write/docker-remote-write/proof/bench/replay"
	"github.com/docker-remote-write/docker-remote-write/proof/bench/sink"
)

// Plan says how long each phase is, in scrapes.
type Plan struct {
	Interval time.Duration
	// Warm scrapes go by before Live scrapes are measured; Outage scrapes are made
	// while connections are refused, and Crash in a second outage, before and,
	// as many again, after kill -9. 0 leaves that phase out.
	Warm, Live, Outage, Crash int
}

// Result of one agent; a negative figure was not measured.
type Result struct {
	// CPU a scrape of the whole process, and what it holds after the live phase.
	CPU    time.Duration
	Memory procstat.Memory
	// FirstSample is from the start of the process to the first sample accepted.
	FirstSample time.Duration
	// LiveBytes is a sample's share of the request bodies, LiveDelay the mean time
	// from a scrape's answer to its arrival.
	LiveBytes float64
	LiveDelay time.Duration
	// DiskBytes is a sample's share of what the data directory grew by in the outage.
	DiskBytes float64
	// CatchUp is from the first accepted request after the outage until its last
	// scrape is in; CatchUpBytes a sample's share, CatchUpRate samples a second.
	CatchUp      time.Duration
	CatchUpBytes float64
	CatchUpRate  float64
	// Lost scrapes and samples out of order in all of the run before the crash,
	// and with the outage with kill -9.
	Lost, OutOfOrder           int
	CrashLost, CrashOutOfOrder int
}

// run is an agent at work with all that surrounds it.
type run struct {
	agent  *agents.Agent
	work   agents.Work
	target *replay.Target
	sink   *sink.Sink
	proc   *agents.Process
}

// begin sets up a target and sets an agent to work on it and the sink, in the
// work's directory, which is made new.
func begin(w agents.Work, a *agents.Agent, f *replay.Frames, s *sink.Sink) (*run, error) {
	if err := os.MkdirAll(w.Dir, 0o700); err != nil {
		return nil, err
	}
	t, err := replay.Serve(f)
	if err != nil {
		return nil, err
	}
	w.Target, w.URL = t.Addr, s.URL()
	r := &run{agent: a, target: t, sink: s, work: w}
	r.proc, err = a.Start(r.work)
	if err != nil {
		t.Close()
	}
	return r, err
}

func (r *run) end() {
	if r.proc != nil {
		r.proc.Kill()
	}
	r.target.Close()
	r.sink.Close()
}

// served waits until the target has been scraped n times more.
func (r *run) served(ctx context.Context, n int) error {
	limit := time.NewTimer(time.Duration(n+20)*r.work.Interval + 30*time.Second)
	defer limit.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for want := r.target.Served() + n; r.target.Served() < want; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.proc.Done():
			return fmt.Errorf("%s ended by itself; its log is %s", r.agent.Name, filepath.Join(r.work.Dir, "log"))
		case <-limit.C:
			return fmt.Errorf("%s has stopped scraping; its log is %s", r.agent.Name, filepath.Join(r.work.Dir, "log"))
		case <-tick.C:
		}
	}
	return nil
}

// Compare puts one agent through the plan, in a new directory under dir.
func Compare(ctx context.Context, dir string, a *agents.Agent, f *replay.Frames, p Plan) (Result, error) {
	res := Result{DiskBytes: -1, CatchUpBytes: -1, CatchUpRate: -1, CatchUp: -1, CrashLost: -1, CrashOutOfOrder: -1}
	s, err := sink.New(replay.SequenceName, nil)
	if err != nil {
		return res, err
	}
	// The same series for everyone: nobody sends metrics of its own.
	r, err := begin(agents.Work{Dir: dir, Interval: p.Interval}, a, f, s)
	if err != nil {
		return res, err
	}
	defer r.end()
	if !s.Wait(time.Minute, func() bool { return !s.Resumed().IsZero() }) {
		return res, fmt.Errorf("%s has delivered nothing in a minute; its log is %s", a.Name, filepath.Join(dir, "log"))
	}
	res.FirstSample = s.Resumed().Sub(r.proc.Started)
	if err := r.live(ctx, p, &res); err != nil {
		return res, err
	}
	if p.Outage > 0 {
		if err := r.outage(ctx, p, &res); err != nil {
			return res, err
		}
	}
	res.OutOfOrder = s.Totals().OutOfOrder
	res.Lost = s.Missing(1, r.target.Served()-p.settle())
	if p.Crash > 0 {
		if err := r.crash(ctx, p, &res); err != nil {
			return res, err
		}
	}
	if t := s.Totals(); t.Malformed > 0 {
		return res, fmt.Errorf("%s sent %d malformed requests, the last: %s", a.Name, t.Malformed, t.Error)
	}
	return res, nil
}

// settle is how many of the newest scrapes may still be on their way: Prometheus
// holds samples for five seconds by default.
func (p Plan) settle() int { return int(10*time.Second/p.Interval) + 1 }

func (r *run) live(ctx context.Context, p Plan, res *Result) error {
	if err := r.served(ctx, p.Warm); err != nil {
		return err
	}
	first, before := r.target.Served(), r.sink.Totals()
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
	last, sent := r.target.Served(), r.sink.Totals().Sub(before)
	res.CPU = (after - cpu) / time.Duration(last-first)
	if sent.Samples > 0 {
		res.LiveBytes = float64(sent.Bytes) / float64(sent.Samples)
	}
	var delay time.Duration
	n := 0
	for i := first; i <= last; i++ {
		if at, ok := r.sink.Arrived(i); ok {
			delay += at.Sub(r.target.At(i))
			n++
		}
	}
	if n > 0 {
		res.LiveDelay = delay / time.Duration(n)
	}
	return nil
}

func (r *run) outage(ctx context.Context, p Plan, res *Result) error {
	// It begins between two scrapes, so that an agent that sends at once has none in
	// flight: with one, whose answer is lost, it would be another measurement.
	newest := r.target.Served()
	r.sink.Wait(p.Interval/2, func() bool { return r.sink.Missing(newest, newest) == 0 })
	if err := r.sink.Down(); err != nil {
		return err
	}
	first := r.target.Served() + 1
	disk, err := procstat.DiskUsage(r.work.Data())
	if err != nil {
		return err
	}
	if err := r.served(ctx, p.Outage); err != nil {
		return err
	}
	grown, err := procstat.DiskUsage(r.work.Data())
	if err != nil {
		return err
	}
	last := r.target.Served()
	res.DiskBytes = float64(grown-disk) / float64((last-first+1)*r.target.Series())
	before := r.sink.Totals()
	if err := r.sink.Up(); err != nil {
		return err
	}
	if err := r.recovered(ctx, first, last); err != nil {
		return err
	}
	if r.sink.Missing(first, last) > 0 {
		return nil // shows as lost; there is no catching up to report
	}
	at := r.sink.Resumed()
	for i := first; i <= last; i++ {
		if t, _ := r.sink.Arrived(i); t.After(at) {
			at = t
		}
	}
	sent := r.sink.Totals().Sub(before)
	res.CatchUp = at.Sub(r.sink.Resumed())
	res.CatchUpBytes = float64(sent.Bytes) / float64(sent.Samples)
	// A single request that carried everything took no time between the first
	// answer and the last.
	if res.CatchUp > 0 {
		res.CatchUpRate = float64((last-first+1)*r.target.Series()) / res.CatchUp.Seconds()
	}
	return nil
}

// recovered waits until the scrapes first..last are in, or until none of those
// that miss has come for 15 seconds after the first accepted request.
func (r *run) recovered(ctx context.Context, first, last int) error {
	missing, since := r.sink.Missing(first, last), time.Now()
	begun := since
	for missing > 0 {
		r.sink.Wait(time.Second, func() bool { return r.sink.Missing(first, last) < missing })
		if err := ctx.Err(); err != nil {
			return err
		}
		if m := r.sink.Missing(first, last); m < missing || r.sink.Resumed().IsZero() {
			missing, since = m, time.Now()
		}
		if time.Since(since) > 15*time.Second {
			return nil
		}
		if time.Since(begun) > 3*time.Minute {
			return errors.New(r.agent.Name + " has not caught up within three minutes")
		}
	}
	return nil
}

func (r *run) crash(ctx context.Context, p Plan, res *Result) error {
	if err := r.sink.Down(); err != nil {
		return err
	}
	before := r.sink.Totals()
	first := r.target.Served() + 1
	if err := r.served(ctx, p.Crash); err != nil {
		return err
	}
	// Between two scrapes: one in progress is lost by everyone.
	select {
	case <-time.After(p.Interval / 2):
	case <-ctx.Done():
		return ctx.Err()
	}
	r.proc.Kill()
	var err error
	if r.proc, err = r.agent.Start(r.work); err != nil {
		return err
	}
	if err := r.served(ctx, p.Crash); err != nil {
		return err
	}
	last := r.target.Served()
	if err := r.sink.Up(); err != nil {
		return err
	}
	if err := r.recovered(ctx, first, last); err != nil {
		return err
	}
	res.CrashLost = r.sink.Missing(first, last)
	res.CrashOutOfOrder = r.sink.Totals().Sub(before).OutOfOrder
	return nil
}
