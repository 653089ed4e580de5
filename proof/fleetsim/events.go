// SPDX-License-Identifier: Apache-2.0

package fleetsim

// kind of an event.
type kind uint8

const (
	// scrape is a tick of a host's grid.
	scrape kind = iota
	// wake is the end of a sender's wait: a delay after a failure, the pace of
	// catching up, or the deadline for merging.
	wake
	// answer is the receiver's answer to the host's request.
	answer
	// restart is the start of a host's engine, after a stop at the same moment.
	restart
)

// event is due at a time in milliseconds since the start of the simulation.
type event struct {
	at   int64
	seq  uint32 // of two events at the same time the one made first comes first
	host int32
	kind kind
	// gen is the host's generation when the event was made: a restart, or another
	// wait, voids those of the one before.
	gen uint16
}

func (e event) before(o event) bool { return e.at < o.at || e.at == o.at && e.seq < o.seq }

// queue is a binary heap of events; container/heap would box each of them.
type queue struct {
	e   []event
	seq uint32
}

func (q *queue) push(e event) {
	e.seq = q.seq
	q.seq++
	q.e = append(q.e, e)
	i := len(q.e) - 1
	for i > 0 {
		p := (i - 1) / 2
		if !q.e[i].before(q.e[p]) {
			break
		}
		q.e[i], q.e[p] = q.e[p], q.e[i]
		i = p
	}
}

func (q *queue) pop() event {
	top, last := q.e[0], len(q.e)-1
	q.e[0], q.e = q.e[last], q.e[:last]
	for i := 0; ; {
		c := 2*i + 1
		if c >= last {
			return top
		}
		if c+1 < last && q.e[c+1].before(q.e[c]) {
			c++
		}
		if !q.e[c].before(q.e[i]) {
			return top
		}
		q.e[i], q.e[c] = q.e[c], q.e[i]
		i = c
	}
}
