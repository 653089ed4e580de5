// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

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

func (s *senders) update(u config.Update) {
	err := u.Err
	if err == nil {
		logWarnings(s.log, u.Warnings)
		err = s.set(u.Endpoints)
	}
	s.reloaded(u.Endpoints, err)
}

// reloaded notes what came of a changed file.
func (s *senders) reloaded(endpoints []config.Endpoint, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.refused = err.Error()
		s.log.WithError(err).Error("the changed CONFIG_FILE is refused: the endpoints stay as they are")
		return
	}
	s.refused = ""
	cfg := *s.cfg
	cfg.Endpoints = endpoints
	s.cfg = &cfg
	s.log.SetSecrets(cfg.Secrets())
	s.log.WithField("endpoints", len(endpoints)).Info("the changed CONFIG_FILE is in effect")
}
