// SPDX-License-Identifier: Apache-2.0

package weburl

import (
	"net/url"
	"testing"
)

func TestURLs(t *testing.T) {
	for _, c := range []struct{ in, show, requested, origin string }{
		{"https://u:p@x:1/a%2Fb?c=d#e", "https://x:1/a%2Fb", "https://x:1/a%2Fb?c=d", "https://x:1"},
		{"http://key@Host/w", "http://Host/w", "http://Host/w", "http://host:80"},
		{"HTTPS://host/w?", "https://host/w", "https://host/w?", "https://host:443"},
		{"http://[::1]:9090/w#a%2Fb", "http://[::1]:9090/w", "http://[::1]:9090/w", "http://[::1]:9090"},
		{"http://host:80", "http://host:80", "http://host:80", "http://host:80"},
		{"http://host/a@b", "http://host/a@b", "http://host/a@b", "http://host:80"},
	} {
		u, err := url.Parse(c.in)
		if err != nil {
			t.Fatal(err)
		}
		before := *u
		for what, pair := range map[string][2]string{
			"shown":                      {Show(u), c.show},
			"shown from text":            {ShowText(c.in), c.show},
			"requested":                  {Requested(u).String(), c.requested},
			"origin":                     {Origin(u), c.origin},
			"requested of its own again": {Requested(Requested(u)).String(), c.requested},
		} {
			if pair[0] != pair[1] {
				t.Errorf("%s %s: %q, want %q", c.in, what, pair[0], pair[1])
			}
		}
		if *u != before {
			t.Errorf("%s was changed to %s", c.in, u)
		}
	}
	if got := Show(nil); got != "" {
		t.Errorf("no URL is shown as %q", got)
	}
	for in, want := range map[string]string{
		"unix:///run/a@b/m?.sock:/metrics": "unix:///run/a@b/m?.sock:/metrics",
		"host:9323/metrics":                "host:9323/metrics",
		"":                                 "",
		"u:p@host/metrics":                 Hidden,
		"http://u:p%@host/":                Hidden,
		"http://u:p?q@host/":               Hidden,
		"/metrics?token=p":                 Hidden,
		"http://u:p/x@host/":               Hidden,
	} {
		if got := ShowText(in); got != want {
			t.Errorf("%q is shown as %q, want %q", in, got, want)
		}
	}
}
