// SPDX-License-Identifier: Apache-2.0

// Package promtest is a Prometheus server made of Prometheus' own packages: its
// TSDB, its remote write handler, its query engine, its rule evaluation and its
// HTTP API, in this process and on loopback. The demo shows what it received, and
// tests compare its content with what was sent, to the bit.
//
// It leaves out what a receiver does not need: scraping, discovery, notification,
// the web interface. What remains is heavy because storage/remote and web/api/v1
// import cloud SDKs and an OpenAPI renderer; nothing that ships imports this
// package.
package promtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// Version is the release of the Prometheus packages that the server is made of.
const Version = "v0.315.0"

// Options of a server. The zero value is a Prometheus as it comes: both protocols,
// no out-of-order window, content that goes away with Close.
type Options struct {
	// Dir holds the TSDB and survives Close, so that another Start finds its
	// content. Empty is a temporary directory that Close removes.
	Dir string
	// OutOfOrderWindow is storage.tsdb.out_of_order_time_window.
	OutOfOrderWindow time.Duration
	// Accept says which remote write messages are taken; SetAccept changes it.
	Accept Accept
	// StartTimestamps stores start timestamps as the zero samples that
	// created-timestamp-zero-ingestion makes of them. The write handler of this
	// version has no other way to keep them; the requests always show them.
	StartTimestamps bool
	// Middleware wraps the write handler, for faults. The requests that it keeps
	// to itself are not seen by OnRequest.
	Middleware func(http.Handler) http.Handler
	// OnRequest is called with each write request that the handler has answered,
	// before the answer leaves. Calls may overlap.
	OnRequest func(*Request)
	// RuleFiles are evaluated each EvaluationInterval (1 s when 0).
	RuleFiles          []string
	EvaluationInterval time.Duration
	// LookbackDelta of queries, 5 minutes when 0.
	LookbackDelta time.Duration
	// Addr to listen on, "127.0.0.1:0" when empty: a server that comes back on
	// the address it had before. NoListener serves by Handler and Transport only.
	Addr       string
	NoListener bool
	// Logger gets what Prometheus would log; nil discards it.
	Logger *slog.Logger
}

// Server is a running Prometheus. Its methods may be called concurrently.
type Server struct {
	opts    Options
	dir     string
	log     *slog.Logger
	reg     *prometheus.Registry
	db      *tsdb.DB
	engine  *promql.Engine
	parser  parser.Parser
	rules   *rules.Manager
	write   *writer
	meta    *metadataStore
	handler http.Handler

	// gate is held for reading by each request; closing refuses those to come.
	gate    sync.RWMutex
	closing bool

	http     *http.Server
	addr     string
	running  sync.WaitGroup
	stopping context.CancelFunc
	closed   sync.Once
	closeErr error
}

// Start opens the TSDB and serves. The server is ready when it returns.
func Start(opts Options) (*Server, error) {
	s := &Server{opts: opts, dir: opts.Dir, log: opts.Logger, reg: prometheus.NewRegistry(), meta: newMetadataStore()}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.dir == "" {
		dir, err := os.MkdirTemp("", "promtest-")
		if err != nil {
			return nil, fmt.Errorf("make a directory for the TSDB: %w", err)
		}
		s.dir = dir
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.stopping = cancel
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Server) start(ctx context.Context) error {
	db, err := tsdb.Open(s.dir, s.log, s.reg, s.tsdbOptions(), nil)
	if err != nil {
		return fmt.Errorf("open the TSDB in %s: %w", s.dir, err)
	}
	s.db = db
	s.parser = parser.NewParser(parser.Options{})
	s.engine = promql.NewEngine(promql.EngineOpts{
		Logger:                   s.log,
		MaxSamples:               50_000_000,
		Timeout:                  time.Minute,
		LookbackDelta:            s.opts.LookbackDelta,
		NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() },
		EnableAtModifier:         true,
		EnableNegativeOffset:     true,
		Parser:                   s.parser,
	})
	if err := s.startRules(ctx); err != nil {
		return err
	}
	s.write = newWriter(s)
	s.handler = s.routes(ctx)
	if s.opts.NoListener {
		return nil
	}
	return s.listen()
}

func (s *Server) tsdbOptions() *tsdb.Options {
	o := tsdb.DefaultOptions()
	o.OutOfOrderTimeWindow = s.opts.OutOfOrderWindow.Milliseconds()
	o.RetentionDuration = 0 // a test's content may be of any age
	o.EnableExemplarStorage = true
	o.MaxExemplars = 100_000
	o.EnableSTAsZeroSample = s.opts.StartTimestamps
	o.EnableSTStorage = true
	o.EnableHistogramSTEncoding = true
	o.FloatChunkEncoding = chunkenc.EncXOR2
	o.EnableMetadataWALRecords = true
	return o
}

func (s *Server) listen() error {
	addr := s.opts.Addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("listen for remote write: %w", err)
	}
	s.addr = l.Addr().String()
	s.http = &http.Server{Handler: s.handler, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn)}
	s.running.Go(func() { _ = s.http.Serve(l) })
	return nil
}

// Close ends all that the server started: connections are cut, rules stopped, the
// TSDB closed and, unless Options named it, its directory removed. Closing twice
// is harmless.
func (s *Server) Close() error {
	s.closed.Do(func() {
		s.stopping()
		var errs []error
		if s.http != nil {
			errs = append(errs, s.http.Close())
		}
		// Connections are gone, but their handlers may still be at work in the TSDB.
		s.gate.Lock()
		s.closing = true
		s.gate.Unlock()
		if s.rules != nil {
			s.rules.Stop()
		}
		s.running.Wait()
		if s.engine != nil {
			errs = append(errs, s.engine.Close())
		}
		if s.db != nil {
			errs = append(errs, s.db.Close())
		}
		if s.opts.Dir == "" {
			errs = append(errs, os.RemoveAll(s.dir))
		}
		s.closeErr = errors.Join(errs...)
	})
	return s.closeErr
}

// URL is the server's base URL, without a slash at its end.
func (s *Server) URL() string { return "http://" + s.addr }

// WriteURL is where remote write requests go.
func (s *Server) WriteURL() string { return s.URL() + "/api/v1/write" }

// Addr is the host:port that the server listens on: with Options.Addr a server
// that is started later can take its place.
func (s *Server) Addr() string { return s.addr }

// Dir is where the TSDB lies.
func (s *Server) Dir() string { return s.dir }

// Storage is the TSDB itself.
func (s *Server) Storage() *tsdb.DB { return s.db }

// Handler serves all of the server's paths.
func (s *Server) Handler() http.Handler { return s.handler }

// allTime is wide enough for every timestamp and narrow enough for the TSDB's
// own arithmetic on it.
const allTime = math.MaxInt64 / 4
