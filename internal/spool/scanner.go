// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"bytes"
	"io"
	"os"
)

// readAhead is what a scanner asks of the disk at once; a larger record makes its
// buffer grow.
const readAhead = 16 << 10

// scanner finds the records of one segment, in order, and steps over what is damaged.
type scanner struct {
	fs  *fileOps
	f   *os.File
	seg *segment
	// off is where the next record is looked for, end where the readable part ends.
	off, end int64
	buf      []byte
	bufOff   int64
}

func (s *scanner) reset(f *os.File, g *segment, end int64) {
	s.f, s.seg, s.off, s.end = f, g, headerSize, end
	s.buf, s.bufOff = s.buf[:0], 0
}

// at gives n bytes from the offset on, fewer where the segment ends before. They
// are valid until the next call.
func (s *scanner) at(off, n int64) ([]byte, error) {
	n = min(n, s.end-off)
	if n <= 0 {
		return nil, nil
	}
	if off < s.bufOff || off+n > s.bufOff+int64(len(s.buf)) {
		want := min(max(n, readAhead), s.end-off)
		if int64(cap(s.buf)) < want {
			s.buf = make([]byte, want)
		}
		k, err := s.fs.readAt(s.f, s.buf[:want], off)
		if err != nil {
			s.buf = s.buf[:0]
			return nil, err
		}
		s.buf, s.bufOff = s.buf[:k], off
	}
	b := s.buf[off-s.bufOff:]
	return b[:min(n, int64(len(b)))], nil
}

// try reads the record that begins at the offset; ok is false if none does.
func (s *scanner) try(off int64) (f frame, ok bool, err error) {
	b, err := s.at(off, 32)
	if err != nil {
		return frame{}, false, err
	}
	n := frameLen(b)
	if n < frameMin || off+n > s.end {
		return frame{}, false, nil
	}
	if b, err = s.at(off, n); err != nil || int64(len(b)) < n {
		return frame{}, false, err
	}
	f, bad := parseFrame(s.seg.first, off, b)
	return f, bad == nil, nil
}

// next gives the next good record; damage is the number of bytes that were stepped
// over in front of it. At the end the error is io.EOF, and damage is what of the
// segment's tail holds no record. Any other error is the disk's.
func (s *scanner) next() (f frame, damage int64, err error) {
	if s.off >= s.end {
		return frame{}, 0, io.EOF
	}
	from := s.off
	for off := from; ; off++ {
		f, ok, err := s.try(off)
		if err != nil {
			return frame{}, 0, err
		}
		if ok {
			s.off = off + int64(f.size)
			return f, off - from, nil
		}
		if off, err = s.seek(off + 1); err != nil {
			return frame{}, 0, err
		}
		if off < 0 {
			s.off = s.end
			return frame{}, s.end - from, io.EOF
		}
		off--
	}
}

// seek gives the next offset at which a record may begin, -1 for none.
func (s *scanner) seek(off int64) (int64, error) {
	for off+frameMin <= s.end {
		b, err := s.at(off, readAhead)
		if err != nil {
			return 0, err
		}
		if len(b) < frameMin {
			return -1, nil
		}
		if i := bytes.IndexByte(b[4:], frameMagic); i >= 0 {
			return off + int64(i), nil
		}
		off += int64(len(b)) - 4
	}
	return -1, nil
}
