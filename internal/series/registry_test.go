// SPDX-License-Identifier: Apache-2.0

package series

import (
	"strconv"
	"sync"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"
)

func named(name string, t model.MetricType, help string) *Series {
	return &Series{Labels: labels.FromStrings("__name__", name, "job", "docker"), Type: t, Help: help}
}

func TestNumberIsOneForEqualSeries(t *testing.T) {
	r := NewRegistry()
	a := r.Number(named("a", "gauge", "First."))
	if b := r.Number(named("a", "gauge", "First.")); b != a {
		t.Error("an equal series got another number")
	}
	changed := r.Number(named("a", "counter", "First."))
	if changed.Ref == a.Ref || changed.Line != a.Line || a.Line != a.Ref {
		t.Errorf("with another type: number %x, line %x, want another number than %x on the same line", changed.Ref, changed.Line, a.Ref)
	}
	other := r.Number(named("b", "gauge", "First."))
	if other.Line == a.Line {
		t.Error("two label sets are on one line")
	}
	if r.Known(named("c", "gauge", "")) != nil {
		t.Error("a series is known that nobody has asked for")
	}
	if got := r.Len(); got != 3 {
		t.Errorf("%d series are held, want 3", got)
	}
	r.Release([]*Series{a, a, other})
	// a's place still names the line that changed is on.
	if got := r.Len(); got != 2 {
		t.Errorf("%d places are taken, want that of the changed series and that of its line", got)
	}
	next := r.Number(named("d", "gauge", ""))
	if next.Ref == other.Ref || next.Ref.Index() != other.Ref.Index() {
		t.Errorf("number %x after %x was given up, want its place in another generation", next.Ref, other.Ref)
	}
	r.Release([]*Series{changed, next})
	if got := r.Len(); got != 0 {
		t.Errorf("%d series are left of none", got)
	}
}

func TestReleaseTooOftenPanics(t *testing.T) {
	r := NewRegistry()
	a := r.Number(named("a", "gauge", ""))
	r.Release([]*Series{a})
	r.Number(named("b", "gauge", ""))
	defer func() {
		if recover() == nil {
			t.Error("a series was released that nobody held, and the holder of its place lost it")
		}
	}()
	r.Release([]*Series{a})
}

// Whatever is held and released in whatever order: equal series have one number,
// different ones never share one, and places are used again.
func TestAnyOrderOfHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := NewRegistry()
		held := map[string][]*Series{}
		total, most := 0, 0
		key := func(s *Series) string { return s.Labels.String() + string(s.Type) + s.Help }
		t.Repeat(map[string]func(*rapid.T){
			"number": func(t *rapid.T) {
				s := named("m"+strconv.Itoa(rapid.IntRange(0, 5).Draw(t, "name")), rapid.SampledFrom([]model.MetricType{"gauge", "counter"}).Draw(t, "type"),
					rapid.SampledFrom([]string{"", "x"}).Draw(t, "help"))
				got := r.Number(s)
				if old := held[key(s)]; len(old) > 0 && old[0] != got {
					t.Fatalf("%s got a second number", key(s))
				}
				held[key(s)] = append(held[key(s)], got)
				total++
			},
			"release": func(t *rapid.T) {
				for k, all := range held {
					r.Release(all[:1])
					if held[k] = all[1:]; len(held[k]) == 0 {
						delete(held, k)
					}
					return
				}
			},
			"": func(t *rapid.T) {
				seen, lines := map[int]string{}, map[Ref]string{}
				for k, all := range held {
					s := all[0]
					if other, ok := seen[s.Ref.Index()]; ok {
						t.Fatalf("%s and %s share a number", k, other)
					}
					seen[s.Ref.Index()] = k
					if ls, ok := lines[s.Line]; ok && ls != s.Labels.String() {
						t.Fatalf("%s and %s are on one line", ls, s.Labels)
					}
					lines[s.Line] = s.Labels.String()
				}
				// A line's first place may be taken for it.
				most = max(most, len(held)+len(lines))
				if got := r.Len(); got < len(held) || got > len(held)+len(lines) {
					t.Fatalf("%d places for %d series on %d lines", got, len(held), len(lines))
				}
				if len(r.places)-1 > most {
					t.Fatalf("%d places were made, at most %d were needed at once", len(r.places)-1, most)
				}
			},
		})
	})
}

func TestRegistryIsForSeveralGoroutines(t *testing.T) {
	r := NewRegistry()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 2000 {
				s := r.Number(named("m"+strconv.Itoa(i%50), "gauge", ""))
				r.Hold([]*Series{s})
				r.Release([]*Series{s, s})
			}
		})
	}
	wg.Wait()
	if got := r.Len(); got != 0 {
		t.Errorf("%d series are left of none", got)
	}
}
