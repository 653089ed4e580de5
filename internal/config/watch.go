// SPDX-License-Identifier: Apache-2.0

package config

import (
	"context"
	"os"
	"syscall"
	"time"
)

const (
	// watchInterval is how soon a changed CONFIG_FILE is noticed, and how often
	// what was refused is tried anew.
	watchInterval = 10 * time.Second
	// settle is how long the file must have stayed as it is: an editor may
	// still be writing, and half a file can be valid.
	settle = time.Second
)

// Update is what CONFIG_FILE came to after a change: endpoints, or an error and
// then the ones before go on.
type Update struct {
	Endpoints []Endpoint
	Warnings  []Warning
	Err       error
}

// Watcher notices changes of CONFIG_FILE. It looks at the file from time to
// time: notifications do not reach into every kind of mount, and a file that is
// replaced by renaming another is not the one that was watched. A file that was
// refused is read again each time, since what it lacked may have come: the answer
// depends on the files that it names as well.
type Watcher struct {
	path string
	base Endpoint
	seen fileState
	// refused is why the file as it was seen is not in effect, empty if it is.
	refused string
}

// fileState is what differs after a file was changed or replaced.
type fileState struct {
	modified time.Time
	changed  syscall.Timespec
	size     int64
	inode    uint64
	missing  bool
}

func stateOf(path string) fileState {
	info, err := os.Stat(path)
	if err != nil {
		return fileState{missing: true}
	}
	s := fileState{modified: info.ModTime(), size: info.Size()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		s.inode, s.changed = sys.Ino, sys.Ctim
	}
	return s
}

// Watch returns a watcher of the configuration's file, or nil if it has none.
func (c *Config) Watch() *Watcher {
	if c.ConfigFile == "" {
		return nil
	}
	return &Watcher{path: c.ConfigFile, base: c.base, seen: c.fileSeen}
}

// Poll reads the file if it is another than the one seen last, or if that one was
// refused, and reports whether there is news: an unchanged file that is refused
// for the same reason again is none.
func (w *Watcher) Poll() (Update, bool) {
	now := stateOf(w.path)
	changed := now != w.seen
	if !changed && w.refused == "" {
		return Update{}, false
	}
	var u Update
	u.Endpoints, u.Warnings, u.Err = LoadFile(w.path, w.base)
	// The state from before reading: a change while it was read is seen next.
	w.seen = now
	before := w.refused
	w.refused = ""
	if u.Err != nil {
		w.refused = u.Err.Error()
	}
	return u, changed || w.refused != before
}

// Run calls changed with each update until the context ends. An error of changed
// refuses the update as one of the file would: it comes again until it is taken.
// Run returns at once for a nil watcher, which therefore costs no wakeups.
func (w *Watcher) Run(ctx context.Context, changed func(Update) error) {
	if w == nil {
		return
	}
	tick := time.NewTimer(watchInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		// A file that changes all the time is taken as it is after a while.
		for last, tries := stateOf(w.path), 0; last != w.seen && tries < 5; tries++ {
			tick.Reset(settle)
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			now := stateOf(w.path)
			if now == last {
				break
			}
			last = now
		}
		if u, ok := w.Poll(); ok {
			if err := changed(u); err != nil {
				w.refused = err.Error()
			}
		}
		tick.Reset(watchInterval)
	}
}

// Await calls Load again from time to time, since what it refused may lie in a
// file, until it succeeds or the context ends, and reports whether it did. refused
// is the error of the Load before; changed is called with each other one.
func Await(ctx context.Context, mode Mode, environ []string, refused error, changed func([]Warning, error)) bool {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
		_, warnings, err := Load(mode, environ)
		if err == nil {
			return true
		}
		if err.Error() != refused.Error() {
			changed(warnings, err)
		}
		refused = err
	}
}
