// SPDX-License-Identifier: Apache-2.0

// Package demo holds the tests of `make demo`: that it shows what the plugin sent,
// and that nothing is left of it, whichever signal ended it when.
package demo

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/docker-remote-write/docker-remote-write/proof/engine"
)

// patience bounds one demo, compilation included.
const patience = 8 * time.Minute

func privateEngine(t *testing.T) *engine.Engine {
	t.Helper()
	if err := engine.Missing(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	e, err := engine.Start(t.Context(), engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// run is one `make demo` in a process group and a temporary directory of its own.
type run struct {
	t      *testing.T
	cmd    *exec.Cmd
	tmp    string
	marker string
	done   chan error

	mu    sync.Mutex
	out   bytes.Buffer
	grown chan struct{}
}

// start runs a command, `make demo` where none is given, with that many seconds of
// view.
func start(t *testing.T, e *engine.Engine, seconds int, command ...string) *run {
	t.Helper()
	r := &run{t: t, tmp: t.TempDir(), done: make(chan error, 1), grown: make(chan struct{}, 1)}
	r.marker = "DEMO_TEST_RUN=" + filepath.Base(filepath.Dir(r.tmp)) + strconv.Itoa(os.Getpid())
	if len(command) == 0 {
		command = []string{"make", "demo"}
	}
	r.cmd = exec.Command(command[0], command[1:]...)
	r.cmd.Dir = "../../.."
	r.cmd.Env = append(os.Environ(), "TMPDIR="+r.tmp, "DEMO_SECONDS="+strconv.Itoa(seconds), "MAKEFLAGS=", r.marker)
	if e != nil {
		r.cmd.Env = append(r.cmd.Env, "DOCKER_HOST="+e.Host)
	}
	r.cmd.Stdout, r.cmd.Stderr = r, r
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { r.done <- r.cmd.Wait() }()
	return r
}

// Write takes the demo's output.
func (r *run) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.out.Write(p)
	select {
	case r.grown <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (r *run) output() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.String()
}

// reach waits until the demo has printed some text.
func (r *run) reach(text string) {
	r.t.Helper()
	limit := time.After(patience)
	for !strings.Contains(r.output(), text) {
		select {
		case <-r.grown:
		case err := <-r.done:
			r.done <- err
			if !strings.Contains(r.output(), text) {
				r.t.Fatalf("it ended (%v) before it printed %q:\n%s", err, text, r.output())
			}
		case <-limit:
			r.t.Fatalf("it did not print %q:\n%s", text, r.output())
		}
	}
}

// end waits for the demo and for everything that it started.
func (r *run) end() error {
	r.t.Helper()
	select {
	case err := <-r.done:
		return err
	case <-time.After(patience):
		_ = syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL)
		r.t.Fatalf("it does not end:\n%s", r.output())
	}
	return nil
}

// nothingLeft compares what is there with what was there before. Other tests and
// programs may be at work on the machine: of the processes those count that carry
// the run's mark, of the temporary files those in its directory.
func (r *run) nothingLeft(ctx context.Context, e *engine.Engine, before engine.Snapshot) {
	r.t.Helper()
	after := snapshot(r.t, ctx, e)
	// The engine takes a plugin's socket directory away a moment after the plugin.
	for end := time.Now().Add(5 * time.Second); len(before.Left(after)) > 0 && time.Now().Before(end); after = snapshot(r.t, ctx, e) {
		time.Sleep(50 * time.Millisecond)
	}
	for _, x := range before.Left(after) {
		r.t.Errorf("left behind: %s", x)
	}
	for _, x := range before.Lost(after) {
		r.t.Errorf("taken away: %s", x)
	}
	entries, err := os.ReadDir(r.tmp)
	if err != nil {
		r.t.Error(err)
	}
	for _, f := range entries {
		r.t.Errorf("left in the temporary directory: %s", f.Name())
	}
	for _, p := range marked(r.marker) {
		r.t.Errorf("still running: %s", p)
	}
	if r.t.Failed() {
		r.t.Logf("the demo's output:\n%s", r.output())
	}
}

// snapshot is what the engine has: plugins, containers, images and its plugin
// directory. The test's own engine has nothing that is not the demo's.
func snapshot(t *testing.T, ctx context.Context, e *engine.Engine) engine.Snapshot {
	t.Helper()
	s, err := engine.TakeSnapshot(ctx, e)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(s, func(x string) bool {
		kind, id := strings.TrimSuffix(x, filepath.Base(x)), filepath.Base(x)
		if strings.HasPrefix(kind, "plugin sockets ") {
			// All engines share that directory: what another one still has is not ours.
			for _, root := range []string{os.TempDir() + "/drw-engine-*/data", os.TempDir() + "/*/*/drw-engine-*/data", "/var/lib/docker"} {
				if others, _ := filepath.Glob(filepath.Join(root, "plugins", id)); len(others) > 0 {
					return true
				}
			}
			return false
		}
		for _, kind := range []string{"plugin ", "container ", "image "} {
			if strings.HasPrefix(x, kind) && e != nil {
				return false
			}
		}
		return true
	})
}

// marked lists the processes that have the mark in their environment.
func marked(marker string) []string {
	var out []string
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		if env, err := os.ReadFile(dir + "/environ"); err == nil && bytes.Contains(env, []byte(marker)) {
			cmdline, _ := os.ReadFile(dir + "/cmdline")
			out = append(out, filepath.Base(dir)+" "+string(bytes.ReplaceAll(cmdline, []byte{0}, []byte{' '})))
		}
	}
	return out
}

func TestFullRunTwice(t *testing.T) {
	t.Parallel()
	e := privateEngine(t)
	before := snapshot(t, t.Context(), e)
	version, err := e.Version(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		r := start(t, e, 8)
		if err := r.end(); err != nil {
			t.Errorf("%v:\n%s", err, r.output())
		}
		for _, want := range []string{"| engine " + version + " | host: ", " EXTRA_TARGETS=node=http://127.0.0.1:", "removed: the node exporter", "start ", "create ", " samples received by remote write 2.0", " 0 samples lost", "removed: the plugin drw-demo-", "stays:   Go's caches"} {
			if !strings.Contains(r.output(), want) {
				t.Errorf("%q is not in the output:\n%s", want, r.output())
			}
		}
		// One of the five is removed and started again all the time.
		if !regexp.MustCompile("removed: [45] containers").MatchString(r.output()) {
			t.Errorf("the containers were not removed:\n%s", r.output())
		}
		r.nothingLeft(t.Context(), e, before)
	}
}

func TestSignals(t *testing.T) {
	t.Parallel()
	for _, stage := range []struct{ name, reached string }{
		{"build", "demo: compiling"},
		{"enable", "demo: creating and enabling the plugin"},
		{"view", "  1 s | "},
	} {
		t.Run(stage.name, func(t *testing.T) {
			t.Parallel()
			e := privateEngine(t)
			before := snapshot(t, t.Context(), e)
			for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
				t.Run(sig.String(), func(t *testing.T) { interrupt(t, e, before, stage.reached, sig) })
			}
		})
	}
}

// interrupt sends a demo's process group a signal once it has got somewhere.
func interrupt(t *testing.T, e *engine.Engine, before engine.Snapshot, reached string, sig syscall.Signal) {
	r := start(t, e, 4)
	r.reach(reached)
	// A signal that is repeated must not cut the removal short.
	for range 3 {
		if err := syscall.Kill(-r.cmd.Process.Pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	err := r.end()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		t.Errorf("make ended with %v", err)
	}
	r.nothingLeft(t.Context(), e, before)
}

// TestWithoutAnEngine hides the machine's engine, so that the demo starts one.
func TestWithoutAnEngine(t *testing.T) {
	t.Parallel()
	if err := engine.Missing(); err != nil {
		t.Skip(err)
	}
	if os.Getenv("DOCKER_HOST") != "" {
		t.Skip("DOCKER_HOST is set")
	}
	before := snapshot(t, t.Context(), nil)
	hide := `for s in /run/docker.sock /var/run/docker.sock; do [ ! -e $s ] || mount --bind /dev/null $s; done; exec make demo`
	r := start(t, nil, 4, "unshare", "--mount", "sh", "-c", hide)
	if err := r.end(); err != nil {
		t.Errorf("%v:\n%s", err, r.output())
	}
	if !strings.Contains(r.output(), "removed: the private engine") {
		t.Errorf("it used another engine:\n%s", r.output())
	}
	r.nothingLeft(t.Context(), nil, before)
}

// TestOutputCut closes the reading end of the demo's output while it runs.
func TestOutputCut(t *testing.T) {
	t.Parallel()
	e := privateEngine(t)
	before := snapshot(t, t.Context(), e)
	r := start(t, e, 4, "sh", "-c", "make demo 2>&1 | head -n 6")
	if err := r.end(); err != nil {
		t.Error(err)
	}
	limit := time.Now().Add(patience)
	for len(marked(r.marker)) > 0 && time.Now().Before(limit) {
		time.Sleep(50 * time.Millisecond)
	}
	r.nothingLeft(context.Background(), e, before)
}
