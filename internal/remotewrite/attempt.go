// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"context"
	"sync/atomic"

	"github.com/docker-remote-write/docker-remote-write/internal/panics"
)

// attempt is one that is made on a goroutine of its own: it may read credentials from
// files, and a disk that hangs must hold neither Run nor Flush.
type attempt struct {
	done   chan struct{} // closed when answer is there
	answer answer
	// claimed by the first of the two: the attempt that has ended, the loop that leaves it.
	claimed atomic.Bool
}

// attempt sends the request and waits for the answer, or for the end of ctx: then it
// reports false, and what is left of it closes the connection.
func (s *Sender) attempt(ctx context.Context) (answer, bool) {
	a := &attempt{done: make(chan struct{})}
	s.client.retry = s.state.fails
	go func(p Protocol, body []byte) {
		defer close(a.done)
		if err := panics.Guard("an attempt", func() { a.answer = s.client.attempt(ctx, p, body) }); err != nil {
			a.answer = answer{sent: true, text: err.Error()} // for all that is known
		}
		if !a.claimed.CompareAndSwap(false, true) {
			s.client.close()
		}
	}(s.req.proto, s.req.body)
	select {
	case <-a.done:
	case <-ctx.Done():
		if a.claimed.CompareAndSwap(false, true) {
			s.left = a
			return answer{}, false
		}
		<-a.done // it has ended at the same moment
	}
	return a.answer, true
}

// alone waits for an attempt that was left behind: it uses the client, and the memory
// that the next request is to be built in.
func (s *Sender) alone(ctx context.Context) bool {
	if s.left == nil {
		return true
	}
	select {
	case <-s.left.done:
		s.left = nil
		return true
	case <-ctx.Done():
		return false
	}
}
