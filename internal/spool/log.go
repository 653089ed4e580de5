// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

const (
	// segmentBytes and segmentAge end a segment.
	segmentBytes = 1 << 20
	segmentAge   = time.Hour
)

// segment is one file of the log. Its fields but size, noted and refused do not
// change, and the file is read at most up to size.
type segment struct {
	header
	path string
	// size is what of the file is known to be on disk.
	size int64
	// epoch counts the times that the clock was set back up to this segment's own.
	epoch uint64
	// lostFrom: the samples from that count on that are missing in front of the
	// segment were dropped by the ring; cum where there are none.
	lostFrom uint64
	// guessed: the header could not be read, and its counts are not certain.
	guessed bool
	// noted is the offset up to which damage was logged.
	noted int64
	// refused: the disk did not let it be read, so that its file is kept.
	refused bool
}

// edge is a place in the log, in front of the scrape with that sequence number: the
// samples before it, and the time of the scrape, or, at the end of the log, of the last one.
type edge struct {
	seq, cum uint64
	time     int64
}

func (m edge) position() series.Position { return series.Position{Scrape: m.seq, Count: m.cum} }

// roomState says whether the file system has room.
type roomState uint8

const (
	roomy roomState = iota
	// full: a write was refused for want of room.
	full
	// yielded: a segment has gone for that. Unless it helped, no other one does.
	yielded
)

// log is the scrapes: segments on disk, oldest first, and behind them the ring in
// memory, whose oldest scrapes may be in the newest segment too. It knows no cursor.
type log struct {
	o   *Options
	fs  *fileOps
	reg *series.Registry
	// dir is where the files of this format version lie; "" for a log without a disk.
	dir string

	mu   sync.Mutex
	segs []*segment
	ring ring
	// durable is behind the last scrape on disk, visible behind the last one that may be sent.
	durable, visible edge
	// failed is the last scrape that was written in vain, err why.
	failed uint64
	err    error
	// epoch counts the times that the clock was set back.
	epoch uint64
	// stuck: the disk has kept somebody waiting longer than patience, and nothing
	// has moved since.
	stuck bool
	room  roomState
	// trash are files that go once the cursors are synced.
	trash []string
	// progress is closed, and made anew, when something has moved.
	progress chan struct{}
	closing  bool
}

// push puts a scrape at the end of the log, in memory.
func (l *log) push(sc *series.Scrape) (*entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing {
		return nil, ErrClosed
	}
	end := l.end()
	e := l.ring.push(sc, l.reg)
	e.seq, e.cum, e.lostFrom, e.busy = end.seq, end.cum, end.cum, false
	if l.ring.stamp(e); e.setBack {
		l.epoch++
	}
	e.epoch = l.epoch
	return e, nil
}

// end is behind the newest scrape. That one stays in the ring in any case.
func (l *log) end() edge {
	if n := len(l.ring.entries); n > 0 {
		e := l.ring.entries[n-1]
		return edge{e.seq + 1, e.end(), e.Time}
	}
	return l.durable
}

// settled reports whether it is known what became of a scrape that was pushed.
func (l *log) settled(seq uint64) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.durable.seq > seq:
		return true, nil
	case l.failed >= seq:
		return true, l.err
	}
	return false, nil
}

// release lets readers have the scrapes up to that one, although they are not on disk.
func (l *log) release(seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if seq < l.visible.seq {
		return
	}
	l.visible = l.end()
	if e := l.ring.get(seq + 1); e != nil {
		l.visible = edge{e.seq, e.cum, e.Time}
	}
}

// trim drops what nobody will read from memory any more, where no cursor stands
// before least.
func (l *log) trim(least series.Position) {
	n, bytes := 0, l.ring.bytes
	for i, e := range l.ring.entries {
		if l.dir != "" && e.seq >= l.durable.seq || e.seq >= l.visible.seq {
			break
		}
		if i == len(l.ring.entries)-1 {
			break // the end of the log is behind it
		}
		if e.seq >= least.Scrape && (l.dir == "" || l.ring.newest(i, bytes)) {
			break
		}
		n++
		bytes -= e.size
	}
	if n > 0 {
		l.ring.drop(n, l.reg)
	}
}

// unwritten are the scrapes that are not on disk yet. They, and their series, stay
// until done is called.
func (l *log) unwritten() []*entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	var batch []*entry
	for _, e := range l.ring.entries {
		if e.seq >= l.durable.seq {
			e.busy = true
			e.column.users++
			l.reg.Hold(e.others())
			batch = append(batch, e)
		}
	}
	return batch
}

// rest is what of a batch is not on disk.
func (l *log) rest(batch []*entry) []*entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return batch[less(l.durable.seq, batch[0].seq):]
}

// done ends what unwritten has begun: err is why the batch, or part of it, is not on disk.
func (l *log) done(batch []*entry, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range batch {
		e.busy = false
		e.column.leave(l.reg)
		l.reg.Release(e.others())
	}
	if err != nil {
		if l.err == nil {
			l.o.Log.WithError(err).Error("the spool cannot be written; scrapes wait in memory")
		}
		l.err = fmt.Errorf("%w: %w", ErrNotDurable, err)
		l.failed = max(l.failed, batch[len(batch)-1].seq)
		switch {
		case l.room == yielded:
		case noRoom(err):
			l.room = full
		default:
			l.room = roomy
		}
		return
	}
	l.room = roomy
	if l.err != nil {
		l.o.Log.Info("the spool can be written again")
		l.err = nil
	}
}

// advance publishes what is on disk now: the segment up to size, and with it the
// scrapes before that edge.
func (l *log) advance(g *segment, size int64, to edge) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.segs); n == 0 || l.segs[n-1] != g {
		l.segs = append(l.segs, g)
	}
	g.size = size
	if l.durable.seq < to.seq {
		l.durable = to
	}
	if l.visible.seq < to.seq {
		l.visible = to
	}
	l.moved()
}

// moved says that the disk answers. It is called with the lock held.
func (l *log) moved() {
	l.stuck = false
	close(l.progress)
	l.progress = make(chan struct{})
}

// head is where the oldest scrape stands that there is.
func (l *log) head() series.Position {
	switch {
	case len(l.segs) > 0:
		return l.segs[0].position()
	case len(l.ring.entries) > 0:
		e := l.ring.entries[0]
		return series.Position{Scrape: e.seq, Count: e.cum}
	}
	return l.end().position()
}

func (g *segment) position() series.Position {
	return series.Position{Scrape: g.first, Count: g.cum}
}

// bytes is what the segments take on disk.
func (l *log) bytes() (n int64) {
	for _, g := range l.segs {
		n += g.size
	}
	return n
}

// has reports whether the segment is still part of the log.
func (l *log) has(g *segment) bool { return slices.Contains(l.segs, g) }

// discard takes a segment out of the log; its file goes after the cursors were synced:
// either every endpoint has acknowledged it, or what was lost with it is counted.
func (l *log) discard(i int) {
	l.trash = append(l.trash, l.segs[i].path)
	l.segs = slices.Delete(l.segs, i, i+1)
}

// note reports whether something is said of a stretch of a segment for the first time.
func (l *log) note(g *segment, offset, end int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := offset < g.noted
	g.noted = max(g.noted, end)
	return !seen
}

// missing logs that somebody has taken a segment's file away.
func (l *log) missing(g *segment, why error) {
	if l.note(g, 0, math.MaxInt64) {
		l.o.Log.WithError(why).WithField("path", g.path).Error("a segment is gone; what waited in it counts as unreadable")
	}
}

// damaged logs damage, once for each place.
func (l *log) damaged(g *segment, offset, size int64, why error) {
	if !l.note(g, offset, offset+size) {
		return
	}
	out := l.o.Log.WithFields(logrus.Fields{"path": g.path, "offset": offset, "bytes": size})
	if why != nil {
		out = out.WithError(why)
	}
	out.Warn("the spool is damaged; reading goes on at the next full record")
}

// readable is the end of what may be sent.
func (l *log) readable() edge {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.visible
}

// watch gives a channel that is closed when something moves, whether the disk is known
// not to answer, and how long to wait for it.
func (l *log) watch() (progress <-chan struct{}, stuck bool, patience time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.progress, l.stuck, l.o.patience
}

// giveUp notes that somebody has waited for the disk in vain.
func (l *log) giveUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.stuck {
		l.stuck = true
		l.o.Log.Warn("the disk does not answer; scrapes wait in memory")
	}
}
