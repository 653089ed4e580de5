// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
	"github.com/docker-remote-write/docker-remote-write/internal/spool"
)

// TestLearnedSurvives: what was learned of a receiver is there for the next sender and
// for the next process, for each endpoint on its own, also where two have one URL; and it
// is forgotten where the URL is another one, but for its user info.
func TestLearnedSurvives(t *testing.T) {
	r := newReceiver(t, func(n int, g *got) reply {
		if g.Proto == V2 {
			return reply{Status: 415}
		}
		return ok(g)
	})
	dir, numbers := t.TempDir(), series.NewRegistry()
	one := numbers.Number(&series.Series{Labels: labels.FromStrings("__name__", "a")})
	at := time.Now().Add(-time.Hour).UnixMilli()
	open := func(target string) (*spool.Spool, []*spool.Cursor) {
		t.Helper()
		sp, err := spool.Open(dir, spool.Options{Log: quiet(), Series: numbers})
		if err != nil {
			t.Fatal(err)
		}
		cs, err := sp.Claim([]spool.Endpoint{{Name: "a", URL: target}, {Name: "b", URL: target}})
		if err != nil {
			t.Fatal(err)
		}
		return sp, cs
	}
	send := func(sp *spool.Spool, c *spool.Cursor, scrapes int) (requests int) {
		t.Helper()
		for range scrapes {
			at += 1000
			if _, err := sp.Append(t.Context(), &series.Scrape{Time: at, Series: []*series.Series{one}, Values: []float64{1}}); err != nil && !errors.Is(err, spool.ErrNotDurable) {
				t.Fatal(err)
			}
		}
		s, err := New(fast(t, r.URL), c)
		if err != nil {
			t.Fatal(err)
		}
		defer s.client.close()
		before := len(r.requests())
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		return len(r.requests()) - before
	}
	want := func(what string, c *spool.Cursor, fellBack bool) {
		t.Helper()
		if l := c.Note().Learned; (l.FellBack != 0) != fellBack || l.V1 != fellBack {
			t.Errorf("%s: %+v", what, l)
		}
	}
	sp, cs := open(r.URL)
	if n := send(sp, cs[0], 5); n != 3 {
		t.Errorf("%d requests of five scrapes, want one in 2.0, one in 1.0 and the rest", n)
	}
	if n := send(sp, cs[0], 5); n != 1 {
		t.Errorf("%d requests of a sender made anew, want 1", n)
	}
	want("the endpoint", cs[0], true)
	want("another one with its URL", cs[1], false)
	if err := sp.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	sp, cs = open(r.URL)
	if n := send(sp, cs[0], 5); n != 1 {
		t.Errorf("%d requests after a restart, want 1", n)
	}
	want("another one with its URL, after a restart", cs[1], false)
	if err := sp.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(r.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/other"
	sp, cs = open(u.String())
	want("with another URL", cs[0], false)
	if err := sp.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestLearnedBounds: what a slot says that nobody can have learned does no harm.
func TestLearnedBounds(t *testing.T) {
	s := begin(spool.Note{Learned: spool.Learned{MaxBytes: 1}}, at(1))
	if got := s.maxBytes(planned()); got != minLearnedSize {
		t.Errorf("a learned size of a byte makes requests of %d", got)
	}
	s = begin(spool.Note{Barrier: at(2), Learned: spool.Learned{V2: true}}, at(3))
	if s.note.Barrier != (series.Position{}) || s.note.AnswerLost {
		t.Errorf("a barrier behind the cursor: %+v", s.note)
	}
	s = begin(spool.Note{Barrier: at(4)}, at(3))
	if s.note.Barrier != at(4) || !s.note.AnswerLost {
		t.Errorf("a barrier beyond the cursor: %+v", s.note)
	}
}
