// SPDX-License-Identifier: Apache-2.0

// Package replay reads the values of a body that differs in nothing but its values
// from one that textparse has read, without a parser: where all the bytes that name
// series are the same, the series are the same. Text and Protobuf make a Tape of a
// body, Tape.Replay reads later ones. Any difference, and whatever a tape does not
// know, is left to textparse, for the whole body.
package replay

import (
	"encoding/binary"
	"hash/maphash"
	"math"

	"github.com/prometheus/prometheus/model/value"
)

// Tape is the shape of a body: runs of bytes that each body of the shape has, and
// slots between them, which hold its values and the lengths that depend on these.
// Start timestamps, bounds of buckets and quantiles belong to the shape.
//
// Of the bytes a tape keeps lengths and 64-bit hashes under a seed that is this
// process' secret: for 20,000 series the bytes would be 2 MB, and reading them beside
// the body would take as long as the hash does. A changed series is taken for the old
// one with a probability of 2^-64.
type Tape struct {
	steps   []step
	columns int
}

// step is a run of bytes and the slot behind it.
type step struct {
	sum    uint64 // of the bytes
	length int32  // of the bytes
	column int32  // of the slot's value, -1 if it is not wanted
	// fixed is how many bytes of the message that begins in a lengthSlot are not in
	// varints. All else in it being as it was, it ends where its length says if, and
	// only if, that is fixed and what its varints take.
	fixed int32
	// ends is how many messages end in front of the slot.
	ends uint8
	slot slot
}

type slot uint8

const (
	endSlot    slot = iota // the end of the body
	numberSlot             // up to the end of a line of text
	doubleSlot             // eight bytes
	varintSlot
	countSlot  // a varint that
	againSlot  // stands once more, in no bytes
	lengthSlot // a varint, the length of a message
)

// depth is how many messages lie in each other: family, metric, histogram, bucket.
const depth = 4

// seed is that of all hashes.
var seed = maphash.MakeSeed()

// Replay reads the values of a body into columns, as many as the tape was made with,
// and reports whether the body has the tape's shape. If not, values is garbage.
// It does not allocate.
func (t *Tape) Replay(body []byte, values []float64) bool {
	if len(values) != t.columns {
		return false
	}
	// What an encoder leaves out is 0.
	clear(values)
	var (
		open    [depth]int // the count of varints' bytes at which a message ends
		level   int
		varints int
		count   float64
	)
	for i := range t.steps {
		s := &t.steps[i]
		if len(body) < int(s.length) || maphash.Bytes(seed, body[:s.length]) != s.sum {
			return false
		}
		body = body[s.length:]
		for range s.ends {
			if level--; open[level] != varints {
				return false
			}
		}
		var v float64
		switch s.slot {
		case endSlot:
			return len(body) == 0
		case numberSlot:
			n, ok := 0, false
			if v, n, ok = number(body); !ok {
				return false
			}
			body = body[n:]
		case doubleSlot:
			if len(body) < 8 {
				return false
			}
			if v = math.Float64frombits(binary.LittleEndian.Uint64(body)); value.IsStaleNaN(v) {
				v = math.Float64frombits(value.NormalNaN)
			}
			body = body[8:]
		case varintSlot, countSlot, lengthSlot:
			u, n := uvarint(body)
			if n <= 0 {
				return false
			}
			body = body[n:]
			varints += n
			if s.slot == lengthSlot {
				// textparse takes no longer ones.
				if n > binary.MaxVarintLen32 || u > math.MaxInt32 {
					return false
				}
				open[level] = varints + int(u) - int(s.fixed)
				level++
			}
			if v = float64(u); s.slot == countSlot {
				count = v
			}
		case againSlot:
			v = count
		}
		if s.column >= 0 {
			values[s.column] = v
		}
	}
	return false
}

// uvarint is binary.Uvarint, of which nearly all are of one byte.
func uvarint(b []byte) (v uint64, n int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	return binary.Uvarint(b)
}

// compiler makes a tape of a body, from its begin to its end.
type compiler struct {
	body    []byte
	columns []int // for each sample its column, or -1
	steps   []step
	from    int   // where the bytes of the next step begin
	ends    uint8 // of the next step
	samples int   // that were met
	varints int   // bytes of varints that were met
}

// slot ends the run of bytes with a slot for the sample of that number; size is that
// of what is in it.
func (c *compiler) slot(kind slot, at, size, sample int) {
	s := step{sum: maphash.Bytes(seed, c.body[c.from:at]), length: int32(at - c.from), column: -1, ends: c.ends, slot: kind}
	if sample >= 0 && sample < len(c.columns) {
		s.column = int32(c.columns[sample])
	}
	c.steps = append(c.steps, s)
	c.from, c.ends = at+size, 0
	if kind == varintSlot || kind == countSlot || kind == lengthSlot {
		c.varints += size
	}
}

// noSample is for slots that hold none.
const noSample = -1

// tape is what was made, if replaying the body it was made of gives exactly values.
func (c *compiler) tape(values []float64) *Tape {
	if c.samples != len(c.columns) {
		return nil
	}
	c.slot(endSlot, len(c.body), 0, noSample)
	// Exactly as long as it is: it may be kept for as long as the process lives.
	t := &Tape{steps: append(make([]step, 0, len(c.steps)), c.steps...), columns: len(values)}
	got := make([]float64, len(values))
	if !t.Replay(c.body, got) {
		return nil
	}
	for i, v := range values {
		if math.Float64bits(v) != math.Float64bits(got[i]) {
			return nil
		}
	}
	return t
}
