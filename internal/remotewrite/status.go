// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// State is what an endpoint is doing.
type State uint8

const (
	// StateOK: it takes what it is sent, as far as known.
	StateOK State = iota
	// StateBackingOff: the last attempt failed and will be repeated.
	StateBackingOff
	// StateRefusing: it, or a proxy, answers 401 to 404, 407 or redirects elsewhere; a
	// single scrape is tried every MaxBackoff.
	StateRefusing
	// StateClock: this host's clock is not set, and what waits is stamped later.
	StateClock
)

// String is "ok", "backing off", "refusing" or "waiting for the clock".
func (s State) String() string {
	return [...]string{"ok", "backing off", "refusing", "waiting for the clock"}[s]
}

// Requests counts requests by protocol and status code, 0 for no answer.
type Requests struct {
	Protocol Protocol
	Code     int
	Count    uint64
}

// Status is a sender's state and its counts since the process began. What was
// delivered and lost is in the cursor's tally.
type Status struct {
	// Name and URL of the endpoint; the URL without user info and query.
	Name, URL string
	State     State
	// Protocol in use, V2 or V1.
	Protocol Protocol
	// NextAttempt is zero unless the sender waits for a moment.
	NextAttempt time.Time
	// LastError is shown without secrets, at most 1 KiB before escaping. It stays
	// after the endpoint has recovered.
	LastError     string
	LastErrorTime time.Time
	// CredentialError is what is wrong with a certificate, a CA or a credential;
	// empty once the receiver has answered.
	CredentialError string
	// AcceptedWith is what the last acceptance came with where it was a page of HTML,
	// which no receiver answers; else empty.
	AcceptedWith string
	// Identity is whose credentials of a cloud the last answer was to, and until when
	// they hold.
	Identity string
	// LastSuccess is when a request was last accepted, Failures how many attempts
	// since then were not.
	LastSuccess time.Time
	Failures    int
	// NewestSent is the latest timestamp that was delivered, in milliseconds; 0
	// for none.
	NewestSent int64
	// ClockOffset is the receiver's Date minus the clock here; only if ClockKnown.
	ClockOffset time.Duration
	ClockKnown  bool
	// RequestSize is the size of an uncompressed request learned from 413 answers,
	// 0 if there is no limit but the setting.
	RequestSize int

	Counts
}

// Counts grow only.
type Counts struct {
	byCode map[requestKey]uint64
	// Retries counts attempts that repeated an earlier one, RetriedSamples the
	// samples in them.
	Retries, RetriedSamples uint64
	// WireBytes and RawBytes count bodies after and before compression, of attempts
	// that had a connection; SentSamples the samples in them.
	WireBytes, RawBytes, SentSamples uint64
	// Attempts and Duration count attempts and the time they took together.
	Attempts     uint64
	Duration     time.Duration
	LastDuration time.Duration
	// Unconfirmed counts samples of accepted 2.0 requests that the Written headers
	// do not confirm.
	Unconfirmed uint64
}

type requestKey struct {
	proto Protocol
	code  int
}

// Requests lists the attempts by protocol and code, in order.
func (s *Status) Requests() []Requests {
	var out []Requests
	for k, n := range s.byCode {
		out = append(out, Requests{k.proto, k.code, n})
	}
	slices.SortFunc(out, func(a, b Requests) int {
		return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Code, b.Code))
	})
	return out
}

// Status returns the sender's state at the moment. It is for any goroutine.
func (s *Sender) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.status
	out.byCode = maps.Clone(out.byCode)
	return out
}

// record counts an attempt and notes what its answer says.
func (s *Sender) record(r *request, a *answer, v verdict, now time.Time) {
	s.mu.Lock()
	st := &s.status
	if st.byCode == nil {
		st.byCode = make(map[requestKey]uint64)
	}
	code := a.status
	if code < 0 || code > 999 {
		code = 999
	}
	st.byCode[requestKey{r.proto, code}]++
	st.Attempts++
	st.Protocol = r.proto
	if a.status != 0 || a.sent {
		if r.attempted {
			st.Retries++
			st.RetriedSamples += uint64(r.samples)
		}
		r.attempted = true
		st.WireBytes += uint64(len(r.body))
		st.RawBytes += uint64(r.raw)
		st.SentSamples += uint64(r.samples)
	}
	st.Duration += a.took
	st.LastDuration = a.took
	st.RequestSize = s.state.note.Learned.MaxBytes
	page := false
	switch v {
	case delivered:
		st.Failures = 0
		page = a.page && st.AcceptedWith == ""
		if st.AcceptedWith = ""; a.page {
			st.AcceptedWith = a.text
		}
	case otherProtocol, tryV1:
		// Asking in the other protocol is how they are told apart, not a failure.
	default:
		st.Failures++
		st.LastError, st.LastErrorTime = a.text, now
	}
	if a.identity != "" {
		st.Identity = a.identity
	}
	if a.local {
		st.CredentialError = a.text
	} else if a.status != 0 {
		st.CredentialError = ""
	}
	if !a.date.IsZero() {
		// Date has whole seconds, and was written somewhere between.
		st.ClockOffset, st.ClockKnown = a.date.Add(time.Second/2).Sub(now.Add(-a.took/2)).Round(time.Second), true
	}
	offset := st.ClockOffset
	s.mu.Unlock()
	s.notices.attempt(s, r, a, v, now)
	if page {
		s.notices.page(s, a)
	}
	if !a.date.IsZero() {
		s.notices.offset(s, offset)
	}
}

// arrivedAtReceiver notes a delivery.
func (s *Sender) arrivedAtReceiver(r *request, unconfirmed int, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.LastSuccess = now
	s.status.NewestSent = max(s.status.NewestSent, r.newest)
	s.status.Unconfirmed += uint64(unconfirmed)
	s.status.RequestSize = s.state.note.Learned.MaxBytes
}

func (s *Sender) setState(st State, next time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.State, s.status.NextAttempt = st, next
}
