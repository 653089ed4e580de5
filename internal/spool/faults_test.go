// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// faults is a hook that fails or stops chosen operations.
type faults struct {
	mu   sync.Mutex
	fail map[string]error
	// hang blocks the operation until the channel is closed; entered tells when it does.
	hang    map[string]chan struct{}
	entered chan string
	seen    map[string]int
}

func newFaults() *faults {
	return &faults{fail: map[string]error{}, hang: map[string]chan struct{}{}, seen: map[string]int{}, entered: make(chan string, 100)}
}

func (f *faults) hook(op, _ string) error {
	f.mu.Lock()
	f.seen[op]++
	err, hang := f.fail[op], f.hang[op]
	f.mu.Unlock()
	if hang != nil {
		select {
		case f.entered <- op:
		default:
		}
		<-hang
	}
	return err
}

func (f *faults) set(op string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		delete(f.fail, op)
	} else {
		f.fail[op] = err
	}
}

func (f *faults) stop(op string) (release func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ch := make(chan struct{})
	f.hang[op] = ch
	return sync.OnceFunc(func() {
		f.mu.Lock()
		delete(f.hang, op)
		f.mu.Unlock()
		close(ch)
	})
}

// TestRefusedOperations makes each operation that changes the disk fail for some
// scrapes: they are kept and sent, the spool heals, and after reopening everything
// that was acknowledged as written is there.
func TestRefusedOperations(t *testing.T) {
	ops := []string{opSegmentCreate, opSegmentWrite, opSegmentSync, opDirSync, opCursorsWrite, opCursorsSync, opSegmentRemove, opSegmentTruncate}
	for _, op := range ops {
		for _, why := range []error{syscall.ENOSPC, syscall.EIO, syscall.EROFS, errShort} {
			for _, live := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/%v/live=%v", op, why, live), func(t *testing.T) {
					refused(t, op, why, live)
				})
			}
		}
	}
}

func refused(t *testing.T, op string, why error, live bool) {
	dir := memoryDir(t)
	f := newFaults()
	s := mustOpen(t, dir, Options{hook: f.hook})
	c := mustClaim(t, s, "a")[0]
	g := newTarget(5)
	var all, durable []*series.Scrape
	got := received{}
	deliver := func() {
		for k, m := range drain(t, c, Limits{Scrapes: 3}) {
			for at, v := range m {
				if got[k] == nil {
					got[k] = map[int64]uint64{}
				}
				got[k][at] = v
			}
		}
	}
	step := func(mayFail bool) {
		sc := g.next()
		all = append(all, sc)
		switch _, err := s.Append(ctx(), sc); {
		case err == nil:
			durable = append(durable, sc)
		case !mayFail || !errors.Is(err, ErrNotDurable):
			t.Fatal(err)
		case !errors.Is(err, why) || s.Err() == nil:
			t.Errorf("Append says %v, Err %v; want both to say %v", err, s.Err(), why)
		}
		if live {
			deliver()
		}
	}
	for range 3 {
		step(false)
	}
	f.set(op, why)
	if op == opDirSync || op == opSegmentCreate {
		g.time += time.Hour.Milliseconds() // a new segment is due
	}
	if op == opSegmentTruncate || op == opSegmentRemove {
		f.set(opSegmentSync, why)
	}
	for range 4 {
		step(true)
	}
	f.set(op, nil)
	f.set(opSegmentSync, nil)
	for range 3 {
		step(false)
	}
	waitFor(t, s, func() bool { return s.log.err == nil && s.table.err == nil })
	if err := s.Err(); err != nil {
		t.Errorf("healed, and Err still says %v", err)
	}
	balanced(t, c)
	closeSpool(t, s)

	s = mustOpen(t, dir, Options{})
	c = mustClaim(t, s, "a")[0]
	deliver()
	same(t, got, want(all...))
	balanced(t, c)
	if n := c.Tally(); n.Sum() != n.Delivered {
		t.Errorf("lost %v", losses(n))
	}
	if len(durable) < 6 {
		t.Errorf("only %d scrapes were acknowledged as written", len(durable))
	}
}

// waitFor waits until something holds that is guarded by the spool's locks.
func waitFor(t testing.TB, s *Spool, ok func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		s.table.mu.Lock()
		s.log.mu.Lock()
		progress, done := s.log.progress, ok()
		s.log.mu.Unlock()
		s.table.mu.Unlock()
		if done {
			return
		}
		s.kick()
		select {
		case <-progress:
		case <-deadline:
			t.Fatal("it does not come about")
		}
	}
}

// TestFailedSyncThenCrash: what was not acknowledged as written may be there or
// not; what was is.
func TestFailedSyncThenCrash(t *testing.T) {
	dir := memoryDir(t)
	f := newFaults()
	s := mustOpen(t, dir, Options{hook: f.hook})
	mustClaim(t, s, "a")
	g := newTarget(3)
	first := g.next()
	mustAppend(t, s, first)
	f.set(opSegmentSync, syscall.EIO)
	f.set(opSegmentTruncate, syscall.EIO)
	second := g.next()
	if _, err := s.Append(ctx(), second); !errors.Is(err, ErrNotDurable) {
		t.Fatal(err)
	}
	f.set(opSegmentSync, nil)
	third := g.next()
	mustAppend(t, s, third)
	crash(t, s)

	s = mustOpen(t, dir, Options{})
	c := mustClaim(t, s, "a")[0]
	same(t, drain(t, c, Limits{}), want(first, second, third))
	balanced(t, c)
	if n := c.Appended(); n != 9 {
		t.Errorf("appended %d: a scrape counts twice", n)
	}
}

// crash ends the spool as kill -9 does: nothing more is written.
func crash(t testing.TB, s *Spool) {
	t.Helper()
	s.crashing.Store(true)
	s.log.mu.Lock()
	s.log.closing = true
	s.log.mu.Unlock()
	s.kick()
	<-s.done
	s.letGo()
}

func TestHangingSync(t *testing.T) {
	for _, op := range []string{opSegmentSync, opSegmentWrite, opCursorsWrite} {
		t.Run(op, func(t *testing.T) {
			dir := memoryDir(t)
			f := newFaults()
			s := mustOpen(t, dir, Options{hook: f.hook})
			c := mustClaim(t, s, "a")[0]
			g := newTarget(4)
			all := []*series.Scrape{g.next()}
			mustAppend(t, s, all[0])
			got := drain(t, c, Limits{})
			release := f.stop(op)
			defer release()
			s.log.mu.Lock()
			s.o.patience = 20 * time.Millisecond
			s.log.mu.Unlock()
			for range 5 {
				sc := g.next()
				all = append(all, sc)
				if _, err := s.Append(ctx(), sc); err != nil && !errors.Is(err, ErrNotDurable) {
					t.Fatal(err)
				}
				// What waits in memory is sent while the disk hangs.
				for k, m := range drain(t, c, Limits{}) {
					for at, v := range m {
						got[k][at] = v
					}
				}
			}
			if s.Err() == nil {
				t.Error("Err is silent while the disk hangs")
			}
			same(t, got, want(all...))
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			defer cancel()
			if err := s.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Close on a hanging disk: %v", err)
			}
			balanced(t, c)
			release()
			<-s.done

			s = mustOpen(t, dir, Options{})
			c = mustClaim(t, s, "a")[0]
			if b := c.Backlog(); b.Samples != 0 {
				t.Errorf("%+v waits, although everything was delivered", b)
			}
			balanced(t, c)
			if n := c.Appended(); n != 24 {
				t.Errorf("appended %d", n)
			}
		})
	}
}

func TestRingOverflow(t *testing.T) {
	dir := memoryDir(t)
	f := newFaults()
	s := mustOpen(t, dir, Options{hook: f.hook, RingBytes: 5 * 8 * 4})
	cs := mustClaim(t, s, "live", "dead")
	g := newTarget(4)
	var all []*series.Scrape
	got := received{}
	for i := range 30 {
		switch i {
		case 10:
			f.set(opSegmentWrite, syscall.ENOSPC)
		case 20:
			f.set(opSegmentWrite, nil)
		}
		sc := g.next()
		all = append(all, sc)
		if _, err := s.Append(ctx(), sc); (err != nil) != (i >= 10 && i < 20) {
			t.Fatalf("scrape %d: %v", i, err)
		}
		for k, m := range drain(t, cs[0], Limits{}) {
			if got[k] == nil {
				got[k] = map[int64]uint64{}
			}
			for at, v := range m {
				got[k][at] = v
			}
		}
		balanced(t, cs...)
	}
	same(t, got, want(all...))
	drain(t, cs[1], Limits{})
	balanced(t, cs...)
	if tally := cs[0].Tally(); tally.Sum() != tally.Delivered {
		t.Errorf("the endpoint that kept up lost %v", losses(tally))
	}
	tally := cs[1].Tally()
	if n := tally.Lost[series.RingFull]; n == 0 || n%4 != 0 || tally.Sum() != tally.Delivered+n {
		t.Errorf("the endpoint that was down lost %v", losses(tally))
	}
	closeSpool(t, s)
}

func TestRingOverflowAfterRestart(t *testing.T) {
	dir := memoryDir(t)
	f := newFaults()
	s := mustOpen(t, dir, Options{hook: f.hook, RingBytes: 5 * 8 * 4})
	mustClaim(t, s, "dead")
	g := newTarget(4)
	for i := range 30 {
		f.set(opSegmentWrite, map[bool]error{true: syscall.EIO}[i >= 10 && i < 20])
		if _, err := s.Append(ctx(), g.next()); err != nil && !errors.Is(err, ErrNotDurable) {
			t.Fatal(err)
		}
	}
	closeSpool(t, s)
	s = mustOpen(t, dir, Options{})
	c := mustClaim(t, s, "dead")[0]
	drain(t, c, Limits{})
	balanced(t, c)
	tally := c.Tally()
	if n := tally.Lost[series.RingFull]; n == 0 || tally.Sum() != tally.Delivered+n {
		t.Errorf("lost %v", losses(tally))
	}
}

func TestUnusableDirectory(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	first := mustOpen(t, filepath.Join(dir, "locked"), Options{})
	f := newFaults()
	for name, c := range map[string]struct {
		dir  string
		op   string
		err  error
		want error
	}{
		"a file in its place": {dir: filepath.Join(file, "data"), want: syscall.ENOTDIR},
		"locked":              {dir: filepath.Join(dir, "locked"), want: ErrLocked},
		"read-only":           {dir: filepath.Join(dir, "a"), op: opDirCreate, err: syscall.EROFS, want: syscall.EROFS},
		"no permission":       {dir: filepath.Join(dir, "b"), op: opDirRead, err: syscall.EACCES, want: syscall.EACCES},
		"no cursors":          {dir: filepath.Join(dir, "c"), op: opCursorsOpen, err: syscall.EACCES, want: syscall.EACCES},
	} {
		t.Run(name, func(t *testing.T) {
			f.set(c.op, c.err)
			defer f.set(c.op, nil)
			s, err := Open(c.dir, Options{hook: f.hook, Series: registry})
			if !errors.Is(err, c.want) {
				t.Errorf("Open: %v, want %v", err, c.want)
			}
			if s == nil || !errors.Is(s.Err(), ErrNotDurable) || !errors.Is(s.Err(), c.want) {
				t.Fatalf("no spool in memory instead, or it does not say why: %v", s.Err())
			}
			defer closeSpool(t, s)
			cur := mustClaim(t, s, "a")[0]
			g := newTarget(3)
			sc := g.next()
			if _, err := s.Append(ctx(), sc); !errors.Is(err, ErrNotDurable) || !errors.Is(err, c.want) {
				t.Errorf("Append: %v", err)
			}
			same(t, drain(t, cur, Limits{}), want(sc))
			balanced(t, cur)
		})
	}
	g := newTarget(1)
	mustAppend(t, first, g.next())
}

// TestFullDiskTakesTheOldest: with no room left one segment goes for the newest
// scrapes, and no second one if that did not help.
func TestFullDiskTakesTheOldest(t *testing.T) {
	for name, helps := range map[string]bool{"it helps": true, "it does not": false} {
		t.Run(name, func(t *testing.T) {
			f := newFaults()
			full := false
			var s *Spool
			hook := func(op, path string) error {
				f.mu.Lock()
				defer f.mu.Unlock()
				switch {
				case op == opSegmentRemove && helps:
					full = false
				case (op == opSegmentWrite || op == opSegmentCreate) && full:
					return syscall.ENOSPC
				}
				return nil
			}
			s = mustOpen(t, memoryDir(t), Options{hook: hook, RingBytes: 8 * 4 * 20})
			c := mustClaim(t, s, "dead")[0]
			g := newTarget(4)
			for range 3 * 240 {
				mustAppend(t, s, g.next())
			}
			f.mu.Lock()
			full = true
			f.mu.Unlock()
			for range 60 {
				if _, err := s.Append(ctx(), g.next()); err != nil && !errors.Is(err, ErrNotDurable) {
					t.Fatal(err)
				}
			}
			s.log.mu.Lock()
			segs := len(s.log.segs)
			s.log.mu.Unlock()
			tally := c.Tally()
			if n := tally.Lost[series.EvictedSize]; n != 240*4 {
				t.Errorf("%d samples went for newer ones, want one segment's, %d; %d segments are left", n, 240*4, segs)
			}
			drain(t, c, Limits{})
			balanced(t, c)
			tally = c.Tally()
			if full := tally.Lost[series.RingFull]; helps != (full == 0) {
				t.Errorf("the ring dropped %d samples", full)
			}
		})
	}
}

// TestBarrierIsSynced: what a machine that stops dead may have sent is known to the next
// life, so Begin returns after a sync; a cursor that moves costs none.
func TestBarrierIsSynced(t *testing.T) {
	f := newFaults()
	s := mustOpen(t, t.TempDir(), Options{hook: f.hook})
	c := mustClaim(t, s, "a")[0]
	mustAppend(t, s, newTarget(4).next())
	to := series.Position{Scrape: 2, Count: 4}
	synced := func() int {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.seen[opCursorsSync]
	}
	before := synced()
	if err := begin(c, to); err != nil {
		t.Fatal(err)
	}
	if n := synced() - before; n != 1 {
		t.Errorf("Begin made %d syncs of the cursors, want one", n)
	}
	if err := ack(c, to, series.Tally{Delivered: 4}); err != nil {
		t.Fatal(err)
	}
	if n := synced() - before; n != 1 {
		t.Errorf("Begin and Ack made %d syncs of the cursors, want one", n)
	}
	balanced(t, c)
}
