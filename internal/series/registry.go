// SPDX-License-Identifier: Apache-2.0

package series

import (
	"fmt"
	"sync"

	"github.com/prometheus/prometheus/model/labels"
)

// Ref is the number of a series: a place that tables are indexed by, and a
// generation that tells one user of the place from the next. 0 is no number. Refs
// live as long as the process and are never stored.
type Ref uint64

// Index is the place, from 1 on. At any time no more places are in use than there
// were series held at once.
func (r Ref) Index() int { return int(uint32(r)) }

func ref(index int, generation uint32) Ref { return Ref(generation)<<32 | Ref(uint32(index)) }

// Registry numbers series. A series is its labels and its metadata, and whoever
// asks for an equal one gets the same pointer and the same number for as long as
// anybody holds it. Held by:
//
//	the scraper        what its last scrape had, and what it remembers (scrape/known.go);
//	                   released with the attempt after it no longer does
//	telemetry          the program's own series; released when they are no longer in the stream
//	the spool's ring   each column once; released with the last scrape in memory that has it
//	the spool's writer what the open segment defines; released when the segment ends
//	a cursor's reader  what the segment it reads defines; released at the end of the batch with which
//	                   it leaves the segment, so that all of a batch are held at one time
//
// Nobody else needs to: a batch and the encoders keep pointers, which stay good, and
// compare the whole number, so that the next user of a place is not taken for the
// last one.
//
// A Registry is for several goroutines. The model is Prometheus' storage/remote,
// which has a ref for each series, and the head of its agent, which finds it by a hash.
type Registry struct {
	mu sync.Mutex
	// places are indexed by Ref.Index; the first is nobody's.
	places []place
	free   []uint32
	// chains lead, by the hash of the labels, to the first of the places with it.
	chains map[uint64]uint32
}

type place struct {
	series     *Series // nil while the place is free
	generation uint32
	holds      uint32
	next       uint32 // in the chain, 0 for the last
}

// NewRegistry returns an empty registry.
func NewRegistry() *Registry {
	return &Registry{places: make([]place, 1), chains: map[uint64]uint32{}}
}

// Number gives the one series that is equal to s, and holds it for the caller. If
// there is none, s becomes it; it must not change from then on.
func (r *Registry) Number(s *Series) *Series {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := s.Labels.Hash()
	known, line := r.find(h, s)
	if known != nil {
		r.places[known.Ref.Index()].holds++
		return known
	}
	i := r.take()
	p := &r.places[i]
	p.series, p.holds, p.next = s, 1, r.chains[h]
	r.chains[h] = uint32(i)
	s.Ref = ref(i, p.generation)
	if s.Line = s.Ref; line != 0 {
		// The place that names the line stays taken for as long as one of its series is.
		s.Line = line
		r.places[line.Index()].holds++
	}
	return s
}

// Known is Number for a series that the caller may go on changing: it gives nil
// where there is no equal one.
func (r *Registry) Known(s *Series) *Series {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, _ := r.find(s.Labels.Hash(), s)
	if known != nil {
		r.places[known.Ref.Index()].holds++
	}
	return known
}

// Hold holds each of them once more. They must be held already.
func (r *Registry) Hold(all []*Series) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range all {
		r.held(s).holds++
	}
}

// Release gives up one hold on each of them.
func (r *Registry) Release(all []*Series) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range all {
		r.release(s)
	}
}

// Len is the number of series that are held.
func (r *Registry) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.places) - 1 - len(r.free)
}

// find looks for an equal series, and else for the line of one with equal labels.
func (r *Registry) find(h uint64, s *Series) (known *Series, line Ref) {
	for i := r.chains[h]; i != 0; i = r.places[i].next {
		p := r.places[i].series
		if !labels.Equal(p.Labels, s.Labels) {
			continue
		}
		if p.Type == s.Type && p.Help == s.Help && p.Unit == s.Unit && p.Family == s.Family {
			return p, p.Line
		}
		line = p.Line
	}
	return nil, line
}

// take gives a free place.
func (r *Registry) take() int {
	if n := len(r.free); n > 0 {
		i := int(r.free[n-1])
		r.free = r.free[:n-1]
		r.places[i].generation++
		return i
	}
	r.places = append(r.places, place{})
	return len(r.places) - 1
}

// held gives the place of a series that somebody holds. That it is not held is a
// mistake of the program's: its number may be another's by now.
func (r *Registry) held(s *Series) *place {
	i := s.Ref.Index()
	if i == 0 || i >= len(r.places) || r.places[i].series != s {
		panic(fmt.Sprintf("series %v is not held", s.Labels))
	}
	return &r.places[i]
}

func (r *Registry) release(s *Series) {
	p := r.held(s)
	if p.holds--; p.holds > 0 {
		return
	}
	i := uint32(s.Ref.Index())
	h := s.Labels.Hash()
	if r.chains[h] == i {
		if p.next == 0 {
			delete(r.chains, h)
		} else {
			r.chains[h] = p.next
		}
	} else {
		at := r.chains[h]
		for r.places[at].next != i {
			at = r.places[at].next
		}
		r.places[at].next = p.next
	}
	p.series, p.next = nil, 0
	r.free = append(r.free, i)
	if s.Line != s.Ref {
		r.release(r.places[s.Line.Index()].series)
	}
}
