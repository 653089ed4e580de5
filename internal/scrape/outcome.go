// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"syscall"
)

// Outcome is how one attempt to scrape ended. The names are a metric's label.
type Outcome uint8

const (
	// OK: the scrape was read whole.
	OK Outcome = iota
	// HeldBack: the engine is still booting and what it says is not yet true.
	HeldBack
	// RefusedSocket: nobody listens on the target.
	RefusedSocket
	// Timeout: no complete answer within the timeout.
	Timeout
	// Network: any other failure of the connection.
	Network
	// Status: an answer other than 200.
	Status
	// ContentType: an answer in a format that is not understood.
	ContentType
	// Parse: the body is not what its Content-Type says.
	Parse
	// TooLarge: the body exceeds MaxBytes.
	TooLarge
	// SampleLimit: more samples than SampleLimit.
	SampleLimit
	// LabelLimit: a series or a help text exceeds MaxSeriesBytes.
	LabelLimit

	// Outcomes is the number of outcomes.
	Outcomes int = iota
)

var outcomeNames = [Outcomes]string{
	"ok", "held_back", "refused", "timeout", "network", "status", "content_type",
	"parse", "too_large", "sample_limit", "label_limit",
}

// String is the outcome as it stands in metrics and status.
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return "unknown"
}

// ErrHeldBack says that the target answered but is an engine that is still
// booting; there is no scrape to append. Ask again in a second.
var ErrHeldBack = errors.New("the engine is still starting: scrape held back")

// Error is a failed scrape.
type Error struct {
	Outcome Outcome
	Err     error
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func failed(o Outcome, format string, args ...any) *Error {
	return &Error{Outcome: o, Err: fmt.Errorf(format, args...)}
}

// Refused reports whether err says that nobody listens on the target: the
// connection was refused, or the socket's file is not there.
func Refused(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist)
}

// connError sorts a failure of dialling, asking or reading.
func connError(step, target string, err error) *Error {
	o := Network
	var ne net.Error
	switch {
	case Refused(err):
		o = RefusedSocket
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &ne) && ne.Timeout():
		o = Timeout
		err = fmt.Errorf("timeout: no whole answer in time: %w", err)
	}
	return failed(o, "%s %s: %w", step, target, err)
}
