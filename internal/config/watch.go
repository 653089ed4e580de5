// SPDX-License-Identifier: Apache-2.0

package config

import (
	"context"
	"os"
	"syscall"
	"time"
)

const (
	// watchInterval is how soon a changed CONFIG_FILE is noticed.
	watchInterval = 10 * time.Second
	// settle is how long the file must have stayed as it is: an editor may
	// still be writing, and half a file can be valid.
	settle = time.Second
)

// Update is what a changed CONFIG_FILE came to: endpoints, or an error and then
// the ones before go on.
type Update struct {
	Endpoints []Endpoint
	Warnings  []Warning
	Err       error
}

// Watcher notices changes of CONFIG_FILE. It looks at the file from time to
// time: notifications do not reach into every kind of mount, and a file that is
// replaced by renaming another is not the one that was watched.
type Watcher struct {
	path string
	base Endpoint
	seen fileState
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

// Poll reads the file if it is another than the one seen last, and reports
// whether it was.
func (w *Watcher) Poll() (Update, bool) {
	now := stateOf(w.path)
	if now == w.seen {
		return Update{}, false
	}
	var u Update
	u.Endpoints, u.Warnings, u.Err = LoadFile(w.path, w.base)
	// The state from before reading: a change while it was read is seen next.
	w.seen = now
	return u, true
}

// Run calls changed with each update until the context ends. It returns at once
// for a nil watcher, which therefore costs no wakeups.
func (w *Watcher) Run(ctx context.Context, changed func(Update)) {
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
			changed(u)
		}
		tick.Reset(watchInterval)
	}
}
