// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// errCorrupt is wrapped by everything that is said about bytes that do not decode.
var errCorrupt = errors.New("damaged")

// Values are stored against the value that the same series had last in the
// segment: a count of unchanged ones, then a token, and so on to the end of the
// column. A token begins with one byte:
//
//	0        a zigzag varint follows: the difference of two whole numbers
//	1..72    1+8*t+l: the XOR of both, without its t low and l high zero bytes
//	73..255  the difference itself, zigzag, less 73
//
// Whole numbers are what an engine counts in, and their difference is most often
// one byte, where the XOR takes three. Every bit pattern comes back as it was: the
// difference is only used where it rebuilds the exact bits.
const (
	tokenInt   = 0
	tokenXOR   = 1
	tokenSmall = 73
	// maxWhole bounds the whole numbers that a float64 holds exactly.
	maxWhole = 1 << 53
)

func zigzag(d int64) uint64   { return uint64(d<<1) ^ uint64(d>>63) }
func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

// wholeDelta is x-p if that is a whole number and p plus it is x to the bit.
func wholeDelta(x, p float64) (int64, bool) {
	if !(math.Abs(x) < maxWhole && math.Abs(p) < maxWhole) {
		return 0, false
	}
	a, b := int64(x), int64(p)
	if math.Float64bits(float64(b+(a-b))) != math.Float64bits(x) || float64(b) != p {
		return 0, false
	}
	return a - b, true
}

func appendToken(dst []byte, x, p float64) []byte {
	if d, ok := wholeDelta(x, p); ok {
		u := zigzag(d)
		if u < 256-tokenSmall {
			return append(dst, byte(tokenSmall+u))
		}
		return binary.AppendUvarint(append(dst, tokenInt), u)
	}
	a := math.Float64bits(x) ^ math.Float64bits(p)
	low, high := bits.TrailingZeros64(a)/8, bits.LeadingZeros64(a)/8
	dst = append(dst, byte(tokenXOR+8*low+high))
	for i := low; i < 8-high; i++ {
		dst = append(dst, byte(a>>(8*i)))
	}
	return dst
}

// defined is a series as a segment knows it, at the place of its id, and what it
// had last.
type defined struct {
	series *series.Series
	value  float64
	start  int64
}

// appendValues writes the column and brings dict up to it.
func appendValues(dst []byte, order []uint32, values []float64, dict []defined) []byte {
	run := uint64(0)
	for i, id := range order {
		x, p := values[i], dict[id].value
		if math.Float64bits(x) == math.Float64bits(p) {
			run++
			continue
		}
		dst = appendToken(binary.AppendUvarint(dst, run), x, p)
		dict[id].value, run = x, 0
	}
	if run > 0 {
		dst = binary.AppendUvarint(dst, run)
	}
	return dst
}

// appendStarts writes the start timestamps in the same manner: a count of
// unchanged ones, then a zigzag varint. starts is empty where no series has one.
func appendStarts(dst []byte, order []uint32, starts []int64, dict []defined) []byte {
	run := uint64(0)
	for i, id := range order {
		x := int64(0)
		if len(starts) > 0 {
			x = starts[i]
		}
		p := dict[id].start
		if x == p {
			run++
			continue
		}
		dst = binary.AppendUvarint(binary.AppendUvarint(dst, run), zigzag(x-p))
		dict[id].start, run = x, 0
	}
	if run > 0 {
		dst = binary.AppendUvarint(dst, run)
	}
	return dst
}

// appendOrder writes a list of ids as runs of consecutive ones: the distance of
// each run from the end of the one before, zigzag, and its length.
func appendOrder(dst []byte, order []uint32) []byte {
	runs := uint64(0)
	for i := range order {
		if i == 0 || order[i] != order[i-1]+1 {
			runs++
		}
	}
	dst = binary.AppendUvarint(dst, runs)
	end := int64(0)
	for i := 0; i < len(order); {
		j := i + 1
		for j < len(order) && order[j] == order[j-1]+1 {
			j++
		}
		dst = binary.AppendUvarint(dst, zigzag(int64(order[i])-end))
		dst = binary.AppendUvarint(dst, uint64(j-i))
		end = int64(order[j-1]) + 1
		i = j
	}
	return dst
}

// source reads what the functions above wrote. After the first error everything
// it gives is zero.
type source struct {
	b   []byte
	err error
}

func (s *source) fail(what string) {
	if s.err == nil {
		s.err = fmt.Errorf("%w: %s", errCorrupt, what)
	}
	s.b = nil
}

func (s *source) uvarint() uint64 {
	v, n := binary.Uvarint(s.b)
	if n <= 0 {
		s.fail("a number ends early")
		return 0
	}
	s.b = s.b[n:]
	return v
}

func (s *source) byte() byte {
	if len(s.b) == 0 {
		s.fail("a byte is missing")
		return 0
	}
	c := s.b[0]
	s.b = s.b[1:]
	return c
}

func (s *source) bytes() []byte {
	n := s.uvarint()
	if n > uint64(len(s.b)) {
		s.fail("a string ends early")
		return nil
	}
	p := s.b[:n]
	s.b = s.b[n:]
	return p
}

// gap reads a count of unchanged places that may not lead past left.
func (s *source) gap(left int) int {
	n := s.uvarint()
	if n > uint64(left) {
		s.fail("a column is too long")
		return 0
	}
	return int(n)
}

func (s *source) token(p float64) float64 {
	c := s.byte()
	switch {
	case c == tokenInt:
		return float64(int64(p) + unzigzag(s.uvarint()))
	case c >= tokenSmall:
		return float64(int64(p) + unzigzag(uint64(c)-tokenSmall))
	}
	low, high := int(c-tokenXOR)/8, int(c-tokenXOR)%8
	n := 8 - low - high
	if n < 0 || n > len(s.b) {
		s.fail("a value ends early")
		return 0
	}
	var a uint64
	for i := range n {
		a |= uint64(s.b[i]) << (8 * (low + i))
	}
	s.b = s.b[n:]
	return math.Float64frombits(math.Float64bits(p) ^ a)
}

// values fills out and brings dict up to it.
func (s *source) values(order []uint32, dict []defined, out []float64) {
	for i := 0; i < len(order); i++ {
		for n := s.gap(len(order) - i); n > 0; n-- {
			out[i] = dict[order[i]].value
			i++
		}
		if i == len(order) || s.err != nil {
			return
		}
		d := &dict[order[i]]
		d.value = s.token(d.value)
		out[i] = d.value
	}
}

func (s *source) starts(order []uint32, dict []defined, out []int64) {
	for i := 0; i < len(order); i++ {
		for n := s.gap(len(order) - i); n > 0; n-- {
			out[i] = dict[order[i]].start
			i++
		}
		if i == len(order) || s.err != nil {
			return
		}
		d := &dict[order[i]]
		d.start += unzigzag(s.uvarint())
		out[i] = d.start
	}
}

// order reads n ids below limit into dst.
func (s *source) order(dst []uint32, n, limit int) []uint32 {
	end := int64(0)
	for runs := s.uvarint(); runs > 0 && s.err == nil; runs-- {
		first := end + unzigzag(s.uvarint())
		length := s.uvarint()
		if first < 0 || length > uint64(n-len(dst)) || first > int64(limit)-int64(length) {
			s.fail("an order names a series that is not defined")
			return dst
		}
		for k := range int64(length) {
			dst = append(dst, uint32(first+k))
		}
		end = first + int64(length)
	}
	if s.err == nil && len(dst) != n {
		s.fail("an order is incomplete")
	}
	return dst
}
