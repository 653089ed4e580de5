// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	"github.com/golang/snappy"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

const (
	// version is that of the directory, of the cursor file, and of segments whose records
	// are all the engine's; severalVersion that of segments with records of other targets.
	version        = 1
	severalVersion = 2

	segmentMagic  = "DRWspool"
	segmentSuffix = ".seg"
	headerSize    = 48
	// frameMagic begins each record, behind its checksum: where a record is
	// damaged the next one is looked for by it.
	frameMagic = 0xd7
	// frameMin is the smallest frame there is: checksum, magic, flags, length.
	frameMin = 4 + 1 + 1 + 1
	// fullEvery is the number of records after which one is written in full.
	fullEvery = 60
	// maxDecoded bounds what a record may unpack to.
	maxDecoded = 256 << 20
	// maxSeries bounds the number of series that a segment defines before a record.
	maxSeries = 1 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Flags of a segment.
const flagMark = 1

// Flags of a record.
const (
	// recFull: values and starts stand against zero, not the records before.
	recFull = 1 << iota
	recDefs
	recOrder
	recStarts
	recBlob
	recSnappy
	// recTarget: the number of the target is not 0, and stands in the record.
	recTarget
)

// header begins a segment. A segment whose header is damaged is still read: its
// name has the first sequence number, its records the rest.
type header struct {
	// setBack: the clock was set back between the segment before and this one.
	setBack bool
	// several: there may be records of other targets than the engine's, which earlier
	// releases cannot read.
	several bool
	// gap says why sequence numbers are missing in front of this segment, if they are.
	gap series.Loss
	// first is the sequence number of the first record, cum the number of samples
	// appended before it, time its time.
	first, cum uint64
	time       int64
	// ahead is by how much the latest of the scrapes before, back to where the clock was
	// set back last, is later than that; 0 if it is not, as with one target.
	ahead uint32
}

func (h *header) append(dst []byte) []byte {
	at := len(dst)
	dst = append(dst, segmentMagic...)
	v := uint16(version)
	if h.several {
		v = severalVersion
	}
	dst = binary.LittleEndian.AppendUint16(dst, v)
	flags := uint16(0)
	if h.setBack {
		flags |= flagMark
	}
	dst = binary.LittleEndian.AppendUint16(dst, flags)
	dst = append(dst, byte(h.gap), 0, 0, 0)
	dst = binary.LittleEndian.AppendUint64(dst, h.first)
	dst = binary.LittleEndian.AppendUint64(dst, h.cum)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(h.time))
	dst = binary.LittleEndian.AppendUint32(dst, h.ahead)
	return binary.LittleEndian.AppendUint32(dst, sum(dst[at:]))
}

// newerError says that a file was written by a later release.
type newerError struct {
	path           string
	version, known uint16
}

func (e *newerError) Error() string {
	return fmt.Sprintf("%s has format version %d, this release knows %d", e.path, e.version, e.known)
}

// parseHeader reads a header. A version that is not known is only believed where
// the magic is right and the checksum, which stays in its place, holds.
func parseHeader(b []byte) (header, error) {
	if len(b) < headerSize || string(b[:len(segmentMagic)]) != segmentMagic {
		return header{}, fmt.Errorf("%w: no segment header", errCorrupt)
	}
	if sum(b[:headerSize-4]) != binary.LittleEndian.Uint32(b[headerSize-4:]) {
		return header{}, fmt.Errorf("%w: checksum of the segment header", errCorrupt)
	}
	v := binary.LittleEndian.Uint16(b[8:])
	if v > severalVersion {
		return header{}, &newerError{version: v, known: severalVersion}
	}
	return header{
		several: v == severalVersion,
		setBack: binary.LittleEndian.Uint16(b[10:])&flagMark != 0,
		gap:     series.Loss(b[12]),
		first:   binary.LittleEndian.Uint64(b[16:]),
		cum:     binary.LittleEndian.Uint64(b[24:]),
		time:    int64(binary.LittleEndian.Uint64(b[32:])),
		ahead:   binary.LittleEndian.Uint32(b[40:]),
	}, nil
}

// segmentName is the file name: the first sequence number in 20 digits, so that
// names sort as numbers do.
func segmentName(first uint64) string { return fmt.Sprintf("%020d", first) + segmentSuffix }

func parseSegmentName(name string) (first uint64, ok bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(digits) != 20 {
		return 0, false
	}
	first, err := strconv.ParseUint(digits, 10, 64)
	return first, err == nil && first > 0
}

func sum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// frameSum is the checksum of a frame: of everything behind the checksum itself,
// and of the place where the frame belongs, so that no stray copy of a frame, in
// another file or within a label value, passes for one.
func frameSum(first uint64, offset int64, rest []byte) uint32 {
	var place [16]byte
	binary.LittleEndian.PutUint64(place[:], first)
	binary.LittleEndian.PutUint64(place[8:], uint64(offset))
	return crc32.Update(crc32.Checksum(place[:], castagnoli), castagnoli, rest)
}

// frame is a record's envelope and what stands uncompressed in it.
type frame struct {
	offset int64
	// size of the whole frame on disk.
	size   int
	flags  byte
	target uint8
	// seq is the sequence number of the scrape, cum the number of samples appended
	// before it, n the number of its own.
	seq, cum uint64
	n        int
	time     int64
	body     []byte
}

// appendFrame writes a record that begins at the file's offset. body is packed
// where that saves anything; packed is scratch memory, given back for reuse.
func appendFrame(dst []byte, first uint64, f *frame, packed []byte) (out, scratch []byte) {
	body, flags := f.body, f.flags
	if n := snappy.MaxEncodedLen(len(body)); len(body) > 16 && n > 0 {
		if cap(packed) < n {
			packed = make([]byte, n)
		}
		if p := snappy.Encode(packed[:cap(packed)], body); len(p) < len(body) {
			body, flags = p, flags|recSnappy
		}
	}
	var head [4*binary.MaxVarintLen64 + 1]byte
	h := binary.AppendUvarint(head[:0], f.seq-first)
	h = binary.AppendUvarint(h, zigzag(f.time))
	h = binary.AppendUvarint(h, f.cum)
	h = binary.AppendUvarint(h, uint64(f.n))
	if f.target != 0 {
		flags |= recTarget
		h = append(h, f.target)
	}
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0, frameMagic, flags)
	dst = binary.AppendUvarint(dst, uint64(len(h)+len(body)))
	dst = append(append(dst, h...), body...)
	binary.LittleEndian.PutUint32(dst[at:], frameSum(first, f.offset, dst[at+4:]))
	return dst, packed
}

// frameLen is the length of the frame that b begins with, as far as its first
// bytes tell; 0 if they cannot be the beginning of a frame, and more than len(b)
// if b is too short for it.
func frameLen(b []byte) int64 {
	if len(b) < frameMin {
		return frameMin
	}
	if b[4] != frameMagic {
		return 0
	}
	n, k := binary.Uvarint(b[6:min(len(b), 6+binary.MaxVarintLen64)])
	if k <= 0 {
		if len(b) < 6+binary.MaxVarintLen64 && k == 0 {
			return int64(len(b)) + 1
		}
		return 0
	}
	if n > 1<<40 {
		return 0
	}
	return 6 + int64(k) + int64(n)
}

// parseFrame checks and reads the frame that fills b and began at that offset.
func parseFrame(first uint64, offset int64, b []byte) (frame, error) {
	f := frame{offset: offset, size: len(b)}
	if frameLen(b) != int64(len(b)) {
		return f, fmt.Errorf("%w: no record", errCorrupt)
	}
	if frameSum(first, offset, b[4:]) != binary.LittleEndian.Uint32(b) {
		return f, fmt.Errorf("%w: checksum of a record", errCorrupt)
	}
	f.flags = b[5]
	s := source{b: b[6:]}
	s.uvarint()
	f.seq = first + s.uvarint()
	f.time = unzigzag(s.uvarint())
	f.cum = s.uvarint()
	n := s.uvarint()
	f.n = int(n)
	if f.flags&recTarget != 0 {
		f.target = s.byte()
	}
	if f.seq < first || n > maxDecoded/8 || f.target >= MaxTargets {
		s.fail("a record's header")
	}
	f.body = s.b
	return f, s.err
}

// unpack gives the body of a frame, in dst's memory if it was packed.
func (f *frame) unpack(dst []byte) (body, scratch []byte, err error) {
	if f.flags&recSnappy == 0 {
		return f.body, dst, nil
	}
	n, err := snappy.DecodedLen(f.body)
	// Three bytes of snappy make 64 at most.
	if err != nil || n > maxDecoded || n > 32*len(f.body)+64 {
		return nil, dst, fmt.Errorf("%w: length of a packed record", errCorrupt)
	}
	if cap(dst) < n {
		dst = make([]byte, n+n/4)
	}
	body, err = snappy.Decode(dst[:cap(dst)], f.body)
	if err != nil {
		return nil, dst, fmt.Errorf("%w: %w", errCorrupt, err)
	}
	return body, dst, nil
}
