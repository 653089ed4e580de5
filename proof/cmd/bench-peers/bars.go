// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/docker-remote-write/docker-remote-write/proof/bench"
	"github.com/docker-remote-write/docker-remote-write/proof/bench/agents"
	"github.com/docker-remote-write/docker-remote-write/proof/bench/replay"
)

// bars measures what takes its time and no processor's, all of it at once: all agents
// over TLS and after outages, and what needs this project's program alone.
func bars(ctx context.Context, w io.Writer, o options, all []*agents.Agent) error {
	frames, err := replay.Recorded(o.archive, 1)
	if err != nil {
		return err
	}
	feeds := bench.Engine(frames, time.Second)
	secured := []bench.Scenario{
		{Name: "one engine, TLS, own metrics", Feeds: feeds, TLS: true, Self: true},
		{Name: "one engine, TLS", Feeds: feeds, TLS: true},
	}
	plan, over := bench.Plan{Warm: 10, Live: 90, Shape: 10}, time.Minute
	outages := []bench.Outage{
		{Length: 10 * time.Second, Times: 5},
		{Length: time.Minute, Times: 3},
		{Length: 10 * time.Minute, Times: 1},
	}
	if o.quick {
		plan, over = bench.Plan{Warm: 2, Live: 10, Shape: 3}, 10*time.Second
		outages = []bench.Outage{{Length: 2 * time.Second, Times: 2}, {Length: 10 * time.Second, Times: 1}}
	}
	log.Printf("bars: everyone over TLS, and outages of up to %s", outages[len(outages)-1].Length)
	results := make([][]bench.Result, len(secured))
	took := make([][]time.Duration, len(outages))
	var idle, listens float64
	g, ctx := errgroup.WithContext(ctx)
	for k, sc := range secured {
		results[k] = make([]bench.Result, len(all))
		for i, a := range all {
			g.Go(func() (err error) {
				results[k][i], err = bench.Compare(ctx, filepath.Join(o.dir, fmt.Sprint("tls-", k), a.Name), a, sc, plan)
				results[k][i].FirstSample = -1 // they were all started at once
				return err
			})
		}
	}
	engine := bench.Scenario{Name: "one engine", Feeds: feeds}
	for k, out := range outages {
		took[k] = make([]time.Duration, len(all))
		for i, a := range all {
			g.Go(func() (err error) {
				took[k][i], err = bench.Return(ctx, filepath.Join(o.dir, fmt.Sprint("return-", k), a.Name), a, engine, out)
				return err
			})
		}
	}
	g.Go(func() (err error) {
		idle, listens, err = bench.Idle(ctx, filepath.Join(o.dir, "idle"), all[0], frames, "./proof/bench/listener", over)
		return err
	})
	if err := g.Wait(); err != nil {
		return err
	}
	for k, sc := range secured {
		own := []string{"with everybody's own metrics", "without own metrics"}[k]
		bench.Table(w, fmt.Sprintf("Over TLS %s, all of these at once, the engine's %d series", own, frames.Series), sc.Name, all, results[k])
	}
	bench.ReturnTable(w, engine.Name, all, outages, took)
	fmt.Fprintf(w, "### %s alone, the engine's %d series\n\n| | |\n|---|---|\n", all[0].Name, frames.Series)
	fmt.Fprintf(w, "| voluntary context switches a second, idle at an interval of 10 m | %.2f |\n", idle)
	fmt.Fprintf(w, "| the same of a Go program that only listens | %.2f |\n\n", listens)
	return nil
}

// metadata measures what type, help and unit of the series cost on the wire.
func metadata(ctx context.Context, w io.Writer, o options, a *agents.Agent) error {
	frames, err := replay.Recorded(o.archive, 15)
	if err != nil {
		return err
	}
	scrapes := 60
	if o.quick {
		scrapes = 8
	}
	log.Print("metadata: with and without, over both protocols, merged and not")
	columns := [][]string{
		{"REMOTE_WRITE_PROTOCOL=2.0"}, {"REMOTE_WRITE_PROTOCOL=2.0", "SEND_METADATA=false"},
		{"REMOTE_WRITE_PROTOCOL=1.0"}, {"REMOTE_WRITE_PROTOCOL=1.0", "SEND_METADATA=false"},
	}
	var single, merged [4]float64
	g, ctx := errgroup.WithContext(ctx)
	for i, env := range columns {
		g.Go(func() (err error) {
			single[i], err = bench.Wire(ctx, filepath.Join(o.dir, fmt.Sprint("single-", i)), a, frames, scrapes, env...)
			return err
		})
		g.Go(func() (err error) {
			env := append([]string{"BATCH_SEND_DEADLINE=4s"}, env...)
			merged[i], err = bench.Wire(ctx, filepath.Join(o.dir, fmt.Sprint("merged-", i)), a, frames, scrapes, env...)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	fmt.Fprint(w, "### What metadata costs, wire bytes a sample of scrapes 15 s apart, own metrics on\n\n| | 2.0 | 2.0 without metadata | 1.0 | 1.0 without metadata |\n|---|---|---|---|---|\n")
	for _, r := range []struct {
		name string
		v    [4]float64
	}{{"one scrape a request", single}, {"four scrapes merged (BATCH_SEND_DEADLINE=1m)", merged}} {
		fmt.Fprintf(w, "| %s | %.2f B | %.2f B | %.2f B | %.2f B |\n", r.name, r.v[0], r.v[1], r.v[2], r.v[3])
	}
	fmt.Fprintln(w)
	return nil
}

// floor measures the processor time of the input and output alone.
func floor(ctx context.Context, w io.Writer, o options, sc bench.Scenario) error {
	plan := bench.Plan{Warm: 5, Live: 20}
	if o.quick {
		plan.Warm, plan.Live = 2, 3
	}
	log.Print("floor: a program that does the input and output alone")
	cpu, err := bench.Floor(ctx, filepath.Join(o.dir, "floor"), "./proof/bench/floor", sc, plan)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "A Go program that does the same input and output and nothing else takes %.2f ms a scrape.\n\n", cpu.Seconds()*1e3)
	return nil
}

// linear measures processor time and memory over the number of series.
func linear(ctx context.Context, w io.Writer, o options, a *agents.Agent) error {
	fmt.Fprint(w, "### By number of series, one scrape a second\n\n| series | processor time a scrape | a series | resident memory | of it anonymous | peak of the start |\n|---|---|---|---|---|---|\n")
	plan := bench.Plan{Warm: 10, Live: 10}
	if o.quick {
		plan.Warm, plan.Live = 2, 3
	}
	for _, n := range []int{100, 1_000, 10_000, 50_000} {
		log.Printf("linear: %d series", n)
		r, err := bench.Compare(ctx, filepath.Join(o.dir, fmt.Sprint("linear-", n)), a,
			bench.Scenario{Feeds: bench.Engine(replay.Synthetic(n), time.Second)}, plan)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "| %d | %.2f ms | %.2f µs | %.1f MB | %.1f MB | %.1f MB |\n", n, r.CPU.Seconds()*1e3, r.CPU.Seconds()*1e6/float64(n),
			float64(r.Memory.Resident)/1e6, float64(r.Memory.Anonymous)/1e6, float64(r.PeakStart)/1e6)
	}
	fmt.Fprintln(w)
	return nil
}

// drain measures backlogs of an hour and of a day, and with the latter a peer, nil
// for none.
func drain(ctx context.Context, w io.Writer, o options, a, peer *agents.Agent) error {
	frames, err := replay.Recorded(o.archive, 1)
	if err != nil {
		return err
	}
	fmt.Fprint(w, "### Draining a backlog into a receiver on loopback\n\n| backlog at 15 s | samples | on disk | resident memory while it waits | its peak until drained | wire bytes a sample | processor time | from the first accepted request |\n|---|---|---|---|---|---|---|---|\n")
	long, scrapes := "24 hours", 5760
	if o.quick {
		long, scrapes = "2.4 hours", 576
	}
	line := func(name string, d bench.Drained, err error) error {
		if err == nil {
			fmt.Fprintf(w, "| %s | %d | %.2f MB | %.1f MB | %.1f MB | %.2f B | %.2f s | %.2f s |\n", name, d.Samples, float64(d.Disk)/1e6,
				float64(d.Waiting.Resident)/1e6, float64(d.Peak)/1e6, d.WireBytes, d.CPU.Seconds(), d.Took.Seconds())
		}
		return err
	}
	for _, b := range []struct {
		name    string
		scrapes int
	}{{"none", 1}, {"1 hour", 240}, {long, scrapes}} {
		log.Printf("drain: %s", b.name)
		d, err := bench.Drain(ctx, filepath.Join(o.dir, fmt.Sprint("drain-", b.scrapes)), a, frames, b.scrapes)
		if err := line(b.name, d, err); err != nil {
			return err
		}
	}
	if peer != nil {
		log.Printf("drain: %s %s", peer.Name, peer.Version)
		d, err := bench.DrainPeer(ctx, filepath.Join(o.dir, "drain-peer"), peer, frames, scrapes)
		if err := line(peer.Name+", as many scrapes", d, err); err != nil {
			return err
		}
	}
	fmt.Fprintln(w)
	return nil
}

// beside measures an engine that has nothing to do, without and with the plugin.
func beside(ctx context.Context, w io.Writer, o options) error {
	times, over := 9, 2*time.Minute
	if o.quick {
		times, over = 1, 20*time.Second
	}
	log.Print("beside: an idle engine, without and with the plugin")
	plugin, err := bench.Assemble(ctx, o.dir, o.ours)
	if err != nil {
		return err
	}
	var b [2]bench.Beside
	for i, plugin := range []string{"", plugin} {
		if b[i], err = bench.EngineBeside(ctx, o.ours, plugin, times, over); err != nil {
			return err
		}
	}
	fmt.Fprintf(w, "### An idle engine, %s, medians of %d\n\n| | without the plugin | with it |\n|---|---|---|\n", b[0].Version, times)
	seconds := func(name string, of func(b bench.Beside) time.Duration) {
		fmt.Fprintf(w, "| %s | %.2f s | %.2f s |\n", name, of(b[0]).Seconds(), of(b[1]).Seconds())
	}
	seconds("from the engine's start until it answers", func(b bench.Beside) time.Duration { return b.Start })
	seconds("from SIGTERM until it has ended", func(b bench.Beside) time.Duration { return b.Stop })
	seconds("`docker run` of a program that ends at once", func(b bench.Beside) time.Duration { return b.Run })
	fmt.Fprintf(w, "| `docker plugin enable` | - | %.2f s |\n", b[1].Enable.Seconds())
	minute := func(d time.Duration) float64 { return d.Seconds() * 1e3 / over.Minutes() }
	fmt.Fprintf(w, "| processor time a minute, dockerd | %.1f ms | %.1f ms |\n", minute(b[0].CPU), minute(b[1].CPU))
	fmt.Fprintf(w, "| the same, the plugin, a scrape every 15 s | - | %.1f ms |\n", minute(b[1].PluginCPU))
	fmt.Fprintf(w, "| resident memory, dockerd | %.1f MB | %.1f MB |\n\n", float64(b[0].Memory.Resident)/1e6, float64(b[1].Memory.Resident)/1e6)
	return nil
}
