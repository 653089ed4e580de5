// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/docker-remote-write/docker-remote-write/proof/engine"
	"github.com/docker-remote-write/docker-remote-write/proof/promtest"
)

// scrapeInterval makes the view move.
const scrapeInterval = time.Second

// demo is one run. Its name is that of the plugin, the image and, with something
// behind it, the containers.
type demo struct {
	screen *screen
	dir    string
	length time.Duration
	stays  string
	name   string

	engine   *engine.Engine
	receiver *promtest.Server
	exporter *engine.Server
	// arrived receives after a request was stored, unless it is full.
	arrived chan struct{}
	queries queries

	last     figures
	viewed   time.Duration
	told     string // the second of the last line
	received received
}

// run makes everything, shows it, and removes everything whatever happened.
func (d *demo) run(ctx context.Context) error {
	err := d.show(ctx)
	d.screen.done()
	if ctx.Err() != nil {
		d.screen.say("\ninterrupted; removing what was made, please wait")
	}
	removed, left := d.remove()
	if err == nil || d.viewed > 0 && ctx.Err() != nil {
		err = nil
		d.summary(removed)
	}
	return errors.Join(err, left)
}

func (d *demo) show(ctx context.Context) error {
	steps := []struct {
		name string
		do   func(context.Context) error
	}{
		{"finding an engine", d.findEngine},
		{"starting the receiver", d.startReceiver},
		{"starting the host's node exporter", d.startExporter},
		{"building the image of the demo's containers", d.buildImage},
		{"creating and enabling the plugin", d.enablePlugin},
		{"waiting for the first scrape", d.awaitScrape},
	}
	for _, s := range steps {
		d.screen.say("demo: %s", s.name)
		if err := s.do(ctx); err != nil {
			if ctx.Err() != nil {
				return errInterrupted
			}
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if ctx.Err() != nil {
			return errInterrupted
		}
	}
	d.screen.say("demo: the node exporter was added by docker plugin set %s %s", d.name, d.added())
	d.screen.say("")
	return d.view(ctx)
}

func (d *demo) findEngine(ctx context.Context) error {
	host := os.Getenv("DOCKER_HOST")
	if host != "" && !strings.HasPrefix(host, "unix://") {
		return fmt.Errorf("DOCKER_HOST %s: the demo's receiver listens on loopback, so an engine of this machine is wanted, as unix:///path", host)
	}
	e, err := engine.Local(ctx)
	if err == nil {
		d.engine = e
		return nil
	}
	if host != "" {
		return fmt.Errorf("the engine that DOCKER_HOST names, %s, does not answer: %w", host, err)
	}
	if missing := engine.Missing(); missing != nil {
		return fmt.Errorf("no engine answers (%w), and a private one cannot be started: %w", err, missing)
	}
	d.engine, err = engine.Start(ctx, engine.Options{})
	return err
}

func (d *demo) startReceiver(context.Context) error {
	d.arrived = make(chan struct{}, 1)
	var err error
	d.receiver, err = promtest.Start(promtest.Options{
		Dir: filepath.Join(d.dir, "receiver"),
		OnRequest: func(*promtest.Request) {
			select {
			case d.arrived <- struct{}{}:
			default:
			}
		},
	})
	d.queries.server = d.receiver
	return err
}

func (d *demo) startExporter(ctx context.Context) error {
	var err error
	d.exporter, err = engine.NodeExporter(ctx)
	return err
}

// added is the setting that adds the exporter to what the plugin scrapes.
func (d *demo) added() string { return "EXTRA_TARGETS=node=" + d.exporter.URL + "/metrics" }

// awaitScrape ends with the first scrape in the receiver. What the counters say
// then is where the demo counts from.
func (d *demo) awaitScrape(ctx context.Context) error {
	limit := time.NewTimer(20 * time.Second)
	defer limit.Stop()
	for {
		select {
		case <-d.arrived:
		case <-ctx.Done():
			return ctx.Err()
		case <-limit.C:
			return fmt.Errorf("the plugin %s sent nothing for 20 s: the engine's log says why", d.name)
		}
		now := time.Now()
		v, err := d.receiver.Query(ctx, `timestamp(engine_daemon_engine_info)`, now.Add(time.Minute))
		if err != nil {
			return err
		}
		if len(v) > 0 {
			d.queries.began = time.UnixMilli(int64(math.Round(v[0].F * 1000)))
			return nil
		}
	}
}

// view shows what arrives, while containers come and go, until the time is over.
func (d *demo) view(ctx context.Context) error {
	began := time.Now()
	defer func() { d.viewed = time.Since(began) }()
	living, end := context.WithTimeout(ctx, d.length)
	var lives sync.WaitGroup
	var lifeErr error
	lives.Go(func() {
		if lifeErr = d.live(living); lifeErr != nil {
			end()
		}
	})
	defer lives.Wait()
	defer end()
	tick := time.NewTicker(scrapeInterval)
	defer tick.Stop()
	for {
		if err := d.refresh(living, time.Since(began)); err != nil && living.Err() == nil {
			return err
		}
		select {
		case <-d.arrived:
			tick.Reset(2 * scrapeInterval) // it stands in for scrapes that do not come
		case <-tick.C:
		case <-living.Done():
			lives.Wait()
			if errors.Is(lifeErr, context.DeadlineExceeded) || errors.Is(lifeErr, context.Canceled) {
				lifeErr = nil
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return lifeErr
		}
	}
}

func (d *demo) refresh(ctx context.Context, elapsed time.Duration) error {
	f, err := d.queries.read(ctx, time.Now())
	if err != nil {
		return err
	}
	d.last = f
	a := about{Elapsed: elapsed, Total: d.length, Plugin: d.name, Engine: d.where(), Receiver: d.receiver.WriteURL(), Added: d.added()}
	if d.screen.live() {
		d.screen.draw(frame(f, a))
	} else if s := seconds(elapsed); s != d.told { // each target's scrapes come by themselves
		d.told = s
		d.screen.say("%s", line(f, a))
	}
	return nil
}

func (d *demo) where() string {
	if d.engine.Private() {
		return "a private engine"
	}
	return "the local engine"
}
