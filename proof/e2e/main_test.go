// SPDX-License-Identifier: Apache-2.0

// Package e2e holds the tests on a real engine and real receivers. They start
// engines of their own, and leave the machine's alone.
package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/docker-remote-write/docker-remote-write/proof/engine"
	"github.com/docker-remote-write/docker-remote-write/proof/promtest"
)

const repo = "../.."

// version is what the binary under test says it is.
const version = "v9.8.7-e2e"

// binary is the program under test, as it ships: no cgo, no race detector.
var binary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "drw-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "docker-remote-write")
	if err := build(binary, version); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	say("receiver, embedded: Prometheus %s", promtest.Version)
	code := m.Run()
	if shared.engine != nil {
		if err := shared.engine.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	return code
}

// build links the program under a version, as `make build` does.
func build(path, version string, env ...string) error {
	cmd := exec.Command("go", "build", "-ldflags", "-s -w -X main.version="+version, "-o", path, "./cmd/docker-remote-write")
	if g := os.Getenv("GO"); g != "" {
		cmd.Path = g
	}
	cmd.Dir = repo
	cmd.Env = append(append(cmd.Environ(), "CGO_ENABLED=0", "GOFLAGS=-trimpath -buildvcs=false -tags=nethttpomithttp2"), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w: %s", err, out)
	}
	return nil
}

// options has the tests run on the engine in the Debian tree that E2E_ENGINE names,
// in place of the machine's.
func options(t *testing.T, o engine.Options) engine.Options {
	t.Helper()
	if suite := os.Getenv("E2E_ENGINE"); suite != "" {
		var err error
		if o.Tree, err = engine.Tree(suite); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

// needEngine skips a test where no engine can be started, and fails it in CI.
func needEngine(t *testing.T) {
	t.Helper()
	if err := engine.Missing(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

// shared is the engine that tests use which leave it running.
var shared struct {
	sync.Mutex
	engine *engine.Engine
}

func sharedEngine(t *testing.T) *engine.Engine {
	t.Helper()
	needEngine(t)
	shared.Lock()
	defer shared.Unlock()
	if shared.engine == nil {
		e, err := engine.Start(context.Background(), options(t, engine.Options{}))
		if err != nil {
			t.Fatal(err)
		}
		shared.engine = e
	}
	tellVersion(t, shared.engine)
	return shared.engine
}

// ownEngine is for tests that stop and kill it.
func ownEngine(t *testing.T, o engine.Options) *engine.Engine {
	t.Helper()
	needEngine(t)
	e, err := engine.Start(t.Context(), options(t, o))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	tellVersion(t, e)
	return e
}

// tested is the engine's version, once one was started.
var tested atomic.Pointer[string]

func tellVersion(t *testing.T, e *engine.Engine) {
	if tested.Load() != nil {
		return
	}
	v, err := e.Version(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if tested.CompareAndSwap(nil, &v) {
		say("engine: Docker Engine %s", v)
	}
}

// server starts another project's program, or skips where `make deps` was not run.
func server(t *testing.T, start func(context.Context) (*engine.Server, error), pkg string) *engine.Server {
	t.Helper()
	if _, err := engine.Package(pkg); err != nil && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	s, err := start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	say("receiver: %s %s", s.Name, s.Version)
	return s
}
