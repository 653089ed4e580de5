// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"strings"

	"github.com/prometheus/common/model"
)

// family is what the exposition says about a metric. A change makes another one.
type family struct {
	name, help, unit string
	typ              model.MetricType
	seen             uint64 // the last attempt that met it
}

// familyOf returns the family with these properties, the same pointer as long as
// they stay the same, and whether this attempt sees the name for the first time.
func (k *known) familyOf(m *meta) (f *family, first bool) {
	f = k.families[string(m.name)]
	first = f == nil || f.seen != k.attempt
	if f == nil || f.typ != m.typ || f.help != string(m.help) || f.unit != string(m.unit) {
		f = &family{name: string(m.name), help: string(m.help), unit: string(m.unit), typ: m.typ}
		k.families[f.name] = f
	}
	f.seen = k.attempt
	return f, first
}

// covers reports whether a series of that name belongs to the family: the name
// itself, or with one of the suffixes that its type has.
func (f *family) covers(name string) bool {
	if f == nil {
		return false
	}
	suffix, ok := strings.CutPrefix(name, f.name)
	if !ok || f.name == "" {
		return false
	}
	switch suffix {
	case "":
		return true
	case "_total":
		return f.typ == model.MetricTypeCounter
	case "_count", "_sum":
		return f.typ == model.MetricTypeHistogram || f.typ == model.MetricTypeSummary || f.typ == model.MetricTypeGaugeHistogram
	case "_bucket":
		return f.typ == model.MetricTypeHistogram || f.typ == model.MetricTypeGaugeHistogram
	case "_gcount", "_gsum":
		return f.typ == model.MetricTypeGaugeHistogram
	case "_info":
		return f.typ == model.MetricTypeInfo
	}
	return false
}
