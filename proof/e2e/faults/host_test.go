// SPDX-License-Identifier: Apache-2.0

// Package faults holds the tests of the queue and the sender against a real
// Prometheus through a network that fails: what was appended and what the
// receiver's TSDB holds are compared to the bit.
package faults

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"

	"github.com/docker-remote-write/docker-remote-write/internal/remotewrite"
	"github.com/docker-remote-write/docker-remote-write/internal/series"
	"github.com/docker-remote-write/docker-remote-write/internal/spool"
	"github.com/docker-remote-write/docker-remote-write/proof/promtest"
)

func TestMain(m *testing.M) {
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: names.dial}
	goleak.VerifyTestMain(m)
}

// patience bounds waiting for what must happen.
const patience = 60 * time.Second

// loops is how long the random test runs, from TEST_LOOPS.
func loops(t *testing.T) int {
	n, err := strconv.Atoi(os.Getenv("TEST_LOOPS"))
	if err != nil || testing.Short() {
		return 1
	}
	t.Logf("TEST_LOOPS=%d", n)
	return max(n, 1)
}

func quiet() logrus.FieldLogger {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return l
}

// host is one forwarder without its scraper: a queue on disk and a sender.
type host struct {
	t     *testing.T
	dir   string
	o     remotewrite.Options
	spool *spool.Spool
	curs  *spool.Cursor
	send  *remotewrite.Sender
	stop  func()

	numbers *series.Registry
	series  []*series.Series
	starts  int64
	time    int64
	n       int
	want    promtest.Content
}

// interval is the time between two scrapes of a host.
const interval = 15 * time.Second

// newHost begins at a time in the past, so that scrapes can be appended as fast as
// they come and none is stamped in the future.
func newHost(t *testing.T, writeURL string, proto remotewrite.Protocol, began time.Time) *host {
	t.Helper()
	u, err := url.Parse(writeURL)
	if err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, dir: filepath.Join(t.TempDir(), "data"), time: began.Truncate(time.Second).UnixMilli(), want: promtest.Content{}, numbers: series.NewRegistry()}
	h.starts = h.time - 1000
	h.o = remotewrite.Options{
		Name: "receiver", URL: u, Protocol: proto, Log: quiet(), Timeout: 500 * time.Millisecond,
		MinBackoff: 5 * time.Millisecond, MaxBackoff: 40 * time.Millisecond,
	}
	for i := range 8 {
		typ := model.MetricTypeGauge
		if i%2 == 1 {
			typ = model.MetricTypeCounter
		}
		h.series = append(h.series, h.numbers.Number(&series.Series{
			Labels: labels.FromStrings("__name__", fmt.Sprintf("engine_metric_%d", i), "instance", "host", "job", "docker"),
			Type:   typ, Help: "help", Unit: "seconds",
		}))
	}
	h.open()
	t.Cleanup(func() { h.close() })
	return h
}

// open opens the queue and starts the sender, as a process does.
func (h *host) open() {
	h.t.Helper()
	var err error
	if h.spool, err = spool.Open(h.dir, spool.Options{MaxBytes: 64 << 20, RingBytes: 1 << 20, Series: h.numbers, Log: quiet()}); err != nil {
		h.t.Fatal(err)
	}
	cursors, err := h.spool.Claim([]spool.Endpoint{{Name: h.o.Name, URL: h.o.URL.String()}})
	if err != nil {
		h.t.Fatal(err)
	}
	h.curs = cursors[0]
	if h.send, err = remotewrite.New(h.o, h.curs); err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.send.Run(ctx) }()
	h.stop = func() {
		cancel()
		if err := <-done; err != nil {
			h.t.Error(err)
		}
	}
}

func (h *host) close() {
	if h.spool == nil {
		return
	}
	h.stop()
	if err := h.spool.Close(context.Background()); err != nil {
		h.t.Error(err)
	}
	h.spool = nil
}

// crash goes on with the files as they are at this moment, as after a kill -9: the
// answer to the request in flight never comes, and what the process would still
// have written is lost.
func (h *host) crash() {
	h.t.Helper()
	h.stop()
	h.stop = func() {}
	next := filepath.Join(h.t.TempDir(), "data")
	if err := os.CopyFS(next, os.DirFS(h.dir)); err != nil {
		h.t.Fatal(err)
	}
	h.close()
	h.dir = next
	h.open()
}

// scrape makes the next scrape. Its values tell which one it is; now and then a
// series is missing, with a stale marker, and NaN and infinities occur.
func (h *host) scrape() *series.Scrape {
	sc := &series.Scrape{Time: h.time}
	for i, s := range h.series {
		v := float64(h.n*100 + i)
		switch {
		case (h.n+i)%37 == 5:
			v = math.Float64frombits(value.StaleNaN)
		case (h.n+i)%41 == 7:
			v = math.NaN()
		case (h.n+i)%43 == 11:
			v = math.Inf(-1)
		}
		sc.Series = append(sc.Series, s)
		sc.Values = append(sc.Values, v)
		sc.Starts = append(sc.Starts, h.starts*int64(i%2))
	}
	h.time += interval.Milliseconds()
	h.n++
	return sc
}

// note expects a scrape at the receiver.
func (h *host) note(sc *series.Scrape) {
	for i, s := range sc.Series {
		key := s.Labels.String()
		h.want[key] = append(h.want[key], promtest.Sample{T: sc.Time, V: sc.Values[i]})
	}
}

// fill appends scrapes and expects them.
func (h *host) fill(n int) {
	h.t.Helper()
	for range n {
		sc := h.scrape()
		h.note(sc)
		h.append(sc)
	}
}

func (h *host) append(sc *series.Scrape) {
	h.t.Helper()
	if _, err := h.spool.Append(h.t.Context(), sc); err != nil {
		h.t.Fatal(err)
	}
}

// drain waits until nothing waits any more.
func (h *host) drain() {
	h.t.Helper()
	h.until("the backlog drains", func() bool { return h.curs.Backlog().Samples == 0 })
}

func (h *host) until(what string, done func() bool) {
	h.t.Helper()
	for limit := time.Now().Add(patience); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(limit) {
			st := h.send.Status()
			h.t.Fatalf("waited in vain until %s: %s, %d attempts, last error %q", what, st.State, st.Attempts, st.LastError)
		}
	}
}

// exact compares the receiver's content with what was appended.
func (h *host) exact(l link) {
	h.t.Helper()
	if d := difference(h.t, l, h.want); d != "" {
		h.t.Errorf("the receiver's content differs (- appended, + received):\n%.4000s", d)
	}
}

func difference(t *testing.T, l link, want promtest.Content) string {
	t.Helper()
	got, err := l.Samples(t.Context(), `{__name__=~".+"}`, time.Time{}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	return cmp.Diff(want, got)
}

// balanced checks that every sample is accounted for, and returns what was lost by
// the count, which an answer that was lost makes larger than it was.
func (h *host) balanced() map[string]uint64 {
	h.t.Helper()
	tally := h.curs.Tally()
	if tally.Sum() != h.curs.Appended() {
		h.t.Errorf("delivered and lost are %d, appended were %d", tally.Sum(), h.curs.Appended())
	}
	lost := map[string]uint64{}
	for i, n := range tally.Lost {
		if n > 0 {
			lost[series.Loss(i).String()] = n
		}
	}
	return lost
}

// random is a source that a failed test can be repeated with.
func random(t *testing.T, seed uint64) *rand.Rand {
	if s, err := strconv.ParseUint(os.Getenv("FAULTS_SEED"), 10, 64); err == nil {
		seed = s
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("repeat it with FAULTS_SEED=%d", seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 0))
}

func name(parts ...any) string {
	return strings.ReplaceAll(strings.TrimSpace(fmt.Sprintln(parts...)), " ", "_")
}
