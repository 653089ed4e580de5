// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/docker-remote-write/docker-remote-write/proof/bench/agents"
	"github.com/docker-remote-write/docker-remote-write/proof/bench/procstat"
)

// patience is how long a return may take.
const patience = 3 * time.Minute

// down begins an outage between two scrapes, so that an agent that sends at once has none
// in flight: with one, whose answer is lost, it would be another measurement. It returns
// what was served before.
func (r *run) down() (counts, error) {
	newest := r.now()
	r.sink.Wait(r.feeds[0].Interval/2, func() bool { return r.missing(newest.before(), newest) == 0 })
	err := r.sink.Down()
	return r.now(), err
}

func (r *run) outage(ctx context.Context, p Plan, res *Result) error {
	first, err := r.down()
	if err != nil {
		return err
	}
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
	last := r.now()
	res.DiskBytes = float64(grown-disk) / float64(r.samples(first, last))
	before := r.sink.Totals()
	if err := r.sink.Up(); err != nil {
		return err
	}
	if err := r.recovered(ctx, first, last); err != nil {
		return err
	}
	if r.missing(first, last) > 0 {
		return nil // shows as lost; there is no catching up to report
	}
	sent := r.sink.Totals().Sub(before)
	res.CatchUp = r.latest(first, last).Sub(r.sink.Resumed())
	res.Return = r.latest(last.before(), last).Sub(r.sink.Back())
	res.CatchUpBytes = sent.WaitedBytes / float64(sent.Waited)
	// A single request that carried everything took no time between the first
	// answer and the last.
	if res.CatchUp > 0 {
		res.CatchUpRate = float64(r.samples(first, last)) / res.CatchUp.Seconds()
	}
	return nil
}

// recovered waits until the scrapes behind first, up to last, are in, or until none of
// those that miss has come for 15 seconds after the first accepted request.
func (r *run) recovered(ctx context.Context, first, last counts) error {
	missing, since := r.missing(first, last), time.Now()
	begun := since
	for missing > 0 {
		r.sink.Wait(time.Second, func() bool { return r.missing(first, last) < missing })
		if err := ctx.Err(); err != nil {
			return err
		}
		if m := r.missing(first, last); m < missing || r.sink.Resumed().IsZero() {
			missing, since = m, time.Now()
		}
		if time.Since(since) > 15*time.Second {
			return nil
		}
		if time.Since(begun) > patience {
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
	first := r.now()
	if err := r.served(ctx, p.Crash); err != nil {
		return err
	}
	// Between two scrapes: one in progress is lost by everyone.
	if err := pause(ctx, r.feeds[0].Interval/2); err != nil {
		return err
	}
	r.proc.Kill()
	var err error
	if r.proc, err = r.agent.Start(r.work); err != nil {
		return err
	}
	if err := r.served(ctx, p.Crash); err != nil {
		return err
	}
	last := r.now()
	if err := r.sink.Up(); err != nil {
		return err
	}
	if err := r.recovered(ctx, first, last); err != nil {
		return err
	}
	res.CrashLost = r.missing(first, last)
	res.CrashOutOfOrder = r.sink.Totals().Sub(before).OutOfOrder
	return nil
}

// Return takes the receiver away, as long and as often as the outage says, and returns the longest
// time from its return until the newest scrape of the outage was there.
func Return(ctx context.Context, dir string, a *agents.Agent, sc Scenario, o Outage) (longest time.Duration, err error) {
	r, err := sc.begin(dir, a)
	if err != nil {
		return 0, err
	}
	defer r.end()
	for range o.Times {
		// What the outage before has built up is forgotten.
		if err := r.served(ctx, 15); err != nil {
			return 0, err
		}
		if _, err := r.down(); err != nil {
			return 0, err
		}
		if err := pause(ctx, o.Length); err != nil {
			return 0, err
		}
		last := r.now()
		if err := r.sink.Up(); err != nil {
			return 0, err
		}
		if !r.sink.Wait(patience, func() bool { return r.missing(last.before(), last) == 0 }) {
			return 0, fmt.Errorf("%s: the newest scrape has not come three minutes after an outage of %s; its log is %s", a.Name, o.Length, r.log())
		}
		longest = max(longest, r.latest(last.before(), last).Sub(r.sink.Back()))
	}
	return longest, nil
}
