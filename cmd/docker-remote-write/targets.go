// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/docker-remote-write/docker-remote-write/internal/config"
	"github.com/docker-remote-write/docker-remote-write/internal/panics"
	"github.com/docker-remote-write/docker-remote-write/internal/scrape"
	"github.com/docker-remote-write/docker-remote-write/internal/series"
	"github.com/docker-remote-write/docker-remote-write/internal/spool"
)

// appended is told of each scrape for which Append has returned, and what. A test
// build sets it (see trace.go), and tests do; nothing else.
var appended func(*series.Scrape, error)

// target is one that is scraped, in a loop of its own.
type target struct {
	config.ScrapeTarget
	scraper *scrape.Scraper
	loop    *scrape.Loop
	running atomic.Bool
}

// newTargets makes the targets; the spool knows each by its place in the list. begun
// says that the spool was there before.
func newTargets(cfg *config.Config, numbers *series.Registry, clock *scrape.Clock, begun bool, log logrus.FieldLogger) ([]*target, error) {
	var all []*target
	for _, o := range scrapeOptions(cfg, log) {
		o.Series, o.Resumed = numbers, begun
		s, err := scrape.New(o)
		if err != nil {
			return all, err
		}
		all = append(all, &target{ScrapeTarget: cfg.Targets()[o.Number], scraper: s, loop: scrape.NewLoop(s, clock)})
	}
	return all, nil
}

// scrapeOptions are those of each target, in their order.
func scrapeOptions(cfg *config.Config, log logrus.FieldLogger) []scrape.Options {
	targets := cfg.Targets()
	room := scrape.NewRoom(cfg.MaxBytes, len(targets))
	all := make([]scrape.Options, len(targets))
	for i, t := range targets {
		o := scrape.Options{
			Target: t.URL, TLS: t.TLS, Number: uint8(i),
			Interval: t.Interval, Timeout: t.Timeout,
			Room: room, SampleLimit: cfg.SampleLimit,
			NativeHistograms: cfg.NativeHistograms, ClassicHistograms: cfg.ClassicHistograms,
			Job: t.Job, Instance: t.Instance, External: cfg.External,
			Keep: cfg.Keep, Drop: cfg.Drop,
			UserAgent: userAgent(),
			Log:       log,
		}
		if i > 0 {
			o.Log = log.WithField("target", t.Name)
		} else if cfg.Mode == config.Plugin {
			o.HoldBack = holdBack
		}
		all[i] = o
	}
	return all
}

// scrapeOthers scrapes all targets but the engine's until ctx is done.
func (p *pipeline) scrapeOthers(ctx context.Context) {
	ctx, p.cancel = context.WithCancel(ctx)
	for _, t := range p.targets[1:] {
		p.others.Add(1)
		panics.Go(p.log, "scraping "+t.Name, func() {
			defer p.others.Done()
			p.loop(ctx, t)
		})
	}
}

// scrape scrapes the engine until ctx is done. It may be called again afterwards.
func (p *pipeline) scrape(ctx context.Context) { p.loop(ctx, p.targets[0]) }

func (p *pipeline) loop(ctx context.Context, t *target) {
	t.running.Store(true)
	defer t.running.Store(false)
	for now := range t.loop.Times(ctx) {
		p.take(ctx, t, now)
	}
}

// take makes one scrape, with the own metrics of the moment if they travel with it, and
// hands it to the queue.
func (p *pipeline) take(ctx context.Context, t *target, now time.Time) {
	var own *series.Scrape
	if p.carries(t) && p.carrier.begin(now) {
		defer p.carrier.end()
		own = p.self.Own()
	}
	if sc := t.loop.Scrape(ctx, now, own); sc != nil {
		t.loop.Appended(p.append(ctx, sc))
	}
}

// append hands a scrape to the queue. In the ring is good enough for the loop;
// that the disk refuses is the spool's to say.
func (p *pipeline) append(ctx context.Context, sc *series.Scrape) error {
	defer p.tidier.scraped()
	_, err := p.spool.Append(ctx, sc)
	if appended != nil {
		appended(sc, err)
	}
	if errors.Is(err, spool.ErrNotDurable) {
		return nil
	}
	return err
}

// carries reports whether the own metrics travel with the scrapes of t: they do with the
// engine's, and while that rests with those of the first other target.
func (p *pipeline) carries(t *target) bool {
	engine := p.targets[0]
	if len(p.targets) == 1 || engine.running.Load() {
		return t == engine
	}
	return t == p.targets[1]
}

// last takes the engine's last scrape and ends its series.
func (p *pipeline) last(ctx context.Context, engineDown bool) {
	t := p.targets[0]
	now := t.loop.LastTime()
	p.take(ctx, t, now)
	err := ctx.Err()
	if sc := t.loop.End(now, engineDown, len(p.targets) > 1); sc != nil {
		err = p.append(ctx, sc)
	}
	if err != nil {
		p.log.WithError(err).Warn("the last scrape is missing")
	}
}

// endTargets ends the scraping of all targets, within the context's deadline.
func (p *pipeline) endTargets(ctx context.Context) {
	if p.cancel != nil {
		p.cancel()
		ended := make(chan struct{})
		panics.Go(p.log, "ending the scrapes", func() { p.others.Wait(); close(ended) })
		select {
		case <-ended:
		case <-ctx.Done():
		}
	}
	if err := p.leave(); err != nil {
		p.log.WithError(err).Warn("the series of a target that is removed now will have no end")
	}
	for _, t := range p.targets {
		if !t.running.Load() { // one that hangs keeps what it has
			t.scraper.Close()
		}
	}
}

// carrier hands the own metrics to one scrape after the other: where they change from
// one target to another, their samples stay in the order of their times.
type carrier struct {
	mu   sync.Mutex
	last time.Time
}

// begin reports whether a scrape of that time may carry them; then end must follow.
func (c *carrier) begin(now time.Time) bool {
	if !c.mu.TryLock() {
		return false
	}
	// Further back, the clock was set.
	if behind := c.last.Sub(now); behind >= 0 && behind < time.Minute {
		c.mu.Unlock()
		return false
	}
	c.last = now
	return true
}

func (c *carrier) end() { c.mu.Unlock() }
