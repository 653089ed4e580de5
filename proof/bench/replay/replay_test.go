// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

func TestFrames(t *testing.T) {
	recorded, err := Recorded("../../../testdata/captures/v20.10-sequence-60x1s.tar.xz", 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		frames *Frames
		series int
	}{
		{"recorded", recorded, 410},
		{"synthetic", Synthetic(250), 250},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.frames.Series != tc.series {
				t.Errorf("says %d series, want %d", tc.frames.Series, tc.series)
			}
			for _, n := range []int{0, 1, 61} {
				body := string(tc.frames.Append(nil, n))
				p := expfmt.NewTextParser(model.LegacyValidation)
				if _, err := p.TextToMetricFamilies(strings.NewReader(body)); err != nil {
					t.Fatalf("frame %d: %v", n, err)
				}
				if got := samples(body); got != tc.series {
					t.Errorf("frame %d has %d series", n, got)
				}
				if !strings.HasSuffix(body, fmt.Sprintf("\n%s %d\n", SequenceName, n+1)) {
					t.Errorf("frame %d has another number: %s", n, body[len(body)-40:])
				}
			}
			if a, b := string(tc.frames.Append(nil, 0)), string(tc.frames.Append(nil, 1)); strings.Count(a, "\n") != strings.Count(b, "\n") || a == b {
				t.Error("two frames are the same, or of another shape")
			}
		})
	}
}

func TestReshape(t *testing.T) {
	f, err := Recorded("../../../testdata/captures/v20.10-sequence-60x1s.tar.xz", 1)
	if err != nil {
		t.Fatal(err)
	}
	p := expfmt.NewTextParser(model.LegacyValidation)
	families, err := p.TextToMetricFamilies(bytes.NewReader(reshaped(f.Append(nil, 0), "second")))
	if err != nil {
		t.Fatal(err)
	}
	for name, family := range families {
		for _, m := range family.Metric {
			if !slices.ContainsFunc(m.Label, func(l *dto.LabelPair) bool { return l.GetName() == "shape" && l.GetValue() == "second" }) {
				t.Errorf("%s%v has not got the label", name, m.Label)
			}
		}
	}
}

func samples(body string) int {
	n := 0
	for line := range strings.Lines(body) {
		if line != "\n" && line[0] != '#' {
			n++
		}
	}
	return n
}
