// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"errors"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
	"github.com/docker-remote-write/docker-remote-write/internal/spool"
)

// targets put scrapes of three targets into a queue in the order in which they come. Each
// has an interval of its own, and a scrape comes some time behind the time that it has.
type targets struct {
	*queue
	interval, late [3]int64
	bounds         [4]int // of their series
	second         int64
}

func newTargets(t *testing.T) *targets {
	q := &targets{queue: newQueue(t, 30), interval: [3]int64{15, 10, 60}, late: [3]int64{0, 500, 12_000}, bounds: [4]int{0, 10, 15, 30}}
	for k, job := range []string{"docker", "node", "cadvisor"} {
		for i := q.bounds[k]; i < q.bounds[k+1]; i++ {
			s := *q.series[i]
			s.Labels = labels.NewBuilder(s.Labels).Set("job", job).Labels()
			q.series[i] = &s
		}
	}
	numbers := q.numbers
	for i, s := range q.series {
		q.series[i] = numbers.Number(s)
	}
	return q
}

// pass appends what comes within that many seconds.
func (q *targets) pass(t *testing.T, seconds int) {
	t.Helper()
	for range seconds {
		q.second++
		q.time += 1000
		for k := range q.interval {
			if q.second%q.interval[k] == int64(3*k) {
				q.scrape(t, k)
			}
		}
	}
}

func (q *targets) scrape(t *testing.T, k int) {
	t.Helper()
	sc := &series.Scrape{Target: uint8(k), Time: q.time - q.late[k]}
	for i := q.bounds[k]; i < q.bounds[k+1]; i++ {
		v := float64(i) + float64(q.second)
		sc.Series, sc.Values = append(sc.Series, q.series[i]), append(sc.Values, v)
		q.served = append(q.served, point{q.series[i].Labels.String(), sc.Time, v})
	}
	if _, err := q.Append(t.Context(), sc); err != nil && !errors.Is(err, spool.ErrNotDurable) {
		t.Fatal(err)
	}
}

// of tells whose sample it is.
func (q *targets) of(p point) int {
	for i, s := range q.series {
		if s.Labels.String() == p.Series {
			for k := range q.interval {
				if i < q.bounds[k+1] {
					return k
				}
			}
		}
	}
	return -1
}

// TestSeveralTargets: an hour of three targets that waits goes out merged, each series in
// order, whatever the receiver takes; and what it does not take of one target costs no other.
func TestSeveralTargets(t *testing.T) {
	for _, p := range []Protocol{V2, V1} {
		for name, tt := range map[string]struct {
			// no is what is answered to a request with that sample, of the one scrape that is bad.
			no reply
			// most is what a request may hold, 0 for all; more gets 503.
			most int
			lost series.Loss
		}{
			"taken as it comes": {},
			"little at a time":  {most: 25},
			"a scrape is poison": {
				no: reply{Status: 500}, lost: series.Poison,
			},
			"a scrape is refused": {
				no: reply{Status: 400}, lost: series.Refused,
			},
		} {
			if p == V2 && tt.no.Status == 400 {
				continue // a receiver of 2.0 stores the rest
			}
			t.Run(p.String()+" "+name, func(t *testing.T) {
				at2026(t, func(t *testing.T) {
					q := newTargets(t)
					bad := int64(-1)
					isBad := func(p point) bool { return p.T == bad && q.of(p) == 1 }
					v := newVirtual(func(n int, g *got) reply {
						if n == 0 && len(g.Points) > 15 {
							t.Errorf("the first request has %d samples, want those of one scrape", len(g.Points))
						}
						if tt.most > 0 && len(g.Points) > tt.most {
							return reply{Status: 503}
						}
						for _, p := range g.Points {
							if tt.no.Status != 0 && isBad(p) {
								return tt.no
							}
						}
						return ok(g)
					})
					q.pass(t, 1800)
					bad = q.time - q.second%10*1000 - 7000 - q.late[1] // the last one of the second target
					q.pass(t, 1800)
					o := usual(t)
					o.Protocol = p
					_, stop := start(t, o, q.queue, v)
					defer stop()
					q.drained(t, 3*time.Hour)
					q.complete(t, &v.receiver, func(p point) bool { return tt.no.Status != 0 && isBad(p) })
					q.balanced(t)
					tally := q.c.Tally()
					lost := tally.Sum() - tally.Delivered
					switch {
					case tt.no.Status == 0 && lost != 0:
						t.Errorf("lost %v", tally.Lost)
					case tt.no.Status != 0 && (lost != 5 || tally.Lost[tt.lost] != 5):
						t.Errorf("lost %v, want the 5 samples of one scrape as %s", tally.Lost, tt.lost)
					}
					if name == "taken as it comes" && len(v.all) > 3 {
						t.Errorf("%d requests for an hour of three targets", len(v.all))
					}
				})
			})
		}
	}
}

// TestSeveralLive: scrapes of three targets come while the receiver is there, gone and
// there again, and wait to be merged.
func TestSeveralLive(t *testing.T) {
	for _, wait := range []time.Duration{0, time.Minute} {
		at2026(t, func(t *testing.T) {
			q := newTargets(t)
			q.time = time.Now().UnixMilli()
			taken := 0
			v := newVirtual(func(n int, g *got) reply {
				if time.Now().Minute()%20 >= 10 {
					return reply{Status: 503}
				}
				taken++
				return ok(g)
			})
			o := usual(t)
			o.Deadline = wait
			_, stop := start(t, o, q.queue, v)
			defer stop()
			for range 2 * 3600 {
				time.Sleep(time.Second)
				q.pass(t, 1)
			}
			q.drained(t, time.Hour)
			q.complete(t, &v.receiver, nil)
			q.balanced(t)
			// A minute has eleven scrapes.
			if wait > 0 && taken > 2*70 {
				t.Errorf("%d requests in an hour of a receiver that is there", taken)
			}
		})
	}
}
