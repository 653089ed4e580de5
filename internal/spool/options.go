// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"errors"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// ErrNotDurable is wrapped by Append's error when the scrape could not be written
// to disk and waits in the bounded memory ring instead. It will be sent all the
// same; only a crash loses it.
var ErrNotDurable = errors.New("the scrape is in memory only")

// ErrLocked is wrapped by Open's error when another process has the directory.
var ErrLocked = errors.New("another process uses this directory")

// ErrClosed is what a closed spool answers.
var ErrClosed = errors.New("the spool is closed")

// Options of a spool. The zero value of MaxBytes and MaxAge means no limit.
type Options struct {
	// MaxBytes caps what the spool takes on disk; the oldest segment goes first.
	MaxBytes int64
	// MaxAge drops segments that began longer ago than that and an hour, by a wall clock
	// that has gone on without a step for an hour at least.
	MaxAge time.Duration
	// RingBytes caps the memory ring that holds scrapes while the disk refuses
	// them; 0 means 2 MiB.
	RingBytes int
	// Series numbers the series; the scrapes that are appended have their numbers from
	// it. nil: a registry of the spool's own.
	Series *series.Registry
	// Log takes what an operator must know: damage, evictions, a refusing disk.
	Log logrus.FieldLogger

	// The rest is the tests': hook sees each file operation before it is made; now is
	// the wall clock, ran the time that the process has run.
	hook     func(op, path string) error
	patience time.Duration
	now      func() time.Time
	ran      func() time.Duration
}

// Endpoint names a claim to a cursor. URL carries no user info; a hash is stored.
type Endpoint struct{ Name, URL string }

// Limits bound one Read.
type Limits struct {
	// Scrapes and Samples are upper bounds, 0 for none. At least one sample is
	// read if there is any.
	Scrapes, Samples int
	// Width is an upper bound on the samples of one scrape, 0 for none. A scrape with
	// more begins a batch, is read in parts of equal size, and only its last part may
	// share a batch with what follows.
	Width int
	// Before, in milliseconds, ends the batch in front of the first scrape with
	// that time or a later one, unless it would be the first of the batch. 0 for none.
	Before int64
}

// Backlog is what waits beyond a cursor.
type Backlog struct {
	Scrapes, Samples uint64
	// Bytes on disk from the cursor's segment on; shared with other cursors.
	Bytes int64
	// Oldest is the time of the oldest waiting scrape in milliseconds, 0 for none. Before
	// the first Read behind a start it may be that of an earlier one, by an hour at most.
	Oldest int64
}
