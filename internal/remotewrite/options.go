// SPDX-License-Identifier: Apache-2.0

// Package remotewrite sends the scrapes that wait in the spool to one receiver
// by Prometheus remote write, 2.0 or 1.0.
//
// A Sender reads from its cursor, merges several scrapes into one request, sends
// it, and moves the cursor when the receiver's answer is final. What each answer
// means is decided in one place, judge.
//
// The protocols: https://prometheus.io/docs/specs/prw/remote_write_spec/ and
// https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/.
package remotewrite

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	promconfig "github.com/prometheus/common/config"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/sirupsen/logrus"

	"github.com/docker-remote-write/docker-remote-write/internal/cloudauth"
)

// Protocol is a version of remote write.
type Protocol uint8

const (
	// Auto prefers 2.0 and falls back to 1.0 where the receiver does not speak it.
	Auto Protocol = iota
	V2
	V1
)

// String is "auto", "2.0" or "1.0", as in the settings.
func (p Protocol) String() string {
	switch p {
	case V2:
		return "2.0"
	case V1:
		return "1.0"
	default:
		return "auto"
	}
}

// ParseProtocol reads what String writes.
func ParseProtocol(s string) (Protocol, error) {
	for _, p := range []Protocol{Auto, V2, V1} {
		if s == p.String() {
			return p, nil
		}
	}
	return Auto, fmt.Errorf("protocol %q: want auto, 2.0 or 1.0", s)
}

// Options of a Sender. A zero limit or duration takes the default that stands
// beside it.
type Options struct {
	// Name of the endpoint, in logs and status.
	Name string
	// URL to POST to. Its user info, if any, is sent as basic authentication.
	URL *url.URL
	// Protocol Auto negotiates, another one is pinned.
	Protocol Protocol
	// Client holds credentials, TLS and proxy. FollowRedirects and EnableHTTP2 are
	// not looked at: redirects are followed by the rule of this package, and one
	// ordered sender gains nothing from HTTP/2.
	Client promconfig.HTTPClientConfig
	// Cloud are credentials of a cloud, in place of those in Client.
	Cloud cloudauth.Config
	// Headers are added to each request; those of the protocol win.
	Headers map[string]string
	// Timeout of one attempt, from the connection to the answer's header. 30 s.
	Timeout time.Duration
	// HoldOnAuthError keeps what is refused with 401, 402, 403 or 404.
	HoldOnAuthError bool
	// DropOn429 gives up what is answered with 429.
	DropOn429 bool
	// MaxSamples and MaxBytes end a request; the bytes are those of the
	// uncompressed request. 30,000 and 1 MiB.
	MaxSamples, MaxBytes int
	// Deadline is how long a scrape may wait to be merged with the next ones.
	Deadline time.Duration
	// MinBackoff and MaxBackoff bound the delays between attempts. 500 ms, 1 min.
	MinBackoff, MaxBackoff time.Duration
	// RateLimit, in samples a second, holds while catching up. 0 for none.
	RateLimit float64
	// Relabel are the endpoint's write_relabel_configs.
	Relabel []*relabel.Config
	// Omit is what is left out of the requests.
	Omit Omit
	// UserAgent is "product/version".
	UserAgent string
	// Secrets lists strings that must appear in no log line, error or status. It
	// is called when there is an error to show, and may be nil.
	Secrets func() []string
	// Log takes what an operator should know.
	Log logrus.FieldLogger
}

// Validate reports what New would refuse.
func (o Options) Validate() error { return o.complete() }

// Omit names parts of what was scraped that an endpoint is not sent.
type Omit struct {
	// Metadata is type, help and unit.
	Metadata bool
	// Exemplars, which are not counted anywhere.
	Exemplars bool
	// NativeHistograms count as series.Relabelled.
	NativeHistograms bool
}

// complete fills in the defaults and refuses what cannot work.
func (o *Options) complete() error {
	if o.URL == nil || o.URL.Host == "" || o.URL.Scheme != "http" && o.URL.Scheme != "https" {
		return errors.New("remote write URL: want http://host/path or https://host/path")
	}
	if o.Log == nil {
		return errors.New("remote write: no logger")
	}
	if o.Protocol > V1 {
		return fmt.Errorf("remote write protocol %d is unknown", o.Protocol)
	}
	if err := o.Client.Validate(); err != nil {
		return fmt.Errorf("remote write %s: %w", o.Name, err)
	}
	for _, r := range o.Relabel {
		if r == nil {
			return fmt.Errorf("remote write %s: empty entry in write_relabel_configs", o.Name)
		}
	}
	o.Timeout = orDefault(o.Timeout, 30*time.Second)
	o.MinBackoff = orDefault(o.MinBackoff, 500*time.Millisecond)
	o.MaxBackoff = max(orDefault(o.MaxBackoff, time.Minute), o.MinBackoff)
	o.MaxSamples = orDefault(o.MaxSamples, 30_000)
	o.MaxBytes = orDefault(o.MaxBytes, 1<<20)
	if o.Secrets == nil {
		o.Secrets = func() []string { return nil }
	}
	if o.UserAgent == "" {
		o.UserAgent = "docker-remote-write"
	}
	return nil
}

func (o *Options) delays() Delays { return Delays{o.MinBackoff, o.MaxBackoff} }

func orDefault[T int | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}
