// SPDX-License-Identifier: Apache-2.0

package promtest

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/common/route"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/tsdb"
	v1 "github.com/prometheus/prometheus/web/api/v1"
)

// routes is the write handler, the health pages and, made when first asked for
// because its OpenAPI documents take long, Prometheus' API.
func (s *Server) routes(ctx context.Context) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/api/v1/write", s.write)
	api := sync.OnceValue(func() http.Handler {
		r := route.New().WithPrefix("/api/v1")
		s.newAPI(ctx).Register(r)
		return r
	})
	mux.HandleFunc("/api/v1/", func(w http.ResponseWriter, r *http.Request) { api().ServeHTTP(w, r) })
	ok := func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("OK\n")) }
	mux.HandleFunc("GET /-/healthy", ok)
	mux.HandleFunc("GET /-/ready", ok)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.gate.RLock()
		defer s.gate.RUnlock()
		if s.closing {
			http.Error(w, "the server is being closed", http.StatusServiceUnavailable)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func (s *Server) newAPI(ctx context.Context) *v1.API {
	started := time.Now()
	return v1.NewAPI(
		s.engine, s.db,
		nil, nil, // the write handler is not the API's: see writer
		s.db,
		func(context.Context) v1.ScrapePoolsRetriever { return none{} },
		func(context.Context) v1.TargetRetriever { return targets{store: s.meta} },
		func(context.Context) v1.AlertmanagerRetriever { return none{} },
		func() config.Config { return config.DefaultConfig },
		map[string]string{},
		v1.GlobalURLOptions{ListenAddress: s.addr, Host: s.addr, Scheme: "http"},
		func(h http.HandlerFunc) http.HandlerFunc { return h },
		admin{s.db}, s.dir,
		false, false, 0,
		s.log,
		func(context.Context) v1.RulesRetriever { return ruleSource{s.rules} },
		0, 1, 1<<20,
		false, nil,
		func() (v1.RuntimeInfo, error) {
			return v1.RuntimeInfo{StartTime: started, ServerTime: time.Now(), GoroutineCount: runtime.NumGoroutine()}, nil
		},
		&v1.PrometheusVersion{Version: Version, GoVersion: runtime.Version()},
		nil, nil,
		s.reg, nil,
		nil,
		false, nil,
		false, false, false,
		s.opts.StartTimestamps,
		s.opts.LookbackDelta,
		false, true,
		nil, nil,
		v1.OpenAPIOptions{ExternalURL: s.URL(), Version: Version},
		s.parser,
	)
}

// admin lends the TSDB the methods by which the API wants to see it.
type admin struct{ *tsdb.DB }

func (a admin) Stats(label string, limit int) (*tsdb.Stats, error) {
	return a.Head().Stats(label, limit), nil
}

func (a admin) WALReplayStatus() (tsdb.WALReplayStatus, error) {
	return tsdb.WALReplayStatus{}, nil // replayed before Start returns
}

func (a admin) BlockMetas() ([]tsdb.BlockMeta, error) { return a.DB.BlockMetas(), nil }

// none has no scrape pools and no Alertmanagers.
type none struct{}

func (none) ScrapePools() []string                { return nil }
func (none) Alertmanagers() []*url.URL            { return nil }
func (none) DroppedAlertmanagers() []*url.URL     { return nil }
func (none) TargetsDroppedCounts() map[string]int { return nil }

// targets is one target, which carries the metadata that came by remote write: the
// API looks for metadata nowhere else.
type targets struct {
	none
	store *metadataStore
}

func (t targets) TargetsActive() map[string][]*scrape.Target {
	return map[string][]*scrape.Target{"remote_write": {t.store.target}}
}

func (targets) TargetsDropped() map[string][]*scrape.Target { return nil }

func (targets) ScrapePoolConfig(string) (*config.ScrapeConfig, error) {
	return nil, errors.New("nothing is scraped")
}

// ruleSource is a rule manager that may be missing.
type ruleSource struct{ m *rules.Manager }

func (r ruleSource) RuleGroups() []*rules.Group {
	if r.m == nil {
		return nil
	}
	return r.m.RuleGroups()
}

func (r ruleSource) AlertingRules() []*rules.AlertingRule {
	if r.m == nil {
		return nil
	}
	return r.m.AlertingRules()
}
