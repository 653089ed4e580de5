// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
	"github.com/docker-remote-write/docker-remote-write/internal/spool"
)

// TestQuietNegotiation: finding out the protocol is no failure in the log, and what
// is found is said once.
func TestQuietNegotiation(t *testing.T) {
	r := newReceiver(t, func(n int, g *got) reply { return reply{Status: 204} }) // as VictoriaMetrics does
	q := newQueue(t, 4)
	o := fast(t, r.URL)
	l, log := logged()
	l.SetLevel(logrus.InfoLevel)
	o.Log = l
	s := sender(t, o, q)
	q.fill(t, 5)
	drainAll(t, s, q, 5)
	q.complete(t, r, nil)
	if got := log.String(); strings.Contains(got, "level=warning") || strings.Count(got, "1.0 is used") != 1 || strings.Count(got, "\n") != 1 {
		t.Errorf("log: %s", got)
	}
}

// Test413 halves a request until it fits, keeps the size, and lets it grow back.
func Test413(t *testing.T) {
	for _, p := range []Protocol{V2, V1} {
		t.Run(p.String(), func(t *testing.T) {
			limit := 100 << 10
			r := newReceiver(t, func(n int, g *got) reply {
				if g.Raw > limit {
					return reply{Status: 413}
				}
				return ok(g)
			})
			q := newQueue(t, 400)
			o := fast(t, r.URL)
			o.Protocol, o.MaxSamples, o.MaxBytes = p, 40_000, 160<<10
			q.learn(t, spool.Learned{V1: true, V2: true})
			s := sender(t, o, q)
			q.fill(t, 60)
			drainAll(t, s, q, 100)
			q.complete(t, r, nil)
			learnedSize := s.Status().RequestSize
			if learnedSize == 0 || learnedSize > limit {
				t.Errorf("learned %d, the receiver takes %d", learnedSize, limit)
			}
			if got := q.c.Note().Learned.MaxBytes; got != learnedSize {
				t.Errorf("the cursor's learned size is %d, the status shows %d", got, learnedSize)
			}
			// What it takes to grow back: accepted requests of that size.
			accept := func(raw int) int {
				e := event{verdict: delivered, request: request{proto: p, raw: raw, samples: 1, scrapes: 1}}
				s.state, _ = plan(&s.o, s.state, e, time.Now(), nil)
				return s.state.note.Learned.MaxBytes
			}
			for n, size := 0, learnedSize; size != 0; n++ {
				if n > 160 {
					t.Fatalf("after %d full requests the size is still %d", n, size)
				}
				if got := accept(10); got != size {
					t.Fatalf("a small request made the size %d of %d", got, size)
				}
				grown := accept(size)
				if grown != 0 && (grown <= size || grown > size+size/32) {
					t.Fatalf("a full request made the size %d of %d", grown, size)
				}
				size = grown
			}
		})
	}
}

// TestTooLarge drops what is refused as too large although it is small.
func TestTooLarge(t *testing.T) {
	r := newReceiver(t, func(n int, g *got) reply { return reply{Status: 413} })
	q := newQueue(t, 400)
	o := fast(t, r.URL)
	o.MaxSamples = 10_000
	s := sender(t, o, q)
	q.fill(t, 3)
	drainAll(t, s, q, 100)
	if n := q.c.Tally().Lost[series.TooLarge]; n != 1200 {
		t.Errorf("%d counted too_large, want 1200", n)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	date := now.Add(-time.Hour) // the receiver's clock is slow
	for _, c := range []struct {
		value, date string
		want        time.Duration
	}{
		{"", "", 0},
		{"7", "", 7 * time.Second},
		{" 7 ", "", 7 * time.Second},
		{"007", "", 7 * time.Second},
		{"0", "", 0},
		{"300", "", 5 * time.Minute},
		{"301", "", 5 * time.Minute},
		{"99999999999999999999999999", "", 5 * time.Minute},
		{"9223372037", "", 5 * time.Minute},
		{"-7", "", 0},
		{"+7", "", 0},
		{"7.5", "", 0},
		{"7s", "", 0},
		{"soon", "", 0},
		{"0x10", "", 0},
		{now.Add(20 * time.Second).Format(http.TimeFormat), "", 20 * time.Second},
		{now.Add(-20 * time.Second).Format(http.TimeFormat), "", 0},
		{now.Add(20 * time.Hour).Format(http.TimeFormat), "", 5 * time.Minute},
		{date.Add(30 * time.Second).Format(http.TimeFormat), date.Format(http.TimeFormat), 30 * time.Second},
		{date.Add(30 * time.Second).Format(time.RFC850), date.Format(http.TimeFormat), 30 * time.Second},
		{date.Add(30 * time.Second).Format(time.ANSIC), "never", 0},
		{now.Add(30 * time.Second).Format(time.RFC3339), "", 0},
	} {
		h := http.Header{"Retry-After": {c.value}, "Date": {c.date}}
		if got := RetryAfter(h, now); got != c.want {
			t.Errorf("Retry-After %q, Date %q: %s, want %s", c.value, c.date, got, c.want)
		}
	}
}

// TestRetryAfterIsHeeded sends each status that may carry one.
func TestRetryAfterIsHeeded(t *testing.T) {
	for _, c := range []struct {
		status    int
		after     string
		low, high time.Duration
	}{
		{429, "20", 20 * time.Second, 24 * time.Second},
		{429, "4000", 5 * time.Minute, 6 * time.Minute},
		{429, "nonsense", time.Millisecond / 2, time.Millisecond},
		{429, "0", time.Millisecond / 2, time.Millisecond},
		{503, "20", 20 * time.Second, 24 * time.Second},
		{503, "-1", time.Millisecond / 2, time.Millisecond},
		{500, "20", 20 * time.Second, 24 * time.Second},
		{502, "20", 20 * time.Second, 24 * time.Second},
		{599, "20", 20 * time.Second, 24 * time.Second},
		{408, "20", time.Millisecond / 2, time.Millisecond},
	} {
		t.Run(strconv.Itoa(c.status)+" "+c.after, func(t *testing.T) {
			target, _ := wire(t, func(int, *got) string {
				return statusLine(c.status, "Retry-After: "+c.after+"\r\n")
			})
			q := newQueue(t, 4)
			s := sender(t, fast(t, target), q)
			q.fill(t, 1)
			before := time.Now()
			s.step(t.Context())
			after := time.Now()
			next := s.Status().NextAttempt
			if next.Before(before.Add(c.low)) || next.After(after.Add(c.high)) {
				t.Errorf("next attempt after %s, want between %s and %s", next.Sub(before), c.low, c.high)
			}
			s.client.close()
		})
	}
}

// TestRetryAttempt: a request that repeats what failed says how often it did, in either
// protocol; what a user sets for the header is not sent.
func TestRetryAttempt(t *testing.T) {
	for _, p := range []Protocol{V2, V1} {
		answers := []int{503, 429, 0, 500, 204, 204, 502, 204}
		want := []string{"", "1", "2", "3", "4", "", "", "1"}
		r := newReceiver(t, func(n int, g *got) reply {
			switch answers[n] {
			case 0:
				panic(http.ErrAbortHandler) // the connection is cut
			case 204:
				return ok(g)
			}
			return reply{Status: answers[n]}
		})
		q := newQueue(t, 4)
		o := fast(t, r.URL)
		o.Protocol, o.Headers = p, map[string]string{"retry-attempt": "7"}
		s := sender(t, o, q)
		for n := range answers {
			if q.c.Backlog().Samples == 0 {
				q.fill(t, 1)
			}
			s.step(t.Context())
			if got := r.requests()[n].Header.Get("Retry-Attempt"); got != want[n] {
				t.Errorf("%s: request %d has Retry-Attempt %q, want %q", p, n, got, want[n])
			}
		}
	}
}

// TestRetryAfterHurriesNothing: a receiver that always asks for a second is asked at
// growing distances all the same, and one that lets its Retry-After grow by the attempts
// is given their number to do so.
func TestRetryAfterHurriesNothing(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		after  func(attempt int) int
		most   int // requests in an hour
	}{
		{"a second with 429", 429, func(int) int { return 1 }, 110},
		{"a second with 503", 503, func(int) int { return 1 }, 110},
		{"growing to four minutes with 429", 429, func(n int) int { return min(1<<min(n, 20), 240) }, 30},
		{"growing to four minutes with 500", 500, func(n int) int { return min(1<<min(n, 20), 240) }, 30},
	} {
		at2026(t, func(t *testing.T) {
			v := newVirtual(func(n int, g *got) reply {
				attempt, _ := strconv.Atoi(g.Header.Get("Retry-Attempt"))
				return reply{Status: c.status, Header: http.Header{"Retry-After": {strconv.Itoa(c.after(attempt))}}}
			})
			q := newQueue(t, 4)
			q.fill(t, 1)
			_, stop := start(t, usual(t), q, v)
			time.Sleep(time.Hour)
			stop()
			if n := len(v.requests()); n < 10 || n > c.most {
				t.Errorf("%s: %d requests in an hour, want at most %d", c.name, n, c.most)
			}
		})
	}
}
