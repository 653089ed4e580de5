// SPDX-License-Identifier: Apache-2.0

package remotewrite_test

import (
	"context"
	"fmt"
	"net/url"

	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/docker-remote-write/docker-remote-write/internal/remotewrite"
	"github.com/docker-remote-write/docker-remote-write/internal/series"
	"github.com/docker-remote-write/docker-remote-write/internal/spool"
	"github.com/docker-remote-write/docker-remote-write/proof/promtest"
)

// host is a durable spool with one endpoint, and what was put into it.
type host struct {
	t      *testing.T
	dir    string
	url    string
	proto  remotewrite.Protocol
	spool  *spool.Spool
	cursor *spool.Cursor
	last   *remotewrite.Sender
	omit   remotewrite.Omit
	drop   bool // what is answered with 429

	served map[string][]promtest.Sample
	at     int64
}

func newHost(t *testing.T, target string, p remotewrite.Protocol) *host {
	h := &host{
		t: t, dir: t.TempDir(), url: target, proto: p,
		served: map[string][]promtest.Sample{}, at: time.Now().Add(-30 * time.Minute).Truncate(time.Second).UnixMilli(),
	}
	h.open()
	t.Cleanup(func() { h.spool.Close(context.Background()) })
	return h
}

func (h *host) open() {
	h.t.Helper()
	var err error
	if h.spool, err = spool.Open(h.dir, spool.Options{Log: silent(), Series: hostNumbers}); err != nil {
		h.t.Fatal(err)
	}
	c, err := h.spool.Claim([]spool.Endpoint{{Name: "prometheus", URL: h.url}})
	if err != nil {
		h.t.Fatal(err)
	}
	h.cursor = c[0]
}

// reopen is what a restart does.
func (h *host) reopen() {
	h.t.Helper()
	if err := h.spool.Close(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
	h.open()
}

func (h *host) append(sc *series.Scrape) {
	h.t.Helper()
	numbered(sc)
	if _, err := h.spool.Append(h.t.Context(), sc); err != nil {
		h.t.Fatal(err)
	}
	for i, s := range sc.Series {
		k := s.Labels.String()
		h.served[k] = append(h.served[k], promtest.Sample{T: sc.Time, V: sc.Values[i]})
	}
	for _, x := range sc.Histograms {
		k := x.Series.Labels.String()
		h.served[k] = append(h.served[k], promtest.Sample{T: sc.Time, H: x.Int, FH: x.Float})
	}
}

var hostNumbers = series.NewRegistry()

// numbered holds the series of a scrape.
func numbered(sc *series.Scrape) {
	for i, s := range sc.Series {
		sc.Series[i] = hostNumbers.Number(s)
	}
	for i := range sc.Histograms {
		sc.Histograms[i].Series = hostNumbers.Number(sc.Histograms[i].Series)
	}
}

var hostSeries = func() (out []*series.Series) {
	for i := range 50 {
		out = append(out, &series.Series{
			Labels: labels.FromStrings("__name__", fmt.Sprintf("metric_%d_total", i/5), "instance", "a", "job", "docker", "n", fmt.Sprint(i)),
			Type:   model.MetricTypeCounter, Help: fmt.Sprintf("Counts %d.", i/5),
		})
	}
	return out
}()

// fill appends n scrapes, 15 s apart; more adds to each.
func (h *host) fill(n int, more func(k int, sc *series.Scrape)) {
	h.t.Helper()
	for k := range n {
		h.at += 15_000
		sc := &series.Scrape{Time: h.at}
		for i, s := range hostSeries {
			sc.Series, sc.Values = append(sc.Series, s), append(sc.Values, float64(i)+float64(h.at%1_000_000))
		}
		if more != nil {
			more(k, sc)
		}
		h.append(sc)
	}
}

func (h *host) options() remotewrite.Options {
	u, err := url.Parse(h.url)
	if err != nil {
		h.t.Fatal(err)
	}
	return remotewrite.Options{
		Name: "prometheus", URL: u, Protocol: h.proto, Log: silent(),
		Timeout: 10 * time.Second, MinBackoff: 5 * time.Millisecond, MaxBackoff: 20 * time.Millisecond,
		Omit: h.omit, DropOn429: h.drop,
	}
}

// run sends until all is delivered or done says enough.
func (h *host) run(done func() bool) {
	h.t.Helper()
	s, err := remotewrite.New(h.options(), h.cursor)
	if err != nil {
		h.t.Fatal(err)
	}
	h.last = s
	ctx, cancel := context.WithTimeout(h.t.Context(), 60*time.Second)
	defer cancel()
	ended := make(chan struct{})
	go func() { defer close(ended); s.Run(ctx) }()
	for ctx.Err() == nil && h.cursor.Backlog().Samples > 0 && (done == nil || !done()) {
		time.Sleep(2 * time.Millisecond) // the sender has no event for "drained"
	}
	cancel()
	<-ended
	if done == nil && h.cursor.Backlog().Samples > 0 {
		h.t.Fatalf("there still waits %+v: %+v", h.cursor.Backlog(), s.Status())
	}
}

// check compares what the server holds with what was served, but what is left out,
// and that every sample is accounted for.
func (h *host) check(p *promtest.Server, without func(series string, t int64) bool) {
	h.t.Helper()
	got, err := p.Samples(h.t.Context(), `{__name__=~".+"}`, time.Time{}, time.Time{})
	if err != nil {
		h.t.Fatal(err)
	}
	missing, other := 0, 0
	for name, want := range h.served {
		have := map[int64]promtest.Sample{}
		for _, s := range got[name] {
			have[s.T] = s
		}
		for _, s := range want {
			if without != nil && without(name, s.T) {
				continue
			}
			if x, ok := have[s.T]; !ok {
				missing++
			} else if !x.Equal(s) {
				other++
			}
			delete(have, s.T)
		}
		if without == nil && len(have) > 0 {
			h.t.Errorf("%s has samples that were not served: %v", name, have)
		}
	}
	if missing > 0 || other > 0 {
		h.t.Errorf("%d samples are missing and %d differ", missing, other)
	}
	tally := h.cursor.Tally()
	if sum, want := tally.Sum()+h.cursor.Backlog().Samples, h.cursor.Appended(); sum != want {
		h.t.Errorf("delivered + lost + waiting is %d, appended %d: %+v", sum, want, tally)
	}
}

func prometheus(t *testing.T, o promtest.Options) *promtest.Server {
	t.Helper()
	p, err := promtest.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

var protocols = []remotewrite.Protocol{remotewrite.V2, remotewrite.V1}
