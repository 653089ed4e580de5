// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"strings"

	promconfig "github.com/prometheus/common/config"
)

// odd says what a text has that is hardly meant to be a part of it, "" if nothing: what a
// shell, a list of settings or an editor has left there.
func odd(text string) string {
	t := strings.TrimSpace(text)
	for _, mark := range []string{"\ufeff", "\xff\xfe", "\xfe\xff"} {
		if strings.HasPrefix(t, mark) {
			return "begins with a byte order mark, which counts as a part of it; save it without one, in UTF-8"
		}
	}
	if n := len(t); n >= 2 && (t[0] == '"' || t[0] == '\'') && t[n-1] == t[0] {
		return "has a quote at both ends, which counts as a part of it; leave the two out unless they are meant"
	}
	return ""
}

// warnOdd warns of what the value of a setting that takes any text has in it.
func (l *loader) warnOdd(s *Setting, v string) {
	switch s.Type {
	case Text, Pairs, Regexp:
		if p := odd(v); p != "" {
			l.warn(s.Name, "%s", p)
		}
	}
	if s.Type != Pairs {
		return
	}
	pairs, err := parsePairs(v)
	if err != nil {
		return // it is reported as an error
	}
	for _, p := range pairs {
		if problem := odd(p.value); problem != "" {
			l.warn(s.Name, "the value of %s %s", quote(p.name), problem)
		}
	}
}

// warnOddFile warns of the content of a file that a setting names.
func (l *loader) warnOddFile(name, content string) {
	if p := odd(content); p != "" {
		l.warn(name, "the file %s", p)
	}
}

// oddFiles are warnings of the files with credentials that an entry of CONFIG_FILE names.
func oddFiles(where string, c *promconfig.HTTPClientConfig) []Warning {
	var warnings []Warning
	look := func(key, path string) {
		if path == "" {
			return
		}
		content, err := readFile(&path)
		if err != nil {
			return
		}
		if p := odd(content); p != "" {
			warnings = append(warnings, Warning{"CONFIG_FILE", fmt.Sprintf("%s: the file of %s %s", where, key, p)})
		}
	}
	if b := c.BasicAuth; b != nil {
		look("basic_auth.username_file", b.UsernameFile)
		look("basic_auth.password_file", b.PasswordFile)
	}
	if a := c.Authorization; a != nil {
		look("authorization.credentials_file", a.CredentialsFile)
	}
	if o := c.OAuth2; o != nil {
		look("oauth2.client_secret_file", o.ClientSecretFile)
	}
	return warnings
}
