// SPDX-License-Identifier: Apache-2.0

package logging

import (
	"fmt"
	"path"
	"runtime"
	"strings"

	"github.com/sirupsen/logrus"
)

const module = "github.com/docker-remote-write/docker-remote-write"

// Panic logs a recovered panic as one short line: its value and the innermost
// place in this module that it came through. It is called in the deferred
// function that recovered:
//
//	defer func() {
//		if v := recover(); v != nil {
//			logging.Panic(log, v)
//		}
//	}()
func Panic(log logrus.FieldLogger, v any) {
	log.WithField("at", origin()).Errorf("panic: %s", cut(text(v), 500))
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
