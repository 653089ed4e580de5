// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/docker-remote-write/docker-remote-write/internal/config"
	"github.com/docker-remote-write/docker-remote-write/internal/logging"
	"github.com/docker-remote-write/docker-remote-write/internal/panics"
	"github.com/docker-remote-write/docker-remote-write/internal/remotewrite"
	"github.com/docker-remote-write/docker-remote-write/internal/spool"
	"github.com/docker-remote-write/docker-remote-write/internal/weburl"
)

// senders are the endpoints at work: one sender each, over the one queue.
type senders struct {
	spool *spool.Spool
	log   *logging.Logger

	mu      sync.Mutex
	cfg     *config.Config
	running []*running
	loaded  time.Time
	refused string // why the newest CONFIG_FILE was not taken over
	stopped bool
	unwatch context.CancelFunc
	watched sync.WaitGroup
}

// running is one endpoint at work, or prepared for it. The lock of senders guards
// what changes when it starts and stops.
type running struct {
	endpoint config.Endpoint
	options  remotewrite.Options
	cursor   *spool.Cursor
	sender   atomic.Pointer[remotewrite.Sender]
	cancel   context.CancelFunc // nil while it does not run
	done     chan struct{}
}

// errHalted: the endpoints of before could not be started again after those of a
// new list had failed.
var errHalted = errors.New("the endpoints of before cannot go on")

func newSenders(s *spool.Spool, cfg *config.Config, log *logging.Logger) *senders {
	return &senders{spool: s, cfg: cfg, log: log, unwatch: func() {}}
}

// set makes the endpoints those of the list. A sender whose endpoint is as it was
// goes on undisturbed; the others end, and new ones begin where they stood. After
// an error the senders of before are at work, all of them, unless it is errHalted.
func (s *senders) set(endpoints []config.Endpoint) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return nil
	}
	// What can be refused beforehand is refused before any sender ends.
	next, err := s.prepare(endpoints)
	if err != nil {
		return err
	}
	stopAllBut(next, s.running)
	if err := s.begin(next); err != nil {
		stopAllBut(s.running, next)
		if e := s.begin(s.running); e != nil {
			return errors.Join(err, fmt.Errorf("%w: %w", errHalted, e))
		}
		return err
	}
	s.running, s.loaded = next, time.Now()
	return nil
}

// prepare has for each endpoint the running one that is the same, or a new one.
func (s *senders) prepare(endpoints []config.Endpoint) ([]*running, error) {
	next := make([]*running, len(endpoints))
	var errs []error
	for i, e := range endpoints {
		same := slices.IndexFunc(s.running, func(r *running) bool { return e.Equal(&r.endpoint) })
		if same >= 0 {
			next[i] = s.running[same]
			continue
		}
		o, err := senderOptions(e, s.log)
		if err == nil {
			err = o.Validate()
		}
		errs = append(errs, err)
		next[i] = &running{endpoint: e, options: o}
	}
	return next, errors.Join(errs...)
}

// begin claims the cursors of the endpoints and starts those that do not run.
func (s *senders) begin(list []*running) error {
	if len(list) == 0 {
		return nil
	}
	claims := make([]spool.Endpoint, len(list))
	for i, r := range list {
		claims[i] = spool.Endpoint{Name: r.endpoint.Name, URL: weburl.Requested(r.endpoint.URL).String()}
	}
	cursors, err := s.spool.Claim(claims)
	if err != nil {
		return fmt.Errorf("claim the endpoints' cursors: %w", err)
	}
	for i, r := range list {
		if r.cancel != nil {
			continue
		}
		if err := r.start(cursors[i]); err != nil {
			return err
		}
	}
	return nil
}

func (r *running) start(c *spool.Cursor) error {
	r.cursor = c
	if err := r.renew(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	r.cancel, r.done = cancel, done
	panics.Go(r.options.Log, "keeping a sender", func() {
		defer close(done)
		r.run(ctx)
	})
	return nil
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
		err := panics.Guard("sending", func() { _ = r.sender.Load().Run(ctx) })
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
		Cloud:           e.Cloud,
		Headers:         e.Headers,
		Timeout:         e.Timeout,
		HoldOnAuthError: e.HoldOnAuthError,
		DropOn429:       e.DropOn429,
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

// flush tries once, for all endpoints at a time, to send what waits, within the
// context's deadline.
func (s *senders) flush(ctx context.Context) {
	s.within(ctx, func() {
		s.mu.Lock()
		running := s.running
		s.mu.Unlock()
		var wg sync.WaitGroup
		for _, r := range running {
			wg.Go(func() {
				if err := panics.Guard("the last flush", func() { _ = r.sender.Load().Flush(ctx) }); err != nil {
					r.options.Log.Error(err)
				}
			})
		}
		wg.Wait()
	})
}

// stop ends all senders; a request in flight is cut off and sent again at the
// next start. It waits for them within the context's deadline: a file that is read
// for CONFIG_FILE, or for a change of the endpoints, may hang with its disk.
func (s *senders) stop(ctx context.Context) {
	s.unwatch()
	s.within(ctx, func() {
		s.mu.Lock()
		s.stopped = true
		stopAllBut(nil, s.running)
		s.mu.Unlock()
		s.watched.Wait()
	})
}

// within calls f and returns when f does, or with ctx.
func (s *senders) within(ctx context.Context, f func()) {
	done := make(chan struct{})
	panics.Go(s.log, "the senders", func() { defer close(done); f() })
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// stopAllBut ends those of the list that run, except the kept ones, and waits
// until they have ended.
func stopAllBut(kept, list []*running) {
	var ended []*running
	for _, r := range list {
		if r.cancel != nil && !slices.Contains(kept, r) {
			r.cancel()
			ended = append(ended, r)
		}
	}
	for _, r := range ended {
		<-r.done
		r.cancel = nil
	}
}
