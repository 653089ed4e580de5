// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"bytes"
	"math"
	"strconv"

	"github.com/prometheus/prometheus/model/value"
)

// Text returns the tape of a body in the text format, none of whose samples has a
// timestamp. Of each sample ends has where its name and labels end in the body, and
// columns where its value is in values, or -1; values are what textparse has read. It
// returns nil if it cannot make one that gives the very same.
func Text(body []byte, ends, columns []int, values []float64) *Tape {
	if len(ends) != len(columns) || len(body) > math.MaxInt32 {
		return nil
	}
	c := compiler{body: body, columns: columns, steps: make([]step, 0, len(ends)+1)}
	for i, end := range ends {
		if end < c.from || end >= len(body) || body[end] != ' ' {
			return nil
		}
		at := end + 1
		c.slot(numberSlot, at, lineOf(body[at:]), i)
		c.samples++
	}
	return c.tape(values)
}

// lineOf is the length of what is left of a line.
func lineOf(b []byte) int {
	if n := bytes.IndexByte(b, '\n'); n >= 0 {
		return n
	}
	return len(b)
}

// number reads a value up to the end of its line and returns its length. It knows
// less than textparse, which then has a look at it.
func number(b []byte) (v float64, n int, ok bool) {
	var u uint64
	for n < len(b) && '0' <= b[n] && b[n] <= '9' {
		u = u*10 + uint64(b[n]-'0')
		n++
	}
	if 0 < n && n <= 15 && (n == len(b) || b[n] == '\n') {
		return float64(u), n, true
	}
	n = lineOf(b)
	for _, c := range b[:n] {
		switch c {
		case 'p', 'P', '_', '{', ' ', '\t', 0:
			return 0, 0, false
		}
	}
	v, err := strconv.ParseFloat(string(b[:n]), 64)
	if err != nil {
		return 0, 0, false
	}
	if math.IsNaN(v) {
		v = math.Float64frombits(value.NormalNaN)
	}
	return v, n, true
}
