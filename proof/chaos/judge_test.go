// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	stale "github.com/prometheus/prometheus/model/value"

	"github.com/docker-remote-write/docker-remote-write/proof/faultproxy"
	"github.com/docker-remote-write/docker-remote-write/proof/promtest"
)

// arrived are the numbers that the receiver holds of a target, with their times. They must
// have come in order.
func (k *killer) arrived(s *target) map[int]int64 {
	c, err := k.prom.Samples(k.t.Context(), fmt.Sprintf("%s{job=%q}", sequence, s.job), time.Time{}, time.Time{})
	if err != nil {
		k.t.Fatal(err)
	}
	got, last := map[int]int64{}, 0
	for _, v := range c[s.sent(sequence)] {
		if v.Stale() {
			continue
		}
		n := int(v.V)
		if float64(n) != v.V || n <= last {
			k.t.Errorf("%s: after %d the receiver holds %s", s.job, last, v)
		}
		got[n], last = v.T, n
	}
	return got
}

// judge compares what the receiver holds of each target.
func (k *killer) judge() {
	for _, s := range k.targets {
		k.judgeTarget(s)
	}
	// What is refused because it arrived before costs no new sample.
	for reason, n := range k.tally.Lost {
		if reason != "refused_after_resend" && n > 0 {
			k.t.Errorf("%d samples counted as lost, %s", n, reason)
		}
	}
	k.t.Logf("%d kills, %d scrapes on disk before one; cut %d requests and %d answers; %s",
		len(k.lives)-1, len(k.traced), k.proxy.Count(faultproxy.CutRequest), k.proxy.Count(faultproxy.CutAnswer), k.tally)
}

// failures are the times of the scrapes of a target that failed, as the receiver knows
// them: until end each must be there that was on disk before a kill. There may be a few.
func (k *killer) failures(s *target, got promtest.Content, end int64) (failures []int64) {
	for _, up := range got[s.sent("up")] {
		if up.V == 0 {
			failures = append(failures, up.T)
		}
	}
	for _, at := range k.failed[s.job] {
		if at <= end && !slices.Contains(failures, at) {
			k.t.Errorf("%s: that the scrape at %d failed was on disk and has not arrived", s.job, at)
		}
	}
	if len(failures) > s.horizon/5 {
		k.t.Errorf("%s: %d scrapes failed, of %d", s.job, len(failures), s.horizon)
	}
	return failures
}

func (k *killer) judgeTarget(s *target) {
	arrived := k.arrived(s)
	end := arrived[s.horizon]
	got, err := k.prom.Samples(k.t.Context(), fmt.Sprintf(`{job=%q,__name__=~"up|chaos_.+|scrape_samples_scraped"}`, s.job),
		time.Time{}, time.UnixMilli(end))
	if err != nil {
		k.t.Fatal(err)
	}
	failures := k.failures(s, got, end)
	missing, lives, inTime := 0, 0, 0
	want := promtest.Content{}
	for i, life := range k.lives {
		// What became of each scrape of this life, by its time: an answer's number, or 0.
		scrapes := map[int64]int{}
		for _, at := range failures {
			if at >= k.begun[i] && (i == len(k.lives)-1 || at < k.begun[i+1]) {
				scrapes[at] = 0
			}
		}
		late := len(scrapes)
		served := s.of(life)
		served = served[:max(0, len(served)-count(served, func(n int) bool { return n > s.horizon }))]
		if len(served) > 0 {
			lives++
		}
		for i, n := range served {
			at, ok := arrived[n]
			traced, onDisk := k.traced[answer{s.job, n}]
			switch {
			case !ok && onDisk:
				k.t.Errorf("%s%s: %d was on disk and has not arrived", s.job, life, n)
			case !ok && i < len(served)-1 && late == 0:
				k.t.Errorf("%s%s: %d is missing, and was not the last before the kill: %v", s.job, life, n, served)
			case !ok && i < len(served)-1:
				late--
			case !ok:
				missing++
			case onDisk && at != traced:
				k.t.Errorf("%s%s: %d arrived as of %d, was stored as of %d", s.job, life, n, at, traced)
			case !onDisk:
				inTime++ // killed between the append and the pipe
			}
			if ok {
				scrapes[at] = n
			}
		}
		var before map[string]float64
		for _, at := range slices.Sorted(maps.Keys(scrapes)) {
			now := map[string]float64{}
			if n := scrapes[at]; n > 0 {
				now = s.exposed(n)
			}
			samples := len(now)
			now[s.sent("up")], now[s.sent("scrape_samples_scraped")] = float64(min(samples, 1)), float64(samples)
			expect(want, at, before, now)
			before = now
		}
	}
	if d := differences(sorted(want), got); d != "" {
		k.t.Errorf("%s: %s", s.job, d)
	}
	k.t.Logf("%s: %d lives with an answer, %d answers, %d too late, %d arrived of what was not known to be on disk, %d missing, each the last before a kill; %d samples compared",
		s.job, lives, s.horizon, len(failures), inTime, missing, want.Samples())
}

// expect adds a scrape to what must arrive: its samples, and stale markers for the
// series that the same life's scrape before it had and it has not.
func expect(c promtest.Content, at int64, before, now map[string]float64) {
	for name, v := range now {
		c[name] = append(c[name], promtest.Sample{T: at, V: v})
	}
	for name := range before {
		if _, ok := now[name]; !ok {
			c[name] = append(c[name], promtest.Sample{T: at, V: math.Float64frombits(stale.StaleNaN)})
		}
	}
}

func count(ns []int, f func(int) bool) (c int) {
	for _, n := range ns {
		if f(n) {
			c++
		}
	}
	return c
}
