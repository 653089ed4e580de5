// SPDX-License-Identifier: Apache-2.0

package logging

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/docker-remote-write/docker-remote-write/internal/redact"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sink is a writer that can be read while it is written to.
type sink struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *sink) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

func (s *sink) lines() []string {
	text := strings.TrimSuffix(s.String(), "\n")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

func start(t *testing.T, o Options) (*Logger, *sink, *sink) {
	t.Helper()
	out, err := &sink{}, &sink{}
	if o.Stdout == nil {
		o.Stdout = out
	}
	if o.Stderr == nil {
		o.Stderr = err
	}
	l, e := New(o)
	if e != nil {
		t.Fatal(e)
	}
	return l, out, err
}

func stop(t *testing.T, l *Logger) {
	t.Helper()
	if err := l.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestFormat(t *testing.T) {
	l, out, stderr := start(t, Options{Level: "debug"})
	l.SetSecrets([]string{"hunter2-long", `quo"ted`, "abc"})
	l.Info("started")
	l.WithFields(logrus.Fields{"b": 2, "a": "one two", "empty": ""}).Info("fields")
	l.WithError(errors.New("dial: \"refused\"")).WithField("zone", "eu").Warn("push failed")
	l.Error("two\nlines\r\x1b[31m\x00\xff\u202e\u2028")
	l.Debug("detail")
	l.WithField("body", "password=hunter2-long abc").Info("secret hunter2-long")
	l.WithError(fmt.Errorf("parse %q", `quo"ted`)).Warn("basic aHVudGVyMi1sb25n")
	var none *net.OpError
	l.WithError(none).Warn("nil error")
	stop(t, l)
	wantOut := []string{
		"started",
		`fields a="one two" b=2 empty=""`,
		"debug: detail",
		`secret <secret> body="password=<secret> abc"`,
	}
	wantErr := []string{
		`warning: push failed zone=eu error="dial: 'refused'"`,
		`error: two\nlines\r\x1b[31m\x00\xff\u202e\u2028`,
		`warning: basic <secret> error="parse '<secret>'"`,
		`warning: nil error error=<nil>`,
	}
	compare(t, out, wantOut)
	compare(t, stderr, wantErr)
}

func compare(t *testing.T, s *sink, want []string) {
	t.Helper()
	got := s.lines()
	if len(got) != len(want) {
		t.Fatalf("%d lines, want %d: %q", len(got), len(want), got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("line %d\n got %s\nwant %s", i+1, got[i], want[i])
		}
	}
}

// TestAnyText: whatever is logged, a line is one line of printable UTF-8 of at most 4 KiB.
func TestAnyText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		message := string(rapid.SliceOfN(rapid.Byte(), 0, 9000).Draw(t, "message"))
		field := rapid.StringN(0, 3000, 6000).Draw(t, "field")
		e := &logrus.Entry{Message: message, Level: logrus.WarnLevel, Data: logrus.Fields{"field": field, logrus.ErrorKey: errors.New(message)}}
		line := format(e, redact.New([]string{"secret"}))
		if len(line) > maxLine-room {
			t.Fatalf("%d bytes", len(line))
		}
		if !utf8.ValidString(line) {
			t.Fatalf("not UTF-8: %q", line)
		}
		if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 }) {
			t.Fatalf("control character: %q", line)
		}
	})
}

// TestCut: a cut falls between characters.
func TestCut(t *testing.T) {
	for n := 3; n < 20; n++ {
		s := cut("äöü€𐍈äöü€𐍈", n)
		if len(s) > n || !utf8.ValidString(s) || !strings.HasSuffix(s, "...") {
			t.Errorf("%d: %q", n, s)
		}
	}
	if s := cut("short", 5); s != "short" {
		t.Errorf("%q", s)
	}
}

// blocked is a pipe that nobody reads until it is opened.
type blocked struct {
	sink
	open chan struct{}
}

func (b *blocked) Write(p []byte) (int, error) {
	<-b.open
	return b.sink.Write(p)
}

// TestFullPipe: with nobody reading, logging returns at once, keeps a bounded
// number of lines, and says how many were lost when reading begins.
func TestFullPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipe := &blocked{open: make(chan struct{})}
		l, _, stderr := start(t, Options{Level: "debug", Stdout: pipe, QueueBytes: 10_000})
		begin := time.Now()
		for i := range 5000 {
			l.WithField("i", i).Debug("a detail")
		}
		l.Error("not held up")
		synctest.Wait()
		if d := time.Since(begin); d != 0 {
			t.Errorf("the caller waited %s", d)
		}
		if got := stderr.String(); got != "error: not held up\n" {
			t.Errorf("stderr: %q", got)
		}
		lost := l.Dropped()
		if lost == 0 {
			t.Error("no line was dropped")
		}
		close(pipe.open)
		synctest.Wait()
		lines := pipe.lines()
		if last, want := lines[len(lines)-1], fmt.Sprintf("warning: %d log lines were dropped: they were not read fast enough", lost); last != want {
			t.Errorf("last line %q, want %q", last, want)
		}
		if len(pipe.String()) > 12_000 {
			t.Errorf("%d bytes were kept", len(pipe.String()))
		}
		stop(t, l)
	})
}

// TestCloseIsBounded: a pipe that is never read does not keep Close.
func TestCloseIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipe := &blocked{open: make(chan struct{})}
		l, _, _ := start(t, Options{Stderr: pipe})
		l.Error("unread")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		if err := l.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		if d := time.Since(begin); d != time.Second {
			t.Errorf("took %s", d)
		}
		l.Error("after the end")
		close(pipe.open)
		synctest.Wait()
		if got := pipe.String(); got != "error: unread\n" {
			t.Errorf("%q", got)
		}
	})
}

// TestWriteErrors: a reader that has gone is counted, not fatal.
func TestWriteErrors(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	l, _, _ := start(t, Options{Stderr: w})
	l.Error("nobody is there")
	stop(t, l)
	w.Close()
	if l.Dropped() != 1 {
		t.Errorf("%d dropped", l.Dropped())
	}
}

type kinded string

func (k kinded) Error() string { return "answer " + string(k) + time.Now().String() }
func (k kinded) Kind() string  { return string(k) }

// TestFlood: 100,000 failing attempts of each kind of error write under 1 MB,
// name the number that was held back, and begin with the cause.
func TestFlood(t *testing.T) {
	const attempts = 100_000
	body := strings.Repeat("body ", 60)
	kinds := map[string]func(i int) error{
		"refused":  func(int) error { return &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED} },
		"reset":    func(int) error { return fmt.Errorf("post: %w", syscall.ECONNRESET) },
		"timeout":  func(int) error { return fmt.Errorf("post: %w", context.DeadlineExceeded) },
		"dns":      func(int) error { return &net.DNSError{Err: "no such host", Name: "mimir"} },
		"eof":      func(int) error { return io.ErrUnexpectedEOF },
		"status":   func(i int) error { return fmt.Errorf("server answered %d: %s%d", 500+i%100, body, i) },
		"kind":     func(int) error { return kinded("refused") },
		"anything": func(i int) error { return fmt.Errorf("%x%s: different each time", []byte{byte(i), byte(i >> 8)}, body) },
	}
	for name, failure := range kinds {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, out, stderr := start(t, Options{})
				for i := range attempts {
					l.WithError(failure(i)).WithFields(logrus.Fields{"endpoint": "mimir", "samples": i}).Warn("push failed")
					if i%20 == 19 {
						time.Sleep(20 * time.Second)
					}
				}
				stop(t, l)
				if n := len(stderr.String()); n >= 1e6 || n == 0 {
					t.Errorf("%d bytes", n)
				}
				lines := stderr.lines()
				if !strings.HasPrefix(lines[0], "warning: push failed endpoint=mimir samples=0 error=") || strings.Contains(lines[0], "repeated") {
					t.Errorf("first line %q", lines[0])
				}
				var held, told int
				for _, line := range lines {
					var n int
					if i := strings.LastIndex(line, "(repeated "); i >= 0 {
						if _, err := fmt.Sscanf(line[i:], "(repeated %d times", &n); err != nil {
							t.Error(err)
						}
						told += n
					} else {
						held++
					}
				}
				if told+held != attempts {
					t.Errorf("%d written and %d told of, want %d in all", held, told, attempts)
				}
				if l.Suppressed() != uint64(told) {
					t.Errorf("%d suppressed, %d told of", l.Suppressed(), told)
				}
				if out.String() != "" {
					t.Errorf("stdout: %q", out)
				}
			})
		})
	}
}

// TestTwoMinutes: a receiver that answers garbage every five seconds, and a
// scrape that fails beside it, stay under 20 lines.
func TestTwoMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _, stderr := start(t, Options{})
		for i := range 24 {
			l.WithError(fmt.Errorf("malformed answer: %c%c", 'a'+i, 'b'+i)).WithField("endpoint", "garbage").Warn("push failed")
			l.WithError(errors.New("connection refused")).Warn("scrape failed")
			time.Sleep(5 * time.Second)
		}
		stop(t, l)
		if n := len(stderr.lines()); n >= 20 {
			t.Errorf("%d lines:\n%s", n, stderr)
		}
	})
}

// TestNews: a failure after a quiet time is written at once, whatever came
// before; the last state of a flapping endpoint is told after a pause.
func TestNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, out, stderr := start(t, Options{})
		failing := func() { l.WithField("endpoint", "a").Warn("push failed") }
		for range 3 * 3600 {
			failing()
			time.Sleep(time.Second)
		}
		time.Sleep(episode)
		synctest.Wait()
		before := len(stderr.lines())
		failing()
		synctest.Wait()
		if got := len(stderr.lines()) - before; got != 1 && got != 2 {
			t.Errorf("%d lines for the new outage:\n%s", got, stderr)
		}
		lines := stderr.lines()
		if got := lines[len(lines)-1]; got != "warning: push failed endpoint=a" {
			t.Errorf("last line %q", got)
		}
		for range 3 {
			l.WithField("endpoint", "a").Info("delivering again")
			time.Sleep(time.Second)
		}
		if got := len(out.lines()); got != 1 {
			t.Errorf("%d lines at once", got)
		}
		time.Sleep(firstPause)
		synctest.Wait()
		lines = out.lines()
		if got, want := lines[len(lines)-1], "delivering again endpoint=a (repeated 2 times, last 8s ago)"; got != want {
			t.Errorf("last line %q, want %q", got, want)
		}
		stop(t, l)
	})
}

// TestDistinct: other messages, endpoints, settings and kinds are not repeats.
func TestDistinct(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _, stderr := start(t, Options{})
		l.WithField("endpoint", "a").Warn("push failed")
		l.WithField("endpoint", "b").Warn("push failed")
		l.WithField("endpoint", "b").Warn("push refused")
		l.WithField("endpoint", "b").WithError(syscall.ECONNREFUSED).Warn("push failed")
		l.WithField("endpoint", "b").WithError(syscall.ECONNRESET).Warn("push failed")
		l.WithField("setting", "A").Warn("odd")
		l.WithField("setting", "B").Warn("odd")
		l.WithField("endpoint", "b").Error("push failed")
		stop(t, l)
		if n := len(stderr.lines()); n != 8 {
			t.Errorf("%d lines:\n%s", n, stderr)
		}
	})
}

// TestKeysAreBounded: messages that are new each time are held back as well.
func TestKeysAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _, stderr := start(t, Options{QueueBytes: 1 << 30})
		for i := range 10_000 {
			l.Warn(strings.Map(func(r rune) rune { return r + 'a' - '0' }, fmt.Sprint(i)))
		}
		stop(t, l)
		if n := len(stderr.lines()); n > maxMessages+10 {
			t.Errorf("%d lines", n)
		}
		if n := len(l.hook.throttle.messages); n > maxMessages+1 {
			t.Errorf("%d messages", n)
		}
	})
}

func TestLevel(t *testing.T) {
	if _, err := New(Options{Level: "loud"}); err == nil {
		t.Error("an unknown level was accepted")
	}
	l, out, _ := start(t, Options{Level: "warning"})
	l.Info("quiet")
	stop(t, l)
	if out.String() != "" {
		t.Errorf("%q", out)
	}
}
