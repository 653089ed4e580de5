// SPDX-License-Identifier: Apache-2.0

package config

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestWatch: a changed file is reported once, valid or not, and an unchanged or
// half-written one is not.
func TestWatch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rw.yml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	replace := func(text string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	const one, other = "remote_write:\n- url: http://one/w\n", "remote_write:\n- url: http://two/w\n"
	write(one)
	c := mustLoad(t, Run, "CONFIG_FILE="+path, "REMOTE_WRITE_TIMEOUT=7s")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var (
			mu  sync.Mutex
			got []string
		)
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.Watch().Run(ctx, func(u Update) {
				mu.Lock()
				defer mu.Unlock()
				if u.Err != nil {
					got = append(got, "error: "+u.Err.Error())
					return
				}
				got = append(got, u.Endpoints[0].Name)
				if d := u.Endpoints[0].Timeout; d != 7*time.Second {
					t.Errorf("timeout %s was not taken from the environment", d)
				}
			})
		}()
		step := func(what string, want ...string) {
			t.Helper()
			time.Sleep(watchInterval + 6*settle)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if len(got) != len(want) {
				t.Fatalf("%s: %q, want %q", what, got, want)
			}
			for i := range want {
				if !strings.Contains(got[i], want[i]) {
					t.Errorf("%s: %q, want %q", what, got[i], want[i])
				}
			}
			got = nil
		}
		step("nothing changed")
		replace(other)
		step("replaced by one of equal length", "two")
		step("and not again")
		write("remote_write:\n- url: http://three/w\n  nonsense: 1\n")
		step("an invalid one", "unknown key \"nonsense\"")
		step("is reported once")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		step("removed", "no such file")
		step("still removed")
		write(one)
		step("back again", "one")
		cancel()
		<-done
	})
}

// TestWatchNothing: without a file there is nothing to wake up for.
func TestWatchNothing(t *testing.T) {
	w := mustLoad(t, Plugin).Watch()
	if w != nil {
		t.Fatal("a watcher without a file")
	}
	w.Run(t.Context(), func(Update) { t.Error("an update") })
}
