// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"fmt"
	"time"

	"github.com/docker-remote-write/docker-remote-write/internal/words"
)

// Problem is one thing that an operator should know, and where to look next.
type Problem struct {
	// Severity is "error", which makes the forwarder unhealthy, or "warning".
	Severity Severity `json:"severity"`
	// Subject is what it is about: "configuration", "scrape", "spool" or
	// "endpoint NAME".
	Subject string `json:"subject"`
	// Text says what is wrong, with the failure as it was worded.
	Text string `json:"text"`
	// Hint says what to do or where to look.
	Hint string `json:"hint"`
	// NotReady says that /-/ready fails because of it.
	NotReady bool `json:"not_ready,omitempty"`
}

// Severity of a problem.
type Severity string

// The severities.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

const (
	// startGrace is how long a process may take to its first scrape before that
	// is an error: a booting engine is given 30 s by the scraper.
	startGrace = time.Minute
	// maxClockOffset is where a receiver's clock is reported.
	maxClockOffset = 2 * time.Minute
	// slowBacklog is the age at which a backlog is mentioned although requests
	// succeed: it is being caught up on.
	slowBacklog = 5 * time.Minute
)

// Assess derives Healthy, Ready and Problems from the rest of the state.
func (s *State) Assess() {
	s.Problems = []Problem{}
	s.assessConfig()
	if s.Config.Error == "" || len(s.Endpoints) > 0 {
		for i := range s.Targets {
			s.assessTarget(&s.Targets[i])
		}
		s.assessSpool()
	}
	for i := range s.Endpoints {
		s.assessEndpoint(&s.Endpoints[i])
	}
	for _, u := range s.Unclaimed {
		s.problem(Warning, "spool", fmt.Sprintf("%s wait for the endpoint %q, which is no longer configured", words.Count(u.Samples, "sample"), u.Name),
			"Give an endpoint that name or its old URL to send them; after seven days they are deleted and counted as endpoint_removed.")
	}
	s.Healthy, s.Ready = true, true
	for _, p := range s.Problems {
		s.Healthy = s.Healthy && p.Severity != Error
		s.Ready = s.Ready && !p.NotReady
	}
}

func (s *State) problem(sev Severity, subject, text, hint string) *Problem {
	s.Problems = append(s.Problems, Problem{Severity: sev, Subject: subject, Text: text, Hint: hint})
	return &s.Problems[len(s.Problems)-1]
}

func (s *State) assessConfig() {
	c := &s.Config
	switch {
	case c.Error != "" && len(s.Endpoints) == 0:
		s.problem(Error, "configuration", c.Error,
			"Nothing is sent. Correct the setting, then disable and enable the plugin (or restart `run`).").NotReady = true
	case c.Error != "" || c.ReloadFailed:
		text := c.Error
		if text == "" {
			text = "the last attempt to load it failed"
		}
		s.problem(Error, "configuration", text,
			"The configuration before it stays in use. Correct the file; it is read again when it changes.")
	}
	for _, w := range c.Warnings {
		s.problem(Warning, "configuration", w, "It works like this; docs/settings.md says what would be better.")
	}
}

// assessTarget judges one target. What is wrong with another than the engine is a
// warning: the program itself is well.
func (s *State) assessTarget(c *TargetState) {
	subject, severity, notReady := "scrape", Error, true
	if c.Name != "" {
		subject, severity, notReady = "target "+c.Name, Warning, false
	}
	first := severity
	if s.Time.Sub(s.Started) < startGrace {
		first = Warning
	}
	problem := func(sev Severity, text, hint string) { s.problem(sev, subject, text, hint).NotReady = notReady }
	switch {
	case !c.Running && s.Mode == "plugin" && c.Name == "":
		problem(first, "the engine has not called StartMetrics, or has called StopMetrics since",
			"Nothing is read of the engine while it is down or booting; what waits is still sent. See the engine's log if it is up.")
	case !c.Running:
		problem(severity, "the scrape loop does not run", "See the log.")
	case c.Waiting != "":
		problem(Warning, c.Waiting, "Scraping begins by itself.")
	case c.LastError != "" && c.Name != "":
		problem(severity, c.LastError, "up is 0 meanwhile. Is "+c.URL+" the address that EXTRA_TARGETS is to name?")
	case c.LastError != "":
		problem(severity, c.LastError, "up is 0 meanwhile. Is the engine up, and is "+c.URL+" its metrics socket?")
	case c.Last.IsZero():
		problem(first, "nothing has been scraped yet", "The first scrape comes at once; see the log if it does not.")
	case c.Interval > 0 && s.Time.Sub(c.Last) > 3*c.Interval.Duration()+startGrace:
		problem(severity, "the last scrape was "+words.Ago(s.Time, c.Last),
			"Was the machine suspended, or its clock changed? Otherwise fetch /debug/pprof/goroutine?debug=2 from the plugin's socket.")
	}
}

func (s *State) assessSpool() {
	c := &s.Spool
	if c.Error != "" {
		s.problem(Error, "spool", c.Error,
			"Scrapes wait in memory and are sent from there; a crash loses them. Check that "+c.Dir+" has space and can be written.").NotReady = true
	}
	if c.MaxBytes > 0 && c.Bytes > c.MaxBytes/10*9 {
		s.problem(Warning, "spool", fmt.Sprintf("%s of %s are used", words.Size(c.Bytes), words.Size(c.MaxBytes)),
			"The oldest scrapes go next and are counted as evicted_size. Raise SPOOL_MAX_BYTES if the outage will last.")
	}
}

func (s *State) assessEndpoint(e *EndpointState) {
	subject := "endpoint " + e.Name
	waiting := ""
	if e.Backlog.Scrapes > 0 {
		waiting = fmt.Sprintf("; %s wait, the oldest for %s", words.Count(e.Backlog.Scrapes, "scrape"), words.Span(e.Backlog.Age.Duration()))
	}
	next := ""
	if e.NextAttempt.After(s.Time) {
		next = "; next attempt in " + words.Span(e.NextAttempt.Sub(s.Time))
	}
	if e.CredentialError != "" {
		s.problem(Error, subject, e.CredentialError, "Correct the setting or the file; files are read again for each request.")
	}
	switch {
	case e.Phase == Refusing:
		s.problem(Error, subject, "the receiver refuses: "+e.LastError+waiting+next,
			"Check the credentials, the tenant and the path of "+e.URL+". One scrape is tried at a time until one is accepted.")
	case e.Failures > 0:
		s.problem(Error, subject, e.LastError+waiting+next, s.endpointHint(e))
	case e.Phase == Clock:
		s.problem(Warning, subject, "waits for this host's clock, which is behind what waits"+waiting,
			"Samples from the future harm other hosts at the receiver. Set the clock; sending goes on by itself.")
	case e.Backlog.Age.Duration() > slowBacklog:
		s.problem(Warning, subject, "catching up"+waiting, "It drains by itself; MAX_SAMPLES_PER_SECOND or the receiver sets the pace.")
	}
	if e.AcceptedWith != "" {
		s.problem(Warning, subject, "the receiver accepts with "+e.AcceptedWith,
			"A login page, a portal or a web server answers so, and stores nothing. Look whether the samples arrive, and correct "+e.URL+" or the proxy if not.")
	}
	if h := e.History; len(h) > 0 && e.Lost.Sum() > h[0].Lost {
		s.problem(Warning, subject, words.Count(e.Lost.Sum()-h[0].Lost, "sample")+" lost since "+h[0].Time.UTC().Format("15:04 UTC"),
			"docs/troubleshooting.md has a paragraph for each reason; the reasons stand with the endpoint.")
	}
	if off := e.ClockOffset.Duration().Abs(); off > maxClockOffset {
		s.problem(Warning, subject, fmt.Sprintf("the receiver's clock is %s %s this host's", words.Span(off), ahead(e.ClockOffset)),
			"One of the two is wrong. Check time synchronisation here first: samples from a fast clock harm other hosts.")
	}
}

func (s *State) endpointHint(e *EndpointState) string {
	switch h := e.History; {
	case len(h) > 0 && e.Lost.Sum() > h[0].Lost:
		return "What was refused for good is lost, and counted by reason; what waits is sent when " + e.URL + " takes it."
	case s.Spool.Error != "":
		return "Nothing is lost while it fits into memory."
	}
	return "Nothing is lost: scrapes wait on disk and are sent when " + e.URL + " answers again."
}

func ahead(s Seconds) string {
	if s > 0 {
		return "ahead of"
	}
	return "behind"
}
