// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/docker-remote-write/docker-remote-write/internal/bench/agents"
	"github.com/docker-remote-write/docker-remote-write/internal/bench/procstat"
	"github.com/docker-remote-write/docker-remote-write/internal/bench/replay"
	"github.com/docker-remote-write/docker-remote-write/internal/bench/sink"
)

// Secured runs the agent over TLS, if self with its own metrics in the stream, and
// returns its memory after that many scrapes a second apart.
func Secured(ctx context.Context, dir string, a *agents.Agent, f *replay.Frames, self bool, scrapes int) (procstat.Memory, error) {
	conf, ca, err := certificate(dir)
	if err != nil {
		return procstat.Memory{}, err
	}
	s, err := sink.New(replay.SequenceName, conf)
	if err != nil {
		return procstat.Memory{}, err
	}
	r, err := begin(agents.Work{Dir: dir, Interval: time.Second, CA: ca, Self: self}, a, f, s)
	if err != nil {
		return procstat.Memory{}, err
	}
	defer r.end()
	if err := r.served(ctx, scrapes); err != nil {
		return procstat.Memory{}, err
	}
	m, err := procstat.ReadMemory(r.proc.Pid)
	if err != nil {
		return procstat.Memory{}, err
	}
	// Measured at once, since a peer may hold the newest scrapes back for seconds.
	if !s.Wait(15*time.Second, func() bool { return s.Missing(1, scrapes) == 0 }) {
		return procstat.Memory{}, fmt.Errorf("%s: %d of %d scrapes over TLS have not arrived", a.Name, s.Missing(1, scrapes), scrapes)
	}
	return m, nil
}

// Merged returns the wire bytes a sample when the agent waits to merge four
// scrapes: a deadline of a minute at 15 s, here four seconds at one. The frames
// are to be as far apart as those of the longer interval.
func Merged(ctx context.Context, dir string, a *agents.Agent, f *replay.Frames, scrapes int) (float64, error) {
	s, err := sink.New(replay.SequenceName, nil)
	if err != nil {
		return 0, err
	}
	r, err := begin(agents.Work{Dir: dir, Interval: time.Second, Self: true, Env: []string{"BATCH_SEND_DEADLINE=4s"}}, a, f, s)
	if err != nil {
		return 0, err
	}
	defer r.end()
	// The first requests probe for the protocol and carry a single scrape.
	if err := r.served(ctx, 10); err != nil {
		return 0, err
	}
	before := s.Totals()
	if err := r.served(ctx, scrapes); err != nil {
		return 0, err
	}
	sent := s.Totals().Sub(before)
	if sent.Samples == 0 {
		return 0, fmt.Errorf("nothing was sent in %d scrapes", scrapes)
	}
	return float64(sent.Bytes) / float64(sent.Samples), nil
}

// Idle returns the voluntary context switches a second of the agent at a scrape
// interval of ten minutes, and of a Go program that only listens on a socket,
// whose source is the directory listener. It builds that with the go command.
func Idle(ctx context.Context, dir string, a *agents.Agent, f *replay.Frames, listener string, over time.Duration) (agent, floor float64, err error) {
	s, err := sink.New(replay.SequenceName, nil)
	if err != nil {
		return 0, 0, err
	}
	r, err := begin(agents.Work{Dir: dir, Interval: 10 * time.Minute, Self: true}, a, f, s)
	if err != nil {
		return 0, 0, err
	}
	defer r.end()
	bin := filepath.Join(dir, "listener")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", bin, listener).CombinedOutput(); err != nil {
		return 0, 0, fmt.Errorf("build the listening program: %w: %s", err, out)
	}
	idle := exec.Command(bin)
	if err := idle.Start(); err != nil {
		return 0, 0, err
	}
	defer func() {
		idle.Process.Kill()
		idle.Wait()
	}()
	if !s.Wait(time.Minute, func() bool { return s.Missing(1, 1) == 0 }) {
		return 0, 0, fmt.Errorf("the first scrape has not arrived within a minute")
	}
	pause := func(d time.Duration) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := pause(5 * time.Second); err != nil {
		return 0, 0, err
	}
	var counts [2][2]int64
	for i := range 2 {
		for j, pid := range []int{r.proc.Pid, idle.Process.Pid} {
			if counts[i][j], err = procstat.VoluntarySwitches(pid); err != nil {
				return 0, 0, err
			}
		}
		if i == 0 {
			if err := pause(over); err != nil {
				return 0, 0, err
			}
		}
	}
	per := func(j int) float64 { return float64(counts[1][j]-counts[0][j]) / over.Seconds() }
	return per(0), per(1), nil
}

// Drained is what draining a long backlog costs.
type Drained struct {
	Scrapes, Samples int
	// Disk is what the backlog took, Wire what its requests did, in bytes.
	Disk, Wire int64
	// Took is from the first accepted request until the last scrape was in.
	Took time.Duration
	// Waiting is the memory with the backlog there and the receiver down; Peak
	// the highest resident memory until the backlog was gone.
	Waiting procstat.Memory
	Peak    int64
	CPU     time.Duration
}

// Drain prepares a backlog of that many scrapes in the agent's own format, lets
// the agent find the receiver down for a few seconds, and measures how it drains.
func Drain(ctx context.Context, dir string, a *agents.Agent, f *replay.Frames, scrapes int) (Drained, error) {
	d := Drained{Scrapes: scrapes}
	s, err := sink.New(replay.SequenceName, nil)
	if err != nil {
		return d, err
	}
	if err := s.Down(); err != nil {
		return d, err
	}
	work := agents.Work{
		Dir: dir, Interval: 10 * time.Minute, Self: true,
		Env: []string{"JOB=live", "INSTANCE=" + backlogInstance},
	}
	if d.Samples, err = backlog(work.Data(), s.URL(), f, scrapes); err != nil {
		return d, err
	}
	if d.Disk, err = procstat.DiskUsage(work.Data()); err != nil {
		return d, err
	}
	// The target's own answers would collide with the backlog's numbers.
	r, err := begin(work, a, replay.Synthetic(2), s)
	if err != nil {
		return d, err
	}
	defer r.end()
	select {
	case <-time.After(3 * time.Second):
	case <-ctx.Done():
		return d, ctx.Err()
	}
	if d.Waiting, err = procstat.ReadMemory(r.proc.Pid); err != nil {
		return d, err
	}
	cpu, err := procstat.CPU(r.proc.Pid)
	if err != nil {
		return d, err
	}
	if err := s.Up(); err != nil {
		return d, err
	}
	if !s.Wait(2*time.Minute, func() bool { _, ok := s.Arrived(scrapes); return ok }) {
		return d, fmt.Errorf("the backlog is not drained after two minutes; the log is %s", filepath.Join(dir, "log"))
	}
	last, _ := s.Arrived(scrapes)
	d.Took = last.Sub(s.Resumed())
	after, err := procstat.CPU(r.proc.Pid)
	if err != nil {
		return d, err
	}
	d.CPU = after - cpu
	m, err := procstat.ReadMemory(r.proc.Pid)
	if err != nil {
		return d, err
	}
	d.Peak = m.Peak
	t := s.Totals()
	d.Wire = int64(t.Bytes)
	if n := s.Missing(1, scrapes); n > 0 || t.OutOfOrder > 0 {
		return d, fmt.Errorf("%d scrapes of the backlog are missing, %d samples out of order", n, t.OutOfOrder)
	}
	return d, nil
}
