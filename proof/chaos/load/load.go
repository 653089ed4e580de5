// SPDX-License-Identifier: Apache-2.0

// Package load makes scrapes whose whole content follows from their number, so
// that whoever receives them can tell what is missing, and what is wrong.
package load

import (
	"math"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// Sequence is the series whose value is the scrape's number; it is the first.
const Sequence = "load_sequence"

// Step is the time between two scrapes.
const Step = 15 * time.Second

// Series returns n series, Sequence among them.
func Series(n int) []*series.Series {
	out := make([]*series.Series, n)
	for i := range out {
		name, kind := "load_value", model.MetricTypeGauge
		if i == 0 {
			name, kind = Sequence, model.MetricTypeCounter
		}
		out[i] = &series.Series{
			Labels: labels.FromStrings("__name__", name, "i", strconv.Itoa(i), "instance", "host", "job", "docker"),
			Type:   kind, Help: "Made up.",
		}
	}
	return out
}

// Value is that of the i-th series in the scrape with that number: any 64 bits,
// every kind of NaN among them.
func Value(i, number int) float64 {
	if i == 0 {
		return float64(number)
	}
	// The finalizer of MurmurHash3, of a number for the pair.
	x := uint64(i)<<40 ^ uint64(number)
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
	x ^= x >> 33
	switch x % 8 {
	case 0:
		return math.Float64frombits(value.StaleNaN)
	case 1:
		return math.Float64frombits(0x7ff0000000000000 | x>>12 | 1) // some NaN
	case 2:
		return float64(number)
	case 3:
		return math.Copysign(0, float64(int64(x)))
	default:
		return math.Float64frombits(x)
	}
}

// Fill makes sc the scrape with that number, of all these series; number 0 has
// the time base, in milliseconds.
func Fill(sc *series.Scrape, all []*series.Series, base int64, number int) {
	sc.Reset()
	sc.Time = At(base, number)
	for i, s := range all {
		sc.Series, sc.Values = append(sc.Series, s), append(sc.Values, Value(i, number))
	}
}

// At is the time of the scrape with that number.
func At(base int64, number int) int64 { return base + int64(number)*Step.Milliseconds() }
