// SPDX-License-Identifier: Apache-2.0

// Package words puts durations, sizes and numbers into words for people, the same
// on the status page, in `status` and in messages.
package words

import (
	"fmt"
	"strconv"
	"time"
)

// Span words a duration with two units at most: "41 s", "12 min", "3 h 20 min",
// "2 d 5 h".
func Span(d time.Duration) string {
	d = d.Abs()
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return two(int(d.Hours()), "h", int(d.Minutes())%60, "min")
	default:
		return two(int(d.Hours())/24, "d", int(d.Hours())%24, "h")
	}
}

func two(a int, ua string, b int, ub string) string {
	if b == 0 {
		return fmt.Sprintf("%d %s", a, ua)
	}
	return fmt.Sprintf("%d %s %d %s", a, ua, b, ub)
}

// Ago words how long t lies back.
func Ago(now, t time.Time) string {
	switch {
	case t.IsZero():
		return "never"
	case now.Sub(t) < time.Second:
		return "just now"
	default:
		return Span(now.Sub(t)) + " ago"
	}
}

// Count words a number of things.
func Count[N int | uint64](n N, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return Number(uint64(n)) + " " + thing + "s"
}

// Number groups the digits of n by three.
func Number(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Size words a number of bytes.
func Size[N int64 | uint64](n N) string {
	f := float64(n)
	for _, unit := range []string{"B", "KiB", "MiB", "GiB"} {
		if f < 1024 {
			return strconv.FormatFloat(f, 'f', decimals(f, unit), 64) + " " + unit
		}
		f /= 1024
	}
	return strconv.FormatFloat(f, 'f', 1, 64) + " TiB"
}

func decimals(f float64, unit string) int {
	if unit == "B" || f >= 10 {
		return 0
	}
	return 1
}
