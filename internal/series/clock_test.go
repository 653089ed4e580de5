// SPDX-License-Identifier: Apache-2.0

package series

import (
	"testing"
	"time"
)

func TestClockSet(t *testing.T) {
	first := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		now  time.Time
		want bool
	}{
		{time.Time{}, false},
		{time.Unix(0, 0), false},
		{first.Add(-time.Millisecond), false},
		{first, true},
		{first.In(time.FixedZone("", -3600)), true},
		{first.AddDate(100, 0, 0), true},
	} {
		if got := ClockSet(c.now); got != c.want {
			t.Errorf("%s: %v, want %v", c.now, got, c.want)
		}
	}
}
