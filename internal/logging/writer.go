// SPDX-License-Identifier: Apache-2.0

package logging

import (
	"fmt"
	"io"
	"sync"
)

// writer writes lines in a goroutine of its own, so that a full pipe blocks
// nobody else: the engine stops reading while it is down. What does not fit
// the queue is counted, and said once there is room.
type writer struct {
	w     io.Writer
	limit int
	wake  chan struct{}
	done  chan struct{}

	mu      sync.Mutex
	queue   []string
	size    int
	dropped uint64
	told    uint64
	closed  bool
}

func newWriter(w io.Writer, limit int) *writer {
	q := &writer{w: w, limit: limit, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go q.run()
	return q
}

// line queues one line without its end. It never blocks.
func (q *writer) line(text string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.size+len(text) > q.limit {
		q.dropped++
		return
	}
	q.queue = append(q.queue, text)
	q.size += len(text)
	q.signal()
}

func (q *writer) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *writer) lost() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dropped
}

func (q *writer) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.signal()
}

// run writes until it is closed and the queue is empty.
func (q *writer) run() {
	defer close(q.done)
	var buf []byte
	for {
		lines, closed := q.take()
		for _, text := range lines {
			buf = append(append(buf[:0], text...), '\n')
			// One write a line: with at most 4 KiB a pipe does not tear it.
			_, err := q.w.Write(buf)
			q.mu.Lock()
			q.size -= len(text)
			if err != nil {
				q.dropped++
			}
			q.mu.Unlock()
		}
		if len(lines) > 0 {
			continue
		}
		if closed {
			return
		}
		<-q.wake
	}
}

// take empties the queue. When that is empty and lines were dropped, it
// returns a line that says so.
func (q *writer) take() (lines []string, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	lines, q.queue = q.queue, nil
	if n := q.dropped - q.told; len(lines) == 0 && n > 0 && !q.closed {
		q.told = q.dropped
		text := fmt.Sprintf("warning: %d log lines were dropped: they were not read fast enough", n)
		q.size += len(text)
		lines = []string{text}
	}
	return lines, q.closed
}
