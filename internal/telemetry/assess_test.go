// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"strings"
	"testing"
	"time"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// TestAssess changes one thing in a healthy state: what is said of it, how bad it
// is, and whether it keeps the forwarder from being ready.
func TestAssess(t *testing.T) {
	for _, c := range []struct {
		name            string
		change          func(*State)
		want            string // of a problem: severity, subject, text and hint
		unready, silent bool
	}{
		{"nothing", func(*State) {}, "", false, true},
		{"starting", func(s *State) { s.Started, s.Targets[0].Last = now.Add(-time.Second), time.Time{} }, "warning scrape: nothing has been scraped yet", true, false},
		{"never scraped", func(s *State) { s.Targets[0].Last = time.Time{} }, "error scrape: nothing has been scraped yet", true, false},
		{"booting engine", func(s *State) { s.Started, s.Targets[0].Running = now.Add(-time.Second), false }, "warning scrape: the engine has not called StartMetrics", true, false},
		{"engine down", func(s *State) { s.Targets[0].Running = false }, "error scrape: the engine has not called StartMetrics", true, false},
		{"run without its loop", func(s *State) { s.Mode, s.Targets[0].Running = "run", false }, "error scrape: the scrape loop does not run", true, false},
		{"stuck loop", func(s *State) { s.Targets[0].Last = now.Add(-10 * time.Minute) }, "error scrape: the last scrape was 10 min ago", true, false},
		{"reload failed", func(s *State) { s.Config.Error, s.Config.ReloadFailed = "line 3: unknown key", true }, "error configuration: line 3: unknown key The configuration before it stays in use", false, false},
		{"warning", func(s *State) { s.Config.Warnings = []string{"max_shards has no effect"} }, "warning configuration: max_shards has no effect", false, false},
		{"full spool", func(s *State) { s.Spool.Bytes = 60 << 20 }, "warning spool: 60 MiB of 64 MiB are used", false, false},
		{"unclaimed", func(s *State) { s.Unclaimed = []UnclaimedState{{Name: "old", Samples: 1200}} }, `warning spool: 1,200 samples wait for the endpoint "old"`, false, false},
		{"refusing", func(s *State) { s.Endpoints[0].Phase, s.Endpoints[0].LastError = Refusing, "401 Unauthorized: no" }, "error endpoint prod: the receiver refuses: 401 Unauthorized: no Check the credentials", false, false},
		{"bad certificate", func(s *State) { s.Endpoints[0].CredentialError = "open /config/ca: no such file" }, "error endpoint prod: open /config/ca: no such file", false, false},
		{"a login page", func(s *State) { s.Endpoints[0].AcceptedWith = "200 OK with a page of HTML" }, "warning endpoint prod: the receiver accepts with 200 OK with a page of HTML A login page", false, false},
		{"clock not set", func(s *State) { s.Endpoints[0].Phase = Clock }, "warning endpoint prod: waits for this host's clock", false, false},
		{"catching up", func(s *State) { s.Endpoints[0].Backlog = Backlog{Scrapes: 90, Oldest: now.Add(-6 * time.Minute)} }, "warning endpoint prod: catching up; 90 scrapes wait, the oldest for 6 min", false, false},
		{"a scrape under way", func(s *State) { s.Endpoints[0].Backlog = Backlog{Scrapes: 1, Oldest: now.Add(-time.Second)} }, "", false, true},
		{"fast receiver", func(s *State) { s.Endpoints[0].ClockOffset = 180 }, "warning endpoint prod: the receiver's clock is 3 min ahead of this host's", false, false},
		{"slow receiver", func(s *State) { s.Endpoints[0].ClockOffset = -180 }, "warning endpoint prod: the receiver's clock is 3 min behind this host's", false, false},
		{"a second off", func(s *State) { s.Endpoints[0].ClockOffset = 1 }, "", false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := fresh()
			c.change(&s)
			got := newTelemetry(func() State { return s }).State()
			var all []string
			for _, p := range got.Problems {
				all = append(all, string(p.Severity)+" "+p.Subject+": "+p.Text+" "+p.Hint)
			}
			if c.silent != (len(all) == 0) || !strings.HasPrefix(strings.Join(all, "\n"), c.want) || len(all) > 1 {
				t.Errorf("%q, want one that begins with %q", all, c.want)
			}
			if got.Ready == c.unready || got.Healthy == strings.HasPrefix(c.want, "error") {
				t.Errorf("healthy %v, ready %v", got.Healthy, got.Ready)
			}
		})
	}
}

// Samples that were lost before this process began are not told again; those
// since are, and the hint of a failure no longer says that nothing is lost.
func TestLossesAreToldForAnHour(t *testing.T) {
	s, at := outage(), now
	s.Endpoints[0].Lost[series.Refused] = 100
	tel := New(Options{State: func() State { c := s; c.Endpoints = append([]EndpointState(nil), s.Endpoints...); return c }, Now: func() time.Time { return at }})
	if got := tel.State().Problems; len(got) != 1 || !strings.Contains(got[0].Hint, "Nothing is lost") {
		t.Errorf("%+v", got)
	}
	at = at.Add(time.Minute)
	s.Endpoints[0].Lost[series.Refused] += 409
	got := tel.State().Problems
	if len(got) != 2 || !strings.Contains(got[0].Hint, "is lost, and counted") || got[1].Text != "409 samples lost since 14:00 UTC" {
		t.Errorf("%+v", got)
	}
	for range 130 {
		at = at.Add(30 * time.Second)
		s.Targets[0].Last = at
		got = tel.State().Problems
	}
	if len(got) != 1 {
		t.Errorf("an hour later: %+v", got)
	}
}
