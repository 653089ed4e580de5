// SPDX-License-Identifier: Apache-2.0

package panics

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

type stubborn struct{}

func (stubborn) Error() string { panic("no text") }

// TestGuard: a panic becomes one line that names the innermost place of this module,
// also where another module's code raised it.
func TestGuard(t *testing.T) {
	var none []int
	for _, c := range []struct {
		name       string
		f          func()
		begin, end string
	}{
		{"runtime", func() { none[len(t.Name())] = 1 }, "panic in work at panics_test.go:", ": runtime error: index out of range [9] with length 0"},
		{"library", func() { netip.MustParseAddr("x") }, "panic in work at panics_test.go:", `: ParseAddr("x"): unable to parse IP`},
		{"lines", func() { panic("one\ntwo\r\n\tthree") }, "panic in work at panics_test.go:", ": one two three"},
		{"error", func() { panic(errors.New("why")) }, "panic in work at panics_test.go:", ": why"},
		{"stubborn", func() { panic(stubborn{}) }, "panic in work at panics_test.go:", "(PANIC=Error method: no text)"},
		{"long", func() { panic(strings.Repeat("ä", 1000)) }, "panic in work at panics_test.go:", ": " + strings.Repeat("ä", maxValue)},
		{"again", func() {
			defer func() { panic("second") }()
			panic("first")
		}, "panic in work at panics_test.go:", ": second"},
	} {
		err := Guard("work", c.f)
		if err == nil || !strings.HasPrefix(err.Error(), c.begin) || !strings.HasSuffix(err.Error(), c.end) || !strings.Contains(err.Error(), " panics.TestGuard") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if err := Guard("work", func() {}); err != nil {
		t.Error(err)
	}
}
