// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"context"
	"errors"
	"testing"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// TestHangingDisk: while no call to the disk returns, whoever asks for the state has an
// answer, and whoever has a deadline is back at it.
func TestHangingDisk(t *testing.T) {
	dir := memoryDir(t)
	g := newTarget(4)
	s := mustOpen(t, dir, Options{})
	mustClaim(t, s, "a")
	var all []*series.Scrape
	for range 40 {
		all = append(all, g.next())
		mustAppend(t, s, all[len(all)-1])
	}
	closeSpool(t, s)
	f := newFaults()
	s = mustOpen(t, dir, Options{hook: f.hook})
	c := mustClaim(t, s, "a")[0]
	var releases []func()
	for _, op := range []string{opSegmentOpen, opSegmentRead, opSegmentCreate, opSegmentWrite, opSegmentSync, opCursorsWrite, opCursorsSync} {
		releases = append(releases, f.stop(op))
	}
	short, cancel := context.WithCancel(t.Context())

	// These never wait.
	if b := c.Backlog(); b.Scrapes != 40 || b.Oldest != all[0].Time {
		t.Errorf("%+v waits", b)
	}
	if n := c.Appended(); n != 160 {
		t.Errorf("%d samples are said to be appended", n)
	}
	if s.Usage() == 0 || s.Err() != nil || s.Unclaimed() != nil || c.Tally() != (series.Tally{}) {
		t.Error("the state is wrong")
	}

	// These wait, and no longer than they may.
	read, appended, begun := make(chan error, 1), make(chan error, 1), make(chan error, 1)
	go func() { read <- c.Read(short, new(series.Batch), c.Position(), Limits{}) }()
	if op := <-f.entered; op != opSegmentOpen {
		t.Fatalf("%s hangs first", op)
	}
	more := g.next()
	go func() { _, err := s.Append(short, more); appended <- err }()
	<-f.entered
	go func() {
		err := c.Begin(short, c.Position(), series.Position{Scrape: 2, Count: 4}, Note{})
		c.End()
		begun <- err
	}()
	cancel()
	if err := <-read; !errors.Is(err, context.Canceled) {
		t.Errorf("Read says %v", err)
	}
	if err := <-appended; !errors.Is(err, ErrNotDurable) || !errors.Is(err, context.Canceled) {
		t.Errorf("Append says %v", err)
	}
	if err := <-begun; err != nil {
		t.Errorf("Begin says %v", err)
	}
	if err := c.Read(short, new(series.Batch), c.Position(), Limits{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a second Read says %v", err)
	}
	if err := s.Close(short); !errors.Is(err, context.Canceled) {
		t.Errorf("Close says %v", err)
	}
	balanced(t, c)

	for _, release := range releases {
		release()
	}
	<-s.done
	closeSpool(t, s)
	s = mustOpen(t, dir, Options{})
	c = mustClaim(t, s, "a")[0]
	same(t, drain(t, c, Limits{}), want(append(all, more)...))
	balanced(t, c)
}
