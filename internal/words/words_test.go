// SPDX-License-Identifier: Apache-2.0

package words

import (
	"testing"
	"time"
)

func TestWords(t *testing.T) {
	now := time.Date(2026, 11, 22, 14, 0, 0, 0, time.UTC)
	for _, c := range []struct{ got, want string }{
		{Span(0), "0 ms"},
		{Span(999 * time.Millisecond), "999 ms"},
		{Span(-41 * time.Second), "41 s"},
		{Span(119 * time.Second), "119 s"},
		{Span(2 * time.Minute), "2 min"},
		{Span(3*time.Hour + 20*time.Minute), "3 h 20 min"},
		{Span(47 * time.Hour), "47 h"},
		{Span(53 * time.Hour), "2 d 5 h"},
		{Ago(now, time.Time{}), "never"},
		{Ago(now, now), "just now"},
		{Ago(now, now.Add(time.Hour)), "just now"},
		{Ago(now, now.Add(-time.Minute)), "60 s ago"},
		{Count(1, "scrape"), "1 scrape"},
		{Count(uint64(0), "scrape"), "0 scrapes"},
		{Count(1000, "sample"), "1,000 samples"},
		{Number(999), "999"},
		{Number(1234567), "1,234,567"},
		{Size(int64(0)), "0 B"},
		{Size(int64(1023)), "1023 B"},
		{Size(int64(1536)), "1.5 KiB"},
		{Size(uint64(64 << 20)), "64 MiB"},
		{Size(int64(3 << 40)), "3.0 TiB"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}
