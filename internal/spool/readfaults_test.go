// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"errors"
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
					if err := c.Read(ctx(), &b, c.Position(), Limits{}); !errors.Is(err, syscall.EIO) {
						t.Fatal(err)
					}
				}
				if !lasting {
					f.set(op, nil)
				}
				got := received{}
				n := uint64(0)
				for {
					if err := c.Read(ctx(), &b, c.Position(), Limits{}); err != nil {
						if lasting && errors.Is(err, syscall.EIO) {
							continue // each segment has its tries
						}
						t.Fatal(err)
					}
					if b.To == b.From {
						break
					}
					got.add(t, &b)
					n += b.Lost[series.Unreadable]
					tally := series.Tally{Delivered: uint64(b.Samples)}
					tally.Lost = b.Lost
					if err := ack(c, b.To, tally); err != nil {
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
