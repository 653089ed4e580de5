// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	promconfig "github.com/prometheus/common/config"
)

// TestHangingFile: a file with a credential that is read for an attempt hangs with its
// disk. Run and Flush end with their context all the same; when the disk answers again
// nothing is lost, and the attempt that was left behind does not meet the next one.
func TestHangingFile(t *testing.T) {
	r := newReceiver(t, func(n int, g *got) reply { return ok(g) })
	file := filepath.Join(t.TempDir(), "token")
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
	q := newQueue(t, 4)
	o := fast(t, r.URL)
	o.Client.Authorization = &promconfig.Authorization{Type: "Bearer", CredentialsFile: file}
	s := sender(t, o, q)
	q.fill(t, 3)

	// guarded ends the test where it would hang.
	guarded := func(what string, f func(context.Context) error) error {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		ended := make(chan error, 1)
		go func() { ended <- f(ctx) }()
		select {
		case err := <-ended:
			return err
		case <-time.After(10 * time.Second):
			t.Fatalf("%s has not ended with its context", what)
			return nil
		}
	}
	if err := guarded("Run", s.Run); err != nil {
		t.Error(err)
	}
	if s.left == nil {
		t.Fatal("no attempt was left behind: the file does not hang")
	}
	if err := guarded("Flush", s.Flush); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("flush: %v", err)
	}
	if !s.state.note.AnswerLost {
		t.Error("an attempt that nobody knows the end of counts as one that never left")
	}
	// The disk answers: to the one that was left, and with a file to those that follow.
	w, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := s.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	q.complete(t, r, nil)
	q.balanced(t)
	for _, g := range r.requests() {
		if got := g.Header.Get("Authorization"); got != "Bearer secret" {
			t.Errorf("a request with %q", got)
		}
	}
}
