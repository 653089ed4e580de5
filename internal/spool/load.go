// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// Releases before this one set segments of another host aside, under such a name, for
// seven days.
const (
	asideSuffix = segmentSuffix + ".foreign"
	asideFor    = 7 * 24 * time.Hour
)

// found is a segment's file as it was found.
type found struct {
	*segment
	// ok: its header is good; unsized: its size is not known.
	ok, unsized bool
}

// list reads the headers of all segments, oldest first. Files that are not the
// spool's are not looked at.
func (l *log) list(now time.Time) ([]found, error) {
	entries, err := l.fs.readDir(l.dir)
	if err != nil {
		return nil, err
	}
	var files []found
	for _, e := range entries {
		path := filepath.Join(l.dir, e.Name())
		i, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) || !e.Type().IsRegular() {
			continue
		}
		first, ok := parseSegmentName(e.Name())
		if !ok {
			if strings.HasSuffix(e.Name(), asideSuffix) && err == nil && now.Sub(i.ModTime()) > asideFor {
				// It waits for nobody: what is in it was counted as foreign.
				l.trash = append(l.trash, path)
			}
			continue
		}
		// As large as a segment gets, where the disk does not tell.
		size, unsized := int64(segmentBytes), err != nil
		if !unsized {
			size = i.Size()
		}
		var f found
		for range readTries {
			if f, err = l.readHeader(path, first, size); err != nil {
				return nil, err
			}
			if !f.refused {
				break
			}
		}
		f.unsized = unsized
		files = append(files, f)
	}
	slices.SortFunc(files, func(a, b found) int {
		if a.first < b.first {
			return -1
		}
		return 1
	})
	return files, nil
}

// readHeader reads one header. A disk that refuses says nothing of the segment: it
// is kept then, as one that was not read.
func (l *log) readHeader(path string, first uint64, size int64) (found, error) {
	g := found{segment: &segment{header: header{first: first}, path: path, size: size}}
	b := make([]byte, headerSize)
	f, err := l.fs.open(opSegmentOpen, path, os.O_RDONLY)
	if err == nil {
		defer f.Close()
		var n int
		n, err = l.fs.readAt(f, b, 0)
		b = b[:n]
	}
	if err != nil {
		g.refused = true
		l.o.Log.WithError(err).Error("a segment cannot be read now; it is kept, and read when its turn comes")
		return g, nil
	}
	h, err := parseHeader(b)
	var newer *newerError
	if errors.As(err, &newer) {
		newer.path = path
		return g, err
	}
	if err == nil && h.first == first {
		g.header, g.ok = h, true
		return g, nil
	}
	l.o.Log.WithFields(logrus.Fields{"path": path, "offset": 0, "error": err}).Warn("the header of a segment is damaged; its records are read all the same")
	return g, nil
}

// extent is what a scan of a segment finds.
type extent struct {
	records     int
	first, last edge
	// newest is the latest time of all records.
	newest int64
	// end is the count behind the last record, size where it ends.
	end  uint64
	size int64
}

func (l *log) scan(g *segment, limit uint64) (x extent, err error) {
	f, err := l.fs.open(opSegmentOpen, g.path, os.O_RDONLY)
	if err != nil {
		return x, err
	}
	defer f.Close()
	sc := scanner{fs: l.fs}
	sc.reset(f, g, g.size)
	x.size = min(g.size, headerSize)
	for {
		r, _, err := sc.next()
		if errors.Is(err, io.EOF) {
			return x, nil
		}
		if err != nil {
			return x, err
		}
		if r.seq >= limit {
			return x, nil
		}
		m := edge{seq: r.seq, cum: r.cum, time: r.time}
		if x.records == 0 {
			x.first, x.newest = m, m.time
		}
		x.newest = max(x.newest, m.time)
		x.records++
		x.last, x.end, x.size = m, r.cum+uint64(r.n), sc.off
	}
}

// load takes over the segments and finds where the log ends. Only the newest
// segment is read through, and those whose header is damaged and the ones before them.
func (l *log) load(files []found, st *stored) {
	files, x, endless := l.newest(files)
	end := edge{seq: 1}
	if x.records > 0 {
		end = edge{x.last.seq + 1, x.end, x.newest}
	}
	if n := len(files); n > 0 && files[n-1].ok {
		end.time = max(end.time, files[n-1].time+int64(files[n-1].ahead))
	}
	if endless {
		// No record is smaller than frameMin: these numbers may all be taken.
		g := files[len(files)-1]
		end.seq, end.cum = g.first+uint64(g.size)/frameMin+1, max(end.cum, g.cum)
	}
	for i, g := range files {
		if !g.ok {
			l.mend(files, i, st)
		}
		if i > 0 && !g.ok && g.time <= files[i-1].time {
			g.setBack = true
		}
		g.lostFrom = g.cum
		if i > 0 && g.ok && g.gap == series.RingFull {
			if before, err := l.scan(files[i-1].segment, g.first); err == nil && before.records > 0 {
				g.lostFrom = min(before.end, g.cum)
			}
		}
		if i+1 < len(files) && st.passed(files[i+1].first) {
			// It was about to be removed when the process ended, or was kept.
			if _, err := l.scan(g.segment, ^uint64(0)); err != nil {
				g.refused = true
				l.o.Log.WithError(err).Error("a segment that every endpoint has acknowledged cannot be read; it is kept")
			}
		}
		if g.setBack {
			l.epoch++
		}
		g.epoch = l.epoch
		end.cum = max(end.cum, g.cum)
		l.segs = append(l.segs, g.segment)
	}
	if st.end.cum > end.cum && !endless {
		l.o.Log.WithFields(logrus.Fields{"scrapes": max(st.end.seq, end.seq) - end.seq, "samples": st.end.cum - end.cum, "directory": l.dir}).
			Warn("the end of the spool is missing")
	}
	end.seq, end.cum = max(end.seq, st.end.seq), max(end.cum, st.end.cum)
	l.durable, l.visible = end, end
	// Which target had which number then is not known.
	l.ring.restart(end.time)
}

// newest finds the end of the log: whatever of the newest segment is no record is a
// tail that was torn when the process or the machine stopped. endless says that the
// disk does not let it be read.
func (l *log) newest(files []found) (left []found, end extent, endless bool) {
	for len(files) > 0 {
		g := files[len(files)-1]
		var err error
		for range readTries {
			if end, err = l.scan(g.segment, ^uint64(0)); err == nil {
				break
			}
		}
		if err != nil || g.unsized || g.refused && end.records == 0 {
			// Where it ends, or whose it is, is not known: nothing is cut off or removed.
			g.refused = true
			if err != nil {
				l.o.Log.WithError(err).Error("the newest segment cannot be read to its end; it is kept, and read again when its turn comes")
			}
			return files, end, true
		}
		g.refused = false
		if end.records > 0 {
			// All of it was read, and behind the last record there is none.
			if end.size < g.size {
				l.cut(g.segment, end.size)
			}
			return files, end, false
		}
		if g.size > headerSize || !g.ok {
			l.o.Log.WithFields(logrus.Fields{"path": g.path, "bytes": g.size}).Warn("a segment without a single whole record is removed")
		}
		// All of it was read, header included, and it holds no record.
		if err := l.fs.remove(g.path); err != nil {
			l.o.Log.WithError(err).Warn("an empty segment cannot be removed")
		}
		files = files[:len(files)-1]
	}
	return files, end, false
}

// passed reports whether every cursor stands at or behind that scrape.
func (st *stored) passed(seq uint64) bool {
	for _, c := range st.cursors {
		if c.pos.Scrape < seq {
			return false
		}
	}
	return len(st.cursors) > 0
}

// cut takes a torn tail off.
func (l *log) cut(g *segment, size int64) {
	l.o.Log.WithFields(logrus.Fields{"path": g.path, "offset": size, "bytes": g.size - size}).Warn("a torn tail is cut off")
	f, err := l.fs.open(opSegmentOpen, g.path, os.O_WRONLY)
	if err == nil {
		err = l.fs.truncate(f, size)
		f.Close()
	}
	if err != nil {
		l.o.Log.WithError(err).Warn("a torn tail cannot be cut off; it is not read")
	}
	g.size = size
}

// mend finds out what a damaged header said: from the segment's own records where
// its first one is good, else from where the one before it ends.
func (l *log) mend(files []found, i int, st *stored) {
	g := files[i].segment
	x, _ := l.scan(g, ^uint64(0))
	if x.records > 0 {
		g.time = x.first.time
		if x.first.seq == g.first {
			g.cum = x.first.cum
			return
		}
	}
	g.guessed = true
	if i > 0 {
		before, err := l.scan(files[i-1].segment, g.first)
		if g.time == 0 {
			g.time = files[i-1].time
		}
		if g.cum = files[i-1].cum; err == nil && before.records > 0 {
			g.cum = before.end
		}
		return
	}
	// Nothing comes before: a cursor may stand just there.
	for _, c := range st.cursors {
		if c.pos.Scrape == g.first && c.pos.Ordinal == 0 {
			g.cum = c.pos.Count
			return
		}
	}
	if x.records > 0 {
		g.cum = x.first.cum
	} else if len(files) > 1 {
		g.cum = files[1].cum
	}
}
