// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"context"
	"sync"
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
	// clockWait is for how long a start waits for a clock that cannot be right.
	clockWait = 10 * time.Minute
)

// Clock is the wall clock as all loops of a process see it. It alone decides what
// becomes of them when it is set: a little back, up to two intervals, and they wait
// until it is where it was; further back, and they go on with the new time at once.
type Clock struct {
	interval time.Duration
	log      logrus.FieldLogger
	read     func() time.Time // nil: the system's

	mu sync.Mutex
	// latest is the latest time that it has read or that a scrape was stamped with,
	// since it was last set back.
	latest time.Time
	stats  ClockStats
}

// ClockStats is what has happened to the clock.
type ClockStats struct {
	// Waits counts backward steps of up to two intervals, which scrapes wait out; Steps
	// larger ones; Jumps steps forward by more than two intervals, a suspended machine
	// among them.
	Waits, Steps, Jumps uint64
	// Waiting is why nothing is scraped for now; it is empty otherwise.
	Waiting string
}

// NewClock makes the clock of a process whose targets are usually scraped at that
// interval. read is the wall clock, nil for the system's.
func NewClock(interval time.Duration, read func() time.Time, log logrus.FieldLogger) *Clock {
	return &Clock{interval: interval, read: read, log: log}
}

// Now is the wall clock alone: a monotonic reading would hide that it was set.
func (c *Clock) Now() time.Time {
	if c.read != nil {
		return c.read()
	}
	return time.Now().Round(0)
}

// Stats is a copy of the counters; it may be called from any goroutine.
func (c *Clock) Stats() ClockStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats
}

// stamped says that a scrape got that time.
func (c *Clock) stamped(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.latest.Before(t) {
		c.latest = t
	}
}

// after is now, or if the clock was set back by less than that, a millisecond after
// the latest time.
func (c *Clock) after(back time.Duration) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.Now()
	if ahead := c.latest.Sub(now); ahead > -time.Millisecond && ahead <= back {
		return c.latest.Add(time.Millisecond)
	}
	return now
}

// look reads the clock for who waits until next, and decides. set counts how often it
// was set back so far that nobody waits for it.
func (c *Clock) look(next time.Time) (now time.Time, set uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now = c.Now()
	behind, late := c.latest.Sub(now), now.Sub(next)
	switch {
	case behind > 2*c.interval:
		c.stats.Steps++
		c.latest = now
		c.log.WithField("by", behind.Round(time.Millisecond).String()).Warn("the clock was set back: scrapes go on with the new time")
	case behind > jitter:
		if c.stats.Waiting == "" {
			c.stats.Waits++
			c.stats.Waiting = "the clock was set back: scrapes wait for it"
			c.log.WithField("by", behind.Round(time.Millisecond).String()).Warn(c.stats.Waiting)
		}
		return now, c.stats.Steps
	case late > 2*c.interval && c.latest.Before(next): // else another loop has said so
		c.stats.Jumps++
		c.log.WithField("by", late.Round(time.Millisecond).String()).Info("the clock went ahead: scrapes are missing")
	}
	c.stats.Waiting = ""
	if c.latest.Before(now) {
		c.latest = now
	}
	return now, c.stats.Steps
}

// sleep waits until the clock reads next, or until it turns out that it was set back
// so far that next is given up. It returns the time.
func (c *Clock) sleep(ctx context.Context, a *alarm, next time.Time) (time.Time, error) {
	now, began := c.look(next)
	for set := began; now.Before(next) && set == began; now, set = c.look(next) {
		if err := c.pause(ctx, a, next, now); err != nil {
			return now, err
		}
	}
	return now, nil
}

// pause waits until next, until the clock is set, or for a step, and returns the
// error of ctx.
func (c *Clock) pause(ctx context.Context, a *alarm, next, now time.Time) error {
	if a != nil {
		err := a.wait(ctx, next)
		if err == nil || ctx.Err() != nil {
			return err
		}
		c.log.WithError(err).Debug("the alarm of the clock failed")
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

// alarm is one for a loop, nil where there is none.
func (c *Clock) alarm() *alarm {
	if c.read != nil {
		return nil
	}
	a, err := newAlarm()
	if err != nil {
		c.log.WithError(err).Debug("the clock is looked at once a second")
		return nil
	}
	return a
}

// await waits for a clock that cannot be right yet, as that of a board without a
// battery before it has reached a time server.
func (c *Clock) await(ctx context.Context) error {
	if series.ClockSet(c.Now()) {
		return nil
	}
	const why = "the clock is not set: scraping waits for it"
	if c.waits(why) {
		c.log.WithFields(logrus.Fields{"clock": c.Now().UTC().Format(time.RFC3339), "at_most": clockWait.String()}).Warn(why)
	}
	began := time.Now()
	tick := time.NewTicker(step)
	defer tick.Stop()
	for !series.ClockSet(c.Now()) {
		if time.Since(began) >= clockWait {
			if c.waits("") {
				c.log.Warn("the clock is still not set: scraping begins all the same")
			}
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

// waits notes why, and reports whether that is news.
func (c *Clock) waits(why string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	news := c.stats.Waiting != why
	c.stats.Waiting = why
	return news
}
