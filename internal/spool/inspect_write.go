// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// Healthy reports whether nothing is damaged or missing.
func (r *Report) Healthy() bool { return len(r.Damage) == 0 }

// Write prints the report for people.
func (r *Report) Write(out io.Writer) error {
	w := &printer{tabs: tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)}
	for _, p := range r.Newer {
		w.line("%s belongs to a later release and is left alone.", p)
	}
	if r.Dir == "" {
		w.line("There is no spool of format version %d here.", version)
		return w.end()
	}
	w.line("Spool %s, format version %d", r.Dir, version)
	w.line("")
	w.line("ENDPOINT\tWAITS FROM\tTO\tSCRAPES\tSAMPLES\tBYTES\tDELIVERED\tLOST\t")
	for _, e := range r.Endpoints {
		name := e.Name
		if !e.Unclaimed.IsZero() {
			name += " (unclaimed since " + stamp(e.Unclaimed) + ")"
		}
		w.line("%s\t%s\t%s\t%d\t%d\t%d\t%d\t%s\t", name, stamp(e.From), stamp(e.To), e.Scrapes, e.Samples, e.Bytes, e.Tally.Delivered, lostText(&e.Tally))
	}
	if len(r.Endpoints) == 0 {
		w.line("none")
	}
	w.line("")
	w.line("SEGMENT\tFROM\tTO\tSCRAPES\tSAMPLES\tBYTES\tB/SAMPLE\t")
	for _, g := range r.Segments {
		ratio := "-"
		if g.Samples > 0 {
			ratio = fmt.Sprintf("%.2f", float64(g.Bytes)/float64(g.Samples))
		}
		edge := ""
		if g.ClockMark {
			edge = "the clock was set back before it"
		}
		w.line("%s\t%s\t%s\t%d\t%d\t%d\t%s\t%s", filepath.Base(g.Path), stamp(g.From), stamp(g.To), g.Scrapes, g.Samples, g.Bytes, ratio, edge)
	}
	if len(r.Segments) == 0 {
		w.line("none")
	}
	w.line("")
	if n := r.Removed.Sum(); n > 0 {
		w.line("%d samples were waiting for endpoints that are gone.", n)
	}
	if r.Missing > 0 {
		w.line("%d samples were appended and are not in these files: in the memory of the running process, or lost.", r.Missing)
	}
	if r.Healthy() {
		w.line("No damage.")
	}
	for _, d := range r.Damage {
		w.line("Damage: %s at %d, %d bytes, %d samples: %s", d.Path, d.Offset, d.Bytes, d.Samples, d.Reason)
	}
	return w.end()
}

// printer keeps the first error of many lines.
type printer struct {
	tabs *tabwriter.Writer
	err  error
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.tabs, format+"\n", args...)
	}
}

func (p *printer) end() error {
	if p.err != nil {
		return p.err
	}
	return p.tabs.Flush()
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}

func lostText(t *series.Tally) string {
	var parts []string
	for i, n := range t.Lost {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%s=%d", series.Loss(i), n))
		}
	}
	if parts == nil {
		return "0"
	}
	return strings.Join(parts, " ")
}
