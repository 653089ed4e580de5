// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"go.uber.org/goleak"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	typeText = "text/plain; version=0.0.4; charset=utf-8"
	typePB   = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
	typeOM   = "application/openmetrics-text; version=1.0.0; charset=utf-8"
)

// fakeTarget answers with whatever it was last set to, over a unix socket.
type fakeTarget struct {
	mu          sync.Mutex
	body        []byte
	contentType string
	handler     http.HandlerFunc
	accepts     []string
	url         string
}

func newFake(t testing.TB) *fakeTarget {
	t.Helper()
	f := &fakeTarget{contentType: typeText}
	dir, err := os.MkdirTemp("", "scrape")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "m.sock")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.accepts = append(f.accepts, r.Header.Get("Accept"))
		h, body, ct := f.handler, f.body, f.contentType
		f.mu.Unlock()
		if h != nil {
			h(w, r)
			return
		}
		w.Header()["Content-Type"] = []string{ct}
		w.Write(body)
	}))
	srv.Listener.Close()
	srv.Listener = ln
	srv.Start()
	t.Cleanup(func() { srv.Close(); os.RemoveAll(dir) })
	f.url = "unix://" + path
	return f
}

func (f *fakeTarget) set(contentType, body string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.contentType, f.body, f.handler = contentType, []byte(body), nil
}

func (f *fakeTarget) handle(h http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.handler = h
}

func (f *fakeTarget) lastAccept() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.accepts[len(f.accepts)-1]
}

func newScraper(t testing.TB, o Options) *Scraper {
	t.Helper()
	if o.Job == "" {
		o.Job = "docker"
	}
	if o.Instance == "" {
		o.Instance = "host1"
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// mine is a series of the program's own.
func mine(s *Scraper, name string) *series.Series {
	return s.o.Series.Number(&series.Series{Labels: TargetLabels(name, s.o.Job, s.o.Instance, s.o.External)})
}

// ownScrape is what the program passes down, each series with the value 9.
func ownScrape(own ...*series.Series) *series.Scrape {
	sc := &series.Scrape{Series: own}
	for range own {
		sc.Values = append(sc.Values, 9)
	}
	return sc
}

var epoch = time.UnixMilli(1_800_000_000_000)

// dump is a scrape as readable lines, without the duration, which varies, and
// without job and instance unless they are not the usual ones.
func dump(sc *series.Scrape) string {
	if sc == nil {
		return "nil"
	}
	var b strings.Builder
	for i, s := range sc.Series {
		name := s.Labels.Get("__name__")
		if name == "scrape_duration_seconds" && sc.Values[i] > 0 && sc.Values[i] < 60 {
			continue
		}
		v := fmt.Sprint(sc.Values[i])
		if value.IsStaleNaN(sc.Values[i]) {
			v = "stale"
		}
		fmt.Fprintf(&b, "%s %s", short(s.Labels), v)
		if sc.Starts != nil && sc.Starts[i] != 0 {
			fmt.Fprintf(&b, " start=%d", sc.Starts[i])
		}
		b.WriteByte('\n')
	}
	for _, h := range sc.Histograms {
		fmt.Fprintf(&b, "%s %v%v start=%d\n", short(h.Series.Labels), h.Int, h.Float, h.Start)
	}
	for _, e := range sc.Exemplars {
		fmt.Fprintf(&b, "exemplar %d %s %v %d\n", e.Index, e.Labels, e.Value, e.Ts)
	}
	return b.String()
}

func short(ls labels.Labels) string {
	b := labels.NewBuilder(ls)
	if ls.Get("job") == "docker" {
		b.Del("job")
	}
	if ls.Get("instance") == "host1" {
		b.Del("instance")
	}
	name := ls.Get("__name__")
	rest := b.Del("__name__").Labels()
	if rest.IsEmpty() {
		return name
	}
	return name + rest.String()
}

// checkUnique fails if a label set stands twice.
func checkUnique(t testing.TB, sc *series.Scrape) {
	t.Helper()
	seen := map[labels.Labels]bool{}
	check := func(ls labels.Labels) {
		if seen[ls] {
			t.Errorf("%s stands twice", ls)
		}
		seen[ls] = true
	}
	for _, s := range sc.Series {
		check(s.Labels)
	}
	for _, h := range sc.Histograms {
		check(h.Series.Labels)
	}
	if len(sc.Values) != len(sc.Series) || sc.Starts != nil && len(sc.Starts) != len(sc.Series) {
		t.Errorf("columns of %d, %d and %d", len(sc.Series), len(sc.Values), len(sc.Starts))
	}
}

func capture(t testing.TB, name string) (contentType string, body []byte) {
	t.Helper()
	path := filepath.Join("../../testdata/captures", name)
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, err := os.ReadFile(path + ".headers")
	if errors.Is(err, os.ErrNotExist) {
		return typeText, body
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range bytes.Split(head, []byte("\r\n")) {
		if v, ok := bytes.CutPrefix(line, []byte("Content-Type: ")); ok {
			return string(v), body
		}
	}
	t.Fatalf("%s has no content type", path)
	return "", nil
}
