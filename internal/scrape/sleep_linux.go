// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// alarm is a timer of the wall clock itself: it goes off when the clock reads a
// given time, whether the machine was suspended in between or not, and at once
// when the clock is set. A process that waits for it does not wake up in between.
type alarm struct{ f *os.File }

func newAlarm() (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_REALTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("timerfd_create: %w", err)
	}
	return &alarm{os.NewFile(uintptr(fd), "timerfd")}, nil
}

// wait returns when the clock reads until or was set, or ctx is done.
func (a *alarm) wait(ctx context.Context, until time.Time) error {
	a.f.SetReadDeadline(time.Time{})
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(max(until.UnixNano(), 1))}
	rc, err := a.f.SyscallConn()
	if err != nil {
		return fmt.Errorf("timerfd: %w", err)
	}
	var serr error
	err = rc.Control(func(fd uintptr) {
		serr = unix.TimerfdSettime(int(fd), unix.TFD_TIMER_ABSTIME|unix.TFD_TIMER_CANCEL_ON_SET, &spec, nil)
	})
	// The clock having been set before this call may be reported here.
	if err = errors.Join(err, serr); errors.Is(err, unix.ECANCELED) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("timerfd_settime: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { a.f.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var expirations [8]byte
	_, err = a.f.Read(expirations[:])
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil, errors.Is(err, unix.ECANCELED):
		return nil
	}
	return fmt.Errorf("timerfd: %w", err)
}

func (a *alarm) close() { a.f.Close() }
