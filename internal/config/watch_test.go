// SPDX-License-Identifier: Apache-2.0

package config

import (
	"context"
	"errors"
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
			c.Watch().Run(ctx, func(u Update) error {
				mu.Lock()
				defer mu.Unlock()
				if u.Err != nil {
					got = append(got, "error: "+u.Err.Error())
					return u.Err
				}
				got = append(got, u.Endpoints[0].Name)
				if d := u.Endpoints[0].Timeout; d != 7*time.Second {
					t.Errorf("timeout %s was not taken from the environment", d)
				}
				return nil
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

// TestWatchAgain: a file that is refused for what it names is taken as soon as
// that has come, and is reported once until then.
func TestWatchAgain(t *testing.T) {
	pair := certificate(t)
	for name, c := range map[string]struct {
		entry string
		// what comes one after the other, by file
		files [][2]string
	}{
		"a credential":         {"authorization: {credentials_file: one}", [][2]string{{"one", "abc"}}},
		"a password":           {"basic_auth: {username: u, password_file: one}", [][2]string{{"one", "abc"}}},
		"a user name":          {"basic_auth: {username_file: one, password: p}", [][2]string{{"one", "abc"}}},
		"a header":             {"http_headers: {X-Key: {files: [one]}}", [][2]string{{"one", "abc"}}},
		"an OAuth2 secret":     {"oauth2: {client_id: c, client_secret_file: one, token_url: \"http://t/\"}", [][2]string{{"one", "abc"}}},
		"a CA":                 {"tls_config: {ca_file: one}", [][2]string{{"one", "half"}, {"one", pair.cert}}},
		"a client certificate": {"tls_config: {cert_file: one, key_file: two}", [][2]string{{"two", pair.key}, {"one", pair.cert}}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write := func(name, text string) {
				t.Helper()
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write("rw.yml", "remote_write:\n- url: http://one/w\n")
			w := mustLoad(t, Run, "CONFIG_FILE="+filepath.Join(dir, "rw.yml")).Watch()
			write("rw.yml", "remote_write:\n- url: http://two/w\n  "+c.entry+"\n")
			for _, f := range c.files {
				if u, ok := w.Poll(); !ok || u.Err == nil {
					t.Fatalf("without %s: news %v, error %v", f[0], ok, u.Err)
				}
				if u, ok := w.Poll(); ok {
					t.Errorf("reported again without %s: %v", f[0], u.Err)
				}
				write(f[0], f[1])
			}
			if u, ok := w.Poll(); !ok || u.Err != nil || u.Endpoints[0].Name != "two" {
				t.Errorf("with all that was missing: news %v, %v, error %v", ok, u.Endpoints, u.Err)
			}
			if _, ok := w.Poll(); ok {
				t.Error("reported again after it was taken")
			}
		})
	}
}

// TestWatchRefusedByTaker: what could not be taken over comes again.
func TestWatchRefusedByTaker(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rw.yml")
	if err := os.WriteFile(path, []byte("remote_write:\n- url: http://one/w\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := mustLoad(t, Run, "CONFIG_FILE="+path).Watch()
	if err := os.WriteFile(path, []byte("remote_write:\n- url: http://three/w\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		calls := 0
		done := make(chan struct{})
		go func() {
			defer close(done)
			w.Run(ctx, func(Update) error {
				if calls++; calls < 3 {
					return errors.New("not now")
				}
				return nil
			})
		}()
		time.Sleep(10 * watchInterval)
		cancel()
		<-done
		if calls != 3 {
			t.Errorf("offered %d times, want again until it is taken the third time", calls)
		}
	})
}

// TestAwait: settings that were refused for a file are right when it is, and each
// reason is told once.
func TestAwait(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "rw.yml")
	environ := []string{"CONFIG_FILE=" + file}
	_, _, err := Load(Plugin, environ)
	if err == nil {
		t.Fatal("no error without the file")
	}
	synctest.Test(t, func(t *testing.T) {
		var told []string
		done := make(chan bool, 1)
		go func() {
			done <- Await(t.Context(), Plugin, environ, err, func(_ []Warning, err error) { told = append(told, err.Error()) })
		}()
		for _, f := range [][2]string{
			{"rw.yml", "remote_write:\n- url: http://one/w\n  authorization: {credentials_file: token}\n"}, {"token", "abc"},
		} {
			time.Sleep(3 * watchInterval)
			synctest.Wait()
			if len(done) > 0 {
				t.Fatalf("over before %s came", f[0])
			}
			if err := os.WriteFile(filepath.Join(dir, f[0]), []byte(f[1]), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if !<-done {
			t.Error("not right with both files")
		}
		if len(told) != 1 || !strings.Contains(told[0], "token") {
			t.Errorf("told %q, want the missing token once", told)
		}

		ctx, cancel := context.WithCancel(t.Context())
		go func() { done <- Await(ctx, Plugin, nil, errors.New("x"), func([]Warning, error) {}) }()
		time.Sleep(3 * watchInterval)
		cancel()
		if <-done {
			t.Error("right without a URL")
		}
	})
}

// TestWatchNothing: without a file there is nothing to wake up for.
func TestWatchNothing(t *testing.T) {
	w := mustLoad(t, Plugin).Watch()
	if w != nil {
		t.Fatal("a watcher without a file")
	}
	w.Run(t.Context(), func(Update) error { t.Error("an update"); return nil })
}
