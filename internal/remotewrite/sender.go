// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
	"github.com/docker-remote-write/docker-remote-write/internal/spool"
	"github.com/docker-remote-write/docker-remote-write/internal/weburl"
)

// ErrBackingOff is returned by Flush when the endpoint does not take requests for
// now; what waits stays in the spool.
var ErrBackingOff = errors.New("the endpoint is backing off")

// Sender sends what waits at one cursor to one receiver, in order, one request at
// a time. It waits, reads, encodes, makes an attempt, has the answer judged, and does
// what plan says.
//
// To change the options of an endpoint, end Run, claim the cursor again and make a
// new Sender with it. What was in flight then is treated as after a restart.
type Sender struct {
	o      Options
	cursor *spool.Cursor
	client *client

	loop    chan struct{} // held by whoever runs the loop: Run, or Flush after it
	flushes chan *flush   // taken by Run between two attempts

	mu     sync.Mutex
	status Status // under mu; all below belongs to the loop

	state state

	enc     *encoder
	batch   *series.Batch
	density float64         // bytes a sample of the last request, before compression
	req     request         // the request in work, without a body for none
	head    series.Position // where the cursor stood when it was built
	left    *attempt        // what the end of an earlier Run has left behind

	retryAt   time.Time // no attempt before that
	stalledTo time.Time // nor before that, when there was nothing to read
	stalls    int       // in a row
	arrived   time.Time // when what waits began to, zero while nothing does
	flushing  *flush
	notices   notices
}

// flush is a call of Flush that the loop has taken over.
type flush struct {
	target uint64 // delivered and lost samples at which it is done
	done   chan error
}

// New makes a Sender. It reads no file and opens no connection yet.
func New(o Options, c *spool.Cursor) (*Sender, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	s := &Sender{
		o: o, cursor: c, client: newClient(&o),
		loop: make(chan struct{}, 1), flushes: make(chan *flush),
		state: begin(c.Note(), c.Position()),
		enc:   newEncoder(o.Relabel), batch: new(series.Batch),
		arrived: time.Unix(0, 0), // what waits from before is not held back
	}
	s.enc.omit = o.Omit
	s.status = Status{
		Name: o.Name, URL: weburl.Show(o.URL), Protocol: s.state.protocol(&o, time.Now()),
		RequestSize: s.state.note.Learned.MaxBytes,
	}
	return s, nil
}

// Run sends until ctx is done. It returns nil then, whatever the disk does; the
// request in flight, if any, counts as one whose answer was lost.
func (s *Sender) Run(ctx context.Context) error {
	select {
	case s.loop <- struct{}{}:
	case <-ctx.Done():
		return nil
	}
	defer func() {
		s.endFlush(context.Canceled)
		s.release()
	}()
	for s.wait(ctx, false) {
		s.step(ctx)
	}
	return nil
}

// Flush sends what waits now, and returns when it was delivered, when the endpoint
// backs off, or with ctx. It may be called while Run runs, and after it has ended.
func (s *Sender) Flush(ctx context.Context) error {
	f := &flush{target: s.cursor.Appended(), done: make(chan error, 1)}
	select {
	case s.flushes <- f:
		select {
		case err := <-f.done:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	case s.loop <- struct{}{}:
		defer s.release()
		s.flushing = f
		for s.wait(ctx, true) {
			s.step(ctx)
		}
		s.endFlush(ctx.Err())
		return <-f.done
	case <-ctx.Done():
		return ctx.Err()
	}
}

// release ends the kept connection, unless an attempt that still has it does so, and
// lets others run the loop.
func (s *Sender) release() {
	if s.left == nil {
		s.client.close()
	}
	<-s.loop
}

// flushed ends the flush in work when there is nothing more to do for it, and
// reports whether it did.
func (s *Sender) flushed() bool {
	f := s.flushing
	if f == nil {
		return true
	}
	t := s.cursor.Tally()
	switch {
	case t.Sum() >= f.target || s.cursor.Backlog().Samples == 0:
		s.endFlush(nil)
	case time.Now().Before(s.retryAt):
		s.endFlush(ErrBackingOff)
	default:
		return false
	}
	return true
}

func (s *Sender) endFlush(err error) {
	if s.flushing != nil {
		s.flushing.done <- err
		s.flushing = nil
	}
}

// wait returns true when there is something to send and nothing speaks against it,
// and false when ctx is done, or with toFlush when the flush is.
func (s *Sender) wait(ctx context.Context, toFlush bool) bool {
	for ctx.Err() == nil {
		if s.flushed() && toFlush {
			return false
		}
		now := time.Now()
		at, any := s.due(now)
		if any && !at.After(now) {
			return true
		}
		var timer *time.Timer
		var fired <-chan time.Time
		if any {
			d := at.Sub(now)
			if at.Equal(s.retryAt) {
				d = min(d, maxSleep)
			}
			timer = time.NewTimer(d)
			fired = timer.C
		}
		select {
		case <-ctx.Done():
		case <-s.cursor.Changed():
		case <-fired:
			s.slept(time.Since(now), time.Now().Round(0).Sub(now.Round(0)))
		case f := <-s.flushes:
			s.endFlush(context.Canceled)
			s.flushing = f
		}
		if timer != nil {
			timer.Stop()
		}
	}
	return false
}

// due is when the next attempt is to be made, if anything waits.
func (s *Sender) due(now time.Time) (at time.Time, any bool) {
	if s.req.body != nil {
		return s.retryAt, true
	}
	b := s.cursor.Backlog()
	if b.Samples == 0 {
		s.arrived = time.Time{}
		return at, false
	}
	if s.arrived.IsZero() {
		s.arrived = now
	}
	at = latest(s.retryAt, s.stalledTo)
	// What has waited longer already, before a restart or in an outage, what fills a
	// request, and the rest of a scrape is not held back for more.
	if d := s.o.Deadline; d > 0 && s.flushing == nil && b.Samples < uint64(s.o.MaxSamples) && s.cursor.Position().Ordinal == 0 {
		merge := s.arrived.Add(d)
		if byClock := time.UnixMilli(b.Oldest).Add(d); byClock.Before(merge) {
			merge = now.Add(byClock.Sub(now))
		}
		at = latest(at, merge)
	}
	return at, true
}

// maxSleep is the longest single sleep before a retry: timers stand still while
// the machine is suspended, the wall clock does not. Waiting to be merged needs no
// such care, the next scrape ends it.
const maxSleep = time.Second

// slept ends waiting that the wall clock says is over although the monotonic one,
// which has counted awake, stood still in between.
func (s *Sender) slept(awake, byClock time.Duration) {
	if gone := byClock - awake; gone > maxSleep {
		s.retryAt = s.retryAt.Add(-gone)
		s.arrived = s.arrived.Add(-gone)
	}
}
