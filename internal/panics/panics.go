// SPDX-License-Identifier: Apache-2.0

// Package panics is the one place that recovers from panics: it makes errors of
// one line of them. A stack trace would be thirty lines of the engine's log, at
// every restart, and past the redaction.
package panics

import (
	"fmt"
	"path"
	"runtime"
	"strings"

	"github.com/sirupsen/logrus"
)

const module = "github.com/docker-remote-write/docker-remote-write"

// maxValue is how many characters of a panic's value are told.
const maxValue = 500

// Guard runs f and turns a panic into an error: "panic in WHAT at FILE:LINE
// FUNCTION: VALUE". The place is the innermost one of this module that the panic
// came through. It returns nil when f returns.
func Guard(what string, f func()) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic in %s at %s: %.*s", what, origin(), maxValue, oneLine(v))
		}
	}()
	f()
	return nil
}

// Go runs f in a goroutine that the process cannot do without. A panic of f ends the
// process, as it would anyway, by log's Fatal: with one line of the log, redacted.
func Go(log logrus.FieldLogger, what string, f func()) {
	go func() {
		if err := Guard(what, f); err != nil {
			log.Fatal(err)
		}
	}()
}

// oneLine is a panic's value.
func oneLine(v any) string {
	return strings.Join(strings.Fields(fmt.Sprint(v)), " ")
}

// origin is file:line and function of the first frame below the panic that is
// this module's, else of the first that is not the runtime's.
func origin() string {
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	below, first := false, ""
	for {
		f, more := frames.Next()
		switch {
		case f.Function == "runtime.gopanic":
			below, first = true, ""
		case !below || strings.HasPrefix(f.Function, "runtime."):
		case strings.HasPrefix(f.Function, module):
			return place(f)
		case first == "":
			first = place(f)
		}
		if !more {
			break
		}
	}
	if first == "" {
		return "an unknown place"
	}
	return first
}

// place leaves out the directories, which are those of the machine it was built on.
func place(f runtime.Frame) string {
	return fmt.Sprintf("%s:%d %s", path.Base(f.File), f.Line, path.Base(f.Function))
}
