// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// TestFullFileSystem fills a real file system to the brim under a spool, and frees
// it again.
func TestFullFileSystem(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=2m,mode=0700"); err != nil {
		t.Skipf("a file system of a few MB cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	data := filepath.Join(dir, "data")
	s := mustOpen(t, data, Options{})
	cs := mustClaim(t, s, "live", "dead")
	g := newTarget(200)
	var all []*series.Scrape
	got := received{}
	refused := 0
	step := func() error {
		g.time += segmentAge.Milliseconds() / 4 // segments fill up soon
		sc := g.next()
		all = append(all, sc)
		_, err := s.Append(ctx(), sc)
		if err != nil && (!errors.Is(err, ErrNotDurable) || !errors.Is(err, unix.ENOSPC)) {
			t.Fatal(err)
		}
		for k, m := range drain(t, cs[0], Limits{}) {
			if got[k] == nil {
				got[k] = map[int64]uint64{}
			}
			for at, v := range m {
				got[k][at] = v
			}
		}
		return err
	}
	for range 10 {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	filler := filepath.Join(dir, "filler")
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{64 << 10, 1} {
		for b := make([]byte, size); err == nil; _, err = f.Write(b) {
		}
		if !errors.Is(err, unix.ENOSPC) {
			t.Fatal(err)
		}
		err = nil
	}
	f.Close()
	for range 40 {
		if step() != nil {
			refused++
		}
	}
	if refused < 20 {
		t.Errorf("only %d of 40 scrapes were refused on a full file system", refused)
	}
	balanced(t, cs...)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if err := step(); err != nil {
			t.Errorf("after room was made: %v", err)
		}
	}
	waitFor(t, s, func() bool { return s.log.err == nil && s.table.err == nil })
	same(t, got, want(all...))
	closeSpool(t, s)

	s = mustOpen(t, data, Options{})
	cs = mustClaim(t, s, "live", "dead")
	same(t, drain(t, cs[1], Limits{Scrapes: 7}), want(all...))
	balanced(t, cs...)
	for _, c := range cs {
		if tally := c.Tally(); tally.Sum() != tally.Delivered {
			t.Errorf("%s lost %v", c.Name(), losses(tally))
		}
	}
	closeSpool(t, s)
}
