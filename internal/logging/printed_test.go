// SPDX-License-Identifier: Apache-2.0

package logging

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/docker-remote-write/docker-remote-write/internal/panics"
)

// takeOver starts a logger that has the standard logger's lines until stop.
func takeOver(t *testing.T) (l *Logger, stderr *sink, stop func()) {
	t.Helper()
	l, out, stderr := start(t, Options{})
	flags, writer := log.Flags(), log.Writer()
	l.TakeOver()
	return l, stderr, func() {
		if err := l.Close(t.Context()); err != nil {
			t.Error(err)
		}
		log.SetFlags(flags)
		log.SetOutput(writer)
		if out.String() != "" {
			t.Errorf("stdout: %q", out)
		}
	}
}

// TestUnsolicitedAnswer: a receiver that answers 204 and then sends the credential
// back makes net/http print it. None of it gets into the log, and of twenty such
// answers there is one line at once and one at the end.
func TestUnsolicitedAnswer(t *testing.T) {
	const token = "eyJhbGciOi-token"
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	ended := make(chan struct{})
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				fmt.Fprintf(c, "HTTP/1.1 204 No Content\r\n\r\nyou sent Bearer %s", token)
			}
			io.Copy(io.Discard, c) // ends when the client, having printed, closes
			c.Close()
			ended <- struct{}{}
		}
	}()
	_, stderr, stop := takeOver(t)
	transport := &http.Transport{}
	for range 20 {
		req, err := http.NewRequest(http.MethodGet, "http://"+listener.Addr().String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		res, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		<-ended
	}
	stop()
	lines := stderr.lines()
	const want = `warning: a library complains error="Unsolicited response received on idle HTTP channel starting with ..."`
	if len(lines) != 2 || lines[0] != want || !strings.HasPrefix(lines[1], want+" (repeated 19 times") {
		t.Errorf("%q", lines)
	}
}

// TestLibrariesPrint: what comes by other ways ends there as well, a line each,
// without secrets and without a stack.
func TestLibrariesPrint(t *testing.T) {
	l, stderr, stop := takeOver(t)
	l.SetSecrets([]string{"hunter2-long"})
	log.Print("password hunter2-long\nand more")
	slog.Default().Error("slog says", "token", "hunter2-long")
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("hunter2-long") }))
	if res, err := http.Get(server.URL); err == nil {
		res.Body.Close()
		t.Error("the handler did not panic")
	}
	server.Close()
	stop()
	lines := stderr.lines()
	if len(lines) != 3 ||
		lines[0] != `warning: a library complains error="password <secret> ..."` ||
		lines[1] != `warning: a library complains error="ERROR slog says token=<secret>"` ||
		!strings.HasPrefix(lines[2], `warning: a library complains error="http: panic serving 127.0.0.1:`) || !strings.HasSuffix(lines[2], `: <secret> ..."`) {
		t.Errorf("%q", lines)
	}
}

// TestPanicOfAGoroutine: a panic that ends the process ends it with one line,
// redacted, and no stack trace. The process is this test, started again.
func TestPanicOfAGoroutine(t *testing.T) {
	const again = "LOGGING_TEST_PANICS"
	if os.Getenv(again) != "" {
		l, err := New(Options{})
		if err != nil {
			t.Fatal(err)
		}
		l.SetSecrets([]string{"hunter2-long"})
		panics.Go(l, "work", func() { panic("hunter2-long") })
		select {}
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestPanicOfAGoroutine$")
	cmd.Env = append(os.Environ(), again+"=1")
	out, err := cmd.CombinedOutput()
	if err == nil || strings.Count(string(out), "\n") != 1 ||
		!strings.HasPrefix(string(out), "fatal: panic in work at printed_test.go:") || !strings.HasSuffix(string(out), ": <secret>\n") {
		t.Errorf("%v: %s", err, out)
	}
}
