// SPDX-License-Identifier: Apache-2.0

package logging

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Hidden stands in lines where a secret was.
const Hidden = "<secret>"

// redactor replaces secrets. A nil one replaces nothing.
type redactor struct{ replacer *strings.Replacer }

// newRedactor knows the secrets as they are and as they are often written: in
// URLs, in quotes, in base64.
func newRedactor(secrets []string) *redactor {
	var texts []string
	for _, s := range secrets {
		q := strconv.Quote(s)
		for _, t := range []string{
			s, strings.TrimSpace(s), q[1 : len(q)-1], url.QueryEscape(s), url.PathEscape(s),
			base64.StdEncoding.EncodeToString([]byte(s)), base64.URLEncoding.EncodeToString([]byte(s)),
		} {
			if len(strings.TrimSpace(t)) >= 4 && t != Hidden {
				texts = append(texts, t)
			}
		}
	}
	if len(texts) == 0 {
		return nil
	}
	// A replacer prefers the earlier pair: a longer text goes before its parts.
	slices.SortFunc(texts, func(a, b string) int { return len(b) - len(a) })
	pairs := make([]string, 0, 2*len(texts))
	for _, t := range texts {
		pairs = append(pairs, t, Hidden)
	}
	return &redactor{strings.NewReplacer(pairs...)}
}

func (r *redactor) hide(s string) string {
	if r == nil {
		return s
	}
	return r.replacer.Replace(s)
}
