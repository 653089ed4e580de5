// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"

	"github.com/docker-remote-write/docker-remote-write/internal/config"
	"github.com/docker-remote-write/docker-remote-write/internal/panics"
)

// watch takes over a changed CONFIG_FILE: whole when it is valid, else not at all.
// Without CONFIG_FILE there is nothing to watch and no timer.
func (s *senders) watch() {
	w := s.cfg.Watch()
	if w == nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.unwatch = cancel
	s.watched.Go(func() {
		if err := panics.Guard("watching CONFIG_FILE", func() { w.Run(ctx, s.update) }); err != nil {
			s.log.WithError(err).Error("CONFIG_FILE is not watched any more")
		}
	})
}

// update takes over what the file says now.
func (s *senders) update(u config.Update) error {
	err := u.Err
	if err == nil {
		err = s.set(u.Endpoints)
	}
	s.reloaded(u, err)
	return err
}

// reloaded notes what came of a changed file. Endpoints that could not be taken
// over are offered again: the same failure is logged once.
func (s *senders) reloaded(u config.Update, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		again := u.Err == nil && s.refused == err.Error()
		s.refused = err.Error()
		switch {
		case again:
		case errors.Is(err, errHalted):
			s.log.WithError(err).Error("the changed CONFIG_FILE is refused and endpoints stand still: it is tried again")
		default:
			s.log.WithError(err).Error("the changed CONFIG_FILE is refused: the endpoints stay as they are")
		}
		return
	}
	s.refused = ""
	cfg := *s.cfg
	cfg.Endpoints = u.Endpoints
	s.cfg = &cfg
	s.log.SetSecrets(cfg.Secrets())
	logWarnings(s.log, u.Warnings)
	s.log.WithField("endpoints", len(u.Endpoints)).Info("the changed CONFIG_FILE is in effect")
}
