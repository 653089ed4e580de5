// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"encoding/binary"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// symbols are those of one request, numbered in the order in which they come: first
// those of its lines, then those of exemplars. A request with the lines of the one
// before, as nearly each is that carries one scrape, has their references as well.
type symbols struct {
	refs  map[string]uint32
	texts []string // by their references, from 1 on; "" is 0
	own   int      // how many of them are the lines'
	lines []lineSymbols
	// recent are those of the series before: help, unit, and the names and values of
	// its labels in turn. Neighbours share most of them, and the map is rarely asked.
	recent [64]symbol
	buf    []byte // what lines lies in
}

type symbol struct {
	text string
	ref  uint32
}

// lineSymbols is a line with what a TimeSeries says of it.
type lineSymbols struct {
	labels labels.Labels
	series *series.Series // whose metadata it is
	// refs are the references of the labels, metadata the whole field.
	refs, metadata []byte
}

// describe starts another request with these lines, and numbers their symbols; bare
// ones have no metadata.
func (y *symbols) describe(lines []*line, rows []series.Row, bare bool) {
	for _, text := range y.texts[y.own:] {
		delete(y.refs, text)
	}
	clear(y.texts[y.own:])
	y.texts = y.texts[:y.own]
	if slices.EqualFunc(lines, y.lines, func(l *line, d lineSymbols) bool {
		return d.series == rows[l.newest].Series && d.labels == l.labels
	}) {
		return
	}
	clear(y.refs)
	clear(y.texts)
	clear(y.recent[:])
	clear(y.lines)
	y.texts, y.lines, y.buf = y.texts[:0], slices.Grow(y.lines[:0], len(lines)), y.buf[:0]
	for _, l := range lines {
		d := lineSymbols{labels: l.labels, series: rows[l.newest].Series}
		start := len(y.buf)
		y.buf = y.appendRefs(y.buf, d.labels)
		d.refs = y.buf[start:len(y.buf):len(y.buf)]
		if start = len(y.buf); !bare {
			y.buf = y.appendMetadata(y.buf, d.series)
		}
		d.metadata = y.buf[start:len(y.buf):len(y.buf)]
		y.lines = append(y.lines, d)
	}
	y.own = len(y.texts)
}

// ref is the reference of a string.
func (y *symbols) ref(text string) uint32 {
	if text == "" {
		return 0
	}
	ref, ok := y.refs[text]
	if !ok {
		y.texts = append(y.texts, text)
		ref = uint32(len(y.texts))
		y.refs[text] = ref
	}
	return ref
}

// again is ref for a string that is likely to stand at that place of recent.
func (y *symbols) again(i int, text string) uint32 {
	if i >= len(y.recent) {
		return y.ref(text)
	}
	s := &y.recent[i]
	if s.text != text {
		*s = symbol{text, y.ref(text)}
	}
	return s.ref
}

// appendRefs writes the references of the labels' names and values, in turn.
func (y *symbols) appendRefs(dst []byte, ls labels.Labels) []byte {
	i := 2
	ls.Range(func(l labels.Label) {
		dst = binary.AppendUvarint(dst, uint64(y.again(i, l.Name)))
		dst = binary.AppendUvarint(dst, uint64(y.again(i+1, l.Value)))
		i += 2
	})
	return dst
}

// appendMetadata writes the type, help and unit of a series as a field of its TimeSeries.
func (y *symbols) appendMetadata(dst []byte, s *series.Series) []byte {
	typ, help, unit := writev2.FromMetadataType(s.Type), y.again(0, s.Help), y.again(1, s.Unit)
	if typ == 0 && help == 0 && unit == 0 {
		return dst
	}
	dst = append(dst, tagMetadata, 0)
	start := len(dst)
	if typ != 0 {
		dst = append(dst, tagMetadataType, byte(typ))
	}
	if help != 0 {
		dst = binary.AppendUvarint(append(dst, tagMetadataHelp), uint64(help))
	}
	if unit != 0 {
		dst = binary.AppendUvarint(append(dst, tagMetadataUnit), uint64(unit))
	}
	dst[start-1] = byte(len(dst) - start)
	return dst
}

// size is that of the table of symbols, in bytes.
func (y *symbols) size() int {
	n := 2
	for _, text := range y.texts {
		n += 1 + varintLen(uint64(len(text))) + len(text)
	}
	return n
}

// append writes the table of symbols that the references point into, size bytes.
func (y *symbols) append(dst []byte) []byte {
	dst = append(dst, tagSymbols, 0)
	for _, text := range y.texts {
		dst = appendBytes(dst, tagSymbols, text)
	}
	return dst
}
