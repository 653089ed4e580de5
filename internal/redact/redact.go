// SPDX-License-Identifier: Apache-2.0

// Package redact hides secrets in texts that are to be shown. It is the one place
// that knows how else a secret may be spelled.
package redact

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Hidden stands where a secret was, as in Prometheus' own output.
const Hidden = "<secret>"

const (
	// shortest is a secret that is hidden, in bytes: shorter ones stand in every
	// second word.
	shortest = 4
	// keyLine is how long a line of a secret of several lines is that gives part of
	// it away: what is shorter in PEM is no key.
	keyLine = 16
)

// Secrets are texts that must not be shown. Nil, and the zero value, hide nothing.
type Secrets struct {
	replacer *strings.Replacer
	longest  int
}

// New knows the secrets as they are and as they may be written: without the white
// space around them, in URLs, in quotes, in JSON, in base64, and of a key in PEM
// each line.
func New(secrets []string) *Secrets {
	var all []string
	for _, s := range secrets {
		all = appendSpellings(all, s)
		if trimmed := strings.TrimSpace(s); trimmed != s {
			all = appendSpellings(all, trimmed)
		}
		if strings.Contains(s, "\n") {
			for line := range strings.Lines(s) {
				if line = strings.TrimSpace(line); len(line) >= keyLine && !strings.HasPrefix(line, "---") {
					all = appendSpellings(all, line)
				}
			}
		}
	}
	if len(all) == 0 {
		return nil
	}
	// A replacer prefers the earlier pair: a longer text goes before its parts.
	slices.SortFunc(all, func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	r := &Secrets{longest: len(all[0])}
	var pairs []string
	for _, s := range slices.Compact(all) {
		pairs = append(pairs, s, Hidden)
	}
	r.replacer = strings.NewReplacer(pairs...)
	return r
}

func appendSpellings(list []string, s string) []string {
	if len(strings.TrimSpace(s)) < shortest {
		return list
	}
	raw, quoted := []byte(s), strconv.Quote(s)
	list = append(list, s, quoted[1:len(quoted)-1],
		url.QueryEscape(s), url.PathEscape(s), url.UserPassword("", s).String()[1:],
		base64.StdEncoding.EncodeToString(raw), base64.RawStdEncoding.EncodeToString(raw),
		base64.URLEncoding.EncodeToString(raw), base64.RawURLEncoding.EncodeToString(raw))
	if j, err := json.Marshal(s); err == nil {
		list = append(list, string(j[1:len(j)-1]))
	}
	return list
}

// Hide is the text with Hidden in place of each secret.
func (s *Secrets) Hide(text string) string {
	if s == nil || s.replacer == nil {
		return text
	}
	return s.replacer.Replace(text)
}

// Longest is the length in bytes of the longest spelling: where a text was cut, so
// much before the cut may be the beginning of a secret.
func (s *Secrets) Longest() int {
	if s == nil {
		return 0
	}
	return s.longest
}
