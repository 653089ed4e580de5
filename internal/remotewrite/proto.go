// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"encoding/binary"
	"math"
	"math/bits"

	"github.com/gogo/protobuf/proto"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// Tags of the wire format that stand in every sample: the field number shifted
// by three, and the wire type.
const (
	tagSamples   = 2<<3 | 2 // TimeSeries.samples, the same in both protocols
	tagValue     = 1<<3 | 1 // Sample.value
	tagTimestamp = 2 << 3   // Sample.timestamp
	tagStart     = 3 << 3   // Sample.start_timestamp, 2.0 only
)

// sampleMax is the most that one encoded sample takes: its tag and length, the
// value, and two varints with their tags.
const sampleMax = 2 + 9 + 2*(1+binary.MaxVarintLen64)

func varintLen(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

// appendSamples writes samples as a repeated field of a TimeSeries. Written by
// hand rather than by the generated code: it is all but everything that is spent
// on building a request.
func appendSamples(dst []byte, samples []series.Sample, starts bool) []byte {
	n := len(dst)
	if need := n + len(samples)*sampleMax; need > cap(dst) {
		dst = append(make([]byte, 0, need+need/4), dst...)
	}
	b := dst[:cap(dst)]
	for i := range samples {
		s := &samples[i]
		at := n + 2
		if v := math.Float64bits(s.V); v != 0 {
			b[at] = tagValue
			binary.LittleEndian.PutUint64(b[at+1:], v)
			at += 9
		}
		if s.T != 0 {
			b[at] = tagTimestamp
			at += 1 + binary.PutUvarint(b[at+1:], uint64(s.T))
		}
		if start := min(s.Start, s.T); starts && s.Start != 0 && start != 0 {
			b[at] = tagStart
			at += 1 + binary.PutUvarint(b[at+1:], uint64(start))
		}
		b[n], b[n+1] = tagSamples, byte(at-n-2)
		n = at
	}
	return b[:n]
}

// appendBytes writes a length-delimited field.
func appendBytes[T string | []byte](dst []byte, tag byte, v T) []byte {
	dst = binary.AppendUvarint(append(dst, tag), uint64(len(v)))
	return append(dst, v...)
}

// appendMessage writes a message of the generated code as a field. It serves
// what is rare: native histograms, exemplars and the metadata of 1.0.
func appendMessage(dst []byte, tag byte, m proto.Message) []byte {
	size := proto.Size(m)
	dst = binary.AppendUvarint(append(dst, tag), uint64(size))
	buf := proto.NewBuffer(dst)
	if err := buf.Marshal(m); err != nil {
		// The generated marshallers fail on nothing that these messages can hold.
		return append(dst, make([]byte, size)...)
	}
	return buf.Bytes()
}

// openFrame begins a length-delimited field and leaves room for the length of
// about guess bytes; a good guess saves moving them. closeFrame ends the field.
func openFrame(dst []byte, tag byte, guess int) (out []byte, start, room int) {
	var none [binary.MaxVarintLen64]byte
	room = varintLen(uint64(guess))
	dst = append(dst, tag)
	return append(dst, none[:room]...), len(dst), room
}

// closeFrame puts the length of dst[start+room:] into the room in front of it.
func closeFrame(dst []byte, start, room int) []byte {
	size := len(dst) - start - room
	if need := varintLen(uint64(size)); need != room {
		if need > room {
			var none [binary.MaxVarintLen64]byte
			dst = append(dst, none[:need-room]...)
		}
		copy(dst[start+need:], dst[start+room:start+room+size])
		dst = dst[:start+need+size]
	}
	binary.PutUvarint(dst[start:], uint64(size))
	return dst
}
