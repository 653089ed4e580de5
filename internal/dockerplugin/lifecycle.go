// SPDX-License-Identifier: Apache-2.0

package dockerplugin

import (
	"context"
	"errors"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/docker-remote-write/docker-remote-write/internal/panics"
)

const (
	// An engine's StartMetrics on a dead mount is answered, and a second later
	// the process ends: engines were seen to cope with 0 to 2 s.
	exitAfter = time.Second
	// SIGTERM follows StopMetrics within about 10 ms, or, if another plugin hangs,
	// within the 15 s that an engine takes for its end. Where it does not come,
	// live-restore keeps the plugin alive without an engine, and scraping goes on.
	resumeAfter = 15 * time.Second
	// How often a silent loss of the mount is looked for, and for how long the
	// signs must last. Without a link count to go by it takes long: an engine
	// may well be down for an hour, and its up 0 is wanted.
	watchEvery     = 15 * time.Second
	deadMountAfter = 30 * time.Second
	deadAfter      = 6 * time.Hour
	// What StopMetrics leaves of the budget for closing after the SIGTERM.
	closing = 500 * time.Millisecond
	// A process that ends while its engine is still busy starting it, which takes
	// 0.5 s, is never started again. One that fails at once waits that long.
	shortestLife = 2 * time.Second
	// Opening the pipeline is tried again after this, doubled up to a minute.
	reopenAfter = time.Second
)

// call is StartMetrics, or StopMetrics if done is set; that is closed when the
// engine may go on.
type call struct{ done chan struct{} }

// lifecycle turns what the engine does into running and ending the pipeline.
// All fields below calls belong to run's goroutine.
type lifecycle struct {
	log   logrus.FieldLogger
	open  func(context.Context) (Pipeline, error)
	dial  func() error
	links func() (uint64, error)
	count quickEnds
	calls chan call
	ended chan struct{} // closed when run no longer takes calls

	deadline  time.Time // of the process, once it is to end
	before    int       // quick ends before this process
	pipe      *Pipeline // nil until it is open
	wanted    bool      // the engine has said StartMetrics
	cancel    context.CancelFunc
	scraping  chan error // receives when Scrape has returned; nil while it does not run
	stoppedAt time.Time  // of the last StopMetrics that nothing followed
	downSince time.Time  // the metrics socket has refused since then
}

// start is StartMetrics: it waits for nothing.
func (l *lifecycle) start() {
	select {
	case l.calls <- call{}:
	default: // full of calls that nothing has looked at yet: one more says nothing new
	}
}

// stop is StopMetrics: it returns when the engine may close its socket.
func (l *lifecycle) stop() {
	c := call{make(chan struct{})}
	patience := time.NewTimer(Budget)
	defer patience.Stop()
	select {
	case l.calls <- c:
	case <-l.ended:
		return
	case <-patience.C:
		return
	}
	select {
	case <-c.done:
	case <-l.ended:
	case <-patience.C:
	}
}

// run acts on calls until ctx is done or only a new process can help.
func (l *lifecycle) run(ctx context.Context) error {
	defer close(l.ended)
	began := time.Now()
	fail := func(err error) error {
		l.log.Error(err)
		pause(ctx, time.Until(began.Add(shortestLife)))
		l.deadline = time.Now().Add(Budget)
		return err
	}
	var err error
	if l.before, err = l.count.begin(); err != nil {
		l.log.WithError(err).Warn("cannot keep count of crashes: a crash loop would not be slowed")
	}
	opened, openFailed, closeOpening := l.opening(ctx)
	defer closeOpening()
	proven := time.NewTimer(delay(l.before) + stable)
	defer proven.Stop()
	watch := time.NewTicker(watchEvery)
	defer watch.Stop()
	resume, exit := time.NewTimer(0), time.NewTimer(0)
	resume.Stop()
	exit.Stop()
	for {
		select {
		case <-ctx.Done():
			l.terminate()
			l.count.reset()
			if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
				return cause
			}
			return nil
		case p := <-opened:
			l.pipe = &p
			if l.wanted {
				l.scrape(ctx)
			}
		case c := <-l.calls:
			if c.done != nil {
				l.stopMetrics()
				close(c.done)
				exit.Stop()
				resume.Reset(resumeAfter)
				continue
			}
			resume.Stop()
			if after := l.startMetrics(ctx); after > 0 {
				exit.Reset(after)
			}
		case <-resume.C:
			l.log.Info("StopMetrics was followed by nothing: scraping again")
			l.stoppedAt = time.Time{}
			l.wanted = true
			l.scrape(ctx)
		case err := <-l.scraping:
			l.scraping = nil
			l.cancel()
			if err != nil {
				return fail(err)
			}
		case err := <-openFailed:
			return fail(err)
		case <-proven.C:
			l.before = 0
			l.count.reset()
		case <-watch.C:
			if l.wanted && l.mountIsDead() {
				l.log.WithField("for", time.Since(l.downSince).Round(time.Second)).
					Warn("the metrics socket is that of an engine that is gone: ending, to be started again with a fresh mount")
				exit.Reset(max(exitAfter, delay(l.before)))
			}
		case <-exit.C:
			l.deadline = time.Now().Add(Budget)
			l.halt(l.deadline)
			return nil
		}
	}
}

// opening opens the pipeline in the background. end waits, until the deadline, for what Open
// does: the caller may close what it made.
func (l *lifecycle) opening(ctx context.Context) (opened chan Pipeline, failed chan error, end func()) {
	opening, cancel := context.WithCancel(ctx)
	opened, failed = make(chan Pipeline, 1), make(chan error, 1)
	ended := make(chan struct{})
	go func(before int) {
		defer close(ended)
		if err := panics.Guard("opening", func() { l.openUntil(opening, before, opened) }); err != nil {
			failed <- err
		}
	}(l.before)
	return opened, failed, func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(time.Until(l.deadline)):
		}
	}
}

// startMetrics begins to scrape. It returns after which time the process is to end
// instead: the engine that asks is alive and its socket is not, since the mount holds the
// socket of an engine that is gone.
func (l *lifecycle) startMetrics(ctx context.Context) (exit time.Duration) {
	l.stoppedAt = time.Time{}
	l.wanted = true
	if refused(l.dial()) {
		after := max(exitAfter, delay(l.before))
		l.log.WithField("after", after).Info("the engine has a new metrics socket: ending, to be started again with a mount of it")
		return after
	}
	l.scrape(ctx)
	return 0
}

// openUntil opens the pipeline, after a pause if this is a crash loop.
func (l *lifecycle) openUntil(ctx context.Context, before int, opened chan<- Pipeline) {
	if d := delay(before); d > 0 {
		l.log.WithFields(logrus.Fields{"ends": before, "delay": d}).Warn("the process has ended quickly several times: waiting before it goes on")
		if !pause(ctx, d) {
			return
		}
	}
	for wait := reopenAfter; ; wait = min(2*wait, time.Minute) {
		p, err := l.open(ctx)
		if err == nil {
			opened <- p
			return
		}
		if ctx.Err() != nil {
			return
		}
		l.log.WithError(err).WithField("again_in", wait).Error("cannot start")
		if !pause(ctx, wait) {
			return
		}
	}
}

// pause is false when ctx was done first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// scrape starts the scrape loop unless it runs or cannot yet.
func (l *lifecycle) scrape(ctx context.Context) {
	if l.pipe == nil || l.scraping != nil {
		return
	}
	l.downSince = time.Time{}
	ctx, l.cancel = context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	l.scraping = ended
	go func() { ended <- panics.Guard("scraping", func() { l.pipe.Scrape(ctx) }) }()
}

// halt ends the scrape loop. It is false if there was none or it did not end.
func (l *lifecycle) halt(deadline time.Time) bool {
	if l.scraping == nil {
		return false
	}
	l.cancel()
	t := time.NewTimer(time.Until(deadline))
	defer t.Stop()
	select {
	case err := <-l.scraping:
		l.scraping = nil
		if err != nil {
			l.log.Error(err)
		}
		return err == nil
	case <-t.C:
		l.log.Warn("a scrape did not end in time: there is no last one")
		return false
	}
}

// last ends the scrape loop, and with it the series, within the deadline.
func (l *lifecycle) last(engineDown bool, deadline time.Time) {
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	if !l.halt(deadline) {
		return
	}
	if err := panics.Guard("ending", func() {
		l.pipe.Last(ctx, engineDown)
		l.pipe.Flush(ctx)
	}); err != nil {
		l.log.Error(err)
	}
}

func (l *lifecycle) stopMetrics() {
	if !l.stoppedAt.IsZero() {
		return
	}
	l.stoppedAt = time.Now()
	l.wanted = false
	l.last(true, l.stoppedAt.Add(Budget-closing))
}

// terminate is SIGTERM: a disable, or the end of the engine after StopMetrics,
// or the beginning of an engine that found us left over from a dead one and
// boots only when we are gone.
func (l *lifecycle) terminate() {
	now := time.Now()
	l.deadline = now.Add(Budget)
	if !l.stoppedAt.IsZero() {
		if d := l.stoppedAt.Add(Budget); d.After(now.Add(closing)) {
			l.deadline = d
		} else {
			l.deadline = now.Add(closing)
		}
		return
	}
	if refused(l.dial()) {
		l.deadline = now.Add(closing)
		l.halt(l.deadline)
		return
	}
	l.last(false, l.deadline.Add(-closing))
}

// mountIsDead reports whether the metrics socket has refused for so long, and
// in such a way, that it will not come back in this process.
func (l *lifecycle) mountIsDead() bool {
	if !refused(l.dial()) {
		l.downSince = time.Time{}
		return false
	}
	if l.downSince.IsZero() {
		l.downSince = time.Now()
	}
	down := time.Since(l.downSince)
	n, err := l.links()
	return down >= deadAfter || err == nil && n == 0 && down >= deadMountAfter
}
