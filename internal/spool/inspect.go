// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// Report is what lies in a data directory.
type Report struct {
	// Dir is where the files of this format version lie; "" if there are none.
	Dir string
	// Newer are files and directories of a later release, which are left alone.
	Newer     []string
	Segments  []SegmentReport
	Endpoints []EndpointReport
	Damage    []Damage
	// Missing counts samples behind the end of the log that are known to have been
	// appended. Beside a running process they are those in its memory.
	Missing uint64
	// Removed is what became of the samples of endpoints that are gone.
	Removed series.Tally
}

// SegmentReport is one file. First is the sequence number of its first scrape.
type SegmentReport struct {
	Path            string
	First           uint64
	From, To        time.Time
	Scrapes         int
	Samples         uint64
	Bytes           int64
	ClockMark       bool
	SamplesNotFound uint64
}

// EndpointReport is one endpoint: its place, and what waits behind it.
type EndpointReport struct {
	Name string
	// Unclaimed is since when no endpoint of the configuration has this name, URL
	// or place; zero for a cursor in use.
	Unclaimed time.Time
	Position  series.Position
	// Barrier is the farthest end of what may be at the receiver already; zero for none.
	Barrier series.Position
	// From and To are the times of the oldest and the newest scrape that wait.
	From, To         time.Time
	Scrapes, Samples uint64
	// Bytes are those of the segments from the position on, shared with others.
	Bytes int64
	Tally series.Tally
}

// Damage is a stretch of a file that holds no readable record, or a record that
// cannot be decoded. Samples is what was lost up to the next one that can.
type Damage struct {
	Path          string
	Offset, Bytes int64
	Samples       uint64
	Reason        string
}

// Inspect reads a data directory: every byte of it, for damage too. It changes
// nothing, takes no lock, and works beside the process that owns the directory.
func Inspect(dir string) (Report, error) {
	var r Report
	entries, err := os.ReadDir(dir)
	if err != nil {
		return r, err
	}
	for _, e := range entries {
		if v, ok := dirVersion(e.Name()); ok && v > version {
			r.Newer = append(r.Newer, filepath.Join(dir, e.Name()))
		}
	}
	for n := range 100 {
		s := newSpool(Options{})
		s.log.dir = filepath.Join(dir, dirName(n))
		if _, err := os.Stat(s.log.dir); err != nil {
			return r, nil
		}
		err := r.read(s)
		var newer *newerError
		if !errors.As(err, &newer) {
			return r, err
		}
		r = Report{Newer: append(r.Newer, newer.path)}
	}
	return r, nil
}

func (r *Report) read(s *Spool) error {
	r.Dir = s.log.dir
	b, err := os.ReadFile(filepath.Join(s.log.dir, cursorsName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	st, err := parseCursors(b)
	if err != nil {
		var newer *newerError
		if errors.As(err, &newer) {
			newer.path = filepath.Join(s.log.dir, cursorsName)
		}
		return err
	}
	if st.damaged > 0 {
		r.Damage = append(r.Damage, Damage{Path: filepath.Join(s.log.dir, cursorsName), Bytes: int64(st.damaged) * 2 * slotSize, Reason: "cursors that cannot be read"})
	}
	files, err := s.log.list(time.Time{})
	if err != nil {
		return err
	}
	r.Removed = st.removed
	for _, c := range st.cursors {
		e := EndpointReport{Name: c.name, Position: c.pos, Barrier: c.note.Barrier, Tally: c.tally}
		if c.unclaimed != 0 {
			e.Unclaimed = time.UnixMilli(c.unclaimed)
		}
		r.Endpoints = append(r.Endpoints, e)
	}
	w := walk{r: r, s: s}
	for i, g := range files {
		if !g.ok {
			s.log.mend(files, i, &st)
			r.Damage = append(r.Damage, Damage{Path: g.path, Bytes: headerSize, Reason: "the header"})
		}
	}
	for i, g := range files {
		limit, end := ^uint64(0), ^uint64(0)
		if i+1 < len(files) {
			limit, end = files[i+1].first, files[i+1].cum
			if files[i+1].gap == series.RingFull {
				end = ^uint64(0) // never reached the disk
			}
		}
		if err := w.segment(g.segment, limit, end); err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.Damage = append(r.Damage, Damage{Path: g.path, Bytes: g.size, Reason: err.Error()})
		}
	}
	next, total := max(w.next, st.end.seq), max(w.total, st.end.cum)
	if st.end.cum > w.total && len(files) > 0 {
		r.Missing = st.end.cum - w.total
	}
	for i, c := range st.cursors {
		e := &r.Endpoints[i]
		e.Samples = less(total, c.pos.Count)
		if e.Position.Scrape < next {
			e.Scrapes = next - e.Position.Scrape
		}
		if e.Samples == 0 {
			e.From, e.To = time.Time{}, time.Time{}
		}
	}
	return nil
}

// walk reads the segments one after the other.
type walk struct {
	r           *Report
	s           *Spool
	next, total uint64
}

func (w *walk) segment(g *segment, limit, end uint64) error {
	f, err := os.Open(g.path)
	if err != nil {
		return err
	}
	defer f.Close()
	rep := SegmentReport{Path: g.path, First: g.first, Bytes: g.size, ClockMark: g.setBack}
	sc := scanner{fs: &w.s.fs}
	sc.reset(f, g, g.size)
	var dec decoder
	defer func() { releaseAll(w.s.o.Series, dec.reset(nil)) }()
	at := g.cum
	for {
		fr, damage, err := sc.next()
		over := errors.Is(err, io.EOF)
		if err != nil && !over {
			return err
		}
		if damage > 0 && (!over || limit != ^uint64(0)) {
			dec.missed()
			from := sc.off - damage
			if !over {
				from = fr.offset - damage
			}
			w.r.Damage = append(w.r.Damage, Damage{Path: g.path, Offset: from, Bytes: damage, Reason: "no record"})
		}
		if over || fr.seq >= limit {
			break
		}
		ok, err := dec.decode(&fr, w.s.o.Series)
		if err != nil {
			w.r.Damage = append(w.r.Damage, Damage{Path: g.path, Offset: fr.offset, Bytes: int64(fr.size), Reason: err.Error()})
		}
		w.next, w.total = fr.seq+1, fr.cum+uint64(fr.n)
		if !ok {
			continue
		}
		w.lost(&rep, fr.cum, at)
		at = fr.cum + uint64(fr.n)
		t := time.UnixMilli(fr.time)
		widen(&rep.From, &rep.To, t)
		rep.Scrapes++
		rep.Samples += uint64(fr.n)
		for i := range w.r.Endpoints {
			if e := &w.r.Endpoints[i]; fr.seq >= e.Position.Scrape {
				widen(&e.From, &e.To, t)
			}
		}
	}
	last := at
	if end != ^uint64(0) {
		last = end
	} else if w.total > at {
		last = w.total
	}
	w.lost(&rep, last, at)
	for i := range w.r.Endpoints {
		if e := &w.r.Endpoints[i]; limit > e.Position.Scrape && w.next > e.Position.Scrape {
			e.Bytes += g.size
		}
	}
	w.r.Segments = append(w.r.Segments, rep)
	return nil
}

// widen makes a range of times reach that one.
func widen(from, to *time.Time, t time.Time) {
	if from.IsZero() || t.Before(*from) {
		*from = t
	}
	if to.IsZero() || t.After(*to) {
		*to = t
	}
}

// lost books samples that lie between two readable records.
func (w *walk) lost(rep *SegmentReport, cum, at uint64) {
	if cum <= at {
		return
	}
	rep.SamplesNotFound += cum - at
	if n := len(w.r.Damage); n > 0 && w.r.Damage[n-1].Path == rep.Path {
		w.r.Damage[n-1].Samples += cum - at
		return
	}
	w.r.Damage = append(w.r.Damage, Damage{Path: rep.Path, Offset: rep.Bytes, Samples: cum - at, Reason: "its end is missing"})
}
