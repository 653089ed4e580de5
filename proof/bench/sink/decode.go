// SPDX-License-Identifier: Apache-2.0

package sink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// sample is one sample of the series with that key; sequence says that its series
// numbers the scrapes.
type sample struct {
	key      uint64
	sequence bool
	t        int64
	v        float64
}

// decoder walks a request in place, without building its messages: the sink
// shares the processors with what it measures. The field numbers are those of
// prometheus.WriteRequest (1.0) and io.prometheus.write.v2.Request (2.0).
type decoder struct {
	seed    maphash.Seed
	symbols [][]byte
	refs    []uint64
	samples []sample
	// name of the sequence series.
	name string
}

var errMalformed = errors.New("malformed protobuf")

// fields calls f with each field of a message; bytes is nil for numbers.
func fields(b []byte, f func(num protowire.Number, v uint64, bytes []byte) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errMalformed
		}
		b = b[n:]
		var v uint64
		var bytes []byte
		switch typ {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			v, n = protowire.ConsumeFixed64(b)
		case protowire.BytesType:
			bytes, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return errMalformed
		}
		b = b[n:]
		if err := f(num, v, bytes); err != nil {
			return err
		}
	}
	return nil
}

// v1 decodes prometheus.WriteRequest.
func (d *decoder) v1(b []byte) error {
	return fields(b, func(num protowire.Number, _ uint64, ts []byte) error {
		if num != 1 {
			return nil
		}
		var h maphash.Hash
		h.SetSeed(d.seed)
		from, sequence := len(d.samples), false
		err := fields(ts, func(num protowire.Number, _ uint64, m []byte) error {
			switch num {
			case 1: // label
				h.WriteByte(0)
				return fields(m, func(num protowire.Number, _ uint64, s []byte) error {
					h.Write(s)
					h.WriteByte(byte(num))
					sequence = sequence || num == 2 && string(s) == d.name
					return nil
				})
			case 2: // sample
				return d.sample(m)
			}
			return nil
		})
		d.finish(from, h.Sum64(), sequence)
		return err
	})
}

// v2 decodes io.prometheus.write.v2.Request.
func (d *decoder) v2(b []byte) error {
	d.symbols = d.symbols[:0]
	err := fields(b, func(num protowire.Number, _ uint64, s []byte) error {
		if num == 4 {
			d.symbols = append(d.symbols, s)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(d.symbols) == 0 || len(d.symbols[0]) != 0 {
		return errors.New("the first symbol is not empty")
	}
	return fields(b, func(num protowire.Number, _ uint64, ts []byte) error {
		if num != 5 {
			return nil
		}
		from := len(d.samples)
		d.refs = d.refs[:0]
		err := fields(ts, func(num protowire.Number, v uint64, m []byte) error {
			switch {
			case num == 1 && m == nil: // a reference that is not packed
				d.refs = append(d.refs, v)
			case num == 1:
				for len(m) > 0 {
					r, n := protowire.ConsumeVarint(m)
					if n < 0 {
						return errMalformed
					}
					d.refs, m = append(d.refs, r), m[n:]
				}
			case num == 2:
				return d.sample(m)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if len(d.refs)%2 != 0 {
			return errors.New("an odd number of label references")
		}
		var h maphash.Hash
		h.SetSeed(d.seed)
		sequence := false
		for i, r := range d.refs {
			if r >= uint64(len(d.symbols)) {
				return fmt.Errorf("label reference %d of %d symbols", r, len(d.symbols))
			}
			if i%2 == 0 {
				h.WriteByte(0)
			}
			h.Write(d.symbols[r])
			h.WriteByte(byte(1 + i%2))
			sequence = sequence || i%2 == 1 && string(d.symbols[r]) == d.name
		}
		d.finish(from, h.Sum64(), sequence)
		return nil
	})
}

// sample takes one sample; field 1 is the value, 2 the time, in both versions.
func (d *decoder) sample(m []byte) error {
	var s sample
	// As nearly all of them are: a value other than zero, a time, and no more.
	if len(m) > 10 && m[0] == 1<<3|byte(protowire.Fixed64Type) && m[9] == 2<<3 {
		if t, n := binary.Uvarint(m[10:]); n == len(m)-10 {
			s.v, s.t = math.Float64frombits(binary.LittleEndian.Uint64(m[1:])), int64(t)
			d.samples = append(d.samples, s)
			return nil
		}
	}
	for len(m) > 0 {
		num, typ, n := protowire.ConsumeTag(m)
		if n < 0 {
			return errMalformed
		}
		m = m[n:]
		switch {
		case num == 1 && typ == protowire.Fixed64Type:
			var v uint64
			v, n = protowire.ConsumeFixed64(m)
			s.v = math.Float64frombits(v)
		case num == 2 && typ == protowire.VarintType:
			var v uint64
			v, n = protowire.ConsumeVarint(m)
			s.t = int64(v)
		default:
			n = protowire.ConsumeFieldValue(num, typ, m)
		}
		if n < 0 {
			return errMalformed
		}
		m = m[n:]
	}
	d.samples = append(d.samples, s)
	return nil
}

// finish gives the samples from that index on their series.
func (d *decoder) finish(from int, key uint64, sequence bool) {
	for i := from; i < len(d.samples); i++ {
		d.samples[i].key, d.samples[i].sequence = key, sequence
	}
}
