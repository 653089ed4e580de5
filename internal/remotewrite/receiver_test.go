// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/gogo/protobuf/proto"
	"github.com/golang/snappy"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/sirupsen/logrus"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
	"github.com/docker-remote-write/docker-remote-write/internal/spool"
)

// point is one sample as a receiver sees it.
type point struct {
	Series string
	T      int64
	V      float64
}

// got is one request as a receiver sees it.
type got struct {
	Proto   Protocol
	Header  http.Header
	From    string // the connection
	Raw     int
	Body    []byte
	Points  []point
	Scrapes int // distinct timestamps
	V2      *writev2.Request
	V1      *prompb.WriteRequest
}

// decode reads a request with nothing but the generated code.
func decode(contentType string, body []byte) (*got, error) {
	raw, err := snappy.Decode(nil, body)
	if err != nil {
		return nil, err
	}
	g := &got{Raw: len(raw), Body: body}
	b := labels.NewScratchBuilder(8)
	times := map[int64]bool{}
	add := func(ls labels.Labels, t int64, v float64) {
		times[t] = true
		g.Points = append(g.Points, point{ls.String(), t, v})
	}
	if contentType == "application/x-protobuf" {
		g.Proto, g.V1 = V1, new(prompb.WriteRequest)
		if err := proto.Unmarshal(raw, g.V1); err != nil {
			return nil, err
		}
		for _, ts := range g.V1.Timeseries {
			for _, s := range ts.Samples {
				add(ts.ToLabels(&b, nil), s.Timestamp, s.Value)
			}
			for _, h := range ts.Histograms {
				add(ts.ToLabels(&b, nil), h.Timestamp, h.Sum)
			}
		}
	} else {
		g.Proto, g.V2 = V2, new(writev2.Request)
		if err := proto.Unmarshal(raw, g.V2); err != nil {
			return nil, err
		}
		if err := wellFormed(g.V2); err != nil {
			return nil, err
		}
		for _, ts := range g.V2.Timeseries {
			ls, err := ts.ToLabels(&b, g.V2.Symbols)
			if err != nil {
				return nil, err
			}
			for _, s := range ts.Samples {
				add(ls, s.Timestamp, s.Value)
			}
			for _, h := range ts.Histograms {
				add(ls, h.Timestamp, h.Sum)
			}
		}
	}
	g.Scrapes = len(times)
	return g, nil
}

// wellFormed checks what 2.0 demands of a request.
func wellFormed(r *writev2.Request) error {
	seen := map[string]bool{}
	for i, s := range r.Symbols {
		if seen[s] || (i == 0) != (s == "") {
			return fmt.Errorf("symbol %d is %q", i, s)
		}
		seen[s] = true
	}
	for i, ts := range r.Timeseries {
		if len(ts.Samples) > 0 && len(ts.Histograms) > 0 || len(ts.Samples)+len(ts.Histograms) == 0 {
			return fmt.Errorf("time series %d has %d samples and %d histograms", i, len(ts.Samples), len(ts.Histograms))
		}
		if len(ts.LabelsRefs)%2 != 0 {
			return fmt.Errorf("time series %d has %d label refs", i, len(ts.LabelsRefs))
		}
		last := ""
		for j, ref := range ts.LabelsRefs {
			if int(ref) >= len(r.Symbols) {
				return fmt.Errorf("time series %d: ref %d of %d", i, ref, len(r.Symbols))
			}
			if j%2 == 0 {
				if name := r.Symbols[ref]; name <= last {
					return fmt.Errorf("time series %d: label %q after %q", i, name, last)
				} else {
					last = name
				}
			}
		}
	}
	return nil
}

// reply is what a receiver answers.
type reply struct {
	Status int
	Header http.Header
	Body   string
}

// receiver is a real HTTP server that keeps what it answered with 2xx.
type receiver struct {
	*httptest.Server
	answer func(n int, g *got) reply // n counts requests from 0

	mu     sync.Mutex
	all    []*got
	stored map[point]int
	newest map[string]int64
	broken []string // samples that came out of order
}

func newReceiver(t testing.TB, answer func(n int, g *got) reply) *receiver {
	t.Helper()
	r := &receiver{answer: answer, stored: map[point]int{}, newest: map[string]int64{}}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	g, err := decode(req.Header.Get("Content-Type"), body)
	if err != nil {
		r.mu.Lock()
		r.broken = append(r.broken, err.Error())
		r.mu.Unlock()
		http.Error(w, err.Error(), 500)
		return
	}
	g.Header, g.From = req.Header.Clone(), req.RemoteAddr
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, g)
	a := r.answer(len(r.all)-1, g)
	if a.Status/100 == 2 && (g.Proto == V1 || parseWritten(a.Header).any) {
		r.store(g)
	}
	for k, v := range a.Header {
		w.Header()[k] = v
	}
	w.WriteHeader(a.Status)
	io.WriteString(w, a.Body)
}

func (r *receiver) store(g *got) {
	for _, p := range g.Points {
		r.stored[p]++
		if p.T < r.newest[p.Series] {
			r.broken = append(r.broken, fmt.Sprintf("%s at %d after %d", p.Series, p.T, r.newest[p.Series]))
		}
		r.newest[p.Series] = max(r.newest[p.Series], p.T)
	}
}

func (r *receiver) requests() []*got {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.all)
}

// ok answers as a receiver of both protocols does.
func ok(g *got) reply {
	if g.Proto == V1 {
		return reply{Status: 204}
	}
	return reply{Status: 204, Header: http.Header{"X-Prometheus-Remote-Write-Samples-Written": {strconv.Itoa(len(g.Points))}}}
}

// queue is a spool with one cursor, and what was put into it.
type queue struct {
	*spool.Spool
	c       *spool.Cursor
	numbers *series.Registry
	series  []*series.Series
	native  *series.Series // whose samples are native histograms
	served  []point
	time    int64
}

func newQueue(t testing.TB, nseries int) *queue {
	t.Helper()
	// A directory that cannot be made: what is tested here needs no disk.
	numbers := series.NewRegistry()
	sp, _ := spool.Open(os.DevNull+"/none", spool.Options{Log: quiet(), RingBytes: 1 << 30, Series: numbers})
	cs, err := sp.Claim([]spool.Endpoint{{Name: "test", URL: "http://test/"}})
	if err != nil {
		t.Fatal(err)
	}
	q := &queue{Spool: sp, c: cs[0], numbers: numbers, time: time.Now().Add(-24 * time.Hour).UnixMilli()}
	for i := range nseries {
		q.series = append(q.series, numbers.Number(&series.Series{
			Labels: labels.FromStrings("__name__", fmt.Sprintf("metric_%03d", i/4), "job", "docker", "instance", "host", "le", strconv.Itoa(i%4)),
			Type:   model.MetricTypeCounter, Help: fmt.Sprintf("Help of %d.", i/4),
		}))
	}
	q.native = numbers.Number(&series.Series{Labels: labels.FromStrings("__name__", "native"), Type: model.MetricTypeHistogram})
	return q
}

// learn makes the cursor's note say what is known of the receiver.
func (q *queue) learn(t testing.TB, l spool.Learned) {
	t.Helper()
	at := q.c.Position()
	if err := q.c.Ack(t.Context(), at, at, series.Tally{}, spool.Note{Learned: l}); err != nil {
		t.Fatal(err)
	}
}

// fill appends n scrapes, 15 s apart.
func (q *queue) fill(t testing.TB, n int) {
	t.Helper()
	for range n {
		q.time += 15_000
		sc := &series.Scrape{Time: q.time}
		for i, s := range q.series {
			v := math.Sqrt(float64(i)) + float64(q.time%7)
			sc.Series, sc.Values = append(sc.Series, s), append(sc.Values, v)
			q.served = append(q.served, point{s.Labels.String(), q.time, v})
		}
		if _, err := q.Append(t.Context(), sc); err != nil && !errors.Is(err, spool.ErrNotDurable) {
			t.Fatal(err)
		}
	}
}

// balanced checks that delivered + lost + waiting = appended.
func (q *queue) balanced(t testing.TB) {
	t.Helper()
	tally := q.c.Tally()
	if got, want := tally.Sum()+q.c.Backlog().Samples, q.c.Appended(); got != want {
		t.Errorf("delivered + lost + waiting = %d, appended %d (%+v)", got, want, tally)
	}
}

// complete checks that the receiver has every sample served, but those left out,
// and got them in order.
func (q *queue) complete(t testing.TB, r *receiver, without func(point) bool) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	missing, twice := 0, 0
	for _, p := range q.served {
		if without != nil && without(p) {
			continue
		}
		switch n := r.stored[p]; {
		case n == 0:
			missing++
		case n > 1:
			twice++
		}
	}
	if missing > 0 || twice > 0 || len(r.broken) > 0 {
		t.Errorf("of %d samples %d are missing and %d stored twice; broken: %q", len(q.served), missing, twice, r.broken)
	}
}

func quiet() logrus.FieldLogger {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return l
}

// logged is a logger that keeps what it is given, at every level.
func logged() (*logrus.Logger, *syncBuffer) {
	var b syncBuffer
	l := logrus.New()
	l.SetOutput(&b)
	l.SetLevel(logrus.TraceLevel)
	return l, &b
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// fast are options with which a test need not wait.
func fast(t testing.TB, target string) Options {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	return Options{
		Name: "test", URL: u, Log: quiet(), Timeout: 5 * time.Second,
		MinBackoff: time.Millisecond, MaxBackoff: 2 * time.Millisecond, UserAgent: "docker-remote-write/test",
	}
}

// sender makes a Sender that is closed with the test.
func sender(t testing.TB, o Options, q *queue) *Sender {
	t.Helper()
	s, err := New(o, q.c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.client.close)
	return s
}

// drainAll makes attempts until nothing waits or the bound is reached, without
// waiting for backoffs.
func drainAll(t testing.TB, s *Sender, q *queue, most int) {
	t.Helper()
	for range most {
		if q.c.Backlog().Samples == 0 {
			return
		}
		s.step(t.Context())
	}
	if q.c.Backlog().Samples > 0 {
		t.Fatalf("after %d steps there still waits %+v: %s", most, q.c.Backlog(), s.Status().LastError)
	}
}
