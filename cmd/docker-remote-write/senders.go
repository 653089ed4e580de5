// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/docker-remote-write/docker-remote-write/internal/config"
	"github.com/docker-remote-write/docker-remote-write/internal/dockerplugin"
	"github.com/docker-remote-write/docker-remote-write/internal/logging"
	"github.com/docker-remote-write/docker-remote-write/internal/remotewrite"
	"github.com/docker-remote-write/docker-remote-write/internal/spool"
)

// senders are the endpoints at work: one sender each, over the one queue.
type senders struct {
	spool  *spool.Spool
	memory *remotewrite.Memory
	log    *logging.Logger

	mu      sync.Mutex
	cfg     *config.Config
	running []*running
	loaded  time.Time
	refused string // why the newest CONFIG_FILE was not taken over
	stopped bool
	unwatch context.CancelFunc
	watched sync.WaitGroup
}

// running is one endpoint at work.
type running struct {
	endpoint config.Endpoint
	options  remotewrite.Options
	cursor   *spool.Cursor
	sender   atomic.Pointer[remotewrite.Sender]
	cancel   context.CancelFunc
	done     chan struct{}
}

func newSenders(s *spool.Spool, m *remotewrite.Memory, cfg *config.Config, log *logging.Logger) *senders {
	return &senders{spool: s, memory: m, cfg: cfg, log: log, unwatch: func() {}}
}

// set makes the endpoints those of the list. A sender whose endpoint is as it was
// goes on undisturbed; the others end, and new ones begin where they stood.
func (s *senders) set(endpoints []config.Endpoint) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return nil
	}
	kept := map[string]*running{}
	for _, r := range s.running {
		if i := find(endpoints, r.endpoint.Name); i >= 0 && endpoints[i].Equal(&r.endpoint) {
			kept[r.endpoint.Name] = r
		} else {
			r.stop()
		}
	}
	claims := make([]spool.Endpoint, len(endpoints))
	for i, e := range endpoints {
		claims[i] = spool.Endpoint{Name: e.Name, URL: withoutUser(e.URL)}
	}
	cursors, err := s.spool.Claim(claims)
	if err != nil {
		return fmt.Errorf("claim the endpoints' cursors: %w", err)
	}
	var now []*running
	var errs []error
	for i, e := range endpoints {
		r := kept[e.Name]
		if r == nil {
			if r, err = s.start(e, cursors[i]); err != nil {
				errs = append(errs, err)
				continue
			}
		}
		now = append(now, r)
	}
	s.running, s.loaded = now, time.Now()
	return errors.Join(errs...)
}

func find(endpoints []config.Endpoint, name string) int {
	for i := range endpoints {
		if endpoints[i].Name == name {
			return i
		}
	}
	return -1
}

func (s *senders) start(e config.Endpoint, c *spool.Cursor) (*running, error) {
	o, err := senderOptions(e, s.log)
	if err != nil {
		return nil, err
	}
	o.Memory = s.memory
	r := &running{endpoint: e, options: o, cursor: c, done: make(chan struct{})}
	if err := r.renew(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	go func() {
		defer close(r.done)
		r.run(ctx)
	}()
	return r, nil
}

// renew gives the endpoint a sender without a past.
func (r *running) renew() error {
	sender, err := remotewrite.New(r.options, r.cursor)
	if err != nil {
		return fmt.Errorf("endpoint %s: %w", r.endpoint.Name, err)
	}
	r.sender.Store(sender)
	return nil
}

// run keeps the endpoint's sender going until ctx is done: a panic costs the
// endpoint a pause, not the others their process.
func (r *running) run(ctx context.Context) {
	for wait := time.Second; ; wait = min(2*wait, time.Minute) {
		err := dockerplugin.Guard("sending", func() { _ = r.sender.Load().Run(ctx) })
		if ctx.Err() != nil {
			return
		}
		r.options.Log.WithError(err).WithField("again_in", wait).Error("the sender ended and is started again")
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		if err := r.renew(); err != nil {
			r.options.Log.WithError(err).Error("the sender cannot be started again")
			return
		}
	}
}

func senderOptions(e config.Endpoint, log *logging.Logger) (remotewrite.Options, error) {
	protocol, err := remotewrite.ParseProtocol(e.Protocol)
	if err != nil {
		return remotewrite.Options{}, fmt.Errorf("endpoint %s: %w", e.Name, err)
	}
	return remotewrite.Options{
		Name:            e.Name,
		URL:             e.URL,
		Protocol:        protocol,
		Client:          e.Client,
		Headers:         e.Headers,
		Timeout:         e.Timeout,
		HoldOnAuthError: e.HoldOnAuthError,
		MaxSamples:      e.MaxSamples,
		MaxBytes:        int(e.MaxBytes),
		Deadline:        e.Deadline,
		MinBackoff:      e.MinBackoff,
		MaxBackoff:      e.MaxBackoff,
		RateLimit:       float64(e.RateLimit),
		Relabel:         e.Relabel,
		Omit:            remotewrite.Omit{Metadata: e.OmitMetadata, Exemplars: e.OmitExemplars, NativeHistograms: e.OmitNativeHistograms},
		UserAgent:       userAgent(),
		Secrets:         e.Secrets,
		Log:             log.WithField("endpoint", e.Name),
	}, nil
}

// flush tries once, for all endpoints at a time, to send what waits.
func (s *senders) flush(ctx context.Context) {
	s.mu.Lock()
	running := s.running
	s.mu.Unlock()
	var wg sync.WaitGroup
	for _, r := range running {
		wg.Go(func() { _ = r.sender.Load().Flush(ctx) })
	}
	wg.Wait()
}

// stop ends all senders; a request in flight is cut off and sent again at the
// next start.
func (s *senders) stop() {
	s.unwatch()
	s.mu.Lock()
	s.stopped = true
	for _, r := range s.running {
		r.cancel()
	}
	for _, r := range s.running {
		<-r.done
	}
	s.mu.Unlock()
	s.watched.Wait()
}

func (r *running) stop() {
	r.cancel()
	<-r.done
}
