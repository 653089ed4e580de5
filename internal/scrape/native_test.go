// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	dto "github.com/prometheus/prometheus/prompb/io/prometheus/client"
)

// bothForms are histograms as targets expose them: in both forms, which is client_golang's
// usual one, native, native with floats, classic, and again in both.
func bothForms() []*dto.MetricFamily {
	buckets := []dto.Bucket{{CumulativeCount: 1, UpperBound: 0.5}, {CumulativeCount: 2, UpperBound: 1}}
	histogram := func(name string, h *dto.Histogram) *dto.MetricFamily {
		return &dto.MetricFamily{Name: name, Type: dto.MetricType_HISTOGRAM, Metric: []dto.Metric{{Histogram: h}}}
	}
	native := func(b []dto.Bucket) *dto.Histogram {
		h := nativeFamily(1).Metric[0].Histogram
		h.Bucket = b
		return h
	}
	floats := &dto.Histogram{SampleCountFloat: 3, SampleSum: 4, Schema: 2, ZeroThreshold: 0.001,
		PositiveSpan: []dto.BucketSpan{{Offset: 1, Length: 1}}, PositiveCount: []float64{3}}
	return []*dto.MetricFamily{
		histogram("both", native(buckets)), histogram("native", native(nil)), histogram("floats", floats),
		histogram("classic", &dto.Histogram{SampleCount: 3, SampleSum: 4, Bucket: buckets}), histogram("again", native(buckets)),
	}
}

// Which form of a histogram is read is as in Prometheus with scrape_native_histograms and
// always_scrape_classic_histograms, and protobuf is asked for in any case.
func TestFormsOfHistograms(t *testing.T) {
	for _, tt := range []struct {
		native, classic    bool
		buckets, histogram int
	}{
		{false, false, 3 + 1 + 1 + 3 + 3, 0},
		{false, true, 3 + 1 + 1 + 3 + 3, 0},
		{true, false, 3, 4},
		{true, true, 3 + 3 + 3, 4},
	} {
		t.Run(fmt.Sprintf("native %v, classic %v", tt.native, tt.classic), func(t *testing.T) {
			body := protobufBody(t, bothForms())
			f := newFake(t)
			s := newScraper(t, Options{Target: f.url, NativeHistograms: tt.native, ClassicHistograms: tt.classic})
			f.set(typePB, string(body))
			var want []string
			p, err := textparse.New(body, pb, nil, textparse.ParserOptions{
				IgnoreNativeHistograms: !tt.native, KeepClassicOnClassicAndNativeHistograms: tt.classic,
			})
			for err == nil {
				var e textparse.Entry
				var ls labels.Labels
				switch e, err = p.Next(); e {
				case textparse.EntrySeries:
					p.Labels(&ls)
					_, _, v := p.Series()
					want = append(want, fmt.Sprint(short(ls), " ", v))
				case textparse.EntryHistogram:
					p.Labels(&ls)
					_, _, h, fh := p.Histogram()
					want = append(want, fmt.Sprint(short(ls), " ", h, fh))
				}
			}
			if !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			for range 2 {
				sc, err := s.Scrape(t.Context(), epoch, nil)
				if err != nil {
					t.Fatal(err)
				}
				checkUnique(t, sc)
				var got []string
				buckets := 0
				for i, x := range sc.Series[:sc.Len()-len(sc.Histograms)-reports] {
					got = append(got, fmt.Sprint(short(x.Labels), " ", sc.Values[i]))
					if strings.HasSuffix(x.Labels.Get("__name__"), "_bucket") {
						buckets++
					}
				}
				for _, h := range sc.Histograms {
					got = append(got, fmt.Sprint(short(h.Series.Labels), " ", h.Int, h.Float))
				}
				slices.Sort(got)
				slices.Sort(want)
				if !slices.Equal(got, want) {
					t.Errorf("%q, Prometheus reads %q", got, want)
				}
				if buckets != tt.buckets || len(sc.Histograms) != tt.histogram {
					t.Errorf("%d buckets and %d histograms, want %d and %d", buckets, len(sc.Histograms), tt.buckets, tt.histogram)
				}
			}
			if a := f.lastAccept(); !strings.HasPrefix(a, pb) {
				t.Errorf("asked for %s", a)
			}
		})
	}
}
