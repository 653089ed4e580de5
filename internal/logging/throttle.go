// SPDX-License-Identifier: Apache-2.0

package logging

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

const (
	// firstPause is how long a line is not repeated after it was written; the
	// pause doubles up to longestPause while it goes on.
	firstPause   = 10 * time.Second
	longestPause = time.Hour
	// episode is how long a trouble must not have shown to be news again.
	episode = 10 * time.Minute
	// Bounds of what is told apart. A receiver that answers differently each
	// time is still one trouble.
	maxMessages, maxSubjects, maxKinds = 256, 64, 6
)

// throttle writes the first of equal lines at once and then, after growing
// pauses, the latest of them with the number that was held back. It has a timer
// only while something is held back, so that the log's last word is never older
// than its pause.
type throttle struct {
	write func(logrus.Level, string)

	mu         sync.Mutex
	messages   map[string]map[string]*trouble
	suppressed uint64
	timer      *time.Timer
	due        time.Time
	closed     bool
}

// trouble is one message about one subject, by kind of error.
type trouble struct {
	seen  time.Time
	kinds map[string]*repeats
}

// repeats is what is known about lines that differ in nothing that counts.
type repeats struct {
	// pause ends at until; seen is when the last line came.
	pause       time.Duration
	until, seen time.Time
	// held counts lines since the last written one; text is the latest of them.
	held  uint64
	level logrus.Level
	text  string
}

func newThrottle(write func(logrus.Level, string)) *throttle {
	return &throttle{write: write, messages: map[string]map[string]*trouble{}}
}

// line writes the line now or holds it back.
func (t *throttle) line(k key, level logrus.Level, text string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.find(k, now)
	r.seen = now
	if r.held == 0 && !now.Before(r.until) || t.closed {
		t.speak(r, level, text, now)
		return
	}
	r.held++
	t.suppressed++
	r.level, r.text = level, text
	t.arm(r.until, now)
}

// find returns the state of a key and makes one.
func (t *throttle) find(k key, now time.Time) *repeats {
	if len(t.messages) >= maxMessages && t.messages[k.message] == nil {
		t.forget(now)
	}
	subjects := child(t.messages, k.message, maxMessages, func() map[string]*trouble { return map[string]*trouble{} })
	about := child(subjects, k.subject, maxSubjects, func() *trouble { return &trouble{kinds: map[string]*repeats{}} })
	if now.Sub(about.seen) >= episode {
		t.speakHeld(slices.Collect(maps.Values(about.kinds)), longestPause, now)
		clear(about.kinds)
	}
	about.seen = now
	return child(about.kinds, k.kind, maxKinds, func() *repeats { return &repeats{} })
}

// child is the value under k; without room for one more, that which all the
// others share.
func child[V any](m map[string]V, k string, most int, make func() V) V {
	const others = "\x00others"
	v, ok := m[k]
	if !ok && len(m) >= most {
		k = others
		v, ok = m[k]
	}
	if !ok {
		v = make()
		m[k] = v
	}
	return v
}

// forget drops the messages that have become news anyway.
func (t *throttle) forget(now time.Time) {
	for message, subjects := range t.messages {
		quiet := true
		for _, about := range subjects {
			quiet = quiet && now.Sub(about.seen) >= episode
		}
		if !quiet {
			continue
		}
		for _, about := range subjects {
			t.speakHeld(slices.Collect(maps.Values(about.kinds)), longestPause, now)
		}
		delete(t.messages, message)
	}
}

// speak writes a line and begins the next, longer pause.
func (t *throttle) speak(r *repeats, level logrus.Level, text string, now time.Time) {
	if r.held > 0 {
		text = fmt.Sprintf("%s (repeated %d times, last %s ago)", text, r.held, now.Sub(r.seen).Round(time.Second))
	}
	r.held, r.text = 0, ""
	r.pause = min(max(2*r.pause, firstPause), longestPause)
	r.until = now.Add(r.pause)
	t.write(level, text)
}

// arm sees to it that the timer fires at the given time or before.
func (t *throttle) arm(at, now time.Time) {
	if !t.due.IsZero() && !t.due.After(at) {
		return
	}
	if t.timer != nil {
		t.timer.Stop()
	}
	t.due = at
	t.timer = time.AfterFunc(at.Sub(now), t.fire)
}

// fire writes what was held back and is due.
func (t *throttle) fire() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	now := time.Now()
	t.due = time.Time{}
	all := t.all()
	t.speakHeld(all, 0, now)
	var next time.Time
	for _, r := range all {
		if r.held > 0 && (next.IsZero() || r.until.Before(next)) {
			next = r.until
		}
	}
	if !next.IsZero() {
		t.arm(next, now)
	}
}

func (t *throttle) all() []*repeats {
	var all []*repeats
	for _, subjects := range t.messages {
		for _, about := range subjects {
			all = slices.AppendSeq(all, maps.Values(about.kinds))
		}
	}
	return all
}

// speakHeld writes what is held back until that long from now, in the order in
// which it came.
func (t *throttle) speakHeld(all []*repeats, within time.Duration, now time.Time) {
	var due []*repeats
	for _, r := range all {
		if r.held > 0 && !r.until.After(now.Add(within)) {
			due = append(due, r)
		}
	}
	slices.SortFunc(due, func(a, b *repeats) int { return a.seen.Compare(b.seen) })
	for _, r := range due {
		t.speak(r, r.level, r.text, now)
	}
}

// close writes all that is held back; later lines are not throttled.
func (t *throttle) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	if t.timer != nil {
		t.timer.Stop()
	}
	t.speakHeld(t.all(), longestPause, time.Now())
}

func (t *throttle) total() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.suppressed
}
