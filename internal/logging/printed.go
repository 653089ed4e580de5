// SPDX-License-Identifier: Apache-2.0

package logging

import (
	"log"
	"strings"

	"github.com/sirupsen/logrus"
)

// TakeOver makes lines of this log of what libraries print by themselves: by the
// standard logger, which each http.Server and slog's default write to as well.
// Only one Logger of a process has that; after its Close they print nowhere.
func (l *Logger) TakeOver() {
	log.SetFlags(0)
	log.SetPrefix("")
	log.SetOutput(printed{l.Logger})
}

// printed is what the standard logger writes to.
type printed struct{ log *logrus.Logger }

// Write logs the first line up to its first quote: what a library quotes are the
// words of whoever is at the other end, cut anywhere, so that a secret among them
// would not be known for one. What follows a line's end is a stack trace.
func (p printed) Write(b []byte) (int, error) {
	line, rest, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	line = strings.TrimSpace(line)
	if i := strings.IndexAny(line, "\"'`"); i >= 0 {
		line, rest = strings.TrimSpace(line[:i]), line[i:]
	}
	if rest != "" {
		line += " ..."
	}
	p.log.WithField(logrus.ErrorKey, line).Warn("a library complains")
	return len(b), nil
}
