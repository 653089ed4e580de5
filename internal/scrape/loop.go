// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

const (
	// step is the longest sleep where there is no alarm: what a wait follows is the
	// wall clock, which may be set, and which goes on while a machine is suspended
	// and its timers stand still.
	step = time.Second
	// jitter is how far back a clock goes without it being called a step.
	jitter = 10 * time.Millisecond
	// retryHeldBack is how long to wait for a booting engine.
	retryHeldBack = time.Second
	// clockWait is for how long a start waits for a clock that cannot be right.
	clockWait = 10 * time.Minute
)

// Loop says when to scrape, looks after the clock, and logs what changes. Its caller makes
// the scrapes and appends them, and may begin again after an end:
//
//	for now := range l.Times(ctx) {
//		if sc := l.Scrape(ctx, now, own()); sc != nil {
//			l.Appended(append(sc))
//		}
//	}
type Loop struct {
	s     *Scraper
	phase time.Duration
	log   logrus.FieldLogger
	last  time.Time // the time of the last scrape appended
	held  bool      // the last scrape was held back
	alarm *alarm    // while Times goes on, where the system has one
	// What was logged last, so that a lasting fault is logged once.
	outcome   Outcome
	appending bool
}

// NewLoop makes the loop of a scraper. Both belong to one goroutine.
func NewLoop(s *Scraper) *Loop {
	return &Loop{s: s, phase: Phase(s.o.Job, s.o.Instance, s.o.Interval), log: s.o.Log, appending: true}
}

// now is the wall clock alone: a monotonic reading would hide that it was set.
func (l *Loop) now() time.Time { return l.s.o.Now().Round(0) }

// Times are when to scrape, until ctx is done: at once, and then on the grid. Each scrape
// is to be made, by Scrape, before the next time is asked for.
func (l *Loop) Times(ctx context.Context) iter.Seq[time.Time] {
	return func(yield func(time.Time) bool) {
		if l.awaitClock(ctx) != nil {
			return
		}
		if l.s.wall {
			a, err := newAlarm()
			if err != nil {
				l.log.WithError(err).Debug("the clock is looked at once a second")
			} else {
				l.alarm = a
				defer func() { a.close(); l.alarm = nil }()
			}
		}
		now := l.now()
		if ahead := l.last.Sub(now); ahead >= 0 && ahead <= 2*l.s.o.Interval {
			// Once more after the clock was set back a little.
			var err error
			if now, err = l.sleep(ctx, l.last.Add(time.Millisecond)); err != nil {
				return
			}
		}
		for yield(now) && ctx.Err() == nil {
			next := NextTick(maxTime(l.now(), l.last), l.s.o.Interval, l.phase)
			if l.held {
				next = l.now().Add(min(retryHeldBack, l.s.o.Interval))
			}
			woke, err := l.sleep(ctx, next)
			if err != nil {
				return
			}
			now = snap(woke, next, l.s.o.Interval)
		}
	}
}

// LastTime is when to make the last scrape, behind Times: now, or after a small backward
// step of the clock, which there is no time to wait for, a millisecond after the one before.
func (l *Loop) LastTime() time.Time {
	now := l.now()
	if ahead := l.last.Sub(now); ahead > -time.Millisecond && ahead <= min(2*l.s.o.Interval, time.Minute) {
		now = l.last.Add(time.Millisecond)
	}
	return now
}

// Scrape is Scraper.Scrape; a failure is logged once as long as it lasts. It returns nil
// if there is nothing to append, and else Appended is to be told.
func (l *Loop) Scrape(ctx context.Context, now time.Time, own *series.Scrape) *series.Scrape {
	sc, err := l.s.Scrape(ctx, now, own)
	if l.held = errors.Is(err, ErrHeldBack); sc == nil {
		return nil
	}
	l.last = time.UnixMilli(sc.Time)
	outcome := OK
	var failure *Error
	if errors.As(err, &failure) {
		outcome = failure.Outcome
	}
	switch {
	case outcome == l.outcome:
	case outcome == OK:
		l.log.Info("scraping works again")
	default:
		l.log.WithError(err).WithField("reason", outcome.String()).Warn("scrape failed")
	}
	l.outcome = outcome
	return sc
}

// Appended says what came of appending what Scrape returned: an error is logged and
// counted, and scraping goes on.
func (l *Loop) Appended(err error) {
	switch {
	case err != nil && l.appending:
		l.log.WithError(err).Error("scrape could not be queued")
	case err == nil && !l.appending:
		l.log.Info("scrapes are queued again")
	}
	l.appending = err == nil
	if err != nil {
		l.s.bump(func(st *Stats) { st.AppendErrors++ })
	}
}

// End is what is to be appended behind the last scrape: the markers that end its
// series, a millisecond after it; down says that the engine is stopping, so that up
// becomes 0. It is nil if there is nothing to end.
func (l *Loop) End(last time.Time, down bool) *series.Scrape {
	sc := l.s.End(last.Add(time.Millisecond), down)
	if sc != nil {
		l.last = time.UnixMilli(sc.Time)
	}
	return sc
}

// sleep waits until the wall clock reads next, or until it turns out that it was
// set: back by more than two intervals, and next is given up. It returns the time.
func (l *Loop) sleep(ctx context.Context, next time.Time) (time.Time, error) {
	interval := l.s.o.Interval
	now := l.now()
	waiting := false
	for {
		switch behind := l.last.Sub(now); {
		case !now.Before(next):
			if jump := now.Sub(next); jump > 2*interval {
				l.s.bump(func(st *Stats) { st.ClockJumps++ })
				l.log.WithField("by", jump.Round(time.Millisecond).String()).Info("the clock went ahead: scrapes are missing")
			}
			return now, nil
		case behind > 2*interval, next.Sub(now) > 3*interval+step:
			behind = max(behind, next.Sub(now)-interval)
			l.s.bump(func(st *Stats) { st.ClockSteps++ })
			l.log.WithField("by", behind.Round(time.Millisecond).String()).Warn("the clock was set back: scrapes go on with the new time")
			return now, nil
		case behind > jitter && !waiting:
			waiting = true
			l.s.bump(func(st *Stats) { st.ClockWaits++; st.Waiting = "the clock was set back: scrapes wait for it" })
			l.log.WithField("by", behind.Round(time.Millisecond).String()).Warn("the clock was set back: scrapes wait for it")
		}
		if err := l.pause(ctx, next, now); err != nil {
			return now, err
		}
		now = l.now()
	}
}

// pause waits until next, until the clock is set, or for a step, and returns the
// error of ctx.
func (l *Loop) pause(ctx context.Context, next, now time.Time) error {
	if l.alarm != nil {
		err := l.alarm.wait(ctx, next)
		if err == nil || ctx.Err() != nil {
			return err
		}
		l.log.WithError(err).Warn("the alarm of the clock failed: the clock is looked at once a second")
		l.alarm = nil
	}
	timer := time.NewTimer(min(next.Sub(now), step))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// awaitClock waits for a clock that cannot be right yet, as that of a board
// without a battery before it has reached a time server.
func (l *Loop) awaitClock(ctx context.Context) error {
	if series.ClockSet(l.now()) {
		return nil
	}
	l.log.WithFields(logrus.Fields{"clock": l.now().UTC().Format(time.RFC3339), "at_most": clockWait.String()}).
		Warn("the clock is not set: scraping waits for it")
	l.s.bump(func(st *Stats) { st.Waiting = "the clock is not set: scraping waits for it" })
	began := time.Now()
	tick := time.NewTicker(step)
	defer tick.Stop()
	for !series.ClockSet(l.now()) {
		if time.Since(began) >= clockWait {
			l.log.Warn("the clock is still not set: scraping begins all the same")
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
