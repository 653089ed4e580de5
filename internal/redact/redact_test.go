// SPDX-License-Identifier: Apache-2.0

package redact

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

// TestSpellings: a secret is hidden however it is written.
func TestSpellings(t *testing.T) {
	for _, s := range []string{"hunter2-long", "p@ss word", `quo"ted\`, "a+b/c=d&<e>", "four", "größe", "s\x00\x1b\xff"} {
		secrets := New([]string{s})
		j, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		spellings := []string{
			s, strconv.Quote(s), url.QueryEscape(s), url.PathEscape(s), "http://" + url.UserPassword("user", s).String() + "@host",
			base64.StdEncoding.EncodeToString([]byte(s)), base64.URLEncoding.EncodeToString([]byte(s)),
			base64.RawStdEncoding.EncodeToString([]byte(s)) + ".", base64.RawURLEncoding.EncodeToString([]byte(s)) + ".", string(j),
		}
		for _, text := range spellings {
			if got := secrets.Hide("a " + text + " b"); strings.Contains(got, strings.Trim(text, `".`)) || !strings.Contains(got, Hidden) {
				t.Errorf("%q is shown as %q", text, got)
			}
			if len(text) > secrets.Longest()+len("http://user:@host") {
				t.Errorf("%q is longer than %d", text, secrets.Longest())
			}
		}
	}
}

// TestHide: of a key each line is hidden, of a secret and its part the whole, of a
// file's contents what is without its line feed; what is too short stays.
func TestHide(t *testing.T) {
	const key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nshort\n-----END KEY-----\n"
	secrets := New([]string{key, "token", "token-and-more", " padded\n", "abc", "", Hidden})
	for text, want := range map[string]string{
		"line MIIEvQIBADANBgkqhkiG9w0B": "line <secret>",
		"-----BEGIN KEY----- short":     "-----BEGIN KEY----- short",
		"token-and-more, token":         "<secret>, <secret>",
		"the padded one":                "the <secret> one",
		"abc <secret>":                  "abc <secret>",
		strings.TrimSpace(key) + "!":    "<secret>!",
		"nothing of it":                 "nothing of it",
		base64.StdEncoding.EncodeToString([]byte("token")) + "x": "<secret>x",
	} {
		if got := secrets.Hide(text); got != want {
			t.Errorf("%q is shown as %q, want %q", text, got, want)
		}
	}
	for _, none := range []*Secrets{nil, New(nil), New([]string{"abc", ""}), {}} {
		if got := none.Hide("abc"); got != "abc" || none.Longest() != 0 {
			t.Errorf("%q, %d", got, none.Longest())
		}
	}
}
