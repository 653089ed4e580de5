// SPDX-License-Identifier: Apache-2.0

package sink

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"math"

	"github.com/prometheus/common/model"
	"google.golang.org/protobuf/encoding/protowire"
)

// decoded is one series of a request.
type decoded struct {
	key uint64
	job *job
	// sequence: it numbers the scrapes; content: its samples are summed; up: it says
	// whether a scrape was good.
	sequence, content, up bool
}

// sample is one sample of the series with that index.
type sample struct {
	series int
	t      int64
	v      float64
}

// decoder walks a request in place, without building its messages: the sink
// shares the processors with what it measures. The field numbers are those of
// prometheus.WriteRequest (1.0) and io.prometheus.write.v2.Request (2.0).
type decoder struct {
	seed    maphash.Seed
	jobs    map[string]*job
	symbols [][]byte
	refs    []uint64
	series  []decoded
	samples []sample
	// sequence is the name of the series that number the scrapes, content what the names
	// of those begin with whose samples are summed, if it is not empty.
	sequence, content string
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

// request decodes a body of either protocol.
func (d *decoder) request(b []byte, two bool) error {
	d.series, d.samples = d.series[:0], d.samples[:0]
	if two {
		return d.v2(b)
	}
	return d.v1(b)
}

// begin begins the next series.
func (d *decoder) begin(h *maphash.Hash) {
	h.SetSeed(d.seed)
	d.series = append(d.series, decoded{})
}

// label is the next label of the newest series.
func (d *decoder) label(h *maphash.Hash, name, value []byte) {
	hashLabel(h, name, value)
	s := &d.series[len(d.series)-1]
	switch string(name) {
	case model.MetricNameLabel:
		s.sequence, s.up = string(value) == d.sequence, string(value) == "up"
		s.content = d.content != "" && bytes.HasPrefix(value, []byte(d.content))
	case "job":
		s.job = d.job(value)
	}
}

// end ends the newest series.
func (d *decoder) end(h *maphash.Hash) {
	s := &d.series[len(d.series)-1]
	s.key = h.Sum64()
	if s.job == nil {
		s.job = d.job(nil)
	}
}

func (d *decoder) job(name []byte) *job {
	j := d.jobs[string(name)]
	if j == nil {
		j = &job{arrived: map[int]Arrival{}, content: map[int64]*Content{}}
		d.jobs[string(name)] = j
	}
	return j
}

// v1 decodes prometheus.WriteRequest.
func (d *decoder) v1(b []byte) error {
	return fields(b, func(num protowire.Number, _ uint64, ts []byte) error {
		if num != 1 {
			return nil
		}
		var h maphash.Hash
		d.begin(&h)
		defer d.end(&h)
		return fields(ts, func(num protowire.Number, _ uint64, m []byte) error {
			switch num {
			case 1: // label
				var parts [3][]byte
				err := fields(m, func(num protowire.Number, _ uint64, s []byte) error {
					if int(num) < len(parts) {
						parts[num] = s
					}
					return nil
				})
				d.label(&h, parts[1], parts[2])
				return err
			case 2: // sample
				return d.sample(m)
			}
			return nil
		})
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
		var h maphash.Hash
		d.begin(&h)
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
		for i := 0; i < len(d.refs); i += 2 {
			name, value := d.refs[i], d.refs[i+1]
			if most := max(name, value); most >= uint64(len(d.symbols)) {
				return fmt.Errorf("label reference %d of %d symbols", most, len(d.symbols))
			}
			d.label(&h, d.symbols[name], d.symbols[value])
		}
		d.end(&h)
		return nil
	})
}

// sample takes one sample; field 1 is the value, 2 the time, in both versions.
func (d *decoder) sample(m []byte) error {
	s := sample{series: len(d.series) - 1}
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
