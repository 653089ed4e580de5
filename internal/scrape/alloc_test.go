// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// A scrape of known series allocates nothing for a series, whatever the format:
// what it allocates does not depend on how many there are.
func TestAllocations(t *testing.T) {
	allocs := func(p payload, change func(s *Scraper, i int)) float64 {
		s := staticScraper(t, p.contentType, p.body)
		i := 0
		run := func() {
			i++
			if change != nil {
				change(s, i)
			}
			if _, err := s.Scrape(context.Background(), epoch, nil); err != nil {
				t.Fatal(err)
			}
		}
		for range 4 {
			run()
		}
		return testing.AllocsPerRun(20, run)
	}
	for _, p := range payloads(t, 100, 4000) {
		t.Run(p.name, func(t *testing.T) {
			if n := allocs(p, nil); n > 20 {
				t.Errorf("%v allocations a scrape", n)
			}
		})
	}
	// Where the shape changes with each scrape, textparse reads it. In text it too
	// allocates nothing for a known series.
	t.Run("changing text", func(t *testing.T) {
		body := textBody(synthetic(500))
		n := allocs(payload{"", typeText, body}, func(s *Scraper, i int) {
			next := append(fmt.Appendf(nil, "once 1\n#%d\n", i), body...)
			s.target.client.Transport = &static{header: http.Header{"Content-Type": {typeText}}, body: next}
		})
		if n > 100 {
			t.Errorf("%v allocations a scrape", n)
		}
	})
}

func TestOptions(t *testing.T) {
	for _, tt := range []struct{ target, job, want string }{
		{"", "j", `want unix:///path/to.sock or http://host:port/metrics`},
		{"unix://m.sock", "j", "want an absolute path"},
		{"ftp://h/metrics", "j", "want unix://"},
		{"http://u:s3cret@h/metrics", "j", "user info"},
		{"ftp://u:s3cret@h/metrics?token=s3cret", "j", `"ftp://h/metrics"`},
		{"http://u:s3cret@h:bad/metrics", "j", "invalid URL"},
		{"http:///metrics", "j", "want a host"},
		{"http://h:99999999999/%zz", "j", "invalid URL"},
		{"unix:///m.sock", "", "job and instance"},
	} {
		_, err := New(Options{Target: tt.target, Job: tt.job, Instance: "i"})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, want %q", tt.target, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("a secret is shown: %v", err)
		}
	}
	for target, path := range map[string]string{
		"unix:///run/m.sock":         "http://localhost/metrics",
		"unix:///run/m.sock:/other":  "http://localhost/other",
		"http://127.0.0.1:9323":      "http://127.0.0.1:9323/metrics",
		"http://127.0.0.1:9323/x?y=": "http://127.0.0.1:9323/x?y=",
	} {
		s := newScraper(t, Options{Target: target})
		if got := s.target.request.URL.String(); got != path {
			t.Errorf("%s asks for %s, want %s", target, got, path)
		}
	}
}
