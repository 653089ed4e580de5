// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"

	promconfig "github.com/prometheus/common/config"

	"github.com/docker-remote-write/docker-remote-write/internal/weburl"
)

// maxEndpoints bounds what one process serves: each has a sender of its own.
const maxEndpoints = 32

// endpoints fills in cfg.Endpoints, from CONFIG_FILE or from the environment.
func (l *loader) endpoints() {
	switch {
	case l.set("CONFIG_FILE"):
		l.fromFile()
	case l.set("REMOTE_WRITE_URL"):
		l.fromEnvironment()
	default:
		l.fail("REMOTE_WRITE_URL", "", errors.New(
			"is not set; set it to the receiver's remote write URL, such as https://prometheus.example.org/api/v1/write, or set CONFIG_FILE"))
		l.client(nil)
		l.cloud(nil)
		l.headers()
	}
}

// perReceiver are the settings that say something about one receiver. What a
// file with several receivers leaves out must not come from them.
func (l *loader) perReceiver() []string {
	var names []string
	for i := range settings {
		s := &settings[i]
		if s.Group == groupAuth && !strings.HasSuffix(s.Name, "_PROXY") && l.set(s.Name) {
			names = append(names, s.Name)
		}
	}
	return names
}

func (l *loader) fromFile() {
	const name = "CONFIG_FILE"
	if l.set("REMOTE_WRITE_URL") {
		l.contradict([]string{name, "REMOTE_WRITE_URL"}, "exclude each other; put the URL into the file or unset one of them")
	}
	if names := l.perReceiver(); len(names) > 0 {
		l.contradict(append(names, name), "with a file, what belongs to one receiver stands in the file, where it cannot reach another")
	}
	if l.bad[name] {
		return
	}
	if abs, err := filepath.Abs(l.cfg.ConfigFile); err == nil {
		l.cfg.ConfigFile = abs
	}
	l.cfg.fileSeen = stateOf(l.cfg.ConfigFile)
	endpoints, warnings, err := LoadFile(l.cfg.ConfigFile, l.base)
	l.warnings = append(l.warnings, warnings...)
	if err != nil {
		l.bad[name] = true
		l.errs = append(l.errs, fmt.Errorf("CONFIG_FILE: %w", l.hint(err)))
	}
	l.cfg.Endpoints = endpoints
}

// fromEnvironment makes one endpoint of each URL.
func (l *loader) fromEnvironment() {
	const name = "REMOTE_WRITE_URL"
	fields := strings.Fields(l.cfg.values[name])
	if len(fields) > maxEndpoints {
		l.fail(name, "", fmt.Errorf("has %d URLs; give at most %d", len(fields), maxEndpoints))
		fields = fields[:maxEndpoints]
	}
	var urls []*url.URL
	for i, f := range fields {
		u, err := parseURL(f)
		if err != nil {
			if len(fields) > 1 {
				err = fmt.Errorf("URL %d: %w", i+1, err)
			}
			l.fail(name, "", err)
			continue
		}
		for _, other := range urls {
			if weburl.Requested(other).String() == weburl.Requested(u).String() {
				l.fail(name, "", fmt.Errorf("%s stands there twice; everything would be sent twice", weburl.Show(u)))
			}
		}
		urls = append(urls, u)
	}
	l.origins(urls)
	client, headers := l.client(urls), l.headers()
	l.cloudAlone()
	for _, u := range urls {
		e := l.base
		e.URL, e.Headers, e.Client, e.Cloud = u, headers, client, l.cloud(u)
		if u.User != nil {
			if names := l.among("REMOTE_WRITE_USERNAME", "REMOTE_WRITE_PASSWORD", "REMOTE_WRITE_PASSWORD_FILE",
				"REMOTE_WRITE_BEARER_TOKEN", "REMOTE_WRITE_BEARER_TOKEN_FILE"); len(names) > 0 || e.Cloud.Set() {
				names = append(names, l.clouds()...)
				l.contradict(append([]string{name}, names...), "the URL holds a user name as well; keep one of the two")
			}
			e.takeUser()
		}
		l.cfg.Endpoints = append(l.cfg.Endpoints, e)
	}
	nameEndpoints(l.cfg.Endpoints)
	l.clearText()
}

// takeUser turns the URL's user info into basic authentication.
func (e *Endpoint) takeUser() {
	password, _ := e.URL.User.Password()
	e.Client.BasicAuth = &promconfig.BasicAuth{Username: e.URL.User.Username(), Password: promconfig.Secret(password)}
	e.URL = weburl.Requested(e.URL)
}

// among are those of the names that are set.
func (l *loader) among(names ...string) []string {
	var set []string
	for _, n := range names {
		if l.set(n) {
			set = append(set, n)
		}
	}
	return set
}

// origins refuses credentials that would go to more than one server.
func (l *loader) origins(urls []*url.URL) {
	for _, u := range urls {
		if weburl.Origin(u) == weburl.Origin(urls[0]) {
			continue
		}
		var names []string
		for _, n := range l.perReceiver() {
			switch n {
			case "REMOTE_WRITE_CA", "REMOTE_WRITE_CA_FILE", "REMOTE_WRITE_SERVER_NAME", "REMOTE_WRITE_INSECURE_SKIP_VERIFY":
			default:
				names = append(names, n)
			}
		}
		if len(names) > 0 {
			l.contradict(append(names, "REMOTE_WRITE_URL"), fmt.Sprintf(
				"credentials for both %s and %s; give each receiver its own in a CONFIG_FILE", weburl.Origin(urls[0]), weburl.Origin(u)))
		}
		return
	}
}

// separators are what someone may have put between two URLs, or behind the last one, in
// place of white space.
var separators = regexp.MustCompile(`(?i)[,;|\s]+https?:|[,;|]+$`)

// parseURL reads the URL of a receiver. It may hold credentials, even where it
// is malformed, so that errors show it only when it cannot.
func parseURL(s string) (*url.URL, error) {
	if parts := separators.Split(s, -1); len(parts) > 1 {
		return nil, fmt.Errorf("holds %d URLs that no white space separates; in REMOTE_WRITE_URL put white space between them, and in CONFIG_FILE each into an entry of its own", len(parts))
	}
	shown := quote(s)
	if strings.ContainsAny(s, "@?#") {
		shown = "the URL"
	}
	u, err := url.Parse(s)
	switch {
	case err != nil && strings.Contains(s, "@"):
		return nil, fmt.Errorf("%s cannot be parsed; special characters in user name and password must be percent-encoded", shown)
	case err != nil:
		return nil, fmt.Errorf("%s cannot be parsed; give one such as https://prometheus.example.org/api/v1/write", shown)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("%s does not begin with http:// or https://", shown)
	case u.Hostname() == "" || u.Opaque != "":
		return nil, fmt.Errorf("%s has no host; give one such as https://prometheus.example.org/api/v1/write", shown)
	case u.Fragment != "":
		return nil, fmt.Errorf("%s has a fragment, the part after #, which is never sent; leave it out", weburl.Show(u))
	}
	if err := checkPort(u); err != nil {
		return nil, fmt.Errorf("%s %w", weburl.Show(u), err)
	}
	if u.User != nil && strings.Contains(u.User.Username(), ":") {
		return nil, fmt.Errorf("%s has a colon in the user name, which basic authentication cannot carry", weburl.Show(u))
	}
	return u, nil
}

// clearText warns of credentials that anyone on the way can read.
func (l *loader) clearText() {
	for i := range l.cfg.Endpoints {
		e := &l.cfg.Endpoints[i]
		c := &e.Client
		if e.URL.Scheme == "https" || loopback(e.URL.Hostname()) || c.BasicAuth == nil && c.Authorization == nil && c.OAuth2 == nil && !e.Cloud.Set() {
			continue
		}
		if ip, err := netip.ParseAddr(e.URL.Hostname()); err == nil && ip.Unmap().IsPrivate() {
			continue
		}
		l.warn("REMOTE_WRITE_URL", "credentials go to %s in clear; use https if the receiver has it", weburl.Show(e.URL))
	}
}
