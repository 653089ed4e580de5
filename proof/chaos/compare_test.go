// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/docker-remote-write/docker-remote-write/proof/promtest"
)

// differences says where two contents differ, sample by sample and to the bit: an
// empty string means that they hold the same.
func differences(want, got promtest.Content) string {
	var out []string
	missing, extra, other := 0, 0, 0
	note := func(n *int, format string, args ...any) {
		if *n++; *n <= 5 {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	for name, w := range want {
		g := got[name]
		i := 0
		for _, s := range w {
			for ; i < len(g) && g[i].T < s.T; i++ {
				note(&extra, "%s: %s was never to arrive", name, g[i])
			}
			switch {
			case i == len(g) || g[i].T > s.T:
				note(&missing, "%s: %s is missing", name, s)
				continue
			case !g[i].Equal(s):
				note(&other, "%s: %s, want %s", name, g[i], s)
			}
			i++
		}
		for ; i < len(g); i++ {
			note(&extra, "%s: %s was never to arrive", name, g[i])
		}
	}
	for name, g := range got {
		if _, ok := want[name]; !ok && len(g) > 0 {
			note(&extra, "%s: %d samples of a series that was never to arrive", name, len(g))
		}
	}
	if missing+extra+other == 0 {
		return ""
	}
	slices.Sort(out)
	return fmt.Sprintf("of %d samples %d are missing and %d have another value, %d are too many:\n%s",
		want.Samples(), missing, other, extra, strings.Join(out, "\n"))
}

// sorted puts each series' samples in the order of time.
func sorted(c promtest.Content) promtest.Content {
	for _, s := range c {
		slices.SortStableFunc(s, func(a, b promtest.Sample) int { return cmp.Compare(a.T, b.T) })
	}
	return c
}

func TestDifferences(t *testing.T) {
	content := func(samples ...promtest.Sample) promtest.Content { return promtest.Content{"a": samples} }
	want := content(promtest.Sample{T: 1, V: 1}, promtest.Sample{T: 2, V: 2}, promtest.Sample{T: 3, V: 3})
	for _, tc := range []struct {
		name string
		got  promtest.Content
		says string
	}{
		{"equal", want, ""},
		{"one skipped", content(want["a"][0], want["a"][2]), "of 3 samples 1 are missing and 0 have another value, 0 are too many:\na: 2@2 is missing"},
		{"last skipped", content(want["a"][:2]...), "of 3 samples 1 are missing and 0 have another value, 0 are too many:\na: 3@3 is missing"},
		{"another value", content(want["a"][0], promtest.Sample{T: 2, V: 7}, want["a"][2]), "of 3 samples 0 are missing and 1 have another value, 0 are too many:\na: 7@2, want 2@2"},
		{"one too many", content(want["a"][0], want["a"][1], promtest.Sample{T: 2, V: 2}, want["a"][2]), "of 3 samples 0 are missing and 0 have another value, 1 are too many:\na: 2@2 was never to arrive"},
		{"one behind the end", content(append(slices.Clone(want["a"]), promtest.Sample{T: 4})...), "of 3 samples 0 are missing and 0 have another value, 1 are too many:\na: 0@4 was never to arrive"},
		{"another series", promtest.Content{"a": want["a"], "b": want["a"]}, "of 3 samples 0 are missing and 0 have another value, 1 are too many:\nb: 3 samples of a series that was never to arrive"},
		{"nothing", nil, "of 3 samples 3 are missing and 0 have another value, 0 are too many:\na: 1@1 is missing\na: 2@2 is missing\na: 3@3 is missing"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := differences(want, tc.got); got != tc.says {
				t.Errorf("says %q, want %q", got, tc.says)
			}
		})
	}
}
