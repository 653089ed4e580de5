// SPDX-License-Identifier: Apache-2.0

package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/docker-remote-write/docker-remote-write/internal/weburl"
)

// MaxTargets is how many targets there may be, the engine's among them.
const MaxTargets = 32

// ScrapeTarget is one thing that is scraped.
type ScrapeTarget struct {
	// Name tells targets apart: the job, and the instance where that is not this host's.
	// That of SCRAPE_TARGET has none.
	Name string
	// URL is unix:///path of a socket, the HTTP path behind a colon, or an http or
	// https URL with the path.
	URL string
	// Job and Instance are the labels of its series; no two targets have the same.
	Job, Instance string
	Interval      time.Duration
	// Timeout is at most Interval.
	Timeout time.Duration
	// TLS is for https.
	TLS *tls.Config
}

// Targets are all targets in their order, that of SCRAPE_TARGET first.
func (c *Config) Targets() []ScrapeTarget {
	return append([]ScrapeTarget{{URL: c.Target, Job: c.Job, Instance: c.Instance, Interval: c.Interval, Timeout: c.Timeout}}, c.Extra...)
}

const extraTargets = "EXTRA_TARGETS"

// extra reads EXTRA_TARGETS.
func (l *loader) extra() {
	v := l.cfg.values[extraTargets]
	trust := l.extraTLS()
	pairs, err := parsePairs(v)
	if err != nil {
		l.fail(extraTargets, v, err)
		return
	}
	if len(pairs) >= MaxTargets {
		l.fail(extraTargets, v, fmt.Errorf("has %d targets; give at most %d", len(pairs), MaxTargets-1))
		return
	}
	for _, p := range pairs {
		t, err := l.extraTarget(p)
		t.TLS = trust // of an http one as well, which may redirect
		if err == nil && strings.HasPrefix(t.URL, "https:") {
			if trust == nil {
				err = errors.New("an https target is trusted by EXTRA_TARGETS_CA alone: give its certificate authority there, or set EXTRA_TARGETS_INSECURE_SKIP_VERIFY=true")
			}
		}
		if err != nil {
			l.fail(extraTargets, "", fmt.Errorf("%s: %w", quote(p.name), err))
			continue
		}
		same := func(o ScrapeTarget) bool { return o.Job == t.Job && o.Instance == t.Instance || o.Name == t.Name }
		if slices.ContainsFunc(l.cfg.Targets(), same) {
			l.fail(extraTargets, "", fmt.Errorf("two targets would have job=%s and instance=%s; give each another name", quote(t.Job), quote(t.Instance)))
			continue
		}
		l.cfg.Extra = append(l.cfg.Extra, t)
	}
}

// extraTarget reads name=URL or name@interval=URL.
func (l *loader) extraTarget(p pair) (ScrapeTarget, error) {
	t := ScrapeTarget{Interval: l.cfg.Interval}
	name, every, ok := strings.Cut(p.name, "@")
	if ok {
		s := find("SCRAPE_INTERVAL")
		if err := s.parse(every, &t.Interval); err != nil {
			return t, fmt.Errorf("the interval %s %w", quote(every), err)
		}
	}
	if t.Job = name; name == "" {
		return t, errors.New("has no name; give name=URL or name@interval=URL")
	}
	if err := checkLabelValue(name); err != nil {
		return t, fmt.Errorf("the name %w", err)
	}
	t.Timeout = min(l.cfg.Timeout, t.Interval)
	var host string
	var err error
	if t.URL, host, err = targetURL(p.value, "http", "https"); err != nil {
		return t, err
	}
	if t.Name, t.Instance = name+" "+host, host; local(host) {
		t.Name, t.Instance = name, l.cfg.Instance
	}
	return t, nil
}

// local reports whether the host of a target is this one, as a socket's is.
func local(host string) bool {
	u := url.URL{Host: host}
	name := u.Hostname()
	ip := net.ParseIP(name)
	return name == "" || strings.EqualFold(name, "localhost") || ip != nil && ip.IsLoopback()
}

// extraTLS is how https targets are trusted, nil where nothing says so.
func (l *loader) extraTLS() *tls.Config {
	if l.extraInsecure {
		return &tls.Config{InsecureSkipVerify: true}
	}
	if l.extraCA == "" {
		return nil
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(l.extraCA)) // checkCA has looked at it
	return &tls.Config{RootCAs: pool}
}

// Effective is what a target came to, for people.
func (t *ScrapeTarget) Effective() []Line {
	return []Line{
		{Name: "url", Value: weburl.ShowText(t.URL)},
		{Name: "job", Value: t.Job},
		{Name: "instance", Value: t.Instance},
		{Name: "interval", Value: model.Duration(t.Interval).String()},
		{Name: "timeout", Value: model.Duration(t.Timeout).String()},
	}
}

// displayTargets shows EXTRA_TARGETS without what its URLs may hide.
func displayTargets(list string) string {
	pairs, _ := parsePairs(list)
	shown := make([]string, len(pairs))
	for i, p := range pairs {
		shown[i] = p.name + "=" + weburl.ShowText(p.value)
	}
	return strings.Join(shown, ",")
}
