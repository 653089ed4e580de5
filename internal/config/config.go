// SPDX-License-Identifier: Apache-2.0

// Package config turns the environment and CONFIG_FILE into a Config. The table
// in settings.go is the only list of settings and of their defaults: parsing,
// the settings reference, the plugin's declared environment and what `check`
// prints all come from it.
//
// Every problem is reported at once, each naming the setting, its value unless
// it may hold a secret, and what would be right.
package config

import (
	"net/url"
	"time"

	promconfig "github.com/prometheus/common/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"

	"github.com/docker-remote-write/docker-remote-write/internal/cloudauth"
)

// Mode says how the program was started; some defaults depend on it.
type Mode int

const (
	// Plugin is a managed plugin in an engine.
	Plugin Mode = iota
	// Run is a process of its own: a service, a container, a rootless host.
	Run
)

// String is the name of the command that the mode belongs to.
func (m Mode) String() string {
	if m == Run {
		return "run"
	}
	return "plugin"
}

// Config is what the program does, complete: every default is filled in. It is
// not changed after Load returned it.
type Config struct {
	Mode Mode

	// Target is unix:///path of a socket, whose path is then /metrics, or an
	// http URL with the path.
	Target      string
	Interval    time.Duration
	Timeout     time.Duration
	MaxBytes    int64
	SampleLimit int
	// NativeHistograms are scraped in place of their classic buckets, with
	// ClassicHistograms beside them.
	NativeHistograms, ClassicHistograms bool
	// Extra are the targets of EXTRA_TARGETS, in their order.
	Extra []ScrapeTarget

	Job, Instance string
	// External is sorted and holds neither job nor instance.
	External labels.Labels
	// Keep and Drop match whole metric names; Regexp is nil in the one that is
	// not set.
	Keep, Drop  relabel.Regexp
	SelfMetrics bool

	DataDir       string
	SpoolMaxBytes int64
	// SpoolMaxAge is 0 for no limit.
	SpoolMaxAge time.Duration

	// StatusListen is a TCP address, or empty.
	StatusListen string
	// LogLevel is debug, info, warning or error.
	LogLevel string

	// ConfigFile is the path of CONFIG_FILE, or empty.
	ConfigFile string
	// Endpoints are those of REMOTE_WRITE_URL or, when Load read it, of
	// CONFIG_FILE, in their order. There is at least one and no name stands twice.
	Endpoints []Endpoint

	// base is what endpoints of CONFIG_FILE take where it says nothing.
	base Endpoint
	// fileSeen is CONFIG_FILE's state before it was read.
	fileSeen fileState
	// values are the settings that were set; proxies the passwords in them.
	values  map[string]string
	proxies []string
}

// Endpoint is one receiver and how to send to it.
type Endpoint struct {
	// Name is unique and does not depend on the endpoint's place in the list.
	Name string
	// URL has no user info: that has become basic authentication.
	URL *url.URL
	// Protocol is auto, 2.0 or 1.0.
	Protocol string
	// Client carries credentials, TLS and proxy. FollowRedirects is always off.
	Client promconfig.HTTPClientConfig
	// Cloud are credentials of a cloud, beside which Client has none.
	Cloud cloudauth.Config
	// Headers are added to each request, the tenant's among them. Their values
	// may be secret.
	Headers map[string]string
	// Timeout is that of one attempt.
	Timeout time.Duration
	// HoldOnAuthError keeps what was refused with 401, 402, 403 or 404.
	HoldOnAuthError bool
	// DropOn429 gives up what was answered with 429.
	DropOn429 bool

	// MaxSamples and MaxBytes bound a request before compression.
	MaxSamples int
	MaxBytes   int64
	// Deadline is how long a scrape may wait to be merged with the next ones.
	Deadline               time.Duration
	MinBackoff, MaxBackoff time.Duration
	// RateLimit is in samples a second while catching up, 0 for none.
	RateLimit int
	// OmitMetadata leaves out type, help and unit.
	OmitMetadata bool
	// OmitExemplars and OmitNativeHistograms leave those out.
	OmitExemplars, OmitNativeHistograms bool

	Relabel []*relabel.Config

	// entry is a hash of the entry of CONFIG_FILE, empty without one.
	entry string
}

// Equal reports whether two endpoints that were read with the same environment
// are the same in everything. Their fields cannot tell: an HTTP client keeps
// state of its own in the configuration that it was made from.
func (e *Endpoint) Equal(o *Endpoint) bool {
	return e.Name == o.Name && e.entry == o.entry && e.URL.String() == o.URL.String()
}

// Warning is about a setting that works, but hardly as it was meant.
type Warning struct {
	// Setting is the name of the setting or, in CONFIG_FILE, the key.
	Setting string
	// Text says what is odd and what would be right.
	Text string
}

// String is the warning as one line.
func (w Warning) String() string { return w.Setting + joint(w.Text) + w.Text }
