// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// sequence is the series that numbers the answers of a target.
const sequence = "chaos_sequence"

// value is that of the i-th series in the n-th answer: anything that 64 bits can
// be, as far as text carries it.
func value(i, n int) float64 {
	// The finalizer of MurmurHash3, of a number for the pair.
	b := uint64(i)<<40 ^ uint64(n)
	b = (b ^ b>>33) * 0xff51afd7ed558ccd
	b = (b ^ b>>33) * 0xc4ceb9fe1a85ec53
	b ^= b >> 33
	switch b % 16 {
	case 0:
		return math.NaN()
	case 1:
		return math.Inf(1)
	case 2:
		return math.Inf(-1)
	case 3:
		return math.Copysign(0, -1)
	case 4:
		return math.SmallestNonzeroFloat64
	case 5, 6:
		return float64(n)
	case 7, 8, 9:
		return float64(b>>40) / 1000
	default:
		if v := math.Float64frombits(b); !math.IsNaN(v) {
			return v
		}
		return float64(b)
	}
}

// present reports whether the i-th of the series that come and go is in the n-th
// answer.
func present(i, n int) bool { return (n/2+i)%3 != 0 }

const instance = "chaos"

// target is scraped. Each answer has a number of its own, and lives is the
// numbers that each life of the scraping process was given, in order: it is known
// by the path that it asks for.
type target struct {
	*httptest.Server
	job      string
	interval time.Duration
	// values are in each answer, phases come and go: the series as they are sent on.
	values, phases []string
	served         chan struct{} // has one in it after an answer
	horizon        int           // the last number that is looked for

	mu    sync.Mutex
	n     int
	lives map[string][]int
}

// newTarget has that many values beside its number.
func newTarget(t *testing.T, job string, interval time.Duration, values int, served chan struct{}) *target {
	t.Helper()
	s := &target{job: job, interval: interval, lives: map[string][]int{}, served: served}
	for i := range values {
		s.values = append(s.values, s.sent("chaos_value", "i", strconv.Itoa(i)))
	}
	for i := range 5 {
		s.phases = append(s.phases, s.sent("chaos_phase", "i", strconv.Itoa(i)))
	}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

// sent is a series with the labels that the program adds, as promtest writes it.
func (s *target) sent(name string, pairs ...string) string {
	return labels.FromStrings(append(pairs, "__name__", name, "job", s.job, "instance", instance)...).String()
}

// exposed lists what is in the n-th answer, by the series as it is sent on.
func (s *target) exposed(n int) map[string]float64 {
	m := map[string]float64{s.sent(sequence): float64(n)}
	for i, name := range s.values {
		m[name] = value(i, n)
	}
	for i, name := range s.phases {
		if present(i, n) {
			m[name] = value(len(s.values)+i, n)
		}
	}
	return m
}

func (s *target) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.n++
	n := s.n
	s.lives[r.URL.Path] = append(s.lives[r.URL.Path], n)
	s.mu.Unlock()
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = io.WriteString(w, s.exposition(n))
	select {
	case s.served <- struct{}{}:
	default:
	}
}

// of are the numbers that this life was given.
func (s *target) of(life string) []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]int(nil), s.lives[life]...)
}

// exposition is made in haste: a scrape that takes too long is another test.
func (s *target) exposition(n int) string {
	b := fmt.Appendf(nil, "# HELP %s Number of the answer.\n# TYPE %[1]s counter\n%[1]s %d\n", sequence, n)
	line := func(head string, i int, v float64) {
		b = strconv.AppendInt(append(b, head...), int64(i), 10)
		b = append(strconv.AppendFloat(append(b, "\"} "...), v, 'g', -1, 64), '\n')
	}
	b = append(b, "# TYPE chaos_value gauge\n"...)
	for i := range s.values {
		line(`chaos_value{i="`, i, value(i, n))
	}
	b = append(b, "# TYPE chaos_phase gauge\n"...)
	for i := range s.phases {
		if present(i, n) {
			line(`chaos_phase{i="`, i, value(len(s.values)+i, n))
		}
	}
	return string(b)
}
