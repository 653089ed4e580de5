// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/docker-remote-write/docker-remote-write/internal/redact"
	"github.com/docker-remote-write/docker-remote-write/internal/weburl"
)

// shownBytes is how much of an error, and of a receiver's body, is shown.
const shownBytes = 1 << 10

// redactor makes texts from elsewhere fit to be shown: without secrets, without
// control characters, and short.
type redactor struct {
	secrets func() []string
	own     []string        // from the URL and the headers
	cloud   func() []string // what an identity service gave; nil without one
}

func newRedactor(o *Options) *redactor {
	r := &redactor{secrets: o.Secrets}
	if u := o.URL.User; u != nil {
		password, _ := u.Password()
		r.own = append(r.own, password, u.Username()+":"+password)
		r.own = appendUser(r.own, u.Username())
	}
	for _, v := range o.Headers {
		if len(v) >= 8 {
			r.own = append(r.own, v)
		}
	}
	return r
}

// appendUser adds a user name, which alone can be an API key; a name of a few
// letters is none, and hiding it would hide parts of words.
func appendUser(list []string, user string) []string {
	if len(user) < 8 {
		return list
	}
	return append(list, user)
}

// hider hides the secrets. sent is the request that the answer belongs to: it has
// tokens that no setting knows of.
func (r *redactor) hider(sent *http.Request) *redact.Secrets {
	list := slices.Concat(r.own, r.secrets())
	if r.cloud != nil {
		list = append(list, r.cloud()...)
	}
	if sent != nil {
		for _, name := range []string{"Authorization", "Proxy-Authorization", "Cookie"} {
			for _, v := range sent.Header.Values(name) {
				kind, token, ok := strings.Cut(v, " ")
				if !ok {
					kind, token = "", v
				}
				list = append(list, token)
				if strings.EqualFold(kind, "basic") {
					if pair, err := base64.StdEncoding.DecodeString(token); err == nil {
						user, password, _ := strings.Cut(string(pair), ":")
						list = appendUser(append(list, password), user)
					}
				}
			}
		}
	}
	return redact.New(list)
}

// error is the text of an error as it may be shown.
func (r *redactor) error(err error) string {
	return escape(r.hider(nil).Hide(err.Error()))
}

// response is the status of an answer and the beginning of its body as they may be
// shown; for a redirect its target without the query.
func (r *redactor) response(res *http.Response, from *url.URL) string {
	secrets := r.hider(res.Request)
	longest := min(secrets.Longest(), 64<<10)
	limit := 2*shownBytes + longest
	raw, _ := io.ReadAll(io.LimitReader(res.Body, int64(limit)))
	body := secrets.Hide(string(raw))
	if len(raw) == limit {
		// A secret that the end cuts in two is not recognized: what may be the
		// first part of one is left out.
		body = body[:max(len(body)-longest, 0)]
	}
	text := escape(secrets.Hide(strings.TrimSpace(res.Status)))
	if res.StatusCode >= 300 && res.StatusCode <= 399 {
		if to, err := from.Parse(res.Header.Get("Location")); err == nil && res.Header.Get("Location") != "" {
			return escape(text + ": redirects to " + secrets.Hide(weburl.Show(to)) + ", which is not followed; set it as the URL")
		}
		return text
	}
	if b := strings.TrimSpace(body); b != "" {
		text += ": " + b
	}
	return escape(text)
}

// escape cuts a text and makes control characters visible.
func escape(s string) string {
	if len(s) > shownBytes {
		s = s[:shownBytes]
	}
	clean := true
	for _, c := range s {
		if c == utf8.RuneError || !unicode.IsPrint(c) {
			clean = false
			break
		}
	}
	if clean {
		return s
	}
	s = strconv.Quote(s)
	s = strings.ReplaceAll(s[1:len(s)-1], `\"`, `"`)
	if len(s) > 4*shownBytes {
		s = s[:4*shownBytes]
	}
	return s
}
