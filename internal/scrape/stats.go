// SPDX-License-Identifier: Apache-2.0

package scrape

import "time"

// Stats is what a Scraper and its Loop have done so far.
type Stats struct {
	// Outcomes counts attempts by how they ended.
	Outcomes [Outcomes]uint64
	// Samples counts all samples read and kept; LastSamples those of the last
	// good scrape.
	Samples     uint64
	LastSamples int
	// Duration is that of the last attempt, LastScrape its time; LastSuccess is the
	// time of the last one whose scrape was good, held back or not; LastError and
	// LastErrorTime belong to the last one that failed.
	Duration      time.Duration
	LastScrape    time.Time
	LastSuccess   time.Time
	LastError     string
	LastErrorTime time.Time
	// Waiting is why there is no scrape although the loop runs: a booting engine. It is
	// empty from the next attempt on.
	Waiting string
	// Up is whether the last attempt succeeded, Format what it was answered in.
	Up     bool
	Format string
	// TimestampsIgnored counts samples that came with a timestamp of their own,
	// Renamed the labels that had to become exported_*, Duplicates the samples of
	// a series that stood twice in one scrape, Clashes the samples left out because
	// the program sends one with the same labels.
	TimestampsIgnored, Renamed, Duplicates, Clashes uint64
	// AppendErrors counts scrapes that could not be handed on.
	AppendErrors uint64
}

// Failed is the number of attempts that failed, for whatever reason.
func (s *Stats) Failed() uint64 {
	var n uint64
	for o, c := range s.Outcomes {
		if Outcome(o) != OK && Outcome(o) != HeldBack {
			n += c
		}
	}
	return n
}

// count books an attempt.
func (s *Scraper) count(o Outcome, now time.Time, took time.Duration, r *reading, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := &s.stats
	st.Outcomes[o]++
	st.Duration, st.LastScrape, st.Up, st.Waiting = took, now, err == nil, ""
	if o == HeldBack {
		st.Waiting = "the engine is still starting"
	}
	n := &r.noted
	st.TimestampsIgnored += n.timestampsIgnored
	st.Renamed += n.renamed
	st.Duplicates += n.duplicates
	st.Clashes += n.clashes
	if err == nil {
		st.LastSuccess = now
	}
	switch {
	case err != nil:
		st.LastError, st.LastErrorTime = err.Error(), now
	case o == OK:
		st.Format = r.format.String()
		st.LastSamples = r.samples
		st.Samples += uint64(r.samples)
	}
}

// Stats is a copy of the counters; it may be called from any goroutine.
func (s *Scraper) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

func (s *Scraper) bump(f func(*Stats)) {
	s.mu.Lock()
	f(&s.stats)
	s.mu.Unlock()
}
