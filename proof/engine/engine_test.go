// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestLeavesNothing starts an engine in each of the states in which it can be
// closed and looks for what is left of it.
func TestLeavesNothing(t *testing.T) {
	if err := Missing(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	for name, before := range map[string]func(*testing.T, *Engine){
		"running": func(*testing.T, *Engine) {},
		"stopped": func(_ *testing.T, e *Engine) { e.Stop() },
		"killed":  func(_ *testing.T, e *Engine) { e.Kill() },
		"orphaned": func(t *testing.T, e *Engine) {
			if err := os.WriteFile(e.path("owner"), []byte("1 never"), 0o600); err != nil {
				t.Fatal(err)
			}
			Reap()
		},
	} {
		for _, tree := range trees(t) {
			leavesNothing(t, name, Options{Tree: tree}, before)
		}
	}
}

// trees are the machine's own engine and, where its files are, another distribution's.
func trees(t *testing.T) []string {
	tree, err := Tree("trixie")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		return []string{""}
	}
	return []string{"", tree}
}

func leavesNothing(t *testing.T, name string, o Options, before func(*testing.T, *Engine)) {
	ctx := t.Context()
	t.Run(name+" "+filepath.Base(o.Tree), func(t *testing.T) {
		e, err := Start(ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		if v, err := e.Version(ctx); err != nil || v == "" {
			t.Fatalf("version %q, %v", v, err)
		}
		if m, err := e.Metrics(ctx); err != nil || !strings.Contains(m, "engine_daemon_engine_info{") {
			t.Fatalf("metrics %.100q, %v", m, err)
		}
		before(t, e)
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		after, err := TakeSnapshot(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		left := slices.DeleteFunc(after, func(s string) bool { return !strings.Contains(s, e.dir) })
		if len(left) > 0 {
			t.Errorf("left behind: %q", left)
		}
	})
}

func TestSnapshotDifference(t *testing.T) {
	before, after := Snapshot{"a", "b", "d"}, Snapshot{"b", "c", "d"}
	if got := before.Left(after); !slices.Equal(got, []string{"c"}) {
		t.Errorf("left: %q", got)
	}
	if got := before.Lost(after); !slices.Equal(got, []string{"a"}) {
		t.Errorf("lost: %q", got)
	}
}

// TestServers starts each program that the tests send to.
func TestServers(t *testing.T) {
	for _, start := range []func() (*Server, error){
		func() (*Server, error) { return Prometheus(t.Context()) },
		func() (*Server, error) { return VictoriaMetrics(t.Context()) },
		func() (*Server, error) { return Registry(t.Context()) },
	} {
		s, err := start()
		if err != nil {
			if strings.Contains(err.Error(), "make deps") && os.Getenv("CI") != "true" {
				t.Skip(err)
			}
			t.Fatal(err)
		}
		t.Logf("%s %s at %s", s.Name, s.Version, s.URL)
		if s.Version == "" {
			t.Errorf("%s does not say its version", s.Name)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(s.dir); !os.IsNotExist(err) {
			t.Errorf("%s left its files: %v", s.Name, err)
		}
	}
}
