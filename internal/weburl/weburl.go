// SPDX-License-Identifier: Apache-2.0

// Package weburl says what of a URL may be shown, what of it is requested, and
// where it leads.
package weburl

import (
	"net"
	"net/url"
	"strings"
)

// Hidden stands for what cannot be shown in part.
const Hidden = "<hidden>"

// Show is a URL as it may be shown to anyone: without user info, query and
// fragment. It is empty for nil.
func Show(u *url.URL) string {
	if u == nil {
		return ""
	}
	c := *Requested(u)
	c.RawQuery, c.ForceQuery = "", false
	return c.String()
}

// ShowText is Show for what was given as a URL and may be none, or that of a unix
// socket, which has no secret. It is Hidden where it cannot tell a secret from
// the rest.
func ShowText(s string) string {
	if strings.HasPrefix(s, "unix:") {
		return s
	}
	if u, err := url.Parse(s); err == nil && u.Host != "" {
		return Show(u)
	}
	if strings.ContainsAny(s, "@?#") {
		return Hidden
	}
	return s
}

// Requested is a copy of a URL without what no request line has: user info and
// fragment.
func Requested(u *url.URL) *url.URL {
	c := *u
	c.User, c.Fragment, c.RawFragment = nil, "", ""
	return &c
}

// Origin is scheme://host:port in lower case, the port spelled out.
func Origin(u *url.URL) string {
	scheme, port := strings.ToLower(u.Scheme), u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[scheme]
	}
	return scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}
