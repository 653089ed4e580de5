// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gogo/protobuf/types"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/model/value"
	dto "github.com/prometheus/prometheus/prompb/io/prometheus/client"
)

// reading is what textparse makes of a body.
type reading struct {
	// shape is all but the values, a line each.
	shape  []string
	ends   []int
	values []float64
	// plain says that there is nothing in it which a tape may not know.
	plain bool
}

func read(body []byte, protobuf bool) (r reading, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	r.plain = true
	b := append(make([]byte, 0, len(body)+1), body...)
	tp := textparse.Parser(textparse.NewPromParser(b, nil, false))
	if protobuf {
		tp = textparse.NewProtobufParser(b, false, false, false, false, nil)
	}
	for {
		et, err := tp.Next()
		if errors.Is(err, io.EOF) {
			return r, nil
		}
		if err != nil {
			return r, err
		}
		switch et {
		case textparse.EntryHelp:
			name, help := tp.Help()
			r.shape = append(r.shape, fmt.Sprintf("help %q %q", name, help))
		case textparse.EntryType:
			name, typ := tp.Type()
			r.shape = append(r.shape, fmt.Sprintf("type %q %q", name, typ))
		case textparse.EntryUnit:
			name, unit := tp.Unit()
			r.shape = append(r.shape, fmt.Sprintf("unit %q %q", name, unit))
		case textparse.EntrySeries:
			key, ts, v := tp.Series()
			if value.IsStaleNaN(v) {
				v = math.Float64frombits(value.NormalNaN)
			}
			var ls labels.Labels
			tp.Labels(&ls)
			r.shape = append(r.shape, fmt.Sprintf("%s from %d", ls, tp.StartTimestamp()))
			r.ends = append(r.ends, cap(b)-cap(key)+len(key))
			r.values = append(r.values, v)
			r.plain = r.plain && ts == nil
		default:
			r.plain = r.plain && et != textparse.EntryHistogram
		}
	}
}

// compile makes a tape whose columns are the samples of the body.
func (r reading) compile(body []byte, protobuf bool) *Tape {
	var columns []int
	for i := range r.values {
		columns = append(columns, i)
	}
	if protobuf {
		return Protobuf(body, columns, r.values)
	}
	return Text(body, r.ends, columns, r.values)
}

func bits(values []float64) []uint64 {
	var out []uint64
	for _, v := range values {
		out = append(out, math.Float64bits(v))
	}
	return out
}

// hold fails unless the tape reads body as textparse does, or not at all.
func hold(t *testing.T, tape *Tape, shape []string, body []byte, protobuf bool) bool {
	t.Helper()
	values := make([]float64, tape.columns)
	if !tape.Replay(body, values) {
		return false
	}
	r, err := read(body, protobuf)
	if err != nil || !r.plain || !slices.Equal(r.shape, shape) || !slices.Equal(bits(r.values), bits(values)) {
		t.Fatalf("%q\nreplayed %v, textparse reads %v %v of\n%s", body, values, r.values, err, strings.Join(r.shape, "\n"))
	}
	return true
}

func protobufOf(t testing.TB, families ...*dto.MetricFamily) []byte {
	t.Helper()
	var b []byte
	for _, mf := range families {
		m, err := mf.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		b = append(binary.AppendUvarint(b, uint64(len(m))), m...)
	}
	return b
}

var start = &types.Timestamp{Seconds: 1_750_000_000, Nanos: 5_000_000}

func family(name string, typ dto.MetricType, metrics ...dto.Metric) *dto.MetricFamily {
	return &dto.MetricFamily{Name: name, Help: "H.", Type: typ, Metric: metrics}
}

// every is a body of every kind of metric; what it counts is about n.
func every(t testing.TB, n uint64) []byte {
	v := float64(n) + 0.5
	buckets := []dto.Bucket{{CumulativeCount: n, UpperBound: 1}, {CumulativeCount: 2 * n, UpperBound: 5}}
	ls := []dto.LabelPair{{Name: "l", Value: "v"}}
	return protobufOf(t,
		family("c", dto.MetricType_COUNTER, dto.Metric{Label: ls, Counter: &dto.Counter{Value: v, StartTimestamp: start}}, dto.Metric{Counter: &dto.Counter{Value: 0}}),
		family("g", dto.MetricType_GAUGE, dto.Metric{Label: ls, Gauge: &dto.Gauge{Value: math.NaN()}}),
		family("none", dto.MetricType_GAUGE),
		family("u", dto.MetricType_UNTYPED, dto.Metric{Untyped: &dto.Untyped{Value: v}}),
		family("s", dto.MetricType_SUMMARY, dto.Metric{Summary: &dto.Summary{SampleCount: n, SampleSum: v, StartTimestamp: start,
			Quantile: []dto.Quantile{{Quantile: 0.5, Value: v}, {Quantile: 1, Value: math.Inf(1)}}}}),
		family("h", dto.MetricType_HISTOGRAM,
			dto.Metric{Label: ls, Histogram: &dto.Histogram{SampleCount: 3 * n, SampleSum: v, Bucket: buckets, StartTimestamp: start}},
			dto.Metric{Histogram: &dto.Histogram{SampleCount: 3 * n, SampleSum: v, Bucket: append(buckets, dto.Bucket{CumulativeCount: 4 * n, UpperBound: math.Inf(1)})}},
			dto.Metric{Histogram: &dto.Histogram{}}),
		family("gh", dto.MetricType_GAUGE_HISTOGRAM, dto.Metric{Histogram: &dto.Histogram{SampleCount: n}}))
}

const everyText = "# HELP c C.\n# TYPE c counter\nc{l=\"v \\\" }\"} 12\n\nc 0\n# x\n{\"u.u\",\"a b\"=\"1\"} 1e+07\ng NaN\ng2 -Inf\nlast 0.5\n"

// A tape reads what later bodies of its shape say, however long it is.
func TestReplay(t *testing.T) {
	for _, n := range []uint64{1, 300, 1 << 40} {
		body := every(t, n)
		r, err := read(body, true)
		if err != nil {
			t.Fatal(err)
		}
		tape := r.compile(body, true)
		if tape == nil {
			t.Fatal("no tape")
		}
		for _, n := range []uint64{1, 127, 128, 20_000, 1 << 60} {
			if !hold(t, tape, r.shape, every(t, n), true) {
				t.Errorf("%d is of another shape", n)
			}
		}
	}
	r, err := read([]byte(everyText), false)
	tape := r.compile([]byte(everyText), false)
	if err != nil || tape == nil {
		t.Fatalf("no tape: %v", err)
	}
	for _, v := range []string{"7", "-1", "+Inf", "1234567890123456789", "1e-300", "nan"} {
		if !hold(t, tape, r.shape, []byte(strings.Replace(everyText, "c 0", "c "+v, 1)), false) {
			t.Errorf("%s is of another shape", v)
		}
	}
	if n := testing.AllocsPerRun(10, func() { tape.Replay([]byte(everyText), r.values) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
	if tape.Replay([]byte(everyText), r.values[1:]) {
		t.Error("replayed into fewer columns")
	}
}

// Values go to their columns, or nowhere.
func TestColumns(t *testing.T) {
	columns := []int{2, -1, 0, -1, 1}
	text := Text([]byte("a 1\nb 2\nc 3\nd 4\ne 5"), []int{1, 5, 9, 13, 17}, columns, []float64{3, 5, 1})
	body := protobufOf(t, family("h", dto.MetricType_HISTOGRAM, dto.Metric{Histogram: &dto.Histogram{
		SampleCount: 1, SampleSum: 2, Bucket: []dto.Bucket{{CumulativeCount: 3, UpperBound: 1}, {CumulativeCount: 4, UpperBound: 2}}}}))
	protobuf := Protobuf(body, []int{-1, 2, 0, -1, 1}, []float64{3, 1, 2})
	if text == nil || protobuf == nil {
		t.Fatalf("%v %v", text, protobuf)
	}
	values := make([]float64, 3)
	if !text.Replay([]byte("a 10\nb 20\nc 30\nd 40\ne 50"), values) || !slices.Equal(values, []float64{30, 50, 10}) {
		t.Errorf("%v", values)
	}
	if !protobuf.Replay(body, values) || !slices.Equal(values, []float64{3, 1, 2}) {
		t.Errorf("%v", values)
	}
	// A body that is not what it is said to be has no tape.
	for _, values := range [][]float64{{3, 1}, {3, 1, 2.5}, {math.Copysign(0, -1), 1, 2}} {
		if len(values) == 3 && Protobuf(body, []int{-1, 2, 0, -1, 1}, values) != nil {
			t.Errorf("a tape that gives other values than %v", values)
		}
		if Protobuf(body, []int{0, 1}, values[:2]) != nil {
			t.Error("a tape of two samples")
		}
	}
	if Text([]byte("a 1\n"), []int{3}, []int{0}, []float64{1}) != nil || Text([]byte("a 1\n"), []int{9}, []int{0}, []float64{1}) != nil {
		t.Error("a tape of another body")
	}
}

// What a tape does not know it leaves alone, also where it would come to the same.
func TestNoTape(t *testing.T) {
	type m = dto.Metric
	h := func(h dto.Histogram) []byte {
		return protobufOf(t, family("h", dto.MetricType_HISTOGRAM, m{Histogram: &h}))
	}
	behind := protobufOf(t, &dto.MetricFamily{Name: "a", Metric: []m{{Counter: &dto.Counter{Value: 1}}}})
	behind = append(behind, familyType, 0)
	behind[0] += 2
	for name, body := range map[string][]byte{
		"an exemplar":              protobufOf(t, family("c", dto.MetricType_COUNTER, m{Counter: &dto.Counter{Value: 1, Exemplar: &dto.Exemplar{Value: 1}}})),
		"an exemplar of a bucket":  h(dto.Histogram{Bucket: []dto.Bucket{{UpperBound: 1, Exemplar: &dto.Exemplar{Value: 1}}}}),
		"a count that is a double": h(dto.Histogram{SampleCount: 5, SampleCountFloat: 5}),
		"a bucket of doubles":      h(dto.Histogram{Bucket: []dto.Bucket{{UpperBound: 1, CumulativeCount: 5, CumulativeCountFloat: 5}}}),
		"a schema":                 h(dto.Histogram{SampleCount: 5, Schema: 3}),
		"untyped without a value":  protobufOf(t, family("u", dto.MetricType_UNTYPED, m{Untyped: &dto.Untyped{}})),
		"another kind":             protobufOf(t, family("g", dto.MetricType_GAUGE, m{Counter: &dto.Counter{}})),
		"no value":                 protobufOf(t, family("g", dto.MetricType_GAUGE, m{})),
		"the type behind":          behind,
		"a bucket behind +Inf":     h(dto.Histogram{Bucket: []dto.Bucket{{UpperBound: math.Inf(1)}, {UpperBound: 1}}}),
	} {
		r, err := read(body, true)
		if err != nil || len(r.values) == 0 {
			t.Errorf("%s: textparse reads %v %v", name, r.values, err)
		}
		if r.compile(body, true) != nil {
			t.Errorf("%s has a tape", name)
		}
	}
}

// edit changes one place of b: a byte replaced, inserted or removed.
func edit(b []byte, at int, op, c byte) []byte {
	b = slices.Clone(b)
	switch {
	case len(b) == 0 || op%3 == 1:
		return slices.Insert(b, at%(len(b)+1), c)
	case op%3 == 0:
		b[at%len(b)] = c
		return b
	}
	return slices.Delete(b, at%len(b), at%len(b)+1)
}

// Whatever byte is another one, a tape comes to what textparse comes to.
func TestEveryByte(t *testing.T) {
	for _, protobuf := range []bool{false, true} {
		body := []byte(everyText)
		if protobuf {
			body = every(t, 100)
		}
		r, err := read(body, protobuf)
		tape := r.compile(body, protobuf)
		if err != nil || tape == nil {
			t.Fatalf("no tape: %v", err)
		}
		replayed := 0
		for at, old := range body {
			for _, c := range append([]byte("\x00\x01\x08\x09\x0a\x11\x12\x1a\x22\x7f\x80\xff \t\"#-.09ePn{}"), old-1, old+1, old^0x80) {
				for op := range byte(2) {
					if hold(t, tape, r.shape, edit(body, at, op, c), protobuf) {
						replayed++
					}
				}
			}
			hold(t, tape, r.shape, edit(body, at, 2, 0), protobuf)
			hold(t, tape, r.shape, body[:at], protobuf)
		}
		if replayed < 100 {
			t.Errorf("%d bodies replayed", replayed)
		}
	}
}

func FuzzReplay(f *testing.F) {
	add := func(protobuf bool, body []byte) {
		for i, c := range []byte{'7', 0x80, ' '} {
			f.Add(protobuf, body, uint16(len(body)/(i+2)), byte(i), c)
		}
	}
	add(true, every(f, 1))
	add(false, []byte(everyText))
	add(false, []byte("a 1 2\n b\t1\n# HELP a A\n"))
	for name, protobuf := range map[string]bool{"v20.10-fresh.txt": false, "master-fresh.txt": false, "v20.10-fresh.pb": true, "master-fresh.pb": true} {
		body, err := os.ReadFile(filepath.Join("../../testdata/captures", name))
		if err != nil {
			f.Fatal(err)
		}
		if r, err := read(body, protobuf); err != nil || r.compile(body, protobuf) == nil {
			f.Errorf("%s has no tape: %v", name, err)
		}
		add(protobuf, body)
	}
	f.Fuzz(func(t *testing.T, protobuf bool, body []byte, at uint16, op, c byte) {
		r, err := read(body, protobuf)
		if err != nil || !r.plain {
			return
		}
		tape := r.compile(body, protobuf)
		if tape == nil {
			return
		}
		if !hold(t, tape, r.shape, body, protobuf) {
			t.Fatal("the body has not its own shape")
		}
		hold(t, tape, r.shape, edit(body, int(at), op, c), protobuf)
	})
}
