// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/relabel"
)

// parse turns a value, which is not empty, into what dest points at.
func (s *Setting) parse(v string, dest any) error {
	switch dest := dest.(type) {
	case *bool:
		b, err := strconv.ParseBool(v)
		if err != nil {
			return errors.New("is neither true nor false")
		}
		*dest = b
	case *time.Duration:
		d, err := parseDuration(v)
		if err != nil {
			return err
		}
		*dest = d
		return inRange(s, d, parseDuration)
	case *int64:
		n, err := parseSize(v)
		if err != nil {
			return err
		}
		*dest = n
		return inRange(s, n, parseSize)
	case *int:
		n, err := parseCount(v)
		if err != nil {
			return err
		}
		*dest = n
		return inRange(s, n, parseCount)
	case *relabel.Regexp:
		// Parsed by itself first: what is wrong alone can be right in anchors.
		_, err := syntax.Parse(v, syntax.Perl)
		if err == nil {
			*dest, err = relabel.NewRegexp(v)
		}
		if err != nil {
			return fmt.Errorf("is not a regular expression in RE2 syntax, such as go_.*|process_.*: %w", err)
		}
	case *string:
		if len(s.Choices) > 0 {
			v = strings.ToLower(v)
			if v == "warn" {
				v = "warning"
			}
			if !slices.Contains(s.Choices, v) {
				return fmt.Errorf("is none of %s", strings.Join(s.Choices, ", "))
			}
		}
		if s.Type == PEM {
			v = unescapePEM(v)
		} else if i := strings.IndexFunc(v, unicode.IsControl); i >= 0 || !utf8.ValidString(v) {
			return errors.New("has a line break, another control character or bytes that are not UTF-8; give plain text on one line")
		}
		*dest = v
	default:
		return fmt.Errorf("has no parser for %T", dest)
	}
	return nil
}

// inRange checks v against the setting's bounds, which are texts that parse
// with the same function. Bounds that do not parse are caught by a test.
func inRange[T int | int64 | time.Duration](s *Setting, v T, parse func(string) (T, error)) error {
	if v == 0 && s.ZeroMeans != "" {
		return nil
	}
	low, err1 := parse(s.Min)
	high, err2 := parse(s.Max)
	if err1 == nil && err2 == nil && (v < low || v > high) {
		return fmt.Errorf("is out of range; give %s", s.Range())
	}
	return nil
}

// Range says in words what a setting may be, "" if its type says it all.
func (s *Setting) Range() string {
	switch {
	case len(s.Choices) > 0:
		return strings.Join(s.Choices, ", ")
	case s.Min == "":
		return ""
	case s.ZeroMeans != "":
		return fmt.Sprintf("%s to %s, or 0: %s", s.Min, s.Max, s.ZeroMeans)
	default:
		return fmt.Sprintf("%s to %s", s.Min, s.Max)
	}
}

// parseDuration reads durations as Prometheus' configuration has them.
func parseDuration(v string) (time.Duration, error) {
	d, err := model.ParseDuration(v)
	if err != nil {
		return 0, errors.New("is not a duration; give whole numbers with the units ms, s, m, h, d, w or y, such as 15s or 1m30s")
	}
	return time.Duration(d), nil
}

func parseCount(v string) (int, error) {
	n, err := strconv.Atoi(v)
	if err != nil {
		if errors.Is(err, strconv.ErrRange) {
			return 0, errors.New("is too large a number")
		}
		return 0, errors.New("is not a whole number")
	}
	return n, nil
}

// sizeUnits are decimal and binary; both cases are taken.
var sizeUnits = map[string]int64{
	"": 1, "b": 1,
	"kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
	"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
}

func parseSize(v string) (int64, error) {
	const want = "is not a size; give a number of bytes or one with the unit KB, MB, GB, TB or KiB, MiB, GiB, TiB, such as 64MiB"
	i := strings.IndexFunc(v, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	if i < 0 {
		i = len(v)
	}
	unit, ok := sizeUnits[strings.ToLower(strings.TrimSpace(v[i:]))]
	if !ok || i == 0 {
		return 0, errors.New(want)
	}
	n, err := strconv.ParseFloat(v[:i], 64)
	if err != nil || math.IsInf(n, 0) {
		return 0, errors.New(want)
	}
	if n *= float64(unit); n >= math.MaxInt64 {
		return 0, errors.New("is too large a size")
	}
	return int64(n), nil
}

// checkTarget normalises SCRAPE_TARGET.
func checkTarget(l *loader) (err error) {
	l.cfg.Target, _, err = targetURL(l.cfg.Target, "http")
	return err
}

// targetURL checks and normalises the URL of a target with one of the schemes, or of a
// socket. host is what stands there of the host, empty for a socket.
func targetURL(t string, schemes ...string) (normal, host string, err error) {
	want := "give unix:///path/of/socket or " + strings.Join(schemes, " or ") + "://host:port/metrics"
	if path, ok := strings.CutPrefix(t, "unix:"); ok {
		path = strings.TrimPrefix(path, "//")
		// 107 bytes is what Linux has room for, sun_path less its closing zero.
		if !strings.HasPrefix(path, "/") || path == "/" || len(path) > 107 {
			return t, "", errors.New("is not an absolute path of a socket of at most 107 bytes; " + want)
		}
		return "unix://" + path, "", nil
	}
	u, err := url.Parse(t)
	if err != nil || !slices.Contains(schemes, u.Scheme) || u.Hostname() == "" || u.Opaque != "" {
		return t, "", fmt.Errorf("is neither a unix socket nor an %s URL; %s", strings.Join(schemes, " or "), want)
	}
	if err := checkPort(u); err != nil {
		return t, "", err
	}
	if u.User != nil || u.Fragment != "" {
		return t, "", errors.New("has user info or a fragment, which no target takes; " + want)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/metrics"
	}
	return u.String(), u.Host, nil
}

func checkPort(u *url.URL) error {
	p := u.Port()
	if p == "" && !strings.HasSuffix(u.Host, ":") {
		return nil
	}
	if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
		return errors.New("has a port that is not between 1 and 65535")
	}
	return nil
}

func checkListen(l *loader) error {
	const want = "give host:port, such as 127.0.0.1:9324"
	a := l.cfg.StatusListen
	if a == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(a)
	if err != nil {
		return errors.New("is not an address; " + want)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return errors.New("has no numeric port up to 65535; " + want)
	}
	if strings.ContainsAny(host, "/@ ") {
		return errors.New("is not an address; " + want)
	}
	if !loopback(host) {
		l.warn("STATUS_LISTEN_ADDRESS", "anyone who reaches %s can read the status; 127.0.0.1 keeps it on this host", a)
	}
	return nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback() || strings.EqualFold(host, "localhost")
}
