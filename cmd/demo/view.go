// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// frameLines is what a frame takes at most; a terminal with fewer gets plain lines.
const frameLines = 23

// actionLines is how many kinds of container actions a frame has room for.
const actionLines = 6

// about is what a frame shows besides figures.
type about struct {
	Elapsed, Total time.Duration
	Plugin         string
	Engine         string // "the local engine" or "a private engine"
	Receiver       string
	Added          string // the setting that added the node exporter
}

// frame lays the figures out for a terminal of 80 columns.
func frame(f figures, a about) []string {
	left := bold + cyan + " docker-remote-write" + plain + bold + " demo" + plain
	right := dim + fmt.Sprintf("%s of %s, Ctrl-C ends it", seconds(a.Elapsed), seconds(a.Total)) + plain
	lines := []string{pad(left, 79-visible(right)) + right, ""}
	row := func(title, format string, args ...any) {
		lines = append(lines, pad(" "+bold+title+plain, 16)+fmt.Sprintf(format, args...))
	}

	row("Engine", "%s%s%s  %s", green, text(f.Version), plain, text(f.OS))
	row("", "%s%s CPUs, %s, %s, %s, kernel %s%s", dim, number(f.CPUs), size(f.Memory), text(f.Architecture), text(f.Driver), text(f.Kernel), plain)
	row("Scrape", "%s  %s series in %s", up(f.Up), number(f.Series), latency(f.ScrapeSeconds))
	row("Host", "%s  %s series in %s  %s available", up(f.HostUp), number(f.HostSeries), latency(f.HostScrapeSeconds), size(f.Available))
	row("", "%sadded by %s%s", dim, a.Added, plain)
	row("Containers", "%s%s running%s  %s%s paused%s  %s%s stopped%s", green, number(f.Running), plain, yellow, number(f.Paused), plain, red, number(f.Stopped), plain)
	row("Health checks", "%s run, %s failed", number(f.Checks), number(f.FailedChecks))
	row("Daemon", "CPU    %s %s%s%s", pad(percent(f.CPU), 9), cyan, spark(f.CPUHistory, 0), plain)
	low := 0.0
	if len(f.MemoryHistory) > 0 {
		low = slices.Min(f.MemoryHistory) * 0.98
	}
	row("", "memory %s %s%s%s", pad(size(f.Resident), 9), cyan, spark(f.MemoryHistory, low), plain)
	row("Sent", "%s samples  %s%s/s%s   %s  %s%s/s%s", number(f.Samples), dim, number(f.SampleRate), plain, size(f.Bytes), dim, size(f.ByteRate), plain)
	row("", "%s%s requests by %s, %s a sample, %s lost, %s waiting%s", dim, number(f.Requests), text(f.Protocol), perSample(f), number(f.Lost), number(f.Waiting), plain)

	lines = append(lines, "", pad(" "+bold+"Actions"+plain, 32)+dim+"  count       p50       p90       p99"+plain)
	shown := f.Actions
	if len(shown) > actionLines {
		shown = shown[:actionLines]
	}
	for _, x := range shown {
		lines = append(lines, fmt.Sprintf("%16s%-16s%7s%10s%10s%10s", "", x.Name, number(x.Count), latency(x.P50), latency(x.P90), latency(x.P99)))
	}
	if len(shown) == 0 {
		lines = append(lines, fmt.Sprintf("%16s%snone yet%s", "", dim, plain))
	}
	return append(lines, "", dim+fmt.Sprintf(" %s in %s, to %s", a.Plugin, a.Engine, a.Receiver)+plain)
}

// line is a frame for who has no terminal.
func line(f figures, a about) string {
	var actions []string
	for _, x := range f.Actions {
		actions = append(actions, fmt.Sprintf("%s %s (p50 %s, p99 %s)", x.Name, number(x.Count), latency(x.P50), latency(x.P99)))
	}
	if len(actions) == 0 {
		actions = []string{"none"}
	}
	return fmt.Sprintf("%3.0f s | engine %s | host: %s series, %s available | containers: %s running, %s paused, %s stopped | actions: %s | health checks: %s run, %s failed | daemon: CPU %s, memory %s | sent: %s samples, %s",
		a.Elapsed.Seconds(), text(f.Version), number(f.HostSeries), size(f.Available), number(f.Running), number(f.Paused), number(f.Stopped), strings.Join(actions, ", "),
		number(f.Checks), number(f.FailedChecks), percent(f.CPU), size(f.Resident), number(f.Samples), size(f.Bytes))
}

func up(v float64) string {
	switch {
	case math.IsNaN(v):
		return yellow + "waiting" + plain
	case v == 1:
		return green + "up" + plain
	}
	return red + "down" + plain
}

func perSample(f figures) string {
	if math.IsNaN(f.Bytes) || !(f.Samples > 0) {
		return "-"
	}
	return fmt.Sprintf("%.1f B", f.Bytes/f.Samples)
}

// text is a label's value, or a dash. Labels come over the network: what could
// steer the terminal is taken out.
func text(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return -1
		}
		return r
	}, s)
	if s == "" {
		return "-"
	}
	return s
}
