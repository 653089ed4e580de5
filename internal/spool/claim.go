// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"context"
	"fmt"
	"slices"

	"github.com/sirupsen/logrus"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// Claim gives each endpoint its cursor, in the order given: a stored one by name,
// else by an identical URL; if then one endpoint and one stored cursor remain,
// they belong together. Any other endpoint starts behind the newest scrape, or,
// where its cursor may have been lost to damage, at the oldest. It is called again
// when the endpoints change; a cursor keeps its identity.
func (s *Spool) Claim(eps []Endpoint) ([]*Cursor, error) {
	for i, e := range eps {
		for _, f := range eps[:i] {
			if e.Name == f.Name {
				return nil, fmt.Errorf("claim cursors: two endpoints are named %q", e.Name)
			}
		}
	}
	out, err := s.claim(eps)
	if err != nil || s.log.dir == "" {
		return out, err
	}
	s.kick()
	_ = s.await(context.Background(), func() (bool, error) {
		s.table.mu.Lock()
		defer s.table.mu.Unlock()
		return !s.table.file.must || s.table.err != nil, nil
	})
	return out, nil
}

func (s *Spool) claim(eps []Endpoint) ([]*Cursor, error) {
	t, l := &s.table, &s.log
	t.mu.Lock()
	defer t.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing {
		return nil, ErrClosed
	}
	t.expire(s.clock.passed(), l.visible.cum, s.o.Log)
	out := t.match(eps)
	for _, c := range t.cursors {
		if !slices.Contains(out, c) && (c.claimed || c.state.unclaimed == 0) {
			// 0 is none.
			c.claimed, c.state.unclaimed, c.state.idle = false, max(1, s.o.now().UnixMilli()), 0
			c.state.note, c.pin = Note{Learned: c.state.note.Learned}, series.Position{}
			c.version++
			s.o.Log.WithField("endpoint", c.state.name).Info("no endpoint claims this cursor any more")
		}
	}
	for i, e := range eps {
		if out[i] == nil {
			out[i] = s.newCursor()
		}
		c := out[i]
		st := &c.state
		if st.name != e.Name && st.name != "" {
			s.o.Log.WithFields(logrus.Fields{"endpoint": e.Name, "was": st.name}).Info("an endpoint takes over a stored cursor")
		}
		if !c.claimed {
			st.rejoin(l.head(), !t.claimed)
		}
		if st.urlHash != shortHash(e.URL) {
			st.note.Learned = Learned{}
		}
		st.name, st.nameHash, st.urlHash = e.Name, shortHash(e.Name), shortHash(e.URL)
		c.claimed, st.unclaimed, st.idle = true, 0, 0
		c.version++
	}
	t.claimed, t.orphans, t.file.must = true, 0, true
	return out, nil
}

// match finds the stored cursor of each endpoint, nil where there is none.
func (t *table) match(eps []Endpoint) []*Cursor {
	out := make([]*Cursor, len(eps))
	used := map[*Cursor]bool{}
	take := func(fits func(e Endpoint, c *Cursor) bool) {
		for i, e := range eps {
			for _, c := range t.cursors {
				if out[i] == nil && !used[c] && fits(e, c) {
					out[i], used[c] = c, true
				}
			}
		}
	}
	take(func(e Endpoint, c *Cursor) bool { return shortHash(e.Name) == c.state.nameHash })
	take(func(e Endpoint, c *Cursor) bool { return e.URL != "" && shortHash(e.URL) == c.state.urlHash })
	if len(eps)-len(used) == 1 && len(t.cursors)-len(used) == 1 {
		take(func(Endpoint, *Cursor) bool { return true })
	}
	return out
}

// newCursor makes a cursor behind the newest scrape, or at the oldest one if a
// stored cursor is known to be lost: sending twice is better than not at all.
func (s *Spool) newCursor() *Cursor {
	t := &s.table
	pair := 1
	for slices.ContainsFunc(t.cursors, func(c *Cursor) bool { return c.pair == pair }) {
		pair++
	}
	t.file.room(pair)
	c := newCursor(s, pair)
	c.state.pos = s.log.end().position()
	if t.orphans > 0 {
		t.orphans--
		c.state.pos = s.log.head()
	}
	c.state.created = c.state.pos.Count
	t.cursors = append(t.cursors, c)
	return c
}

// rejoin brings a cursor that is claimed up to the oldest scrape that there is. restart
// is true where it was an endpoint's when the process last ended; else what is gone
// went while nobody claimed it.
func (st *cursorState) rejoin(head series.Position, restart bool) {
	if !st.pos.Before(head) {
		return
	}
	why := series.Unreadable
	if !restart || st.unclaimed != 0 {
		why = series.EndpointRemoved
	}
	st.tally.Lost[why] += less(head.Count, st.pos.Count)
	st.pos = head
}
