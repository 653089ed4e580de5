// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"net/url"
	"strings"
)

// proxies checks the proxy settings and switches them on for every endpoint
// that names no proxy of its own. The HTTP client reads them from the
// environment itself, by the rules that Go's HTTP clients share.
func (l *loader) proxies() {
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY"} {
		v := l.cfg.values[name]
		if v == "" {
			continue
		}
		u, err := parseProxy(v)
		if err != nil {
			l.fail(name, "", err)
			continue
		}
		if u.User != nil {
			if p, ok := u.User.Password(); ok {
				l.cfg.proxies = append(l.cfg.proxies, p)
			}
		}
		l.base.Client.ProxyFromEnvironment = true
	}
}

// parseProxy reads a proxy's URL, where the scheme may be missing.
func parseProxy(v string) (*url.URL, error) {
	if !strings.Contains(v, "://") {
		v = "http://" + v
	}
	u, err := url.Parse(v)
	if err != nil || u.Hostname() == "" || checkPort(u) != nil {
		return nil, errors.New("is not the URL of a proxy; give one such as http://proxy.example.org:3128")
	}
	switch u.Scheme {
	case "http", "https", "socks5", "socks5h":
		return u, nil
	}
	return nil, errors.New("has a scheme that is none of http, https, socks5; give a URL such as http://proxy.example.org:3128")
}
