// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"os/signal"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/docker-remote-write/docker-remote-write/internal/config"
	"github.com/docker-remote-write/docker-remote-write/internal/dockerplugin"
	"github.com/docker-remote-write/docker-remote-write/internal/logging"
	"github.com/docker-remote-write/docker-remote-write/internal/panics"
)

// runRun is the program without an engine's calls.
func runRun(c call) error {
	if err := noArgs(c.args); err != nil {
		return err
	}
	cfg, warnings, err := config.Load(config.Run, c.env)
	if err != nil {
		return err
	}
	return withLog(c, cfg, func(log *logging.Logger) error { return scrapeAndSend(c.ctx, cfg, warnings, log) })
}

func scrapeAndSend(ctx context.Context, cfg *config.Config, warnings []config.Warning, log *logging.Logger) error {
	limitSelf()
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	logWarnings(log, warnings)
	p, err := openPipeline(cfg, warnings, log)
	if err != nil {
		return err
	}
	if p.unlisten, err = p.listen(); err != nil {
		closing, cancel := context.WithTimeout(context.Background(), dockerplugin.Budget)
		defer cancel()
		return errors.Join(err, p.close(closing))
	}
	log.WithField("version", version).Info("scraping")
	p.scrapeOthers(ctx)
	err = panics.Guard("scraping", func() { p.scrape(ctx) })
	stop() // a second signal ends it at once

	// The same bound as under an engine: service managers are impatient, too.
	closing, cancel := context.WithTimeout(context.Background(), dockerplugin.Budget)
	defer cancel()
	flushing, cancelFlush := context.WithTimeout(closing, dockerplugin.Budget-500*time.Millisecond)
	defer cancelFlush()
	p.senders.flush(flushing)
	return errors.Join(err, p.close(closing))
}

// withLog runs f with a log that has all that is printed meanwhile, libraries
// included. What f returns, a panic included, has no more secrets in it than a line
// of the log. cfg is nil where it is wrong.
func withLog(c call, cfg *config.Config, f func(*logging.Logger) error) error {
	level := "info"
	if cfg != nil {
		level = cfg.LogLevel
	}
	log, err := logging.New(logging.Options{Level: level, Stdout: c.stdout, Stderr: c.stderr})
	if err != nil {
		return err
	}
	defer log.CloseSoon()
	log.TakeOver()
	if cfg != nil {
		log.SetSecrets(cfg.Secrets())
	}
	if panicked := panics.Guard("the program", func() { err = f(log) }); panicked != nil {
		err = panicked
	}
	if err != nil {
		return errors.New(log.Hide(err.Error()))
	}
	return nil
}

func logWarnings(log *logging.Logger, warnings []config.Warning) {
	for _, w := range warnings {
		log.WithFields(logrus.Fields{"setting": w.Setting, "problem": w.Text}).Warn("a setting wants a look")
	}
}
