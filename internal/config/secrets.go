// SPDX-License-Identifier: Apache-2.0

package config

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	promconfig "github.com/prometheus/common/config"
)

// Secrets are the texts that must not be shown: passwords, tokens, keys, header
// values and the values in URLs' queries, and pairs that are sent in one piece.
// How else they may be written is for whoever hides them. Files are read anew, so
// that a rotated secret is among them; one that cannot be read is left out.
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
		if t = strings.TrimSpace(t); t != "" {
			s[t] = true
		}
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

func (s secretSet) sorted() []string { return slices.Sorted(maps.Keys(s)) }

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
	s.add(e.Cloud.Secrets()...)
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
			s.add(user + ":" + password)
		} else if len(user) >= 8 {
			// A user name alone can be an API key.
			s.add(user, user+":")
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
			s.add(url.QueryEscape(o.ClientID) + ":" + url.QueryEscape(secret))
		}
		s.add(string(o.ClientCertificateKey))
		s.addFile(o.ClientCertificateKeyFile)
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
		s.add(p, u.Username()+":"+p)
	}
}

func (s secretSet) tls(c *promconfig.TLSConfig) {
	s.add(string(c.Key))
	s.addFile(c.KeyFile)
}

func (s secretSet) proxy(c *promconfig.ProxyConfig) {
	if c.ProxyURL.URL != nil {
		s.user(c.ProxyURL.User)
	}
	for _, values := range c.ProxyConnectHeader {
		s.add(secretStrings(values)...)
	}
}
