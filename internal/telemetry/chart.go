// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"fmt"
	"html"
	"time"

	"github.com/docker-remote-write/docker-remote-write/internal/words"
)

// The chart's frame, in the units of its viewBox.
const (
	chartW, chartH        = 900, 176
	chartLeft, chartRight = 58, 892
	chartTop, chartBottom = 12, 142
	// A pause longer than chartGap breaks the curve.
	chartGap = 4 * historyStep
)

// chart draws the age of an endpoint's backlog over the last hour as inline SVG.
// Times at which attempts failed are marked below it.
func (w *pageWriter) chart(now time.Time, points []Point) {
	top := scale(points)
	x := func(t time.Time) float64 {
		back := min(now.Sub(t), historySpan)
		return chartRight - float64(back)/float64(historySpan)*(chartRight-chartLeft)
	}
	y := func(age Seconds) float64 {
		return chartBottom - float64(age)/top.Seconds()*(chartBottom-chartTop)
	}
	w.printf(`<svg viewBox="0 0 %d %d" role="img" aria-label="%s">`, chartW, chartH, html.EscapeString(chartLabel(now, points)))
	for i := range 3 {
		part := top / 2 * time.Duration(i)
		line := y(Secs(part))
		w.printf(`<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>`, chartLeft, chartRight, line, line)
		label := "0"
		if i > 0 {
			label = words.Span(part)
		}
		w.printf(`<text x="%d" y="%.1f" text-anchor="end">%s</text>`, chartLeft-8, line+4, label)
	}
	for back := time.Duration(0); back <= historySpan; back += historySpan / 4 {
		label, anchor := words.Span(back)+" ago", "middle"
		switch back {
		case 0:
			label, anchor = "now", "end"
		case historySpan:
			label, anchor = "1 h ago", "start"
		}
		w.printf(`<text x="%.1f" y="%d" text-anchor="%s">%s</text>`, x(now.Add(-back)), chartBottom+26, anchor, label)
	}
	for from := 0; from < len(points); {
		to := from + 1
		for to < len(points) && points[to].Time.Sub(points[to-1].Time) <= chartGap {
			to++
		}
		w.stretch(points[from:to], x, y)
		from = to
	}
	w.failing(points, x)
	for _, p := range points {
		w.printf(`<rect class="hover" x="%.1f" y="%d" width="%.1f" height="%d"><title>%s: %s behind, %s</title></rect>`,
			x(p.Time.Add(-historyStep/2)), chartTop, x(p.Time.Add(historyStep))-x(p.Time), chartBottom-chartTop,
			p.Time.UTC().Format("15:04:05 UTC"), words.Span(p.Age.Duration()), words.Count(p.Samples, "sample"))
	}
	w.text("</svg>")
}

// failing marks, below the base line, the times between points at which attempts
// were failing.
func (w *pageWriter) failing(points []Point, x func(time.Time) float64) {
	for from := 0; from < len(points); from++ {
		if !points[from].Failing {
			continue
		}
		to := from
		for to+1 < len(points) && points[to+1].Failing && points[to+1].Time.Sub(points[to].Time) <= chartGap {
			to++
		}
		end := points[min(to+1, len(points)-1)].Time
		if end.Sub(points[to].Time) > chartGap {
			end = points[to].Time
		}
		w.printf(`<rect class="failing" x="%.1f" y="%d" width="%.1f" height="4" rx="2"/>`,
			x(points[from].Time), chartBottom+4, max(x(end)-x(points[from].Time), 4))
		from = to
	}
}

// stretch draws points without a pause between them.
func (w *pageWriter) stretch(points []Point, x func(time.Time) float64, y func(Seconds) float64) {
	first, last := points[0], points[len(points)-1]
	w.printf(`<path class="area" d="M%.1f %d`, x(first.Time), chartBottom)
	for _, p := range points {
		w.printf("L%.1f %.1f", x(p.Time), y(p.Age))
	}
	w.printf(`L%.1f %dZ"/><path class="curve" d="`, x(last.Time), chartBottom)
	cmd := "M"
	for _, p := range points {
		w.printf("%s%.1f %.1f", cmd, x(p.Time), y(p.Age))
		cmd = "L"
	}
	w.text(`"/>`)
}

// scale is the least round duration that holds every point.
func scale(points []Point) time.Duration {
	var most time.Duration
	for _, p := range points {
		most = max(most, p.Age.Duration())
	}
	for _, d := range []time.Duration{
		time.Minute, 2 * time.Minute, 4 * time.Minute, 10 * time.Minute, 20 * time.Minute, 30 * time.Minute, time.Hour,
		2 * time.Hour, 4 * time.Hour, 8 * time.Hour, 12 * time.Hour, 24 * time.Hour,
	} {
		if most <= d {
			return d
		}
	}
	days := most/(48*time.Hour) + 1
	return days * 48 * time.Hour
}

// chartLabel says in words what the curve shows, for those who do not see it.
func chartLabel(now time.Time, points []Point) string {
	var most Point
	for _, p := range points {
		if p.Age >= most.Age {
			most = p
		}
	}
	if most.Time.IsZero() {
		return "No history yet."
	}
	last := points[len(points)-1]
	return fmt.Sprintf("Age of the backlog over the last hour: at most %s (%s), now %s.",
		words.Span(most.Age.Duration()), words.Ago(now, most.Time), words.Span(last.Age.Duration()))
}
