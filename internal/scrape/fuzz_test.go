// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

var fuzzTypes = [...]string{typeText, typePB, typeOM}

// exact is a scrape as lines that differ if anything in it does.
func exact(sc *series.Scrape) []string {
	var out []string
	for i, s := range sc.Series {
		if s.Labels.Get("__name__") == "scrape_duration_seconds" {
			continue
		}
		var start int64
		if sc.Starts != nil {
			start = sc.Starts[i]
		}
		out = append(out, fmt.Sprintf("%q %x %d %s %q %q", s.Labels, math.Float64bits(sc.Values[i]), start, s.Type, s.Help, s.Unit))
	}
	for _, h := range sc.Histograms {
		out = append(out, fmt.Sprintf("%q %v %v %d %s", h.Series.Labels, h.Int, h.Float, h.Start, h.Series.Type))
	}
	for _, e := range sc.Exemplars {
		out = append(out, fmt.Sprintf("exemplar %d %q %x %d", e.Index, e.Labels, math.Float64bits(e.Value), e.Ts))
	}
	return out
}

// edit changes one place of b: a byte replaced, inserted or removed.
func edit(b []byte, at uint16, op, c byte) []byte {
	if len(b) == 0 {
		return []byte{c}
	}
	i := int(at) % len(b)
	switch op % 3 {
	case 0:
		b = slices.Clone(b)
		b[i] = c
		return b
	case 1:
		return slices.Insert(slices.Clone(b), i, c)
	default:
		return slices.Delete(slices.Clone(b), i, i+1)
	}
}

// FuzzScrape reads a body, the same again, the body with one byte changed, and the
// first once more. A scraper that may use what it has learned must come to the
// same scrapes as one that reads everything with textparse, and a good scrape
// must follow whatever came before.
func FuzzScrape(f *testing.F) {
	type seed struct {
		format byte
		body   string
	}
	seeds := []seed{
		{0, ""}, {0, "a 1\n"}, {0, "a 1"}, {0, "# HELP a A.\n# TYPE a counter\na{x=\"1\"} 1\na{x=\"2\"} 2.5e3\n\nb NaN\n"},
		{0, "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n"},
		{0, "a 1 1700000000000\n"}, {0, "a{job=\"x\",instance=\"y\"} 1\nup 1\na{x=\"1\",y=\"2\"} 1\na{y=\"2\",x=\"1\"} 2\n"},
		{0, "{\"a.b\",\"c d\"=\"\\n\\\"\"} 0x1\n"}, {0, "a\t1\n # x\n a 2\n"},
		{0, "engine_daemon_engine_cpus_cpus 0\n"},
		{2, "# TYPE a counter\n# UNIT a_seconds seconds\na_total 1 # {id=\"7\"} 1 17\na_created 17\n# EOF\n"},
		{2, "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\nh_created 3\n# EOF\n"},
		{1, string(protobufBody(f, synthetic(110)))},
		{1, string(protobufBody(f, append(synthetic(3), nativeFamily(1))))}, {4, string(protobufBody(f, append(synthetic(3), nativeFamily(1))))},
		{1, string(protobufBody(f, bothForms()))}, {4, string(protobufBody(f, bothForms()))}, {7, string(protobufBody(f, bothForms()))},
	}
	for _, s := range seeds {
		f.Add(s.format, []byte(s.body), uint16(len(s.body)/2), byte(0), byte('2'))
		f.Add(s.format, []byte(s.body), uint16(len(s.body)/3), byte(1), byte('7'))
		f.Add(s.format, []byte(s.body), uint16(len(s.body)*2/3), byte(2), byte('"'))
	}
	for _, name := range []string{"v20.10-early-start.txt", "v20.10-fresh.pb", "master-fresh.pb"} {
		ct, body := capture(f, name)
		format := byte(0)
		if ct != typeText {
			format = 1
		}
		f.Add(format, body, uint16(999), byte(0), byte(1))
	}
	f.Fuzz(func(t *testing.T, format byte, body []byte, at uint16, op, c byte) {
		ct := fuzzTypes[int(format)%len(fuzzTypes)]
		fast, slow := staticScraper(t, ct, nil), staticScraper(t, ct, nil)
		for _, s := range []*Scraper{fast, slow} {
			s.o.NativeHistograms, s.o.ClassicHistograms = format >= 3, format >= 6
		}
		scrape := func(s *Scraper, ct string, body []byte) ([]string, error) {
			s.target.client.Transport = &static{header: http.Header{"Content-Type": {ct}}, body: body}
			sc, err := s.Scrape(context.Background(), epoch, nil)
			var failure *Error
			if sc == nil || err != nil && !errors.As(err, &failure) {
				t.Fatalf("no scrape: %v", err)
			}
			checkUnique(t, sc)
			for _, e := range sc.Exemplars {
				if e.Index < 0 || e.Index >= sc.Len() {
					t.Errorf("exemplar of %d of %d", e.Index, sc.Len())
				}
			}
			return exact(sc), err
		}
		for i, b := range [][]byte{body, body, edit(body, at, op, c), body} {
			slow.shape = nil
			got, err := scrape(fast, ct, b)
			want, wantErr := scrape(slow, ct, b)
			if d := cmp.Diff(want, got); d != "" || (err == nil) != (wantErr == nil) {
				t.Fatalf("scrape %d: %v, %v\n%s", i, err, wantErr, d)
			}
		}
		got, err := scrape(fast, typeText, []byte("good 1\n"))
		if err != nil || len(got) < 5 {
			t.Fatalf("a good scrape afterwards: %v %q", err, got)
		}
	})
}
