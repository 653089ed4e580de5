// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"net/http"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/docker-remote-write/docker-remote-write/internal/config"
	"github.com/docker-remote-write/docker-remote-write/internal/dockerplugin"
	"github.com/docker-remote-write/docker-remote-write/internal/logging"
	"github.com/docker-remote-write/docker-remote-write/internal/panics"
	"github.com/docker-remote-write/docker-remote-write/internal/telemetry"
)

// runPlugin is the program as the engine starts it.
func runPlugin(c call) error {
	if err := noArgs(c.args); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(c.ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	cfg, warnings, invalid := config.Load(config.Plugin, c.env)
	return withLog(c, cfg, func(log *logging.Logger) error { return servePlugin(ctx, c.env, cfg, warnings, invalid, log) })
}

// servePlugin serves the engine until ctx is done; invalid says what is wrong with
// the settings in env, cfg is nil then.
func servePlugin(ctx context.Context, env []string, cfg *config.Config, warnings []config.Warning, invalid error, log *logging.Logger) error {
	limitSelf()
	if err := dockerplugin.DropPrivileges(); err != nil {
		log.WithError(err).Debug("privileges were not dropped")
	}
	logWarnings(log, warnings)

	var opened atomic.Pointer[pipeline]
	o := dockerplugin.Options{
		Socket:  dockerplugin.Socket,
		Invalid: invalid,
		Log:     log,
		Open: func(context.Context) (dockerplugin.Pipeline, error) {
			p, err := openPipeline(cfg, warnings, log)
			if err != nil {
				return dockerplugin.Pipeline{}, err
			}
			if p.unlisten, err = p.listen(); err != nil {
				log.WithError(err).Error("the status page is not served")
			}
			p.scrapeOthers(context.Background())
			opened.Store(p)
			return dockerplugin.Pipeline{Scrape: p.scrape, Last: p.last, Flush: p.senders.flush}, nil
		},
	}
	if cfg != nil {
		o.StateDir = cfg.DataDir
		if path, ok := strings.CutPrefix(cfg.Target, "unix://"); ok {
			o.MetricsSocket, _, _ = strings.Cut(path, ":")
		}
	}
	plugin := dockerplugin.New(o)
	var idling atomic.Pointer[telemetry.State]
	idling.Store(idleState(invalid, warnings))
	idle := telemetry.New(telemetry.Options{State: func() telemetry.State { return *idling.Load() }})
	handler := func(w http.ResponseWriter, r *http.Request) {
		if p := opened.Load(); p != nil {
			p.handler.ServeHTTP(w, r)
			return
		}
		idle.Handler().ServeHTTP(w, r)
	}
	plugin.Handle("GET /", http.HandlerFunc(handler))
	log.WithField("version", version).Info("plugin started")
	if invalid != nil {
		waiting, mended := context.WithCancel(ctx)
		defer mended()
		ctx = waiting
		panics.Go(log, "waiting for the settings", func() {
			if config.Await(waiting, config.Plugin, env, invalid, func(warnings []config.Warning, err error) {
				idling.Store(idleState(err, warnings))
				log.WithError(err).Error("the configuration is still wrong, for another reason")
			}) {
				log.Info("the configuration has been set right: ending, to be started again with it")
				mended()
			}
		})
	}
	err := plugin.Run(ctx)
	if p := opened.Load(); p != nil {
		closing, cancel := context.WithDeadline(context.Background(), plugin.Deadline())
		defer cancel()
		if e := p.close(closing); e != nil {
			log.WithError(e).Warn("the queue was not closed in order")
		}
	}
	return err
}
