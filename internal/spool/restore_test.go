// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// TestFilesDeleted takes files of the spool away in an outage. What waited in them is
// lost and counted; what comes then is on disk, where a restart finds it, and so are
// the cursors.
func TestFilesDeleted(t *testing.T) {
	remove := func(pattern string) func(t *testing.T, data string) {
		return func(t *testing.T, data string) {
			names, err := filepath.Glob(filepath.Join(data, dirName(0), pattern))
			if err != nil || len(names) == 0 {
				t.Fatalf("%v: %v", names, err)
			}
			for _, name := range names {
				if err := os.Remove(name); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for name, tt := range map[string]struct {
		take func(t *testing.T, data string)
		lost bool
		// moved: what comes until the next segment is where the rest has gone.
		moved bool
		// held: another process has the directory by then.
		held bool
	}{
		"the data directory": {take: func(t *testing.T, data string) {
			if err := os.RemoveAll(data); err != nil {
				t.Fatal(err)
			}
		}, lost: true},
		"the directory, by another name": {take: func(t *testing.T, data string) {
			if err := os.Rename(filepath.Join(data, dirName(0)), filepath.Join(data, "old")); err != nil {
				t.Fatal(err)
			}
		}, lost: true, moved: true},
		"everything in it":      {take: remove("*"), lost: true},
		"the segments":          {take: remove("*" + segmentSuffix), lost: true},
		"the cursors":           {take: remove(cursorsName)},
		"the lock":              {take: remove(lockName)},
		"all, and another owns": {take: remove("*"), lost: true, held: true},
	} {
		t.Run(name, func(t *testing.T) {
			data := filepath.Join(memoryDir(t), "data")
			log, lines := logtest.NewNullLogger()
			s := mustOpen(t, data, Options{Log: log})
			cs := mustClaim(t, s, "a", "b")
			g := newTarget(3)
			var before, after []*series.Scrape
			appendTo := func(all *[]*series.Scrape, n int) {
				for range n {
					*all = append(*all, g.next())
					mustAppend(t, s, (*all)[len(*all)-1])
				}
			}
			appendTo(&before, 300) // two segments
			same(t, drain(t, cs[1], Limits{}), want(before...))
			tt.take(t, data)
			if tt.held {
				other := mustOpen(t, data, Options{})
				if _, err := s.Append(ctx(), g.next()); !errors.Is(err, ErrNotDurable) || !errors.Is(err, ErrLocked) || !errors.Is(s.Err(), ErrLocked) {
					t.Errorf("another process has the directory, and Append says %v, Err %v", err, s.Err())
				}
				after = append(after, g.at(g.time))
				closeSpool(t, other)
			}
			appendTo(&after, 250) // a new segment among them
			if err := s.Err(); err != nil {
				t.Errorf("begun anew, and Err says %v", err)
			}
			if names, _ := filepath.Glob(filepath.Join(data, dirName(0), "*")); len(names) < 3 {
				t.Errorf("the directory holds %v, want a lock, the cursors and a segment", names)
			}
			if !slices.ContainsFunc(lines.AllEntries(), func(e *logrus.Entry) bool { return strings.Contains(e.Message, "deleted files of the spool") }) {
				t.Error("the log does not say it")
			}
			if used := s.Usage(); tt.lost && used > diskSize(t, data)+8<<10 {
				t.Errorf("%d bytes are said to be used, the segments take %d", used, diskSize(t, data))
			}
			if _, err := Open(data, Options{Series: registry}); !errors.Is(err, ErrLocked) {
				t.Errorf("another process may open the directory: %v", err)
			}
			crash(t, s)

			s = mustOpen(t, data, Options{Log: log})
			cs = mustClaim(t, s, "a", "b")
			if !tt.lost {
				after = append(before, after...)
			}
			if tt.moved {
				after = after[2*240-300:]
			}
			same(t, drain(t, cs[0], Limits{}), want(after...))
			if n := cs[0].Tally().Lost[series.Unreadable]; (n > 0) != tt.lost {
				t.Errorf("%d samples are lost", n)
			}
			if !tt.lost {
				after = after[len(before):] // b has the others
			}
			same(t, drain(t, cs[1], Limits{}), want(after...))
			balanced(t, cs...)
		})
	}
}

// TestReadDeleted: a segment that somebody has taken away is lost with a word in the log.
func TestReadDeleted(t *testing.T) {
	data := memoryDir(t)
	log, lines := logtest.NewNullLogger()
	s := mustOpen(t, data, Options{Log: log})
	c := mustClaim(t, s, "a")[0]
	g := newTarget(3)
	for range 300 {
		mustAppend(t, s, g.next())
	}
	if err := os.Remove(filepath.Join(data, dirName(0), segmentName(1))); err != nil {
		t.Fatal(err)
	}
	drain(t, c, Limits{Scrapes: 7})
	balanced(t, c)
	if n := c.Tally().Lost[series.Unreadable]; n != 3*240 {
		t.Errorf("%d samples are counted unreadable, want %d", n, 3*240)
	}
	said := 0
	for _, e := range lines.AllEntries() {
		if strings.Contains(e.Message, "a segment is gone") && strings.Contains(e.Data["path"].(string), segmentName(1)) {
			said++
		}
	}
	if said != 1 {
		t.Errorf("the log says it %d times, want once", said)
	}
}

// TestDeletedAndRefused: where the directory cannot be made anew, scrapes are said to
// be in memory only until it can.
func TestDeletedAndRefused(t *testing.T) {
	for _, op := range []string{opDirCreate, opLock, opCursorsOpen, opDirSync} {
		t.Run(op, func(t *testing.T) {
			data := filepath.Join(memoryDir(t), "data")
			f := newFaults()
			s := mustOpen(t, data, Options{hook: f.hook})
			mustClaim(t, s, "a")
			g := newTarget(3)
			mustAppend(t, s, g.next())
			f.set(op, syscall.EROFS)
			if err := os.RemoveAll(data); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if _, err := s.Append(ctx(), g.next()); !errors.Is(err, ErrNotDurable) || !errors.Is(err, syscall.EROFS) || s.Err() == nil {
					t.Errorf("Append says %v, Err %v", err, s.Err())
				}
			}
			f.set(op, nil)
			mustAppend(t, s, g.next())
			crash(t, s)
			s = mustOpen(t, data, Options{})
			c := mustClaim(t, s, "a")[0]
			if len(drain(t, c, Limits{})) == 0 || c.Tally().Delivered != 3*4 {
				t.Errorf("%d samples are there, want those of four scrapes", c.Tally().Delivered)
			}
			balanced(t, c)
		})
	}
}
