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
	log, err := newLogger(cfg, c)
	if err != nil {
		return err
	}
	defer closeLog(log)
	limitSelf()
	ctx, stop := signal.NotifyContext(c.ctx, syscall.SIGINT, syscall.SIGTERM)
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

func newLogger(cfg *config.Config, c call) (*logging.Logger, error) {
	level := "info"
	if cfg != nil {
		level = cfg.LogLevel
	}
	log, err := logging.New(logging.Options{Level: level, Stdout: c.stdout, Stderr: c.stderr})
	if err == nil && cfg != nil {
		log.SetSecrets(cfg.Secrets())
	}
	return log, err
}

// closeLog writes what waits, unless nobody reads it.
func closeLog(log *logging.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	_ = log.Close(ctx)
}

func logWarnings(log *logging.Logger, warnings []config.Warning) {
	for _, w := range warnings {
		log.WithFields(logrus.Fields{"setting": w.Setting, "problem": w.Text}).Warn("a setting wants a look")
	}
}
