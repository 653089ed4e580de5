// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/docker-remote-write/docker-remote-write/proof/bench/agents"
	"github.com/docker-remote-write/docker-remote-write/proof/bench/procstat"
	"github.com/docker-remote-write/docker-remote-write/proof/bench/replay"
	"github.com/docker-remote-write/docker-remote-write/proof/bench/sink"
)

// Drained is what draining a long backlog costs.
type Drained struct {
	Scrapes, Samples int
	// Disk is what the backlog took in bytes, WireBytes a sample's share of the
	// bodies of its requests.
	Disk      int64
	WireBytes float64
	// Took is from the first accepted request until the last scrape was in.
	Took time.Duration
	// Waiting is the memory with the backlog there and the receiver down; Peak
	// the highest resident memory until the backlog was gone.
	Waiting procstat.Memory
	Peak    int64
	CPU     time.Duration
}

// Drain prepares a backlog of that many scrapes in this project's own format, lets
// its agent find the receiver down for a few seconds, and measures how it drains.
func Drain(ctx context.Context, dir string, a *agents.Agent, f *replay.Frames, scrapes int) (Drained, error) {
	d := Drained{Scrapes: scrapes}
	s, err := down()
	if err != nil {
		return d, err
	}
	work := agents.Work{
		Dir: dir, Self: true, Env: []string{"INSTANCE=" + instance},
	}
	if d.Samples, err = backlog(work.Data(), s.URL(), f, scrapes); err != nil {
		return d, err
	}
	if d.Disk, err = procstat.DiskUsage(work.Data()); err != nil {
		return d, err
	}
	// The target's own answers would collide with the backlog's numbers.
	r, err := begin(work, a, []Feed{{"live", 10 * time.Minute, replay.Synthetic(2)}}, s)
	if err != nil {
		return d, err
	}
	defer r.end()
	if err := pause(ctx, 3*time.Second); err != nil {
		return d, err
	}
	if err := r.drain(&d); err != nil {
		return d, err
	}
	if n := s.Totals().OutOfOrder; n > 0 {
		return d, fmt.Errorf("%d samples of the backlog came out of order", n)
	}
	return d, nil
}

// DrainPeer does the same with an agent whose format is its own: it scrapes for its
// backlog, two hundred times a second while the receiver is down, and finds the target
// gone when the receiver is back.
func DrainPeer(ctx context.Context, dir string, a *agents.Agent, f *replay.Frames, scrapes int) (Drained, error) {
	d := Drained{Scrapes: scrapes}
	s, err := down()
	if err != nil {
		return d, err
	}
	r, err := begin(agents.Work{Dir: dir}, a, Engine(f, 5*time.Millisecond), s)
	if err != nil {
		return d, err
	}
	defer r.end()
	if err := r.served(ctx, scrapes); err != nil {
		return d, err
	}
	d.Samples = scrapes * f.Series
	if err := r.feeds[0].Close(); err != nil {
		return d, err
	}
	if d.Disk, err = procstat.DiskUsage(r.work.Data()); err != nil {
		return d, err
	}
	return d, r.drain(&d)
}

// down is a receiver that refuses connections for now.
func down() (*sink.Sink, error) {
	s, err := receiver(nil)
	if err != nil {
		return nil, err
	}
	return s, s.Down()
}

// drain brings the receiver back and measures until all scrapes of d are in.
func (r *run) drain(d *Drained) error {
	var err error
	if d.Waiting, err = procstat.ReadMemory(r.proc.Pid); err != nil {
		return err
	}
	before, err := procstat.CPU(r.proc.Pid)
	if err != nil {
		return err
	}
	if err := r.sink.Up(); err != nil {
		return err
	}
	all := func() bool {
		_, newest := r.sink.Arrived(backlogJob, d.Scrapes)
		return newest && r.sink.Missing(backlogJob, 1, d.Scrapes) == 0
	}
	if !r.sink.Wait(2*time.Minute, all) {
		return fmt.Errorf("%s: %d of %d scrapes are not drained after two minutes; the log is %s",
			r.agent.Name, r.sink.Missing(backlogJob, 1, d.Scrapes), d.Scrapes, filepath.Join(r.work.Dir, "log"))
	}
	after, err := procstat.CPU(r.proc.Pid)
	if err != nil {
		return err
	}
	m, err := procstat.ReadMemory(r.proc.Pid)
	if err != nil {
		return err
	}
	last := r.sink.Resumed()
	for i := 1; i <= d.Scrapes; i++ {
		if a, _ := r.sink.Arrived(backlogJob, i); a.At.After(last) {
			last = a.At
		}
	}
	d.Took, d.CPU, d.Peak = last.Sub(r.sink.Resumed()), after-before, m.Peak
	if t := r.sink.Totals(); t.Samples > 0 {
		d.WireBytes = float64(t.Bytes) / float64(t.Samples)
	}
	return nil
}
