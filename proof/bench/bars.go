// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/docker-remote-write/docker-remote-write/proof/bench/agents"
	"github.com/docker-remote-write/docker-remote-write/proof/bench/procstat"
	"github.com/docker-remote-write/docker-remote-write/proof/bench/replay"
)

// Wire returns the wire bytes a sample of an engine that is scraped once a second, own
// metrics on, with these settings beside. To measure scrapes that are merged over a longer
// interval, the frames are to be as far apart as those of it.
func Wire(ctx context.Context, dir string, a *agents.Agent, f *replay.Frames, scrapes int, env ...string) (float64, error) {
	s, err := receiver(nil)
	if err != nil {
		return 0, err
	}
	r, err := begin(agents.Work{Dir: dir, Self: true, Env: env}, a, Engine(f, time.Second), s)
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
	s, err := receiver(nil)
	if err != nil {
		return 0, 0, err
	}
	r, err := begin(agents.Work{Dir: dir, Self: true}, a, Engine(f, 10*time.Minute), s)
	if err != nil {
		return 0, 0, err
	}
	defer r.end()
	bin := filepath.Join(dir, "listener")
	if err := goBuild(ctx, bin, listener); err != nil {
		return 0, 0, err
	}
	idle := exec.Command(bin)
	if err := idle.Start(); err != nil {
		return 0, 0, err
	}
	defer func() {
		idle.Process.Kill()
		idle.Wait()
	}()
	if !s.Wait(time.Minute, func() bool { return s.Missing("docker", 1, 1) == 0 }) {
		return 0, 0, fmt.Errorf("the first scrape has not arrived within a minute")
	}
	if err := pause(ctx, 5*time.Second); err != nil {
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
			if err := pause(ctx, over); err != nil {
				return 0, 0, err
			}
		}
	}
	per := func(j int) float64 { return float64(counts[1][j]-counts[0][j]) / over.Seconds() }
	return per(0), per(1), nil
}

// goBuild builds the program of that directory.
func goBuild(ctx context.Context, bin, source string) error {
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", bin, source).CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w: %s", source, err, out)
	}
	return nil
}
