// SPDX-License-Identifier: Apache-2.0

// Command bench-peers measures this project's program beside Prometheus in agent
// mode and vmagent, one after the other on the same scrape target and the same
// receiver, and prints the figures as Markdown. It takes about 14 minutes.
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
	flag.StringVar(&o.only, "only", "", "comma-separated parts: engine, large, bars, linear, drain (default: all)")
	flag.BoolVar(&o.quick, "quick", false, "short phases, to see that everything works; the figures are worth little")
	flag.BoolVar(&o.alone, "alone", false, "leave the peers out")
	flag.Parse()
	log.SetFlags(log.Ltime)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
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
	for _, part := range []struct {
		name string
		f    func() error
	}{
		{"engine", func() error { return compare(ctx, w, o, all, false) }},
		{"large", func() error { return compare(ctx, w, o, all, true) }},
		{"bars", func() error { return bars(ctx, w, o, all) }},
		{"linear", func() error { return linear(ctx, w, o, ours) }},
		{"drain", func() error { return drain(ctx, w, o, ours, vmagent) }},
	} {
		if o.only == "" || strings.Contains(","+o.only+",", ","+part.name+",") {
			if err := part.f(); err != nil {
				return fmt.Errorf("%s: %w", part.name, err)
			}
		}
	}
	return nil
}

func compare(ctx context.Context, w io.Writer, o options, all []*agents.Agent, large bool) error {
	plan := bench.Plan{Interval: time.Second, Warm: 10, Live: 30, Outage: 60, Crash: 10}
	frames, err := replay.Recorded(o.archive, 1)
	if err != nil {
		return err
	}
	part := "engine"
	title := fmt.Sprintf("A real engine's %d series, one scrape a second", frames.Series)
	if large {
		part = "large"
		frames = replay.Synthetic(20_000)
		title = "20,000 synthetic series, one scrape a second"
		plan = bench.Plan{Interval: time.Second, Warm: 10, Live: 12, Outage: 15}
	}
	if o.quick {
		plan = bench.Plan{Interval: time.Second, Warm: 2, Live: 5, Outage: 5, Crash: plan.Crash / 4}
	}
	results := make([]bench.Result, len(all))
	for i, a := range all {
		log.Printf("%s: %s %s", part, a.Name, a.Version)
		if results[i], err = bench.Compare(ctx, filepath.Join(o.dir, part, a.Name), a, frames, plan); err != nil {
			return err
		}
	}
	bench.Table(w, title, all, results)
	if large {
		return nil
	}
	return floor(ctx, w, o, frames)
}
