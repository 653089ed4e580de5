// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/docker-remote-write/docker-remote-write/proof/bench/agents"
)

// Machine describes where the figures come from, in one line.
func Machine() string {
	cpu := runtime.GOARCH
	if raw, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(raw)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				cpu = strings.TrimSpace(value)
				break
			}
		}
	}
	var u unix.Utsname
	kernel := "unknown kernel"
	if unix.Uname(&u) == nil {
		kernel = "Linux " + unix.ByteSliceToString(u.Release[:])
	}
	return fmt.Sprintf("%d × %s, %s, %s, %s", runtime.NumCPU(), cpu, kernel, runtime.Version(), time.Now().UTC().Format(time.DateOnly))
}

// Insert puts text between the lines <!-- name --> and <!-- /name --> of a document,
// in place of what is there.
func Insert(file, name string, text []byte) error {
	doc, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	begin, end := "<!-- "+name+" -->\n", "<!-- /"+name+" -->\n"
	head, rest, ok := strings.Cut(string(doc), begin)
	_, tail, closed := strings.Cut(rest, end)
	if !ok || !closed {
		return fmt.Errorf("%s: the lines %q and %q are not in it", file, strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	text = append(bytes.TrimSpace(text), '\n', '\n')
	return os.WriteFile(file, []byte(head+begin+"\n"+string(text)+end+tail), 0o644)
}

// row is one figure of each agent; a negative one was not measured.
type row struct {
	name   string
	format func(float64) string
	value  func(agent int) float64
}

// Table writes the agents' results side by side as Markdown, the first agent's
// in the first column and, behind each other figure, its ratio to the first.
func Table(w io.Writer, title, scenario string, all []*agents.Agent, results []Result) {
	sizes := make([]float64, len(all))
	for i, a := range all {
		n, err := a.Size()
		if err != nil {
			n = -1
		}
		sizes[i] = float64(n)
	}
	layOut(w, title, scenario, all, []row{
		{"processor time a scrape, of each target one", millis, func(i int) float64 { return float64(results[i].CPU) }},
		{"resident memory", megabytes, func(i int) float64 { return float64(results[i].Memory.Resident) }},
		{"of it anonymous", megabytes, func(i int) float64 { return float64(results[i].Memory.Anonymous) }},
		{"resident, peak of the start", megabytes, func(i int) float64 { return float64(results[i].PeakStart) }},
		{"resident, peak when all series are replaced by others", megabytes, func(i int) float64 { return float64(results[i].PeakShape) }},
		{"program file", megabytes, func(i int) float64 { return sizes[i] }},
		{"start to first sample delivered", seconds, func(i int) float64 { return float64(results[i].FirstSample) }},
		{"wire bytes a sample, live", perSample, func(i int) float64 { return results[i].LiveBytes }},
		{"mean delay from scrape to receiver, live", seconds, func(i int) float64 { return float64(results[i].LiveDelay) }},
		{"disk bytes a sample, receiver down", perSample, func(i int) float64 { return results[i].DiskBytes }},
		{"wire bytes a sample that waited", perSample, func(i int) float64 { return results[i].CatchUpBytes }},
		{"time to catch up, from the first accepted request", seconds, func(i int) float64 { return float64(results[i].CatchUp) }},
		{"samples a second that waited, from then on", count, func(i int) float64 { return results[i].CatchUpRate }},
		{"newest sample there after the receiver's return", seconds, func(i int) float64 { return float64(results[i].Return) }},
		{"scrapes lost, before the crash", count, func(i int) float64 { return float64(results[i].Lost) }},
		{"samples out of order, before the crash", count, func(i int) float64 { return float64(results[i].OutOfOrder) }},
		{"scrapes lost, outage with kill -9", count, func(i int) float64 { return float64(results[i].CrashLost) }},
		{"samples out of order, outage with kill -9", count, func(i int) float64 { return float64(results[i].CrashOutOfOrder) }},
	})
}

// Outage is one after which it was measured how soon the newest sample is there.
type Outage struct {
	Length time.Duration
	Times  int
}

// ReturnTable lays side by side what Return says of each outage and agent.
func ReturnTable(w io.Writer, scenario string, all []*agents.Agent, outages []Outage, took [][]time.Duration) {
	var rows []row
	for k, o := range outages {
		name := fmt.Sprintf("outage of %s", o.Length)
		if o.Times > 1 {
			name += fmt.Sprintf(", the longest of %d", o.Times)
		}
		rows = append(rows, row{name, seconds, func(i int) float64 { return float64(took[k][i]) }})
	}
	layOut(w, "From the receiver's return until the newest sample is there", scenario, all, rows)
}

// layOut writes a table; each row says which scenario is meant.
func layOut(w io.Writer, title, scenario string, all []*agents.Agent, rows []row) {
	fmt.Fprintf(w, "### %s\n\n| |", title)
	for _, a := range all {
		fmt.Fprintf(w, " | %s %s, remote write %s", a.Name, a.Version, a.Protocol)
	}
	fmt.Fprint(w, " |\n|---|---|", strings.Repeat("---|", len(all)), "\n")
	for _, row := range rows {
		line, measured := "| "+scenario+" | "+row.name, false
		ours := row.value(0)
		for i := range all {
			v := row.value(i)
			switch {
			case v < 0:
				line += " | -"
			case i > 0 && ours > 0 && v > 0:
				line += fmt.Sprintf(" | %s (%s)", row.format(v), ratio(v/ours))
			default:
				line += " | " + row.format(v)
			}
			measured = measured || v >= 0
		}
		if measured {
			fmt.Fprintln(w, line, "|")
		}
	}
	fmt.Fprintln(w)
}

func ratio(r float64) string {
	if r >= 10 {
		return fmt.Sprintf("× %.0f", r)
	}
	return fmt.Sprintf("× %.2g", r)
}

func millis(v float64) string    { return fmt.Sprintf("%.2f ms", v/float64(time.Millisecond)) }
func seconds(v float64) string   { return fmt.Sprintf("%.2f s", v/float64(time.Second)) }
func megabytes(v float64) string { return fmt.Sprintf("%.1f MB", v/1e6) }
func perSample(v float64) string { return fmt.Sprintf("%.2f B", v) }
func count(v float64) string     { return fmt.Sprintf("%.0f", v) }
