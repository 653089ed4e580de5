// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package scrape

import (
	"context"
	"errors"
	"time"
)

// alarm exists on Linux only; elsewhere sleeps are made of steps.
type alarm struct{}

func newAlarm() (*alarm, error) { return nil, errors.ErrUnsupported }

func (*alarm) wait(context.Context, time.Time) error { return errors.ErrUnsupported }

func (*alarm) close() {}
