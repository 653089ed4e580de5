// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"fmt"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// recorded are targets as wide as those of a host, made of the recorded scrapes of an
// engine: that one itself, and copies of its series until there are enough, each with
// the values of another time.
type recorded struct {
	scs      []*series.Scrape
	series   [][]*series.Series // of each copy
	number   uint8
	interval int64
	at       int64
	n        int
}

func newRecorded(t testing.TB, number uint8, job string, width int, interval int64) *recorded {
	r := &recorded{scs: sequence(t), number: number, interval: interval, at: 1_800_000_000_000 + int64(number)*1234}
	for left, k := width, 0; left > 0; k++ {
		var copies []*series.Series
		for _, s := range r.scs[0].Series[:min(left, len(r.scs[0].Series))] {
			b := labels.NewBuilder(s.Labels)
			b.Set("job", job)
			if k > 0 {
				b.Set("container", fmt.Sprintf("/docker/%08x", k*0x9e3779b9))
			}
			copies = append(copies, registry.Number(&series.Series{Labels: b.Labels(), Type: s.Type, Help: s.Help, Unit: s.Unit}))
		}
		left -= len(copies)
		r.series = append(r.series, copies)
	}
	return r
}

func (r *recorded) next() *series.Scrape {
	sc := &series.Scrape{Target: r.number, Time: r.at}
	for k, all := range r.series {
		sc.Series = append(sc.Series, all...)
		sc.Values = append(sc.Values, r.scs[(r.n+7*k)%len(r.scs)].Values[:len(all)]...)
	}
	r.at, r.n = r.at+r.interval, r.n+1
	return sc
}

// TestDiskOfThreeTargets: what three targets take together is at most a tenth more than
// what each takes alone.
func TestDiskOfThreeTargets(t *testing.T) {
	const hours = 4
	targets := func() []*recorded {
		return []*recorded{
			newRecorded(t, 0, "docker", 411, 15_000),
			newRecorded(t, 1, "node", 700, 10_000),
			newRecorded(t, 2, "cadvisor", 3_000, 30_000),
		}
	}
	// size writes scrapes of those targets in the order of their times, but for a second
	// by which the last one is always late.
	size := func(of []*recorded) (bytes int64, samples int) {
		dir := memoryDir(t)
		s := mustOpen(t, dir, Options{})
		mustClaim(t, s, "a")
		end := of[0].at + hours*3_600_000
		for {
			first := of[0]
			for _, r := range of {
				if r.at+int64(r.number/2)*1000 < first.at+int64(first.number/2)*1000 {
					first = r
				}
			}
			if first.at >= end {
				break
			}
			sc := first.next()
			samples += sc.Len()
			mustAppend(t, s, sc)
		}
		closeSpool(t, s)
		return diskSize(t, dir), samples
	}
	alone := int64(0)
	for _, r := range targets() {
		n, samples := size([]*recorded{r})
		t.Logf("%d series every %d s: %.3f B a sample", samples/r.n, r.interval/1000, float64(n)/float64(samples))
		alone += n
	}
	together, samples := size(targets())
	t.Logf("together %d bytes, %.3f B a sample; alone %d: %+.1f %%", together, float64(together)/float64(samples), alone, 100*float64(together-alone)/float64(alone))
	if together*10 > alone*11 {
		t.Errorf("three targets take %d bytes together and %d alone", together, alone)
	}
}
