// SPDX-License-Identifier: Apache-2.0

// Command soak runs this project's program for long at two hundred times the normal rate,
// with three targets of different intervals, 1,400, 700 and 10,000 series, and an outage of
// the receiver each minute: one process that is never restarted, and one that is restarted
// in each outage. It fails if what the receiver holds of a target is not to the bit what
// was served, if samples come out of order, or if a process holds more memory, goroutines,
// descriptors or disk at the end than at the start.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/docker-remote-write/docker-remote-write/proof/bench"
	"github.com/docker-remote-write/docker-remote-write/proof/bench/agents"
	"github.com/docker-remote-write/docker-remote-write/proof/bench/replay"
)

func main() {
	ours := flag.String("ours", "build/docker-remote-write", "the `program`")
	length := flag.Duration("length", 30*time.Minute, "how long")
	cycle := flag.Duration("cycle", time.Minute, "time from one outage to the next")
	flag.Parse()
	log.SetFlags(log.Ltime)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *ours, *length, *cycle); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, ours string, length, cycle time.Duration) error {
	binary, err := filepath.Abs(ours)
	if err != nil {
		return err
	}
	a, err := agents.Ours(binary)
	if err != nil {
		return err
	}
	feeds := []bench.Feed{
		{Job: "docker", Interval: 500 * time.Millisecond, Frames: replay.Synthetic(1400)},
		{Job: "node", Interval: 900 * time.Millisecond, Frames: replay.Synthetic(700)},
		// With up and its like more than a request takes of one scrape.
		{Job: "wide", Interval: 5 * time.Second, Frames: replay.Synthetic(10_000)},
	}
	dir, err := os.MkdirTemp("", "soak-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	g, ctx := errgroup.WithContext(ctx)
	for name, restart := range map[string]bool{"steady": false, "restarted": true} {
		g.Go(func() error {
			err := bench.Soak(ctx, filepath.Join(dir, name), a, bench.SoakOptions{
				Feeds: feeds, Cycle: cycle, Outage: cycle / 4, Length: length, Restart: restart,
				Report: func(n int, u bench.Usage) {
					log.Printf("%s, cycle %d: %d scrapes, %d samples (%d twice, %d compared), resident %.1f MB, anonymous %.1f MB, %d threads, %d descriptors, disk %.2f MB",
						name, n, u.Served, u.Samples, u.Repeated, u.Compared, float64(u.Memory.Resident)/1e6, float64(u.Memory.Anonymous)/1e6, u.Threads, u.Descriptors, float64(u.Disk)/1e6)
				},
			})
			if err != nil {
				return fmt.Errorf("%s: %w\n%s", name, err, bench.LogOf(filepath.Join(dir, name)))
			}
			log.Printf("%s: all is there as it was served, nothing out of order, no more held at the end than at the start", name)
			return nil
		})
	}
	return g.Wait()
}
