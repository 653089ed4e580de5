// SPDX-License-Identifier: Apache-2.0

// Package telemetry is how the forwarder shows itself: its own metrics, which
// travel in the same stream as the engine's, and health, status and a status
// page over HTTP. It knows none of the other packages' inner workings; whoever
// puts the parts together hands it a function that returns a State.
package telemetry

import "time"

// State is a snapshot of the whole forwarder. Its JSON form is what /status
// answers; docs/status.schema.json describes it. Credentials never stand in it:
// URLs come without user info and query.
type State struct {
	// Version and GoVersion are those of the binary.
	Version   string `json:"version"`
	GoVersion string `json:"go_version,omitempty"`
	// Mode is "plugin" or "run".
	Mode string `json:"mode"`
	// Job and Instance are the labels that every series carries.
	Job      string `json:"job"`
	Instance string `json:"instance"`
	// Time is when the snapshot was taken, Started when the process began.
	Time    time.Time `json:"time"`
	Started time.Time `json:"started"`

	// Healthy, Ready and Problems are derived from the rest by Assess.
	Healthy  bool      `json:"healthy"`
	Ready    bool      `json:"ready"`
	Problems []Problem `json:"problems"`

	Config ConfigState `json:"config"`
	// Targets are what is scraped, the engine first.
	Targets   []TargetState   `json:"targets"`
	Spool     SpoolState      `json:"spool"`
	Endpoints []EndpointState `json:"endpoints"`
	// Unclaimed are cursors in the spool that no endpoint of the configuration
	// has claimed; they are deleted after seven days.
	Unclaimed []UnclaimedState `json:"unclaimed,omitempty"`
	Log       LogState         `json:"log"`
	// ClockSteps counts the steps backwards of the host's clock.
	ClockSteps uint64       `json:"clock_steps"`
	Process    ProcessState `json:"process"`
}

// ConfigState is what is known of the configuration.
type ConfigState struct {
	// Error is why the configuration could not be used: the process then idles,
	// or goes on with the configuration before it if there is one.
	Error string `json:"error,omitempty"`
	// File is CONFIG_FILE, empty when the environment alone configures.
	File string `json:"file,omitempty"`
	// Loaded is when the configuration in use was loaded.
	Loaded time.Time `json:"loaded,omitzero"`
	// ReloadFailed says that the last attempt to load it failed.
	ReloadFailed bool `json:"reload_failed"`
	// Warnings are what the configuration's author should know.
	Warnings []string `json:"warnings,omitempty"`
}

// TargetState is how reading one target goes.
type TargetState struct {
	// Name tells targets of EXTRA_TARGETS apart; that of SCRAPE_TARGET has none.
	Name string `json:"name,omitempty"`
	// URL is that of the target, without its query.
	URL string `json:"url"`
	// Job and Instance are the labels of its series.
	Job      string `json:"job"`
	Instance string `json:"instance"`
	// Running says that the scrape loop runs: for the engine in plugin mode, between
	// its StartMetrics and its StopMetrics.
	Running bool `json:"running"`
	// Waiting is why the loop runs but does not scrape (a wrong clock, a booting
	// engine); empty otherwise.
	Waiting string `json:"waiting,omitempty"`
	// Interval is the time between scrapes.
	Interval Seconds `json:"interval_seconds"`
	// Last is when the last scrape began, LastSuccess when the last good one did.
	Last        time.Time `json:"last,omitzero"`
	LastSuccess time.Time `json:"last_success,omitzero"`
	// LastError is why the last scrape failed, empty when it did not.
	LastError string `json:"last_error,omitempty"`
	// Duration is that of the last scrape, Samples those of the last good one.
	Duration Seconds `json:"duration_seconds"`
	Samples  int     `json:"samples"`
	// Successes, Failures and Held count scrapes; held ones are those of a
	// half-started engine, which are not sent.
	Successes uint64 `json:"successes"`
	Failures  uint64 `json:"failures"`
	Held      uint64 `json:"held"`
	// Scraped counts the samples read from the target.
	Scraped uint64 `json:"samples_scraped"`
	// Timestamps counts samples that carried a time of their own, which was ignored.
	Timestamps uint64 `json:"timestamps_ignored"`
}

// SpoolState is the queue on disk.
type SpoolState struct {
	// Dir is where it lies.
	Dir string `json:"dir"`
	// Error is why scrapes do not reach the disk, empty while they do.
	Error string `json:"error,omitempty"`
	// Bytes is what it takes on disk, MaxBytes its cap (0 for none).
	Bytes    int64 `json:"bytes"`
	MaxBytes int64 `json:"max_bytes"`
	// Removed counts the samples of endpoints that were removed seven days before.
	Removed uint64 `json:"samples_removed"`
}

// EndpointState is one receiver and what waits for it.
type EndpointState struct {
	Name string `json:"name"`
	// URL is shown without user info and query.
	URL string `json:"url"`
	// Protocol is the remote write version in use, "2.0" or "1.0".
	Protocol string `json:"protocol"`
	// Phase is what the sender is at: "idle", "sending", "waiting" (for the next
	// attempt), "refusing" (the receiver refuses the credentials or the path) or
	// "clock" (the host's clock is not set).
	Phase Phase `json:"phase"`
	// LastError is the last failure as the receiver or the network worded it, of
	// a body the first KiB; LastErrorTime is when it came. Both outlive a success.
	LastError     string    `json:"last_error,omitempty"`
	LastErrorTime time.Time `json:"last_error_time,omitzero"`
	// CredentialError is what is wrong with a certificate or a credential on this
	// side; empty once the receiver has answered.
	CredentialError string `json:"credential_error,omitempty"`
	// AcceptedWith is what the last acceptance came with where it was a page of HTML,
	// as a login page's: whether anything was stored is not known.
	AcceptedWith string `json:"accepted_with,omitempty"`
	// Failures counts the failed attempts since the last success.
	Failures int `json:"consecutive_failures"`
	// LastSuccess is when a request was last accepted.
	LastSuccess time.Time `json:"last_success,omitzero"`
	// NextAttempt is when the next request leaves, zero when none waits.
	NextAttempt time.Time `json:"next_attempt,omitzero"`
	// NewestSent is the time of the newest sample that was delivered.
	NewestSent time.Time `json:"newest_sent,omitzero"`

	Backlog Backlog `json:"backlog"`

	// Appended = Delivered + every reason in Lost + Backlog.Samples. They count
	// samples since the endpoint's cursor was made, over restarts.
	Appended  uint64 `json:"samples_appended"`
	Delivered uint64 `json:"samples_delivered"`
	Lost      Lost   `json:"samples_lost"`
	// Retried counts samples in requests that were sent again; Unconfirmed those
	// that a receiver took but did not count as written.
	Retried     uint64 `json:"samples_retried"`
	Unconfirmed uint64 `json:"samples_unconfirmed"`
	// Requests counts attempts, RequestTime their duration, SentBytes the bytes of
	// their compressed bodies; all since the process began.
	Requests    Requests `json:"requests"`
	RequestTime Seconds  `json:"request_seconds_total"`
	SentBytes   uint64   `json:"sent_bytes"`
	// ClockOffset is the receiver's clock minus the host's, from its last answer.
	ClockOffset Seconds `json:"clock_offset_seconds"`

	// History is the backlog over the last hour, oldest first.
	History []Point `json:"history,omitempty"`
}

// Backlog is what waits for an endpoint.
type Backlog struct {
	Scrapes uint64 `json:"scrapes"`
	Samples uint64 `json:"samples"`
	Bytes   int64  `json:"bytes"`
	// Oldest is the time of the oldest waiting scrape.
	Oldest time.Time `json:"oldest,omitzero"`
	// Age is how far that lies back; it is set by telemetry.
	Age Seconds `json:"age_seconds"`
}

// UnclaimedState is a cursor without an endpoint.
type UnclaimedState struct {
	Name string `json:"name"`
	// Since is when it was last claimed.
	Since time.Time `json:"since,omitzero"`
	// Samples wait behind it.
	Samples uint64 `json:"samples"`
}

// LogState is the log's own loss.
type LogState struct {
	// Dropped counts lines that were dropped because the reader was too slow.
	Dropped uint64 `json:"dropped"`
}

// ProcessState is what the process itself takes; it is set by telemetry.
type ProcessState struct {
	// ResidentBytes is resident memory, pages of the binary included.
	ResidentBytes uint64 `json:"resident_bytes"`
	// CPU is user and system time since the process began.
	CPU Seconds `json:"cpu_seconds"`
}

// Point is one moment in an endpoint's history.
type Point struct {
	Time time.Time `json:"time"`
	// Age and Samples are those of the backlog then.
	Age     Seconds `json:"age_seconds"`
	Samples uint64  `json:"samples"`
	// Lost counts the samples lost so far for any reason.
	Lost uint64 `json:"lost"`
	// Failing says that the last attempt had failed then.
	Failing bool `json:"failing,omitempty"`
}

// Phase is what a sender is at.
type Phase string

// The phases of a sender.
const (
	Idle     Phase = "idle"
	Sending  Phase = "sending"
	Waiting  Phase = "waiting"
	Refusing Phase = "refusing"
	Clock    Phase = "clock"
)

// Seconds is a duration that stands in JSON as a number of seconds.
type Seconds float64

// Secs turns a duration into Seconds.
func Secs(d time.Duration) Seconds { return Seconds(d.Seconds()) }

// Duration is the way back.
func (s Seconds) Duration() time.Duration { return time.Duration(float64(s) * float64(time.Second)) }
