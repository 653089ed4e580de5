// SPDX-License-Identifier: Apache-2.0

// Command bench-peers measures this project's program beside Prometheus in agent
// mode and vmagent, one after the other on the same scrape targets and the same
// receiver, and prints the figures as Markdown. It takes about 40 minutes.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/docker-remote-write/docker-remote-write/proof/bench"
	"github.com/docker-remote-write/docker-remote-write/proof/bench/agents"
	"github.com/docker-remote-write/docker-remote-write/proof/bench/replay"
)

type options struct {
	ours, prometheus, vmagent string
	archive, doc, dir         string
	only                      string
	quick, alone              bool
}

func main() {
	var o options
	flag.StringVar(&o.ours, "ours", "build/docker-remote-write", "this project's `program`, the very file that the plugin holds")
	flag.StringVar(&o.prometheus, "prometheus", env("PROMETHEUS", ".cache/packages/prometheus/usr/bin/prometheus"), "Prometheus `program`; $PROMETHEUS")
	flag.StringVar(&o.vmagent, "vmagent", env("VMAGENT", ".cache/packages/victoria-metrics/usr/bin/vmagent"), "vmagent `program`; $VMAGENT")
	flag.StringVar(&o.archive, "captures", "testdata/captures/v20.10-sequence-60x1s.tar.xz", "`archive` of recorded scrapes")
	flag.StringVar(&o.doc, "doc", "", "put the tables between the marks in this `file` too")
	flag.StringVar(&o.dir, "dir", "", "keep data and logs in this `directory` (default: a temporary one)")
	flag.StringVar(&o.only, "only", "", "comma-separated parts: engine, three, large, floor, bars, metadata, linear, drain, beside (default: all)")
	flag.BoolVar(&o.quick, "quick", false, "short phases, to see that everything works; the figures are worth little")
	flag.BoolVar(&o.alone, "alone", false, "leave the peers out")
	flag.Parse()
	log.SetFlags(log.Ltime)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	if err := run(ctx, o); err != nil {
		log.Fatal(err)
	}
}

func env(name, fallback string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return fallback
}

func run(ctx context.Context, o options) error {
	if o.dir == "" {
		dir, err := os.MkdirTemp("", "bench-peers-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		o.dir = dir
	}
	for _, p := range []*string{&o.ours, &o.prometheus, &o.vmagent, &o.dir} {
		abs, err := filepath.Abs(*p)
		if err != nil {
			return err
		}
		*p = abs
	}
	var table bytes.Buffer
	if err := measure(ctx, io.MultiWriter(os.Stdout, &table), o); err != nil {
		return err
	}
	if o.doc == "" {
		return nil
	}
	return bench.Insert(o.doc, "figures", table.Bytes())
}

// measure runs all parts and writes their tables to w.
func measure(ctx context.Context, w io.Writer, o options) error {
	ours, err := agents.Ours(o.ours)
	if err != nil {
		return err
	}
	all := []*agents.Agent{ours}
	var vmagent *agents.Agent // of the peers the one that drains a minute's backlog faster
	if !o.alone {
		prometheus, err := agents.Prometheus(o.prometheus)
		if err != nil {
			return err
		}
		if vmagent, err = agents.VMAgent(o.vmagent); err != nil {
			return err
		}
		all = append(all, prometheus, vmagent)
	}
	fmt.Fprintf(w, "Measured by `make bench-peers` on %s.\n\n", bench.Machine())
	type step struct {
		name string
		f    func() error
	}
	scenarios, err := parts(o)
	if err != nil {
		return err
	}
	var steps []step
	for _, p := range scenarios {
		steps = append(steps, step{p.name, func() error { return compare(ctx, w, o, all, p) }})
	}
	steps = append(steps, []step{
		{"floor", func() error { return floor(ctx, w, o, scenarios[0].Scenario) }},
		{"bars", func() error { return bars(ctx, w, o, all) }},
		{"metadata", func() error { return metadata(ctx, w, o, ours) }},
		{"linear", func() error { return linear(ctx, w, o, ours) }},
		{"drain", func() error { return drain(ctx, w, o, ours, vmagent) }},
		{"beside", func() error { return beside(ctx, w, o) }},
	}...)
	for _, s := range steps {
		if o.only == "" || strings.Contains(","+o.only+",", ","+s.name+",") {
			if err := s.f(); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	return nil
}

// part is a scenario that is measured one agent after the other.
type part struct {
	name, title string
	bench.Scenario
	plan bench.Plan
}

func parts(o options) ([]part, error) {
	frames, err := replay.Recorded(o.archive, 1)
	if err != nil {
		return nil, err
	}
	one := func(job string, f *replay.Frames) bench.Feed {
		return bench.Feed{Job: job, Interval: time.Second, Frames: f}
	}
	engine := one("docker", frames)
	all := []part{{
		"engine", fmt.Sprintf("A real engine's %d series, one scrape a second", frames.Series),
		bench.Scenario{Name: "one engine", Feeds: []bench.Feed{engine}},
		bench.Plan{Warm: 10, Live: 30, Shape: 10, Outage: 60, Crash: 10},
	}, {
		"three", fmt.Sprintf("The engine's %d series and two targets of 700 and 3,000 synthetic ones, one scrape of each a second", frames.Series),
		bench.Scenario{Name: "three targets", Feeds: []bench.Feed{engine, one("node", replay.Synthetic(700)), one("cadvisor", replay.Synthetic(3000))}},
		bench.Plan{Warm: 10, Live: 30, Shape: 10, Outage: 60},
	}, {
		"large", "20,000 synthetic series, one scrape a second",
		bench.Scenario{Name: "20,000 series", Feeds: []bench.Feed{one("docker", replay.Synthetic(20_000))}},
		bench.Plan{Warm: 10, Live: 12, Shape: 5, Outage: 15},
	}}
	if o.quick {
		for i := range all {
			all[i].plan = bench.Plan{Warm: 2, Live: 5, Shape: 3, Outage: 5, Crash: all[i].plan.Crash / 4}
		}
	}
	return all, nil
}

func compare(ctx context.Context, w io.Writer, o options, all []*agents.Agent, p part) (err error) {
	results := make([]bench.Result, len(all))
	for i, a := range all {
		log.Printf("%s: %s %s", p.name, a.Name, a.Version)
		if results[i], err = bench.Compare(ctx, filepath.Join(o.dir, p.name, a.Name), a, p.Scenario, p.plan); err != nil {
			return err
		}
	}
	bench.Table(w, p.title, p.Name, all, results)
	return nil
}
