// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/docker-remote-write/docker-remote-write/internal/weburl"
)

// Load reads settings from an environment as os.Environ returns it, and from
// the files that it names. It changes nothing outside and may be called again,
// for instance after an error about a file that was missing. The error joins
// one for each problem; the warnings are valid beside it.
func Load(mode Mode, environ []string) (*Config, []Warning, error) {
	l := &loader{
		mode: mode,
		env:  environment(environ),
		cfg:  &Config{Mode: mode, External: labels.EmptyLabels(), values: map[string]string{}},
		bad:  map[string]bool{},
	}
	if mode == Run {
		l.unknownNames()
	}
	for i := range settings {
		l.read(&settings[i])
	}
	l.external()
	l.relations()
	l.extra()
	l.proxies()
	l.endpoints()
	l.cfg.base = l.base
	if err := errors.Join(l.errs...); err != nil {
		return nil, l.warnings, err
	}
	return l.cfg, l.warnings, nil
}

// loader collects the outcome of one Load.
type loader struct {
	mode Mode
	env  map[string]string
	cfg  *Config
	base Endpoint
	cred credentials
	// send is what the settings SEND_ say; base has the opposite.
	send struct{ metadata, exemplars, nativeHistograms bool }
	// extraCA and extraInsecure are EXTRA_TARGETS_CA and EXTRA_TARGETS_INSECURE_SKIP_VERIFY.
	extraCA       string
	extraInsecure bool
	errs          []error
	warnings      []Warning
	// bad holds the names that an error was reported for, so that none is
	// blamed again for contradicting something.
	bad map[string]bool
}

// environment is the set names; the first of equal names wins, as in os.Getenv.
func environment(environ []string) map[string]string {
	env := make(map[string]string, len(environ))
	for _, e := range environ {
		name, value, ok := strings.Cut(e, "=")
		if _, twice := env[name]; !ok || twice {
			continue
		}
		env[name] = value
	}
	return env
}

// value is what was set under the name, "" if nothing was. Space around it is
// never meant, save in a secret.
func (l *loader) value(s *Setting) string {
	v := l.env[s.Name]
	if v == "" && strings.HasSuffix(s.Name, "_PROXY") {
		v = l.env[strings.ToLower(s.Name)]
	}
	if t := strings.TrimSpace(v); t == "" || !s.Secret || s.Type != Text {
		return t
	}
	return v
}

// set reports whether there is a value under the name.
func (l *loader) set(name string) bool { return l.cfg.values[name] != "" }

// read parses one setting into where it belongs.
func (l *loader) read(s *Setting) {
	v := l.value(s)
	if v != "" {
		l.cfg.values[s.Name] = v
		l.warnOdd(s, v)
	} else {
		v = s.fallback(l.mode, l.env)
	}
	if s.dest == nil || v == "" && s.check == nil {
		return
	}
	var err error
	if v != "" {
		err = s.parse(v, s.dest(l))
	}
	if err == nil && s.check != nil {
		err = s.check(l)
	}
	if err != nil {
		l.fail(s.Name, v, err)
	}
}

// fail reports a problem with the value of a setting.
func (l *loader) fail(name, value string, problem error) {
	l.bad[name] = true
	subject := name
	if s := find(name); s != nil && !s.Secret && s.Type != PEM && s.Type != URLs && value != "" {
		if s.Type == Target {
			value = weburl.ShowText(value)
		}
		subject += "=" + quote(value)
	}
	l.errs = append(l.errs, fmt.Errorf("%s%w", subject+joint(problem.Error()), problem))
}

// joint is what stands between a setting and what is said of it: nothing where
// that is the rest of a sentence.
func joint(problem string) string {
	switch word, _, _ := strings.Cut(problem, " "); word {
	case "is", "has", "begins", "makes":
		return " "
	}
	return ": "
}

// contradict reports settings that exclude each other, first the one to blame.
func (l *loader) contradict(names []string, problem string) {
	for _, n := range names {
		if l.bad[n] {
			return
		}
	}
	l.errs = append(l.errs, fmt.Errorf("%s: %s", strings.Join(names, ", "), problem))
}

func (l *loader) warn(name, format string, a ...any) {
	l.warnings = append(l.warnings, Warning{name, fmt.Sprintf(format, a...)})
}

// quote shows a value in an error: on one line, and not for ever.
func quote(v string) string {
	const most = 120
	if len(v) > most {
		v = strings.ToValidUTF8(v[:most], "") + "..."
	}
	return fmt.Sprintf("%q", v)
}

func find(name string) *Setting {
	for i := range settings {
		if settings[i].Name == name {
			return &settings[i]
		}
	}
	return nil
}

// relations checks what settings say about each other.
func (l *loader) relations() {
	c := l.cfg
	if !l.bad["SCRAPE_INTERVAL"] {
		if c.Timeout == 0 {
			c.Timeout = min(10*time.Second, c.Interval)
		}
		if c.Timeout > c.Interval {
			l.contradict([]string{"SCRAPE_TIMEOUT", "SCRAPE_INTERVAL"}, fmt.Sprintf(
				"a timeout of %s is longer than the interval of %s; make it at most as long", c.Timeout, c.Interval))
		}
		if c.Interval > 4*time.Minute {
			l.warn("SCRAPE_INTERVAL", "receivers take a series for ended after 5 minutes without a sample; at most 4m keeps graphs whole")
		}
	}
	if l.base.MinBackoff > l.base.MaxBackoff {
		l.contradict([]string{"MIN_BACKOFF", "MAX_BACKOFF"}, fmt.Sprintf(
			"the first wait of %s is longer than the longest of %s; make it at most as long", l.base.MinBackoff, l.base.MaxBackoff))
	}
	for _, name := range []string{"METRICS_KEEP", "METRICS_DROP"} {
		if v := c.values[name]; v != "" && !l.bad[name] && strings.ContainsAny(v, ", ") && !strings.ContainsAny(v, "{[") {
			l.warn(name, "has a comma or a space, which no metric name has; separate names with |")
		}
	}
	if c.ClassicHistograms && !c.NativeHistograms && !l.bad["SCRAPE_NATIVE_HISTOGRAMS"] {
		l.warn("ALWAYS_SCRAPE_CLASSIC_HISTOGRAMS", "has no effect without SCRAPE_NATIVE_HISTOGRAMS; classic buckets are scraped anyway")
	}
	if l.mode == Plugin && l.set("DATA_DIR") && !below(c.DataDir, "/data") && !below(c.DataDir, "/run/docker") {
		l.warn("DATA_DIR", "in the plugin only /data survives an upgrade; leave it unset")
	}
}

func below(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, dir+"/")
}

// defaultDataDir is where the spool lies if DATA_DIR says nothing.
func defaultDataDir(m Mode, env map[string]string) string {
	if m == Plugin {
		return "/data"
	}
	// systemd separates several directories by colons.
	if dir, _, _ := strings.Cut(env["STATE_DIRECTORY"], ":"); filepath.IsAbs(dir) {
		return filepath.Clean(dir)
	}
	return "/var/lib/docker-remote-write"
}

func checkDataDir(l *loader) error {
	if !filepath.IsAbs(l.cfg.DataDir) {
		return errors.New("is not an absolute path; give one such as /data")
	}
	l.cfg.DataDir = filepath.Clean(l.cfg.DataDir)
	return nil
}

func checkInstance(l *loader) error {
	if l.cfg.Instance == "" {
		host, err := os.Hostname()
		if err != nil || host == "" {
			return errors.New("the host's name is not known; set INSTANCE to one that no other host has")
		}
		l.cfg.Instance = host
	}
	return checkLabelValue(l.cfg.Instance)
}
