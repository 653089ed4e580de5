// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/docker-remote-write/docker-remote-write/proof/bench/agents"
	"github.com/docker-remote-write/docker-remote-write/proof/bench/replay"
	"github.com/docker-remote-write/docker-remote-write/proof/bench/sink"
)

// Feed is a target: what it serves, as which job and how often.
type Feed struct {
	Job      string
	Interval time.Duration
	Frames   *replay.Frames
}

// Engine is an engine's target alone.
func Engine(f *replay.Frames, every time.Duration) []Feed { return []Feed{{"docker", every, f}} }

// feed is a target that serves.
type feed struct {
	Feed
	*replay.Target
}

// run is an agent at work with all that surrounds it.
type run struct {
	agent *agents.Agent
	work  agents.Work
	feeds []feed
	sink  *sink.Sink
	proc  *agents.Process
}

// begin sets up the targets and sets an agent to work on them and the sink, in the
// work's directory, which is made new.
func begin(w agents.Work, a *agents.Agent, feeds []Feed, s *sink.Sink) (*run, error) {
	w.URL = s.URL()
	r := &run{agent: a, sink: s}
	err := os.MkdirAll(w.Dir, 0o700)
	for _, f := range feeds {
		if err != nil {
			break
		}
		t := feed{Feed: f}
		if t.Target, err = replay.Serve(f.Frames); err == nil {
			r.feeds = append(r.feeds, t)
			w.Targets = append(w.Targets, agents.Target{Job: f.Job, Addr: t.Addr, Interval: f.Interval})
		}
	}
	r.work = w
	if err == nil {
		r.proc, err = a.Start(w)
	}
	if err != nil {
		r.end()
		return nil, err
	}
	return r, nil
}

func (r *run) end() {
	if r.proc != nil {
		r.proc.Kill()
	}
	for _, f := range r.feeds {
		f.Close()
	}
	r.sink.Close()
}

// receiver is one that knows the targets' numbers.
func receiver(conf *tls.Config) (*sink.Sink, error) {
	return sink.New(sink.Options{Sequence: replay.SequenceName, TLS: conf})
}

// counts are numbers of scrapes, one for each feed.
type counts []int

// before is behind all scrapes but the newest of each.
func (c counts) before() counts {
	b := make(counts, len(c))
	for i, n := range c {
		b[i] = max(0, n-1)
	}
	return b
}

// now is what has been served so far.
func (r *run) now() counts {
	c := make(counts, len(r.feeds))
	for i, f := range r.feeds {
		c[i] = f.Served()
	}
	return c
}

// served waits until the first target has been scraped n times more, and the others as
// often as that takes by their intervals.
func (r *run) served(ctx context.Context, n int) error {
	first := r.feeds[0].Interval
	want := r.now()
	for i, f := range r.feeds {
		want[i] += int(time.Duration(n) * first / f.Interval)
	}
	limit := time.NewTimer(time.Duration(n+20)*first + 30*time.Second)
	defer limit.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for i := 0; i < len(want); {
		if r.feeds[i].Served() >= want[i] {
			i++
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.proc.Done():
			return fmt.Errorf("%s ended by itself; its log is %s", r.agent.Name, r.log())
		case <-limit.C:
			return fmt.Errorf("%s has stopped scraping; its log is %s", r.agent.Name, r.log())
		case <-tick.C:
		}
	}
	return nil
}

func (r *run) log() string { return filepath.Join(r.work.Dir, "log") }

// missing counts the scrapes behind from, up to to, that have not arrived.
func (r *run) missing(from, to counts) int {
	n := 0
	for i, f := range r.feeds {
		n += r.sink.Missing(f.Job, from[i]+1, to[i])
	}
	return n
}

// latest is when the last of the scrapes behind from, up to to, arrived.
func (r *run) latest(from, to counts) (last time.Time) {
	for i, f := range r.feeds {
		for n := from[i] + 1; n <= to[i]; n++ {
			if a, _ := r.sink.Arrived(f.Job, n); a.At.After(last) {
				last = a.At
			}
		}
	}
	return last
}

// none are the counts before anything was served.
func (r *run) none() counts { return make(counts, len(r.feeds)) }

// samples is the number of samples behind from, up to to.
func (r *run) samples(from, to counts) (n int) {
	for i, f := range r.feeds {
		n += (to[i] - from[i]) * f.Frames.Series
	}
	return n
}

// pause waits for that long.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
