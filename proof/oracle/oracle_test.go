// SPDX-License-Identifier: Apache-2.0

package oracle

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	commonconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	promscrape "github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/osutil"
	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"

	"github.com/docker-remote-write/docker-remote-write/internal/remotewrite"
	"github.com/docker-remote-write/docker-remote-write/internal/scrape"
	"github.com/docker-remote-write/docker-remote-write/internal/series"
	"github.com/docker-remote-write/docker-remote-write/internal/spool"
	"github.com/docker-remote-write/docker-remote-write/proof/promtest"
)

func TestMain(m *testing.M) {
	// A Prometheus looks for its own name. On a virtual clock nobody may wait for a name
	// server, nor make what all lookups share.
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { return nil, net.ErrClosed }}
	_, _ = osutil.GetFQDN()
	goleak.VerifyTestMain(m)
}

// script is a target: what it answers to one scrape after the other.
type script struct {
	name   string
	bodies []body
	// Settings of either side that say the same, and whether honor_timestamps is true.
	theirs  string
	ours    func(*scrape.Options)
	honored bool
}

type body = http.HandlerFunc

const instance = "host"

// stage serves the scripts, each at its name, to one side, and returns its address.
func stage(t *testing.T, scripts []script) string {
	mux := http.NewServeMux()
	mux.HandleFunc("/elsewhere", text("a 1\nelsewhere 1\n"))
	for _, sc := range scripts {
		var asked atomic.Int64
		mux.HandleFunc("/"+sc.name, func(w http.ResponseWriter, r *http.Request) {
			if n := int(asked.Add(1)); n <= len(sc.bodies) {
				sc.bodies[n-1](w, r)
				return
			}
			http.Error(w, "the script is over", http.StatusGone)
		})
	}
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// side is what one side has stored: samples, and the metadata that came with each.
type side struct {
	server *promtest.Server
	given  sync.Map // sampleOf to metadata.Metadata
}

type sampleOf struct {
	series string
	t      int64
}

func newSide(t *testing.T) *side {
	t.Helper()
	s := &side{}
	var err error
	if s.server, err = promtest.Start(promtest.Options{OnRequest: func(r *promtest.Request) { s.request(t, r) }}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.server.Close() })
	return s
}

func (s *side) learn(ls labels.Labels, t int64, m metadata.Metadata) {
	m.Type = cmp.Or(m.Type, model.MetricTypeUnknown)
	s.given.Store(sampleOf{ls.String(), t}, m)
}

// request notes the metadata of a request, which holds one scrape.
func (s *side) request(t *testing.T, r *promtest.Request) {
	m, err := r.V2()
	if err != nil || r.Status/100 != 2 {
		t.Errorf("a request was answered %d: %v", r.Status, err)
		return
	}
	b := labels.NewScratchBuilder(0)
	for _, ts := range m.Timeseries {
		ls, err := ts.ToLabels(&b, m.Symbols)
		md, e := ts.ToMetadata(m.Symbols)
		if err != nil || e != nil {
			t.Error(err, e)
		}
		for _, sample := range ts.Samples {
			s.learn(ls, sample.Timestamp, md)
		}
		for _, h := range ts.Histograms {
			s.learn(ls, h.Timestamp, md)
		}
	}
}

// recorder is a side's storage that notes the metadata that it is given.
type recorder struct {
	storage.AppendableV2
	side *side
}

func (r *recorder) AppenderV2(ctx context.Context) storage.AppenderV2 {
	return &appender{r.AppendableV2.AppenderV2(ctx), r.side}
}

type appender struct {
	storage.AppenderV2
	side *side
}

func (a *appender) Append(ref storage.SeriesRef, ls labels.Labels, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, o storage.AppendV2Options) (storage.SeriesRef, error) {
	a.side.learn(ls, t, o.Metadata)
	return a.AppenderV2.Append(ref, ls, st, t, v, h, fh, o)
}

// prometheusSide has a Prometheus scrape the scripts to their ends. It lives on a virtual
// clock, which goes on when no answer is waited for: no scrape is late, and none times out.
func prometheusSide(t *testing.T, scripts []script) *side {
	address := stage(t, scripts)
	s := newSide(t)
	var file strings.Builder
	file.WriteString("scrape_configs:\n")
	targets := map[string][]*targetgroup.Group{}
	longest := 0
	for _, sc := range scripts {
		fmt.Fprintf(&file, "- job_name: %q\n  metrics_path: /%s\n  honor_timestamps: %t\n  %s\n", sc.name, sc.name, sc.honored, sc.theirs)
		targets[sc.name] = []*targetgroup.Group{{
			Source:  sc.name,
			Targets: []model.LabelSet{{model.AddressLabel: model.LabelValue(address), model.InstanceLabel: instance}},
		}}
		longest = max(longest, len(sc.bodies))
	}
	cfg, err := config.Load(file.String(), promslog.NewNopLogger())
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		// A connection that is kept would stop the clock.
		o := &promscrape.Options{AppendMetadata: true, DiscoveryReloadOnStartup: true, HTTPClientOptions: []commonconfig.HTTPClientOption{commonconfig.WithKeepAlivesDisabled()}}
		m, err := promscrape.NewManager(o, promslog.NewNopLogger(), nil, nil, &recorder{s.server.Storage(), s}, prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		if err := m.ApplyConfig(cfg); err != nil {
			t.Fatal(err)
		}
		sets := make(chan map[string][]*targetgroup.Group, 1)
		sets <- targets
		var running sync.WaitGroup
		running.Go(func() { _ = m.Run(sets) })
		time.Sleep(time.Duration(longest+1) * time.Duration(cfg.GlobalConfig.ScrapeInterval))
		m.Stop()
		running.Wait()
	})
	return s
}

// push plays one script: each scrape goes through the queue and is sent.
func push(t *testing.T, s *side, address string, sc script) {
	log := logrus.New()
	log.SetOutput(t.Output())
	numbers := series.NewRegistry()
	queue, err := spool.Open(t.TempDir(), spool.Options{Series: numbers, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = queue.Close(context.Background()) }()
	cursors, err := queue.Claim([]spool.Endpoint{{Name: sc.name, URL: s.server.WriteURL()}})
	if err != nil {
		t.Fatal(err)
	}
	to, err := url.Parse(s.server.WriteURL())
	if err != nil {
		t.Fatal(err)
	}
	sender, err := remotewrite.New(remotewrite.Options{Name: sc.name, URL: to, Protocol: remotewrite.V2, Log: log}, cursors[0])
	if err != nil {
		t.Fatal(err)
	}
	o := scrape.Options{Target: "http://" + address + "/" + sc.name, Job: sc.name, Instance: instance, Series: numbers, Log: log}
	if sc.ours != nil {
		sc.ours(&o)
	}
	scraper, err := scrape.New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer scraper.Close()
	now := time.Now()
	for i := range sc.bodies {
		got, err := scraper.Scrape(t.Context(), now.Add(time.Duration(i)*time.Second), nil)
		if got == nil {
			t.Fatal(err)
		}
		if _, err := queue.Append(t.Context(), got); err != nil {
			t.Fatal(err)
		}
		if err := sender.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// play has both sides scrape the scripts, and finds where they differ.
func play(t *testing.T, scripts []script) (found []diff) {
	theirs := prometheusSide(t, scripts)
	ours, address := newSide(t), stage(t, scripts)
	for _, sc := range scripts {
		push(t, ours, address, sc)
	}
	for _, sc := range scripts {
		found = append(found, compare(t, sc, theirs, ours)...)
	}
	return found
}

// TestOracle: what both sides have stored of fixed bodies differs in what is listed alone.
func TestOracle(t *testing.T) {
	met := map[string]bool{}
	for _, d := range play(t, scripts(t)) {
		i := slices.IndexFunc(differences, func(m difference) bool { return slices.Contains(m.scripts, d.script) && m.is(&d) })
		if i < 0 {
			t.Errorf("not in the list of differences: %v", &d)
			continue
		}
		met[differences[i].name+" in "+d.script] = true
	}
	for _, m := range differences {
		for _, name := range m.scripts {
			if !met[m.name+" in "+name] {
				t.Errorf("no difference is met any more: %s in %s", m.name, name)
			}
		}
	}
}
