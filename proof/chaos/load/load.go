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

// Load is a queue's worth of scrapes with numbers from 1 on.
type Load struct {
	// Base is the time of number 0, in milliseconds.
	Base int64
	// Width is the number of series of each target; of the last one it is 10,000 if Wide.
	Width int
	Wide  bool
	// Several: scrapes are those of three targets at different intervals, each of which
	// come some time later than they are stamped.
	Several bool
	// SetBack: the clock is set back now and then.
	SetBack bool
}

// turns are whose scrapes come one after another, late by how much they do so.
var (
	turns = [...]int{0, 1, 0, 2, 0, 1, 0, 0}
	late  = [...]time.Duration{0, 500 * time.Millisecond, 40 * time.Second}
)

// Target is whose the scrape with that number is.
func (l Load) Target(number int) int {
	if !l.Several {
		return 0
	}
	return turns[number%len(turns)]
}

// At is the time of the scrape with that number.
func (l Load) At(number int) int64 {
	at := l.Base + int64(number)*Step.Milliseconds() - late[l.Target(number)].Milliseconds()
	if l.SetBack {
		// No time comes twice.
		at -= int64(number/150) * 607_000
	}
	return at
}

// Series returns the series of each target, Sequence among them.
func (l Load) Series() (all [len(late)][]*series.Series) {
	for k := range all {
		all[k] = of([]string{"docker", "node", "cadvisor"}[k], l.Width)
	}
	if l.Wide {
		all[2] = of("cadvisor", 10_000)
	}
	return all
}

func of(job string, n int) []*series.Series {
	out := make([]*series.Series, n)
	for i := range out {
		name, kind := "load_value", model.MetricTypeGauge
		if i == 0 {
			name, kind = Sequence, model.MetricTypeCounter
		}
		out[i] = &series.Series{
			Labels: labels.FromStrings("__name__", name, "i", strconv.Itoa(i), "instance", "host", "job", job),
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

// Fill makes sc the scrape with that number, of all the series of its target.
func (l Load) Fill(sc *series.Scrape, all []*series.Series, number int) {
	sc.Reset()
	sc.Time = l.At(number)
	for i, s := range all {
		sc.Series, sc.Values = append(sc.Series, s), append(sc.Values, Value(i, number))
	}
}
