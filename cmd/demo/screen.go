// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// screen draws the view: on a terminal in place, elsewhere as one line a scrape.
type screen struct {
	out io.Writer
	// size is that of the terminal; nil without one.
	size func() (width, height int)
	// drawn are the lines on the terminal, width is what it had when they were drawn.
	drawn, width int
	colour       bool
}

// newScreen looks at where f leads.
func newScreen(f *os.File) *screen {
	s := &screen{out: f}
	fd := int(f.Fd())
	if term.IsTerminal(fd) && os.Getenv("TERM") != "dumb" && os.Getenv("TERM") != "" {
		s.size = func() (int, int) {
			w, h, err := term.GetSize(fd)
			if err != nil || w <= 0 || h <= 0 {
				return 80, 24
			}
			return w, h
		}
		s.colour = os.Getenv("NO_COLOR") == ""
	}
	return s
}

// live reports whether the view is redrawn in place.
func (s *screen) live() bool {
	if s.size == nil {
		return false
	}
	_, h := s.size()
	return h > frameLines
}

// draw shows a frame in place of the one before.
func (s *screen) draw(lines []string) {
	w, _ := s.size()
	var b strings.Builder
	switch {
	case s.drawn == 0:
		b.WriteString("\x1b[?25l") // the cursor would flicker through the lines
	case w != s.width:
		b.WriteString("\x1b[H\x1b[2J") // lines have wrapped: nobody knows where they are
	default:
		fmt.Fprintf(&b, "\x1b[%dA\r", s.drawn)
	}
	for _, l := range lines {
		b.WriteString(s.paint(cut(l, w-1)))
		b.WriteString("\x1b[K\n")
	}
	b.WriteString("\x1b[J")
	s.drawn, s.width = len(lines), w
	_, _ = io.WriteString(s.out, b.String())
}

// done leaves the last frame where it is.
func (s *screen) done() {
	if s.drawn > 0 {
		_, _ = io.WriteString(s.out, "\x1b[?25h")
		s.drawn = 0
	}
}

// say prints a line of its own, not within the view.
func (s *screen) say(format string, args ...any) {
	s.done()
	fmt.Fprintf(s.out, format+"\n", args...)
}

// Marks in a frame's lines, which take no room: what stands between them is
// painted, or not, by the screen.
const (
	bold, dim, green, yellow, red, cyan = "\x01", "\x02", "\x03", "\x04", "\x05", "\x06"
	plain                               = "\x07"
)

var paints = strings.NewReplacer(bold, "\x1b[1m", dim, "\x1b[2m", green, "\x1b[32m", yellow, "\x1b[33m",
	red, "\x1b[31m", cyan, "\x1b[36m", plain, "\x1b[0m")

var unpainted = strings.NewReplacer(bold, "", dim, "", green, "", yellow, "", red, "", cyan, "", plain, "")

func (s *screen) paint(line string) string {
	if s.colour {
		return paints.Replace(line)
	}
	return unpainted.Replace(line)
}

// cut shortens a line to a width; the marks do not count.
func cut(line string, width int) string {
	n := 0
	for i, r := range line {
		if r >= ' ' {
			if n++; n > width {
				return line[:i] + plain
			}
		}
	}
	return line
}

// visible is a line's width.
func visible(line string) int { return utf8.RuneCountInString(unpainted.Replace(line)) }

// pad fills a line with blanks up to a width.
func pad(line string, width int) string {
	return line + strings.Repeat(" ", max(0, width-visible(line)))
}

// number writes a count with separators, as 1,234,567.
func number(v float64) string {
	if math.IsNaN(v) {
		return "-"
	}
	s := fmt.Sprintf("%.0f", v)
	digits := strings.TrimPrefix(s, "-")
	var b strings.Builder
	for i, r := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(r)
	}
	return strings.TrimSuffix(s, digits) + b.String()
}

// size writes bytes in binary units.
func size(v float64) string {
	if math.IsNaN(v) {
		return "-"
	}
	for _, unit := range []string{"B", "KiB", "MiB", "GiB"} {
		if v < 1024 {
			if unit == "B" || v >= 100 {
				return fmt.Sprintf("%.0f %s", v, unit)
			}
			return fmt.Sprintf("%.1f %s", v, unit)
		}
		v /= 1024
	}
	return fmt.Sprintf("%.1f TiB", v)
}

// latency writes seconds with two or three digits in the unit that suits them.
func latency(seconds float64) string {
	switch {
	case math.IsNaN(seconds):
		return "-"
	case seconds < 0.001:
		return fmt.Sprintf("%.0f us", seconds*1e6)
	case seconds < 0.01:
		return fmt.Sprintf("%.1f ms", seconds*1e3)
	case seconds < 1:
		return fmt.Sprintf("%.0f ms", seconds*1e3)
	}
	return fmt.Sprintf("%.2f s", seconds)
}

// percent writes a share of one processor.
func percent(v float64) string {
	if math.IsNaN(v) {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", v*100)
}

// spark draws values as bars between low and their maximum.
func spark(values []float64, low float64) string {
	const bars = "▁▂▃▄▅▆▇█"
	high := low
	for _, v := range values {
		high = max(high, v)
	}
	var b strings.Builder
	for _, v := range values {
		i := 0
		if high > low {
			i = int((v - low) / (high - low) * 7.999)
		}
		b.WriteString(bars[3*min(max(i, 0), 7) : 3*min(max(i, 0), 7)+3])
	}
	return b.String()
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.0f s", d.Seconds()) }
