// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strings"

	promconfig "github.com/prometheus/common/config"
)

// Secrets are the texts that must not be shown: passwords, tokens, keys, header
// values and the values in URLs' queries, as they are and as they stand in
// requests. Files are read anew, so that a rotated secret is among them; one
// that cannot be read is left out.
func (c *Config) Secrets() []string {
	s := secretSet{}
	for _, p := range c.proxies {
		s.add(p)
	}
	for i := range c.Endpoints {
		c.Endpoints[i].secrets(s)
	}
	return s.sorted()
}

// Secrets are those of this endpoint alone.
func (e *Endpoint) Secrets() []string {
	s := secretSet{}
	e.secrets(s)
	return s.sorted()
}

// secretSet has each text once.
type secretSet map[string]bool

func (s secretSet) add(texts ...string) {
	for _, t := range texts {
		if t = strings.TrimSpace(t); t == "" {
			continue
		}
		s[t] = true
		s[url.QueryEscape(t)] = true
		s[url.PathEscape(t)] = true
		s[url.UserPassword("", t).String()[1:]] = true
	}
}

// addFile adds what the file holds; "" and unreadable files add nothing.
func (s secretSet) addFile(path string) string {
	if path == "" {
		return ""
	}
	text, err := readFile(&path)
	if err != nil {
		return ""
	}
	s.add(text)
	return strings.TrimSpace(text)
}

// addKey adds the lines of a private key: any of them gives part of it away.
func (s secretSet) addKey(text string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); len(line) >= 16 && !strings.HasPrefix(line, "-----") {
			s[line] = true
		}
	}
}

func (s secretSet) addKeyFile(path string) {
	if path == "" {
		return
	}
	if text, err := readFile(&path); err == nil {
		s.addKey(text)
	}
}

// sorted has the longest first, so that no replacement of a part hides a whole
// from its own.
func (s secretSet) sorted() []string {
	texts := make([]string, 0, len(s))
	for t := range s {
		texts = append(texts, t)
	}
	slices.SortFunc(texts, func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	return texts
}

func (e *Endpoint) secrets(s secretSet) {
	if e.URL != nil {
		for _, values := range e.URL.Query() {
			s.add(values...)
		}
		if e.URL.RawQuery != "" {
			s.add(e.URL.RawQuery)
		}
		s.user(e.URL.User)
	}
	for name, v := range e.Headers {
		// A tenant is no secret, and no key is as short as a zone or a number, which
		// hidden everywhere would make errors unreadable.
		if len(v) >= 8 && !strings.EqualFold(name, "X-Scope-OrgID") {
			s.add(v)
		}
	}
	c := &e.Client
	if b := c.BasicAuth; b != nil {
		user, password := b.Username, string(b.Password)
		s.add(password)
		if b.UsernameFile != "" {
			user = s.addFile(b.UsernameFile)
		}
		if b.PasswordFile != "" {
			password = s.addFile(b.PasswordFile)
		}
		if password != "" {
			s.add(base64.StdEncoding.EncodeToString([]byte(user+":"+password)), base64.StdEncoding.EncodeToString([]byte(password)))
		} else if len(user) >= 8 {
			// A user name alone can be an API key.
			s.add(user, base64.StdEncoding.EncodeToString([]byte(user+":")))
		}
	}
	if a := c.Authorization; a != nil {
		s.add(string(a.Credentials))
		s.addFile(a.CredentialsFile)
	}
	s.add(string(c.BearerToken))
	s.addFile(c.BearerTokenFile)
	if o := c.OAuth2; o != nil {
		s.add(string(o.ClientSecret))
		secret := string(o.ClientSecret) + s.addFile(o.ClientSecretFile)
		if secret != "" {
			s.add(base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(o.ClientID) + ":" + url.QueryEscape(secret))))
		}
		s.addKey(string(o.ClientCertificateKey))
		s.addKeyFile(o.ClientCertificateKeyFile)
		for _, v := range o.EndpointParams {
			s.add(v)
		}
		if u, err := url.Parse(o.TokenURL); err == nil {
			s.user(u.User)
		}
		s.tls(&o.TLSConfig)
		s.proxy(&o.ProxyConfig)
	}
	if c.HTTPHeaders != nil {
		for _, h := range c.HTTPHeaders.Headers {
			s.add(h.Values...)
			s.add(secretStrings(h.Secrets)...)
			for _, f := range h.Files {
				s.addFile(f)
			}
		}
	}
	s.tls(&c.TLSConfig)
	s.proxy(&c.ProxyConfig)
}

func (s secretSet) user(u *url.Userinfo) {
	if p, ok := u.Password(); ok {
		s.add(p, base64.StdEncoding.EncodeToString([]byte(u.Username()+":"+p)))
	}
}

func (s secretSet) tls(c *promconfig.TLSConfig) {
	s.addKey(string(c.Key))
	s.addKeyFile(c.KeyFile)
}

func (s secretSet) proxy(c *promconfig.ProxyConfig) {
	if c.ProxyURL.URL != nil {
		s.user(c.ProxyURL.User)
	}
	for _, values := range c.ProxyConnectHeader {
		s.add(secretStrings(values)...)
	}
}
