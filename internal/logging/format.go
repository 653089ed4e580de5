// SPDX-License-Identifier: Apache-2.0

package logging

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sirupsen/logrus"

	"github.com/docker-remote-write/docker-remote-write/internal/panics"
	"github.com/docker-remote-write/docker-remote-write/internal/redact"
)

// maxLine bounds a line with its end. An old engine stops reading for good at
// 64 KiB; a write to a pipe is in one piece up to 4 KiB.
const maxLine = 4096

// room is kept free of a line for what the throttle adds to it.
const room = 64

// format is an entry as one line, without its end: the message, from which a
// level other than info stands first, and the fields by name, the error last.
// The engine puts the line into quotes and escapes it once more, so that quotes
// are used only where a value needs them.
func format(e *logrus.Entry, secrets *redact.Secrets) string {
	var b strings.Builder
	switch e.Level {
	case logrus.InfoLevel:
	case logrus.WarnLevel:
		b.WriteString("warning: ")
	default:
		b.WriteString(e.Level.String() + ": ")
	}
	escape(&b, secrets.Hide(e.Message))
	keys := make([]string, 0, len(e.Data))
	for k := range e.Data {
		if k != logrus.ErrorKey {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	if _, ok := e.Data[logrus.ErrorKey]; ok {
		keys = append(keys, logrus.ErrorKey)
	}
	for _, k := range keys {
		b.WriteByte(' ')
		escape(&b, secrets.Hide(k))
		b.WriteByte('=')
		value(&b, secrets.Hide(text(e.Data[k])))
	}
	return cut(b.String(), maxLine-room)
}

// text is a field's value. A method that panics, as that of a nil error in an
// interface may, costs the value only.
func text(v any) (s string) {
	if panics.Guard("a field's method", func() { s = textOf(v) }) != nil {
		return fmt.Sprintf("(%T)", v)
	}
	return s
}

func textOf(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case error:
		return v.Error()
	case fmt.Stringer:
		return v.String()
	}
	return fmt.Sprint(v)
}

// value writes a field's value, in quotes where it would not end at a space.
func value(b *strings.Builder, v string) {
	if v != "" && !strings.ContainsAny(v, " =\"") {
		escape(b, v)
		return
	}
	b.WriteByte('"')
	escape(b, strings.ReplaceAll(v, `"`, `'`))
	b.WriteByte('"')
}

// escape writes text with everything that does not print as an escape of Go's.
// An invisible character could end the line or change how the rest is shown.
func escape(b *strings.Builder, s string) {
	for len(s) > 0 && b.Len() < 2*maxLine {
		plain := 0
		for plain < len(s) && plain < maxLine && s[plain] >= ' ' && s[plain] <= '~' {
			plain++
		}
		b.WriteString(s[:plain])
		if s = s[plain:]; s == "" {
			return
		}
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(b, `\x%02x`, s[0])
		case strconv.IsPrint(r):
			b.WriteString(s[:n])
		default:
			q := strconv.QuoteRune(r)
			b.WriteString(q[1 : len(q)-1])
		}
		s = s[n:]
	}
}

// cut shortens s to at most n bytes, between two characters.
func cut(s string, n int) string {
	const mark = "..."
	if len(s) <= n {
		return s
	}
	n -= len(mark)
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + mark
}
