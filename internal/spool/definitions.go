// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"encoding/binary"
	"unsafe"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// appendSeries writes the definition of s; prev is the one before it in the same
// record or nil, whose help and unit are most often the same.
func appendSeries(dst []byte, s, prev *series.Series) []byte {
	dst = binary.AppendUvarint(dst, uint64(s.Labels.Len()))
	s.Labels.Range(func(l labels.Label) {
		dst = appendString(appendString(dst, l.Name), l.Value)
	})
	if prev != nil && prev.Type == s.Type && prev.Help == s.Help && prev.Unit == s.Unit && prev.Family == s.Family {
		return append(dst, 0)
	}
	kind := byte(1)
	if s.Family != "" {
		kind = 2
	}
	dst = appendString(appendString(appendString(append(dst, kind), string(s.Type)), s.Help), s.Unit)
	if kind == 2 {
		dst = appendString(dst, s.Family)
	}
	return dst
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// definitions reads the definitions of a record. scratch holds the series that is
// being read, so that one that is known costs no allocation.
type definitions struct {
	builder labels.ScratchBuilder
	scratch series.Series
	meta    struct{ typ, help, unit, family []byte }
	// help is the copy of the last help text that was made: a family shares it.
	help string
}

// read gives the series, held.
func (d *definitions) read(src *source, reg *series.Registry, first bool) *series.Series {
	d.builder.Reset()
	if first {
		d.meta.typ, d.meta.help, d.meta.unit, d.meta.family = nil, nil, nil, nil
	}
	for n := src.uvarint(); n > 0 && src.err == nil; n-- {
		name, value := borrowed(src.bytes()), borrowed(src.bytes())
		d.builder.Add(name, value)
	}
	switch kind := src.byte(); kind {
	case 0:
	case 1, 2:
		d.meta.typ, d.meta.help, d.meta.unit, d.meta.family = src.bytes(), src.bytes(), src.bytes(), nil
		if kind == 2 {
			d.meta.family = src.bytes()
		}
	default:
		src.fail("unknown kind of metadata")
	}
	if src.err != nil {
		return nil
	}
	d.builder.Overwrite(&d.scratch.Labels)
	d.scratch.Type = model.MetricType(borrowed(d.meta.typ))
	d.scratch.Help, d.scratch.Unit, d.scratch.Family = borrowed(d.meta.help), borrowed(d.meta.unit), borrowed(d.meta.family)
	if p := reg.Known(&d.scratch); p != nil {
		return p
	}
	if d.help != d.scratch.Help {
		d.help = string(d.meta.help)
	}
	return reg.Number(&series.Series{
		Labels: d.builder.Labels(),
		Type:   metricType(d.meta.typ),
		Help:   d.help,
		Unit:   string(d.meta.unit),
		Family: string(d.meta.family),
	})
}

// metricType gives the constant for a known name, so that it holds no memory.
func metricType(b []byte) model.MetricType {
	for _, t := range [...]model.MetricType{
		model.MetricTypeCounter, model.MetricTypeGauge, model.MetricTypeHistogram, model.MetricTypeGaugeHistogram,
		model.MetricTypeSummary, model.MetricTypeInfo, model.MetricTypeStateset, model.MetricTypeUnknown,
	} {
		if borrowed(b) == string(t) {
			return t
		}
	}
	return model.MetricType(string(b))
}

// borrowed is b as a string that lives no longer than b.
func borrowed(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
