// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"errors"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// ErrMoved is wrapped by what Read, Begin and Ack answer to a position that the
// cursor no longer stands at, because what lay there was evicted: begin anew at Position.
var ErrMoved = errors.New("the cursor was moved, since what it stood at was evicted")

// Note is what a sender keeps beside its cursor. It survives what the cursor survives.
type Note struct {
	// Barrier is the farthest end of any request that has left and is not settled: what
	// lies before it may be at the receiver. Not beyond the cursor: there is none.
	Barrier series.Position
	// AnswerLost: an answer in front of the barrier was lost, by a restart, a timeout or
	// a cut connection.
	AnswerLost bool
	// Learned is about the receiver; Claim resets it where the URL has changed.
	Learned Learned
}

// Learned is what a sender has found out about its receiver.
type Learned struct {
	// FellBack is when it did not understand 2.0, in Unix seconds; 0 while 2.0 is the choice.
	FellBack int64
	// V2 and V1 say which protocol it has accepted a request in.
	V2, V1 bool
	// MaxBytes is the learned size of an uncompressed request, 0 for no limit.
	MaxBytes int
}
