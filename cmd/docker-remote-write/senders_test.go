// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"github.com/docker-remote-write/docker-remote-write/internal/config"
	"github.com/docker-remote-write/docker-remote-write/internal/logging"
	"github.com/docker-remote-write/docker-remote-write/internal/series"
	"github.com/docker-remote-write/docker-remote-write/internal/spool"
	"github.com/docker-remote-write/docker-remote-write/internal/telemetry"
)

// sending is a spool with senders to one receiver.
type sending struct {
	*senders
	log      *logtest.Hook
	numbers  *series.Registry
	receiver string
	requests chan string // path of each request
}

func newSending(t *testing.T) *sending {
	s := &sending{requests: make(chan string, 64), numbers: series.NewRegistry()}
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		s.requests <- r.URL.Path
		w.WriteHeader(http.StatusNoContent)
	}))
	s.receiver = receiver.URL
	log, err := logging.New(logging.Options{Stdout: io.Discard, Stderr: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	s.log = logtest.NewLocal(log.Logger)
	queue, err := spool.Open(t.TempDir(), spool.Options{Series: s.numbers, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	s.senders = newSenders(queue, &config.Config{}, log)
	t.Cleanup(func() {
		s.stop(context.Background())
		receiver.Close()
		if err := queue.Close(t.Context()); err != nil && !errors.Is(err, spool.ErrClosed) && t.Context().Err() == nil {
			t.Error(err)
		}
		if err := log.Close(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	return s
}

func (s *sending) endpoint(t *testing.T, name string) config.Endpoint {
	t.Helper()
	u, err := url.Parse(s.receiver + "/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return config.Endpoint{Name: name, URL: u, Protocol: "1.0"}
}

// names are the endpoints as the status shows them.
func (s *sending) names() []string {
	var st telemetry.State
	s.state(&st)
	var names []string
	for _, e := range st.Endpoints {
		names = append(names, e.Name)
	}
	return names
}

// works appends a scrape and waits until each of the endpoints has sent it by
// itself.
func (s *sending) works(t *testing.T, now time.Time, names ...string) {
	t.Helper()
	if got := s.names(); !slices.Equal(got, names) {
		t.Fatalf("the status shows %q, want %q", got, names)
	}
	for _, r := range s.running {
		select {
		case <-r.done:
			t.Fatalf("the sender of %s has ended", r.endpoint.Name)
		default:
		}
	}
	one := s.numbers.Number(&series.Series{Labels: labels.FromStrings(model.MetricNameLabel, "a")})
	if _, err := s.spool.Append(t.Context(), &series.Scrape{Time: now.UnixMilli(), Series: []*series.Series{one}, Values: []float64{1}}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for range names {
		got = append(got, (<-s.requests)[1:])
	}
	slices.Sort(got)
	if !slices.Equal(got, names) {
		t.Fatalf("requests of %q, want %q", got, names)
	}
	s.flush(t.Context()) // until the answers are there too
}

// TestRefusedListLeavesSenders: a list that cannot be taken over leaves the senders
// as they were, complete and at work.
func TestRefusedListLeavesSenders(t *testing.T) {
	now := time.Now()
	for name, spoil := range map[string]func(e *config.Endpoint){
		"a name that stands twice": func(e *config.Endpoint) { e.Name = "c" },
		"an unknown protocol":      func(e *config.Endpoint) { e.Protocol = "3.0" },
		"an empty relabelling":     func(e *config.Endpoint) { e.Relabel = []*relabel.Config{nil} },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSending(t)
			a, b, c, d := s.endpoint(t, "a"), s.endpoint(t, "b"), s.endpoint(t, "c"), s.endpoint(t, "d")
			if err := s.set([]config.Endpoint{a, b}); err != nil {
				t.Fatal(err)
			}
			s.works(t, now, "a", "b")
			spoil(&d)
			// a is the same, b is gone, c is new.
			if err := s.set([]config.Endpoint{a, c, d}); err == nil || errors.Is(err, errHalted) {
				t.Fatalf("a list with %s: %v, want a refusal", name, err)
			}
			s.works(t, now.Add(time.Second), "a", "b")
			if err := s.set([]config.Endpoint{a, c}); err != nil {
				t.Fatal(err)
			}
			s.works(t, now.Add(2*time.Second), "a", "c")
		})
	}
}

// TestHaltedIsSaid: what stands still is said to stand still, once, and goes on
// with the next list that works.
func TestHaltedIsSaid(t *testing.T) {
	s := newSending(t)
	a, b := s.endpoint(t, "a"), s.endpoint(t, "b")
	if err := s.set([]config.Endpoint{a}); err != nil {
		t.Fatal(err)
	}
	queue := s.spool
	closed, err := spool.Open(t.TempDir(), spool.Options{Log: s.senders.log})
	if err != nil {
		t.Fatal(err)
	}
	if err := closed.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.spool = closed
	for range 2 {
		err := s.set([]config.Endpoint{b})
		if !errors.Is(err, errHalted) || !errors.Is(err, spool.ErrClosed) {
			t.Fatalf("without a cursor to be had: %v, want that and %v", err, errHalted)
		}
		s.reloaded(config.Update{Endpoints: []config.Endpoint{b}}, err)
	}
	if e := s.log.AllEntries(); len(e) != 1 || e[0].Level != logrus.ErrorLevel {
		t.Errorf("%d lines, want one: %v", len(e), e)
	}
	var st telemetry.State
	if s.state(&st); !st.Config.ReloadFailed || st.Config.Error == "" {
		t.Errorf("the status says %+v", st.Config)
	}
	s.spool = queue
	if err := s.set([]config.Endpoint{a}); err != nil {
		t.Fatal(err)
	}
	s.works(t, time.Now(), "a")
}

// TestStopHasADeadline: a disk that hangs under a change of the endpoints holds neither the
// last flush nor the end.
func TestStopHasADeadline(t *testing.T) {
	s := newSending(t)
	if err := s.set([]config.Endpoint{s.endpoint(t, "a")}); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock() // as set does while it waits for the disk
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for what, f := range map[string]func(context.Context){"flush": s.flush, "stop": s.stop} {
		ended := make(chan struct{})
		go func() { defer close(ended); f(ctx) }()
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Errorf("%s has not ended with its context", what)
		}
	}
	s.mu.Unlock()
}
