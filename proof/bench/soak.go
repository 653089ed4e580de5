// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/docker-remote-write/docker-remote-write/proof/bench/agents"
	"github.com/docker-remote-write/docker-remote-write/proof/bench/procstat"
	"github.com/docker-remote-write/docker-remote-write/proof/bench/replay"
	"github.com/docker-remote-write/docker-remote-write/proof/bench/sink"
)

// SoakOptions of one agent's long run.
type SoakOptions struct {
	Feeds []Feed
	// Cycle is the time from one outage to the next, Outage how long each lasts,
	// Length that of the whole run.
	Cycle, Outage, Length time.Duration
	// Restart restarts the agent in each outage, by SIGTERM and by SIGKILL in turn.
	Restart bool
	// Report is called after each cycle.
	Report func(cycle int, u Usage)
}

// Usage is what a process holds between two outages.
type Usage struct {
	Memory               procstat.Memory
	Threads, Descriptors int
	Disk                 int64
	Served, Samples      int
	Repeated, OutOfOrder int
	// Compared samples are to the bit what was served.
	Compared int
}

// soakBounds are how much more a process may hold at the end than at the start.
const (
	soakMemory      = 4 << 20
	soakThreads     = 3
	soakDescriptors = 2
	// soakDisk is two segments of the spool and what lies beside them.
	soakDisk = 3 << 20
)

// Soak runs the agent through an outage, and possibly a restart, in each cycle,
// and returns an error if what the receiver holds is not to the bit what was served, if
// samples are out of order, or if the process holds more at the end than at the start.
func Soak(ctx context.Context, dir string, a *agents.Agent, o SoakOptions) error {
	s, err := sink.New(sink.Options{Sequence: replay.SequenceName, Content: replay.Prefix})
	if err != nil {
		return err
	}
	// How many goroutines there are is known from one that is ended for it.
	atStart, err := goroutines(ctx, filepath.Join(dir, "fresh"), a, o.Feeds)
	if err != nil {
		return err
	}
	dir = filepath.Join(dir, "run")
	r, err := begin(agents.Work{Dir: dir, Self: true, Env: []string{"MAX_BACKOFF=2s", "INSTANCE=" + instance}}, a, o.Feeds, s)
	if err != nil {
		return err
	}
	defer r.end()
	judges := make([]*judge, len(r.feeds))
	for i, f := range r.feeds {
		judges[i] = &judge{feed: f, sink: s, keys: map[string]uint64{}, seen: map[int64]bool{}}
	}
	var all []Usage
	begun := time.Now()
	for cycle := 0; cycle == 0 || time.Since(begun)+o.Cycle <= o.Length; cycle++ {
		if err := r.cycle(ctx, cycle, o, judges); err != nil {
			return fmt.Errorf("cycle %d: %w", cycle, err)
		}
		last, err := r.usage()
		if err != nil {
			return err
		}
		for _, j := range judges {
			last.Compared += j.samples
		}
		all = append(all, last)
		if o.Report != nil {
			o.Report(cycle, last)
		}
	}
	var faults []error
	compare := func(what string, a, b, more int64) {
		if b > a+more {
			faults = append(faults, fmt.Errorf("%s: %d at the end, %d at the start", what, b, a))
		}
	}
	// The first outage fills the buffers. Memory is that of several cycles, since it depends
	// on when garbage was last collected.
	few, last := max(1, len(all)/4), all[len(all)-1]
	if len(all) > 1 {
		all = all[1:]
	}
	first, early, late := all[0], all[:few], all[len(all)-few:]
	compare("anonymous memory", mean(early, anonymous), mean(late, anonymous), soakMemory)
	compare("resident memory", mean(early, resident), mean(late, resident), soakMemory)
	compare("threads", int64(first.Threads), int64(last.Threads), soakThreads)
	compare("descriptors", int64(first.Descriptors), int64(last.Descriptors), soakDescriptors)
	compare("disk", 0, last.Disk, soakDisk)
	compare("samples out of order", 0, int64(last.OutOfOrder), 0)
	compare("samples sent again with another value", 0, int64(s.Totals().Altered), 0)
	atEnd, err := r.proc.Goroutines()
	if err != nil {
		return err
	}
	compare("goroutines", int64(atStart), int64(atEnd), soakThreads)
	return errors.Join(faults...)
}

func anonymous(u Usage) int64 { return u.Memory.Anonymous }
func resident(u Usage) int64  { return u.Memory.Resident }

func mean(all []Usage, of func(Usage) int64) (sum int64) {
	for _, u := range all {
		sum += of(u)
	}
	return sum / int64(len(all))
}

// goroutines counts those of an agent that has just delivered a few scrapes.
func goroutines(ctx context.Context, dir string, a *agents.Agent, feeds []Feed) (int, error) {
	s, err := receiver(nil)
	if err != nil {
		return 0, err
	}
	r, err := begin(agents.Work{Dir: dir, Self: true}, a, feeds, s)
	if err != nil {
		return 0, err
	}
	defer r.end()
	if err := r.served(ctx, 5); err != nil {
		return 0, err
	}
	return r.proc.Goroutines()
}

// cycle is a time of quiet, an outage of one of three kinds, and the recovery from it.
func (r *run) cycle(ctx context.Context, n int, o SoakOptions, judges []*judge) error {
	interval := o.Feeds[0].Interval
	if err := r.served(ctx, int((o.Cycle-o.Outage)/interval)*3/4); err != nil {
		return err
	}
	kinds := []int{0, http.StatusServiceUnavailable, http.StatusTooManyRequests}
	kind := kinds[n%len(kinds)]
	if kind == 0 {
		if err := r.sink.Down(); err != nil {
			return err
		}
	} else {
		r.sink.Fail(kind)
	}
	half := int(o.Outage / interval / 2)
	if err := r.served(ctx, half); err != nil {
		return err
	}
	if o.Restart {
		if err := r.restart(n%2 == 0, judges); err != nil {
			return err
		}
	}
	if err := r.served(ctx, half); err != nil {
		return err
	}
	last := r.now()
	if kind == 0 {
		if err := r.sink.Up(); err != nil {
			return err
		}
	} else {
		r.sink.Fail(0)
	}
	r.sink.Wait(o.Cycle, func() bool {
		return !slices.ContainsFunc(judges, func(j *judge) bool { return !j.whole(last[slices.Index(judges, j)]) })
	})
	var faults []error
	for i, j := range judges {
		faults = append(faults, j.compare(last[i]))
	}
	return errors.Join(faults...)
}

// restart ends the process, by SIGTERM or by SIGKILL, and starts it again.
func (r *run) restart(gently bool, judges []*judge) error {
	if gently {
		if err := r.proc.Stop(); err != nil {
			return err
		}
	} else {
		r.proc.Kill()
	}
	// An answer that is cut off while it is read was served, and is no scrape yet. At
	// SIGTERM one more scrape of the engine follows.
	for i, n := range r.now() {
		judges[i].cut = append(judges[i].cut, n)
		if gently && i == 0 {
			judges[i].cut = append(judges[i].cut, n-1)
		}
	}
	var err error
	r.proc, err = r.agent.Start(r.work)
	return err
}

func (r *run) usage() (Usage, error) {
	var u Usage
	var err error
	if u.Memory, err = procstat.ReadMemory(r.proc.Pid); err != nil {
		return u, err
	}
	if u.Threads, err = procstat.Threads(r.proc.Pid); err != nil {
		return u, err
	}
	if u.Descriptors, err = procstat.Descriptors(r.proc.Pid); err != nil {
		return u, err
	}
	if u.Disk, err = procstat.DiskUsage(r.work.Data()); err != nil {
		return u, err
	}
	t := r.sink.Totals()
	u.Samples, u.Repeated, u.OutOfOrder = t.Samples, t.Repeated, t.OutOfOrder
	for _, n := range r.now() {
		u.Served += n
	}
	return u, nil
}

// LogOf returns what the agents under dir have written, for a failure's report.
func LogOf(dir string) string {
	var b strings.Builder
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Name() == "log" {
			if raw, err := os.ReadFile(path); err == nil {
				fmt.Fprintf(&b, "%s:\n%s\n", path, raw[max(0, len(raw)-4096):])
			}
		}
		return nil
	})
	return b.String()
}
