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

// retryHeldBack is how long to wait for a booting engine.
const retryHeldBack = time.Second

// Loop says when to scrape, and logs what changes. Its caller makes the scrapes and
// appends them, and may begin again after an end:
//
//	for now := range l.Times(ctx) {
//		if sc := l.Scrape(ctx, now, own()); sc != nil {
//			l.Appended(append(sc))
//		}
//	}
type Loop struct {
	s     *Scraper
	clock *Clock
	phase time.Duration
	log   logrus.FieldLogger
	// What was logged last, so that a lasting fault is logged once.
	outcome Outcome
	refused bool // the last scrape could not be appended
}

// NewLoop makes the loop of a scraper, on the process' clock. Both belong to one
// goroutine.
func NewLoop(s *Scraper, c *Clock) *Loop {
	return &Loop{s: s, clock: c, phase: Phase(s.o.Job, s.o.Instance, s.o.Interval), log: s.o.Log}
}

// Times are when to scrape, until ctx is done: at once, and then on the grid. Each scrape
// is to be made, by Scrape, before the next time is asked for.
func (l *Loop) Times(ctx context.Context) iter.Seq[time.Time] {
	return func(yield func(time.Time) bool) {
		if l.clock.await(ctx) != nil {
			return
		}
		alarm := l.clock.alarm()
		if alarm != nil {
			defer alarm.close()
		}
		interval := l.s.o.Interval
		// Once more after the clock was set back a little, it waits.
		next := l.clock.after(2 * l.clock.interval)
		for {
			now, err := l.clock.sleep(ctx, alarm, next)
			if err != nil || !yield(snap(now, next, interval)) || ctx.Err() != nil {
				return
			}
			if l.outcome == HeldBack {
				next = l.clock.Now().Add(min(retryHeldBack, interval))
			} else {
				next = NextTick(l.clock.after(2*l.clock.interval), interval, l.phase)
			}
		}
	}
}

// LastTime is when to make the last scrape, behind Times: now, or after a small backward
// step of the clock, which there is no time to wait for, a millisecond after the one before.
func (l *Loop) LastTime() time.Time {
	return l.clock.after(min(2*l.clock.interval, time.Minute))
}

// Scrape is Scraper.Scrape; a failure is logged once as long as it lasts. It returns nil
// if there is nothing to append, and else Appended is to be told.
func (l *Loop) Scrape(ctx context.Context, now time.Time, own *series.Scrape) *series.Scrape {
	sc, err := l.s.Scrape(ctx, now, own)
	outcome := OK
	var failure *Error
	switch {
	case errors.Is(err, ErrHeldBack):
		outcome = HeldBack
	case sc == nil:
		return nil
	case errors.As(err, &failure):
		outcome = failure.Outcome
	}
	switch before := l.outcome; {
	case outcome == before:
	case outcome == HeldBack:
		l.log.WithField("at_most", l.s.o.HoldBack.String()).Info("the engine is still starting: scrapes are held back")
	case outcome != OK:
		l.log.WithError(err).WithField("reason", outcome.String()).Warn("scrape failed")
	case before != HeldBack:
		l.log.Info("scraping works again")
	case !l.s.booting.IsZero():
		l.log.WithField("after", l.s.o.HoldBack.String()).Warn("the engine does not report itself as ready: scrapes are no longer held back")
	default:
		l.log.Info("the engine has started: scrapes are no longer held back")
	}
	l.outcome = outcome
	if sc != nil {
		l.clock.stamped(time.UnixMilli(sc.Time))
	}
	return sc
}

// Appended says what came of appending what Scrape returned: an error is logged and
// counted, and scraping goes on.
func (l *Loop) Appended(err error) {
	switch {
	case err != nil && !l.refused:
		l.log.WithError(err).Error("scrape could not be queued")
	case err == nil && l.refused:
		l.log.Info("scrapes are queued again")
	}
	if l.refused = err != nil; l.refused {
		l.s.bump(func(st *Stats) { st.AppendErrors++ })
	}
}

// End is what is to be appended behind the last scrape: the markers that end its
// series, a millisecond after it; down says that the engine is stopping, so that up
// becomes 0, elsewhere that the own series go on. It is nil if there is nothing to end.
func (l *Loop) End(last time.Time, down, elsewhere bool) *series.Scrape {
	sc := l.s.End(last.Add(time.Millisecond), down, elsewhere)
	if sc != nil {
		l.clock.stamped(time.UnixMilli(sc.Time))
	}
	return sc
}
