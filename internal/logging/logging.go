// SPDX-License-Identifier: Apache-2.0

// Package logging sets up logrus for a program whose log is read by a Docker
// Engine: a line goes to stdout or, from warnings on, to stderr, has no
// timestamp of its own, at most 4 KiB and no control characters. Writing one
// never blocks, repeats are held back and counted, and known secrets are
// replaced.
package logging

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/docker-remote-write/docker-remote-write/internal/redact"
)

// Options are those of New; the zero value logs from info on to stdout and stderr.
type Options struct {
	// Level is a logrus level, info if empty.
	Level string
	// Stdout and Stderr are the process's own if nil.
	Stdout, Stderr io.Writer
	// QueueBytes bounds what waits to be written to each of them, 256 KiB if 0.
	QueueBytes int
}

// Logger is a logrus.Logger that must be closed for its last lines to be written.
type Logger struct {
	*logrus.Logger
	hook *hook
}

// New starts a logger. On the process's own stdout or stderr it makes the process
// ignore SIGPIPE, which would end it when what reads the log has gone.
func New(o Options) (*Logger, error) {
	level := logrus.InfoLevel
	if o.Level != "" {
		var err error
		if level, err = logrus.ParseLevel(o.Level); err != nil {
			return nil, fmt.Errorf("log level: %w", err)
		}
	}
	if o.Stdout == nil {
		o.Stdout = os.Stdout
	}
	if o.Stderr == nil {
		o.Stderr = os.Stderr
	}
	if o.Stdout == os.Stdout || o.Stderr == os.Stderr {
		signal.Ignore(syscall.SIGPIPE)
	}
	if o.QueueBytes == 0 {
		o.QueueBytes = 256 << 10
	}
	l := &Logger{logrus.New(), &hook{
		out: newWriter(o.Stdout, o.QueueBytes),
		err: newWriter(o.Stderr, o.QueueBytes),
	}}
	l.hook.throttle = newThrottle(l.hook.write)
	l.SetLevel(level)
	// The hook does all the work; logrus itself has nothing to format or write.
	l.SetOutput(io.Discard)
	l.SetFormatter(nothing{})
	l.AddHook(l.hook)
	l.ExitFunc = func(code int) { // of Fatal
		l.CloseSoon()
		os.Exit(code)
	}
	return l, nil
}

// SetSecrets replaces the texts that are hidden in all later lines.
func (l *Logger) SetSecrets(secrets []string) {
	r := redact.New(secrets)
	l.hook.mu.Lock()
	l.hook.secrets = r
	l.hook.mu.Unlock()
}

// Hide is the text without the secrets, as it would stand in a line.
func (l *Logger) Hide(text string) string {
	l.hook.mu.Lock()
	defer l.hook.mu.Unlock()
	return l.hook.secrets.Hide(text)
}

// Suppressed is the number of repeats that were held back so far.
func (l *Logger) Suppressed() uint64 { return l.hook.throttle.total() }

// Dropped is the number of lines that were lost because nobody read them.
func (l *Logger) Dropped() uint64 { return l.hook.out.lost() + l.hook.err.lost() }

// Close writes what waits, the held back repeats included, and ends when that
// is done or with the context. Later lines are dropped.
func (l *Logger) Close(ctx context.Context) error {
	l.hook.throttle.close()
	l.hook.out.close()
	l.hook.err.close()
	for _, w := range []*writer{l.hook.out, l.hook.err} {
		select {
		case <-w.done:
		case <-ctx.Done():
			return fmt.Errorf("log lines remain unwritten: %w", ctx.Err())
		}
	}
	return nil
}

// CloseSoon writes what waits, unless nobody reads it: it ends within 200 ms.
func (l *Logger) CloseSoon() {
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	_ = l.Close(ctx)
}

// nothing is a formatter without output.
type nothing struct{}

func (nothing) Format(*logrus.Entry) ([]byte, error) { return nil, nil }

// hook takes every entry from logrus.
type hook struct {
	out, err *writer
	throttle *throttle

	mu      sync.Mutex
	secrets *redact.Secrets
}

// Levels is all of them.
func (h *hook) Levels() []logrus.Level { return logrus.AllLevels }

// Fire queues the entry or holds it back.
func (h *hook) Fire(e *logrus.Entry) error {
	h.mu.Lock()
	secrets := h.secrets
	h.mu.Unlock()
	text := format(e, secrets)
	if e.Level >= logrus.DebugLevel {
		h.write(e.Level, text)
		return nil
	}
	h.throttle.line(keyOf(e), e.Level, text, time.Now())
	return nil
}

// write queues a finished line.
func (h *hook) write(level logrus.Level, text string) {
	if level <= logrus.WarnLevel {
		h.err.line(text)
		return
	}
	h.out.line(text)
}
