// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"runtime"
	"time"

	"github.com/docker-remote-write/docker-remote-write/internal/config"
	"github.com/docker-remote-write/docker-remote-write/internal/remotewrite"
	"github.com/docker-remote-write/docker-remote-write/internal/scrape"
	"github.com/docker-remote-write/docker-remote-write/internal/telemetry"
	"github.com/docker-remote-write/docker-remote-write/internal/weburl"
)

// state is the snapshot behind status, health and the own metrics.
func (p *pipeline) state() telemetry.State {
	s := telemetry.State{
		Version:   version,
		GoVersion: runtime.Version(),
		Mode:      p.cfg.Mode.String(),
		Started:   p.started,
		Config:    telemetry.ConfigState{File: p.cfg.ConfigFile, Warnings: p.notes},
		Spool:     telemetry.SpoolState{Dir: p.cfg.DataDir, MaxBytes: p.cfg.SpoolMaxBytes},
		Log:       telemetry.LogState{Dropped: p.log.Dropped()},
	}
	s.Spool.Bytes = p.spool.Usage()
	removed := p.spool.Removed()
	s.Spool.Removed = removed.Sum()
	for _, u := range p.spool.Unclaimed() {
		s.Unclaimed = append(s.Unclaimed, telemetry.UnclaimedState{Name: u.Name, Since: u.Since, Samples: u.Samples})
	}
	if err := p.spool.Err(); err != nil {
		s.Spool.Error = err.Error()
	}
	for _, t := range p.targets {
		s.Targets = append(s.Targets, p.targetState(t))
	}
	clock := p.clock.Stats()
	s.ClockSteps = clock.Steps + clock.Waits
	p.senders.state(&s)
	return s
}

func (p *pipeline) targetState(t *target) telemetry.TargetState {
	st := t.scraper.Stats()
	s := telemetry.TargetState{
		Name:        t.Name,
		URL:         weburl.ShowText(t.URL),
		Job:         t.Job,
		Instance:    t.Instance,
		Running:     t.running.Load(),
		Interval:    telemetry.Secs(t.Interval),
		Last:        st.LastScrape,
		LastSuccess: st.LastSuccess,
		Duration:    telemetry.Secs(st.Duration),
		Samples:     st.LastSamples,
		Successes:   st.Outcomes[scrape.OK],
		Failures:    st.Failed(),
		Held:        st.Outcomes[scrape.HeldBack],
		Scraped:     st.Samples,
		Timestamps:  st.TimestampsIgnored,
	}
	if s.Running {
		s.Waiting = cmp.Or(p.clock.Stats().Waiting, st.Waiting)
	}
	if !st.Up {
		s.LastError = st.LastError
	}
	return s
}

// state adds the endpoints and what is known of their configuration.
func (s *senders) state(out *telemetry.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out.Config.Loaded = s.loaded
	out.Config.ReloadFailed = s.refused != ""
	out.Config.Error = s.refused
	for _, r := range s.running {
		out.Endpoints = append(out.Endpoints, r.state())
	}
}

func idleState(invalid error, warnings []config.Warning) *telemetry.State {
	s := &telemetry.State{Version: version, GoVersion: runtime.Version(), Mode: config.Plugin.String()}
	if invalid != nil {
		s.Config.Error = invalid.Error()
	}
	for _, w := range warnings {
		s.Config.Warnings = append(s.Config.Warnings, w.String())
	}
	return s
}

func (r *running) state() telemetry.EndpointState {
	st, tally, backlog := r.sender.Load().Status(), r.cursor.Tally(), r.cursor.Backlog()
	e := telemetry.EndpointState{
		Name:            st.Name,
		URL:             st.URL,
		Protocol:        st.Protocol.String(),
		LastError:       st.LastError,
		LastErrorTime:   st.LastErrorTime,
		LastSuccess:     st.LastSuccess,
		NextAttempt:     st.NextAttempt,
		Backlog:         telemetry.Backlog{Scrapes: backlog.Scrapes, Samples: backlog.Samples, Bytes: backlog.Bytes},
		Appended:        r.cursor.Appended(),
		Delivered:       tally.Delivered,
		Lost:            tally.Lost,
		Retried:         st.RetriedSamples,
		Failures:        st.Failures,
		CredentialError: st.CredentialError,
		AcceptedWith:    st.AcceptedWith,
		Unconfirmed:     st.Unconfirmed,
		RequestTime:     telemetry.Secs(st.Duration),
		SentBytes:       st.WireBytes,
		Phase:           telemetry.Idle,
	}
	if backlog.Oldest != 0 {
		e.Backlog.Oldest = time.UnixMilli(backlog.Oldest)
	}
	if st.NewestSent != 0 {
		e.NewestSent = time.UnixMilli(st.NewestSent)
	}
	if st.ClockKnown {
		e.ClockOffset = telemetry.Secs(st.ClockOffset)
	}
	for _, q := range st.Requests() {
		e.Requests.Add(q.Protocol.String(), q.Code, q.Count)
	}
	switch st.State {
	case remotewrite.StateRefusing:
		e.Phase = telemetry.Refusing
	case remotewrite.StateClock:
		e.Phase = telemetry.Clock
	case remotewrite.StateBackingOff:
		e.Phase = telemetry.Waiting
	default:
		if backlog.Samples > 0 {
			e.Phase = telemetry.Sending
		}
	}
	return e
}
