// SPDX-License-Identifier: Apache-2.0

package statuscmd

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
	"github.com/docker-remote-write/docker-remote-write/internal/telemetry"
	"github.com/docker-remote-write/docker-remote-write/internal/words"
)

// printer writes for people; colours are empty where there is no terminal.
type printer struct {
	w                                io.Writer
	bold, dim, red, yellow, grn, off string
}

func newPrinter(w io.Writer) *printer {
	p := &printer{w: w}
	if terminal(w) {
		p.bold, p.dim, p.red, p.yellow, p.grn, p.off = "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[33m", "\x1b[32m", "\x1b[0m"
	}
	return p
}

// line writes one line. What comes from outside goes through safe before.
func (p *printer) line(format string, a ...any) { fmt.Fprintf(p.w, format+"\n", a...) }

// safe keeps a forwarder's words from steering the terminal.
func safe(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

func (p *printer) report(r *Report) {
	if len(r.Forwarders) == 0 {
		p.line("No docker-remote-write was found on this host: no plugin of the engine, no `run` process.")
		p.line("Plugins are looked for in the engine's data directory (--data-root) and its sockets (--run-dir).")
	}
	for i := range r.Forwarders {
		if i > 0 {
			p.line("")
		}
		p.forwarder(&r.Forwarders[i])
	}
}

func (p *printer) forwarder(f *Forwarder) {
	name := safe(f.Name)
	if f.ID != "" {
		name += " (plugin " + safe(f.ID[:min(12, len(f.ID))]) + ")"
	}
	if !f.Running {
		color := p.red
		if f.Listed == disabled {
			color = p.yellow
		}
		p.line("%s%s%s: %s%s%s", p.bold, name, p.off, color, safe(f.Error), p.off)
		p.line("    %s", safe(f.Hint))
		return
	}
	s := f.Status
	verdict := p.grn + "healthy" + p.off
	if !s.Healthy {
		verdict = p.red + "NOT HEALTHY" + p.off
	}
	p.line("%s%s on %s%s: %s", p.bold, name, safe(s.Instance), p.off, verdict)
	for _, problem := range s.Problems {
		mark, color := "!", p.yellow
		if problem.Severity == telemetry.Error {
			mark, color = "x", p.red
		}
		p.line("  %s%s %s:%s %s", color, mark, safe(problem.Subject), p.off, safe(problem.Text))
		p.line("    %s%s%s", p.dim, safe(problem.Hint), p.off)
	}
	for i := range s.Targets {
		p.target(s, &s.Targets[i])
	}
	p.spool(s)
	for i := range s.Endpoints {
		p.endpoint(s, &s.Endpoints[i])
	}
	p.item("process", "version %s (%s mode), up %s, %s of memory", safe(s.Version), safe(s.Mode),
		words.Span(s.Time.Sub(s.Started)), words.Size(s.Process.ResidentBytes))
}

func (p *printer) item(term, format string, a ...any) {
	p.line("  %s%-9s%s %s", p.dim, term, p.off, fmt.Sprintf(format, a...))
}

func (p *printer) target(s *telemetry.State, c *telemetry.TargetState) {
	state := "up"
	switch {
	case !c.Running:
		state = "not scraped"
	case c.Waiting != "":
		state = "waiting"
	case c.LastError != "":
		state = "down"
	}
	term, name := "engine", ""
	if c.Name != "" {
		term, name = "target", p.bold+safe(c.Name)+p.off+" "
	}
	p.item(term, "%s%s, last scrape %s, %s every %s", name, state, words.Ago(s.Time, c.Last),
		words.Count(uint64(c.Samples), "sample"), words.Span(c.Interval.Duration()))
}

func (p *printer) spool(s *telemetry.State) {
	limit := ""
	if s.Spool.MaxBytes > 0 {
		limit = " of " + words.Size(s.Spool.MaxBytes)
	}
	where := "on disk"
	if s.Spool.Error != "" {
		where = p.red + "in memory only" + p.off
	}
	p.item("spool", "%s, %s%s in %s", where, words.Size(s.Spool.Bytes), limit, safe(s.Spool.Dir))
}

func (p *printer) endpoint(s *telemetry.State, e *telemetry.EndpointState) {
	p.item("endpoint", "%s%s%s, %s, remote write %s", p.bold, safe(e.Name), p.off, safe(e.URL), safe(e.Protocol))
	behind := "nothing waits"
	if e.Backlog.Scrapes > 0 {
		behind = fmt.Sprintf("%s behind: %s, %s, %s", words.Span(e.Backlog.Age.Duration()),
			words.Count(e.Backlog.Scrapes, "scrape"), words.Count(e.Backlog.Samples, "sample"), words.Size(e.Backlog.Bytes))
	}
	p.item("", "%s", behind)
	if line := sparkline(e.History); line != "" {
		p.item("", "%s  %sbacklog over the last hour%s", line, p.dim, p.off)
	}
	p.item("", "%s delivered, newest %s; %s lost%s", words.Count(e.Delivered, "sample"), words.Ago(s.Time, e.NewestSent),
		words.Number(e.Lost.Sum()), reasons(&e.Lost))
	if e.LastError != "" {
		p.item("", "last error %s: %s", words.Ago(s.Time, e.LastErrorTime), safe(e.LastError))
	}
}

// reasons lists why samples were lost, the most frequent first.
func reasons(l *telemetry.Lost) string {
	var order []series.Loss
	for r, n := range l {
		if n > 0 {
			order = append(order, series.Loss(r))
		}
	}
	if len(order) == 0 {
		return ""
	}
	slices.SortStableFunc(order, func(a, b series.Loss) int {
		if l[a] > l[b] {
			return -1
		}
		return 1
	})
	var parts []string
	for _, r := range order {
		parts = append(parts, r.String()+" "+strconv.FormatUint(l[r], 10))
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// sparkline draws the ages of a history in at most thirty characters; a history
// without any backlog is not drawn.
func sparkline(points []telemetry.Point) string {
	const width = 30
	var most telemetry.Seconds
	for _, p := range points {
		most = max(most, p.Age)
	}
	if most < 60 {
		return ""
	}
	bars := []rune("▁▂▃▄▅▆▇█")
	var b strings.Builder
	n := min(width, len(points))
	for i := range n {
		var age telemetry.Seconds
		for _, p := range points[i*len(points)/n : (i+1)*len(points)/n] {
			age = max(age, p.Age)
		}
		b.WriteRune(bars[min(len(bars)-1, int(float64(age)/float64(most)*float64(len(bars)-1)+0.5))])
	}
	return b.String()
}
