// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/docker-remote-write/docker-remote-write/internal/config"
	"github.com/docker-remote-write/docker-remote-write/internal/logging"
	"github.com/docker-remote-write/docker-remote-write/internal/scrape"
	"github.com/docker-remote-write/docker-remote-write/internal/series"
	"github.com/docker-remote-write/docker-remote-write/internal/spool"
	"github.com/docker-remote-write/docker-remote-write/internal/telemetry"
)

const (
	// ringBytes bounds the scrapes in memory while the disk refuses them: about an
	// hour of an engine's metrics.
	ringBytes = 4 << 20
	// holdBack is how long half-ready scrapes of a booting engine are held back.
	holdBack = 30 * time.Second
)

func userAgent() string { return "docker-remote-write/" + version }

// pipeline is everything between the metrics socket and the receivers.
type pipeline struct {
	cfg      *config.Config
	log      *logging.Logger
	spool    *spool.Spool
	clock    *scrape.Clock
	targets  []*target      // the engine's first
	others   sync.WaitGroup // the loops of all but the engine's
	cancel   func()         // ends them; nil while they do not run
	carrier  carrier
	senders  *senders
	self     *telemetry.Telemetry
	handler  http.Handler
	started  time.Time
	unlisten func()
	tidier   *tidier
	notes    []string
}

// openPipeline opens the queue and starts the senders, so that a backlog drains
// before the first scrape. A queue that cannot be opened is replaced by one in
// memory, and the reason stays visible.
func openPipeline(cfg *config.Config, warnings []config.Warning, log *logging.Logger) (*pipeline, error) {
	p := &pipeline{cfg: cfg, log: log, started: time.Now(), tidier: newTidier()}
	p.clock = scrape.NewClock(cfg.Interval, nil, log)
	for _, w := range warnings {
		p.notes = append(p.notes, w.String())
	}
	numbers := series.NewRegistry()
	var err error
	o := spool.Options{
		MaxBytes:  cfg.SpoolMaxBytes,
		MaxAge:    cfg.SpoolMaxAge,
		RingBytes: ringBytes,
		Series:    numbers,
		Log:       log,
	}
	switch p.spool, err = spool.Open(cfg.DataDir, o); {
	case errors.Is(err, spool.ErrLocked):
		// Two of us would send every series twice.
		return nil, fmt.Errorf("DATA_DIR=%s: %w; give each process a directory of its own", cfg.DataDir, err)
	case err != nil:
		log.WithError(err).Error("scrapes are kept in memory only")
	}
	p.senders = newSenders(p.spool, cfg, log)
	if err := p.senders.set(cfg.Endpoints); err != nil {
		return nil, errors.Join(err, p.spool.Close(context.Background()))
	}
	p.self = telemetry.New(telemetry.Options{
		State: p.state, Job: cfg.Job, Instance: cfg.Instance, External: cfg.External, Self: cfg.SelfMetrics, Series: numbers,
	})
	p.handler = p.self.Handler()
	if p.targets, err = newTargets(cfg, numbers, p.clock, p.spool.Begun(), log); err != nil {
		return nil, errors.Join(err, p.close(context.Background()))
	}
	if err := p.endRemoved(context.Background(), numbers); err != nil {
		log.WithError(err).Warn("the series of a removed target have no end")
	}
	p.senders.watch()
	return p, nil
}

// close stops the senders and closes the queue within the context's deadline.
func (p *pipeline) close(ctx context.Context) error {
	if p.unlisten != nil {
		p.unlisten()
	}
	p.endTargets(ctx)
	p.senders.stop(ctx)
	if err := p.spool.Close(ctx); err != nil {
		return fmt.Errorf("close the spool: %w", err)
	}
	return nil
}
