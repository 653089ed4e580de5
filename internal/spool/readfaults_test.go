// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// TestReadRefused: a disk that refuses to read for a while costs nothing; one that
// goes on refusing costs the segment, so that the ones behind it get through.
func TestReadRefused(t *testing.T) {
	for _, op := range []string{opSegmentOpen, opSegmentRead} {
		for name, lasting := range map[string]bool{"for a while": false, "for good": true} {
			t.Run(op+" "+name, func(t *testing.T) {
				dir := memoryDir(t)
				f := newFaults()
				s := mustOpen(t, dir, Options{hook: f.hook})
				c := mustClaim(t, s, "a")[0]
				g := newTarget(3)
				var all []*series.Scrape
				for range 250 {
					sc := g.next()
					all = append(all, sc)
					mustAppend(t, s, sc)
				}
				f.set(op, syscall.EIO)
				var b series.Batch
				for range readTries {
					if err := c.Read(&b, c.Position(), Limits{}); !errors.Is(err, syscall.EIO) {
						t.Fatal(err)
					}
				}
				if !lasting {
					f.set(op, nil)
				}
				got := received{}
				n := uint64(0)
				for {
					if err := c.Read(&b, c.Position(), Limits{}); err != nil {
						if lasting && errors.Is(err, syscall.EIO) {
							continue // each segment has its tries
						}
						t.Fatal(err)
					}
					if b.To == b.From {
						break
					}
					got.add(t, &b)
					n += b.Unreadable
					tally := series.Tally{Delivered: uint64(b.Samples)}
					tally.Lost[series.Unreadable] = b.Unreadable
					if err := c.Ack(b.To, tally); err != nil {
						t.Fatal(err)
					}
				}
				balanced(t, c)
				if lasting {
					// What is in memory gets through.
					same(t, got, want(all[len(all)-int(tailScrapes):]...))
					if n != 3*(250-tailScrapes) {
						t.Errorf("%d samples are unreadable", n)
					}
				} else {
					same(t, got, want(all...))
				}
			})
		}
	}
}

// TestRenameRefused: another host's segments are set aside when the disk allows it.
func TestRenameRefused(t *testing.T) {
	dir := memoryDir(t)
	s := mustOpen(t, dir, Options{Instance: "host-1"})
	mustClaim(t, s, "a")
	mustAppend(t, s, engine(1_800_000_000_000, "id-1", 2))
	closeSpool(t, s)
	f := newFaults()
	f.set(opSegmentRename, syscall.EIO)
	s = mustOpen(t, dir, Options{Instance: "host-2", hook: f.hook})
	c := mustClaim(t, s, "a")[0]
	mustAppend(t, s, engine(1_800_000_015_000, "id-2", 2))
	drain(t, c, Limits{})
	if n := c.Tally().Lost[series.Foreign]; n != 4 {
		t.Errorf("%d samples are foreign", n)
	}
	if s.Err() == nil {
		t.Error("Err is silent")
	}
	f.set(opSegmentRename, nil)
	waitFor(t, s, func() bool { return len(s.trash) == 0 && s.cursorErr == nil })
	if aside, _ := filepath.Glob(filepath.Join(dir, dirName(0), "*"+foreignSuffix)); len(aside) != 1 {
		t.Errorf("%d segments are set aside", len(aside))
	}
	balanced(t, c)
	closeSpool(t, s)

	// A start in between finds what could not be renamed, and counts it no more.
	s = mustOpen(t, dir, Options{Instance: "host-2"})
	c = mustClaim(t, s, "a")[0]
	if b := c.Backlog(); b.Samples != 0 {
		t.Errorf("%+v waits", b)
	}
	balanced(t, c)
}
