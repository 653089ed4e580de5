// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestNextTick(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		interval := time.Duration(rapid.Int64Range(1, 3_600_000).Draw(t, "interval")) * time.Millisecond
		phase := Phase("docker", rapid.String().Draw(t, "instance"), interval)
		at := time.UnixMilli(rapid.Int64Range(-1e12, 4e12).Draw(t, "at"))
		next := NextTick(at, interval, phase)
		if d := next.Sub(at); d <= 0 || d > interval {
			t.Fatalf("next after %s", d)
		}
		if (next.UnixMilli()-phase.Milliseconds())%interval.Milliseconds() != 0 {
			t.Fatalf("%s is off the grid", next)
		}
		if phase < 0 || phase >= interval {
			t.Fatalf("phase %s", phase)
		}
	})
}

// A fleet of hosts with consecutive names is spread evenly over the interval.
func TestPhaseSpread(t *testing.T) {
	var buckets [15]int
	const hosts = 15_000
	for i := range hosts {
		buckets[Phase("docker", fmt.Sprintf("host-%05d", i), 15*time.Second)/time.Second]++
	}
	for i, n := range buckets {
		if n < 850 || n > 1150 {
			t.Errorf("second %d has %d of %d hosts", i, n, hosts)
		}
	}
}
