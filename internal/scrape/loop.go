// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"context"
	"errors"
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

// Loop scrapes at once and then on the grid. It may be run again after it has ended.
type Loop struct {
	s     *Scraper
	phase time.Duration
	log   logrus.FieldLogger
	last  time.Time // the time of the last scrape appended
	alarm *alarm    // while Run runs, where the system has one
	// What was logged last, so that a lasting fault is logged once.
	outcome   Outcome
	appending bool
}

// NewLoop makes the loop of a scraper. Both belong to the goroutine that runs it.
func NewLoop(s *Scraper) *Loop {
	return &Loop{s: s, phase: Phase(s.o.Job, s.o.Instance, s.o.Interval), log: s.o.Log, appending: true}
}

// now is the wall clock alone: a monotonic reading would hide that it was set.
func (l *Loop) now() time.Time { return l.s.o.Now().Round(0) }

// Run scrapes until ctx is done and then returns its error. A failed scrape, or
// one that append does not take, is logged and counted and does not end it.
func (l *Loop) Run(ctx context.Context, append func(*series.Scrape) error) error {
	if err := l.awaitClock(ctx); err != nil {
		return err
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
		// Run again after the clock was set back a little.
		var err error
		if now, err = l.sleep(ctx, l.last.Add(time.Millisecond)); err != nil {
			return err
		}
	}
	for {
		held := l.once(ctx, now, append)
		if err := ctx.Err(); err != nil {
			return err
		}
		next := NextTick(maxTime(l.now(), l.last), l.s.o.Interval, l.phase)
		if held {
			next = l.now().Add(min(retryHeldBack, l.s.o.Interval))
		}
		woke, err := l.sleep(ctx, next)
		if err != nil {
			return err
		}
		now = snap(woke, next, l.s.o.Interval)
	}
}

// Finish appends the last scrape, with its real time, and behind it the markers
// that end its series; down says that the engine is stopping, so that up becomes
// 0. With a target that is gone the scrape fails and its markers stand in it.
// After a small backward step of the clock, which there is no time to wait for,
// the scrape comes a millisecond after the one before. Run must have returned.
func (l *Loop) Finish(ctx context.Context, down bool, append func(*series.Scrape) error) error {
	now := l.now()
	if ahead := l.last.Sub(now); ahead > -time.Millisecond && ahead <= min(2*l.s.o.Interval, time.Minute) {
		now = l.last.Add(time.Millisecond)
	}
	l.once(ctx, now, append)
	sc := l.s.End(now.Add(time.Millisecond), down)
	if sc == nil {
		return ctx.Err()
	}
	l.last = time.UnixMilli(sc.Time)
	return append(sc)
}

// once makes one scrape and appends it; held says that it was held back.
func (l *Loop) once(ctx context.Context, now time.Time, append func(*series.Scrape) error) (held bool) {
	sc, err := l.s.Scrape(ctx, now)
	if sc == nil {
		return errors.Is(err, ErrHeldBack)
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
	err = append(sc)
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
	return false
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
