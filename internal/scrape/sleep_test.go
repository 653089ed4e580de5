// SPDX-License-Identifier: Apache-2.0

//go:build linux

package scrape

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestAlarm(t *testing.T) {
	a, err := newAlarm()
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	for _, d := range []time.Duration{20 * time.Millisecond, 0, -time.Hour, time.Millisecond} {
		until := time.Now().Add(d).Round(0)
		if err := a.wait(t.Context(), until); err != nil {
			t.Fatal(err)
		}
		if now := time.Now().Round(0); now.Before(until) {
			t.Errorf("woke %s early", until.Sub(now))
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	woke := make(chan error)
	go func() { woke <- a.wait(ctx, time.Now().Add(time.Hour)) }()
	cancel()
	if err := <-woke; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := a.wait(t.Context(), time.Now().Add(time.Millisecond)); err != nil {
		t.Errorf("after a cancelled wait: %v", err)
	}
}

// The loop keeps its grid by the system's clock, too.
func TestLoopWithAlarm(t *testing.T) {
	f := newFake(t)
	f.set(typeText, "a 1\n")
	s := newScraper(t, Options{Target: f.url, Interval: 40 * time.Millisecond})
	l := NewLoop(s, NewClock(s.o.Interval, nil, s.o.Log))
	if a := l.clock.alarm(); a == nil {
		t.Error("no alarm")
	} else {
		a.close()
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var times []int64
	for now := range l.Times(ctx) {
		if times = append(times, l.Scrape(ctx, now, nil).Time); len(times) == 4 {
			cancel()
		}
	}
	if len(times) != 4 {
		t.Errorf("times %v", times)
	}
	for i := 1; i < len(times); i++ {
		if times[i] <= times[i-1] {
			t.Errorf("times %v", times)
		}
	}
}
