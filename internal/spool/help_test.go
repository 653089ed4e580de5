// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"go.uber.org/goleak"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// target serves made-up scrapes. The value of a series in a scrape follows from
// both, so that whoever receives it can tell.
type target struct {
	series []*series.Series
	time   int64
	number uint8
}

func newTarget(n int) *target {
	t := &target{time: 1_800_000_000_000}
	for i := range n {
		t.series = append(t.series, testSeries(i))
	}
	return t
}

// registry numbers the series of all tests.
var registry = series.NewRegistry()

func testSeries(i int) *series.Series {
	return registry.Number(&series.Series{
		Labels: labels.FromStrings("__name__", fmt.Sprintf("engine_daemon_test_%d_total", i/4), "instance", "host-1", "job", "docker",
			"le", fmt.Sprint(i%4)),
		Type: model.MetricTypeCounter,
		Help: fmt.Sprintf("The number of things of kind %d.", i/4),
	})
}

// ctx is for the calls that do not wait in that test.
func ctx() context.Context { return context.Background() }

// begin and ack are those of a sender whose last request was settled.
func begin(c *Cursor, to series.Position) error {
	return c.Begin(ctx(), c.Position(), to, Note{Barrier: to})
}

func ack(c *Cursor, to series.Position, t series.Tally) error {
	defer c.End()
	return c.Ack(ctx(), c.Position(), to, t, Note{})
}

func valueOf(i int, time int64) float64 {
	switch i % 5 {
	case 0:
		return float64(time / 1000)
	case 1:
		return float64(i)
	case 2:
		return math.Sqrt(float64(time + int64(i)))
	case 3:
		return -float64(time%7) * 1e12
	}
	return float64(time%100000) / 64
}

// next is the scrape one interval on.
func (g *target) next() *series.Scrape {
	g.time += 15_000
	return g.at(g.time)
}

func (g *target) at(time int64) *series.Scrape {
	sc := &series.Scrape{Target: g.number, Time: time}
	for i, s := range g.series {
		sc.Series = append(sc.Series, s)
		sc.Values = append(sc.Values, valueOf(i, time))
	}
	return sc
}

// memoryDir is a directory on a file system in memory where there is one: for the
// many tests that ask what is in the files, not whether a disk has them.
func memoryDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "spool-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// mustOpen opens the spool in dir and closes it at the end of the test.
func mustOpen(t testing.TB, dir string, o Options) *Spool {
	t.Helper()
	o.Series = registry
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeSpool(t, s) })
	return s
}

func closeSpool(t testing.TB, s *Spool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.Close(ctx); err != nil && !errors.Is(err, ErrNotDurable) {
		t.Error(err)
	}
}

func mustAppend(t testing.TB, s *Spool, sc *series.Scrape) series.Position {
	t.Helper()
	p, err := s.Append(ctx(), sc)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func mustClaim(t testing.TB, s *Spool, names ...string) []*Cursor {
	t.Helper()
	var eps []Endpoint
	for _, n := range names {
		eps = append(eps, Endpoint{Name: n, URL: "https://" + n + ".example/api/v1/write"})
	}
	cs, err := s.Claim(eps)
	if err != nil {
		t.Fatal(err)
	}
	return cs
}

// balanced checks the books of an endpoint: what was delivered, lost and still
// waits is what was appended.
func balanced(t testing.TB, cs ...*Cursor) {
	t.Helper()
	for _, c := range cs {
		tally, b := c.Tally(), c.Backlog()
		if got, want := tally.Sum()+b.Samples, c.Appended(); got != want {
			t.Errorf("%s: delivered %d, lost %v, waiting %d: %d in all, but %d were appended",
				c.Name(), tally.Delivered, losses(tally), b.Samples, got, want)
		}
	}
}

func losses(t series.Tally) map[string]uint64 {
	m := map[string]uint64{}
	for i, n := range t.Lost {
		if n > 0 {
			m[series.Loss(i).String()] = n
		}
	}
	return m
}

// received is what an endpoint got: label set, time, bits of the value.
type received map[string]map[int64]uint64

func (r received) add(t testing.TB, b *series.Batch) {
	t.Helper()
	n := 0
	for i := range b.Rows {
		row := &b.Rows[i]
		key := row.Series.Labels.String()
		if r[key] == nil {
			r[key] = map[int64]uint64{}
		}
		for k, s := range row.Samples {
			if k > 0 && s.T <= row.Samples[k-1].T {
				t.Errorf("%s: %d follows %d", key, s.T, row.Samples[k-1].T)
			}
			r[key][s.T] = math.Float64bits(s.V)
			n++
		}
		n += len(row.Histograms)
	}
	if n != b.Samples {
		t.Errorf("the batch says %d samples and has %d", b.Samples, n)
	}
}

// drain delivers all that waits, in batches of those limits.
func drain(t testing.TB, c *Cursor, lim Limits) received {
	t.Helper()
	r := received{}
	var b series.Batch
	for range 100_000 {
		from := c.Position()
		if err := c.Read(ctx(), &b, from, lim); err != nil {
			t.Fatal(err)
		}
		if b.To == b.From {
			return r
		}
		if b.From != from {
			t.Fatalf("read from %v instead of %v", b.From, from)
		}
		if err := begin(c, b.To); err != nil {
			t.Fatal(err)
		}
		r.add(t, &b)
		tally := series.Tally{Delivered: uint64(b.Samples)}
		tally.Lost = b.Lost
		if err := ack(c, b.To, tally); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("draining does not end")
	return nil
}

// want is what an endpoint has to receive of these scrapes.
func want(scs ...*series.Scrape) received {
	r := received{}
	for _, sc := range scs {
		for i, s := range sc.Series {
			key := s.Labels.String()
			if r[key] == nil {
				r[key] = map[int64]uint64{}
			}
			r[key][sc.Time] = math.Float64bits(sc.Values[i])
		}
	}
	return r
}

func same(t testing.TB, got, want received) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		if len(d) > 2000 {
			d = d[:2000] + "..."
		}
		t.Errorf("received something else (-want +got):\n%s", d)
	}
}
