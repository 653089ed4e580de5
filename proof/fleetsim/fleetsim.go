// SPDX-License-Identifier: Apache-2.0

// Package fleetsim runs a fleet of hosts on a virtual clock against a modelled
// receiver. When a host scrapes, how long it waits after a failure, how large its
// requests are and how they are paced is asked of the program's own functions;
// the queue is a counter, and a request is an event.
package fleetsim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/docker-remote-write/docker-remote-write/internal/remotewrite"
	project "github.com/docker-remote-write/docker-remote-write/internal/scrape"
)

// Settings are those of each host, named as in the settings reference.
type Settings struct {
	ScrapeInterval, BatchSendDeadline time.Duration
	MaxSamplesPerSend                 int
	MaxSamplesPerSecond               float64
	MinBackoff, MaxBackoff            time.Duration
	// InStep switches off what keeps hosts apart: the phase of the scrapes and the
	// random part of the delays.
	InStep bool
}

// Defaults are the program's own.
func Defaults() Settings {
	return Settings{
		ScrapeInterval: 15 * time.Second, MaxSamplesPerSend: 30_000,
		MinBackoff: 500 * time.Millisecond, MaxBackoff: time.Minute,
	}
}

// Summary compares what was offered at the worst with the ordinary.
type Summary struct {
	// Mean requests and samples a second in the steady state.
	MeanRequests, MeanSamples float64
	// Peak of one second, from the receiver's return until the last backlog is gone.
	PeakRequests, PeakSamples int
}

// Summarize takes the mean over the seconds from..to and the peak over peakFrom..peakTo.
func (r Result) Summarize(from, to, peakFrom, peakTo time.Duration) Summary {
	var s Summary
	span := r.Seconds[int(from/time.Second):int(to/time.Second)]
	for _, x := range span {
		s.MeanRequests += float64(x.Requests) / float64(len(span))
		s.MeanSamples += float64(x.Samples) / float64(len(span))
	}
	last := min(int(peakTo/time.Second)+1, len(r.Seconds))
	for _, x := range r.Seconds[int(peakFrom/time.Second):last] {
		s.PeakRequests = max(s.PeakRequests, x.Requests)
		s.PeakSamples = max(s.PeakSamples, x.Samples)
	}
	return s
}

// Fleet is the settings recommended to fleets for hosts of that many series.
func Fleet(series int) Settings {
	s := Defaults()
	s.BatchSendDeadline = time.Minute
	s.MaxBackoff = 2 * time.Minute
	// Twice the live rate and a little, in requests of no more than four scrapes.
	s.MaxSamplesPerSecond = float64(int(2.2 * float64(series) / s.ScrapeInterval.Seconds()))
	s.MaxSamplesPerSend = 4 * series
	return s
}

// Scenario is what happens to the fleet, in time since the start.
type Scenario struct {
	Hosts, Series int
	// Length of the run; with UntilRecovered it may be shorter.
	Length         time.Duration
	UntilRecovered bool
	// The receiver refuses connections from DownFrom for Down.
	DownFrom, Down time.Duration
	// Every engine stops and starts again, one after the other from RestartFrom on,
	// the last after Restarts.
	RestartFrom, Restarts time.Duration
	// Capacity in samples a second, beyond which the receiver answers 429; 0 for none.
	Capacity float64
	// RetryAfter stands on each 429, 0 for none.
	RetryAfter time.Duration
	// Latency of an answer.
	Latency time.Duration
	Seed    uint64
}

// Second is what the receiver was offered, and took, in one second.
type Second struct {
	Requests, Samples int
	Accepted          int // samples
	// Backlog is what waits on all hosts at the end of the second, in samples.
	Backlog int
}

// Result of a run.
type Result struct {
	Seconds []Second
	// Appended and Delivered samples of all hosts.
	Appended, Delivered int
	// Recovered is when no host had more waiting than live operation makes wait,
	// for the first time after the receiver had returned; 0 if never.
	Recovered time.Duration
}

// host is one of the fleet. Its queue is a counter of samples.
type host struct {
	phase   time.Duration
	queued  int
	offset  int   // samples of the oldest scrape that are delivered
	oldest  int64 // when the oldest waiting sample was scraped
	backoff remotewrite.Backoff
	size    remotewrite.Sizing
	fails   int   // in a row
	sending int   // samples in flight, 0 for none
	failing bool  // what is in flight will fail
	refused bool  // with an answer, not for want of a connection
	retryAt int64 // no request before that
	wakeAt  int64 // when the present generation's wake is due, 0 for none
	gen     uint16
}

type sim struct {
	set      Settings
	sc       Scenario
	q        queue
	hosts    []host
	rng      *rand.Rand
	res      Result
	backlog  int
	behind   int // hosts with more than live operation makes wait
	tokens   float64
	tokensAt int64
}

// Run simulates the scenario with those settings on every host.
func Run(set Settings, sc Scenario) Result {
	s := &sim{set: set, sc: sc, rng: rand.New(rand.NewPCG(sc.Seed, 1)), tokens: sc.Capacity}
	s.hosts = make([]host, sc.Hosts)
	s.res.Seconds = make([]Second, int(sc.Length/time.Second))
	for i := range s.hosts {
		h := &s.hosts[i]
		if !set.InStep {
			h.phase = project.Phase("docker", fmt.Sprintf("host-%05d", i), set.ScrapeInterval)
		}
		// The fleet has been at work for long: where it merges scrapes, each host is
		// somewhere between two requests.
		s.tick(int32(i), 0)
		if merge := int(set.BatchSendDeadline / set.ScrapeInterval); merge > 0 && !set.InStep {
			first := project.NextTick(time.UnixMilli(0), set.ScrapeInterval, h.phase).UnixMilli()
			for back := s.rng.IntN(merge); back > 0; back-- {
				s.append(h, first-int64(back)*set.ScrapeInterval.Milliseconds())
			}
		}
		if sc.Restarts > 0 {
			at := sc.RestartFrom + time.Duration(i)*sc.Restarts/time.Duration(sc.Hosts)
			s.q.push(event{at: at.Milliseconds(), host: int32(i), kind: restart})
		}
	}
	end := sc.Length.Milliseconds()
	second := int64(0)
	for len(s.q.e) > 0 {
		e := s.q.pop()
		if e.at >= end || sc.UntilRecovered && s.res.Recovered > 0 && e.at/1000 > second {
			break
		}
		for ; second < e.at/1000; second++ {
			s.res.Seconds[second].Backlog = s.backlog
		}
		s.handle(e)
	}
	if sc.UntilRecovered && s.res.Recovered > 0 {
		s.res.Seconds = s.res.Seconds[:second+1]
	}
	for ; second < int64(len(s.res.Seconds)); second++ {
		s.res.Seconds[second].Backlog = s.backlog
	}
	return s.res
}

// random is what the program's functions ask for chance.
func (s *sim) random() float64 {
	if s.set.InStep {
		return 0
	}
	return s.rng.Float64()
}

// tick plans the host's next scrape after that time.
func (s *sim) tick(i int32, after int64) {
	next := project.NextTick(time.UnixMilli(after), s.set.ScrapeInterval, s.hosts[i].phase)
	s.q.push(event{at: next.UnixMilli(), host: i, kind: scrape})
}

func (s *sim) handle(e event) {
	h := &s.hosts[e.host]
	switch e.kind {
	case scrape:
		s.append(h, e.at)
		s.tick(e.host, e.at)
		s.next(e.host, e.at)
	case wake:
		if e.gen == h.gen {
			h.wakeAt = 0
			s.next(e.host, e.at)
		}
	case answer:
		if e.gen == h.gen {
			s.answered(e.host, e.at)
		}
	case restart:
		// The stop appends a scrape and its end markers, and sends them if the
		// endpoint is not backing off; the new process scrapes at once. What was in
		// flight is sent again, and its delays begin anew.
		s.append(h, e.at)
		s.append(h, e.at)
		h.gen++
		h.sending, h.failing, h.fails, h.retryAt, h.wakeAt = 0, false, 0, e.at, 0
		h.size, h.backoff = remotewrite.Sizing{}, remotewrite.Backoff{}
		s.send(e.host, e.at)
		s.append(h, e.at+1)
	}
}

func (s *sim) append(h *host, at int64) {
	if h.queued == 0 {
		h.oldest = at
	}
	before := s.late(h)
	h.queued += s.sc.Series
	s.backlog += s.sc.Series
	s.res.Appended += s.sc.Series
	s.count(before, h)
}

// late reports whether more waits on the host than live operation lets wait.
func (s *sim) late(h *host) bool {
	return h.queued > s.sc.Series*(1+int(s.set.BatchSendDeadline/s.set.ScrapeInterval))
}

func (s *sim) count(before bool, h *host) {
	if after := s.late(h); after != before {
		if after {
			s.behind++
		} else {
			s.behind--
		}
	}
}
