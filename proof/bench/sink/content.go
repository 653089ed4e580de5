// SPDX-License-Identifier: Apache-2.0

package sink

import (
	"hash/maphash"
	"math"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
)

// Content is what there is of one job at one time, of the series that Options.Content
// names.
type Content struct {
	// Samples are those that are not stale markers, and Sum theirs: of the same samples of
	// the same series it is the same, in whatever order they came.
	Samples int
	Sum     uint64
	Stale   int
}

// Add adds a sample of the series with that key.
func (c *Content) Add(key uint64, v float64) {
	if value.IsStaleNaN(v) {
		c.Stale++
		return
	}
	c.Samples++
	// The finalizer of MurmurHash3: a sum alone would not see two values that are swapped.
	x := key ^ math.Float64bits(v)*0x9e3779b97f4a7c15
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
	c.Sum += x ^ x>>33
}

// Key is what this sink knows the series by.
func (s *Sink) Key(l labels.Labels) uint64 {
	var h maphash.Hash
	h.SetSeed(s.dec.seed)
	l.Range(func(l labels.Label) { hashLabel(&h, []byte(l.Name), []byte(l.Value)) })
	return h.Sum64()
}

func hashLabel(h *maphash.Hash, name, value []byte) {
	h.WriteByte(0)
	h.Write(name)
	h.WriteByte(1)
	h.Write(value)
}

// Arrival is when a scrape came in first, and the time in milliseconds that it is stamped with.
type Arrival struct {
	At   time.Time
	Time int64
}

// job is what has come of a job.
type job struct {
	arrived map[int]Arrival
	content map[int64]*Content
	failed  int
}

// arrive notes what came in first with that sequence number.
func (j *job) arrive(sequence int, a Arrival) {
	if _, ok := j.arrived[sequence]; !ok {
		j.arrived[sequence] = a
	}
}

// at is the content of that time.
func (j *job) at(t int64) *Content {
	c := j.content[t]
	if c == nil {
		c = &Content{}
		j.content[t] = c
	}
	return c
}

// Arrived is when the job's scrape with that sequence number came in.
func (s *Sink) Arrived(name string, sequence int) (Arrival, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.dec.job([]byte(name)).arrived[sequence]
	return a, ok
}

// Missing counts the sequence numbers from..to of the job that have not arrived.
func (s *Sink) Missing(name string, from, to int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	j, n := s.dec.job([]byte(name)), 0
	for i := from; i <= to; i++ {
		if _, ok := j.arrived[i]; !ok {
			n++
		}
	}
	return n
}

// Failed is how many scrapes of the job have failed, as its up says.
func (s *Sink) Failed(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dec.job([]byte(name)).failed
}

// At is what there is of the job at that time.
func (s *Sink) At(name string, t int64) Content {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.dec.job([]byte(name)).content[t]; c != nil {
		return *c
	}
	return Content{}
}

// Content is what there is of the job by its times.
func (s *Sink) Content(name string) map[int64]Content {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[int64]Content{}
	for t, c := range s.dec.job([]byte(name)).content {
		all[t] = *c
	}
	return all
}
