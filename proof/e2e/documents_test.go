// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker-remote-write/docker-remote-write/proof/engine"
	"github.com/docker-remote-write/docker-remote-write/proof/promtest"
)

// TestDocumentsRun executes the blocks tagged `run` in the README and then in the
// other documents, in their order, on one engine with a registry beside it.
func TestDocumentsRun(t *testing.T) {
	registry := server(t, engine.Registry, "docker-registry")
	e := ownEngine(t, engine.Options{})
	root, err := e.DataRoot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	exporter := server(t, engine.NodeExporter, "prometheus-node-exporter")
	first, second := newReceiver(t, promtest.Options{}), newReceiver(t, promtest.Options{})
	replace := substitutions(t, map[string]string{
		"{registry}": registry.Address(), "{receiver}": first.URL(), "{second}": second.URL(), "{exporter}": exporter.Address(),
		"{data-root}": root, "{arch}": runtime.GOARCH,
	})
	environ := append(userEnviron(t), "DOCKER_HOST="+e.Host, "ARCHES="+runtime.GOARCH)

	docs, err := filepath.Glob(filepath.Join(repo, "docs/*.md"))
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)<!-- run -->\n```sh\n(.*?)```")
	blocks := 0
	for _, file := range append([]string{filepath.Join(repo, "README.md")}, docs...) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range block.FindAllStringSubmatch(string(text), -1) {
			blocks++
			script := replace.Replace(m[1])
			if strings.Contains(script, ".example") {
				t.Errorf("%s: an example's name is left in\n%s", file, script)
			}
			began := time.Now()
			run := func() (string, error) {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
				defer cancel()
				cmd := exec.CommandContext(ctx, "sh", "-e", "-c", script)
				cmd.Dir, cmd.Env = repo, environ
				out, err := cmd.CombinedOutput()
				return string(out), err
			}
			out, err := run()
			if err != nil && (strings.Contains(script, "/rw.sock") || strings.Contains(script, ") status'")) {
				// What a block asks may become true a moment later.
				eventually(t, "a block that asks for the state", func() bool { out, err = run(); return err == nil })
			}
			if err != nil {
				t.Fatalf("%s: %v\n%s\n%s", file, err, script, out)
			}
			switch {
			case strings.Contains(m[1], "http://prometheus.example"):
				first.up(1, began)
			case strings.Contains(m[1], "http://other.example"):
				second.up(1, began)
			case strings.Contains(m[1], "EXTRA_TARGETS=node="):
				second.await("the node exporter's series", func() bool {
					found, err := second.Query(t.Context(), `node_uname_info{job="node"} and on (instance) up{job="docker"}`, time.Now())
					if err != nil {
						t.Fatal(err)
					}
					return len(found) == 1
				})
			}
		}
	}
	if blocks < 8 {
		t.Errorf("only %d blocks were found", blocks)
	}
}

// substitutions reads the file that says what stands for the documents' names.
func substitutions(t *testing.T, values map[string]string) *strings.Replacer {
	t.Helper()
	f, err := os.Open("testdata/substitutions.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var pairs []string
	for s := bufio.NewScanner(f); s.Scan(); {
		if strings.HasPrefix(s.Text(), "#") {
			continue
		}
		field := strings.Fields(s.Text())
		if len(field) != 2 {
			t.Fatalf("substitutions.txt: %q", s.Text())
		}
		for name, value := range values {
			field[1] = strings.ReplaceAll(field[1], name, value)
		}
		pairs = append(pairs, field...)
	}
	return strings.NewReplacer(pairs...)
}

// userEnviron is the environment of a user's shell: without what a make around
// this test has set, and with a sudo where root has none.
func userEnviron(t *testing.T) []string {
	t.Helper()
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return strings.HasPrefix(name, "MAKE") || name == "MFLAGS" || name == "VERSION" || name == "ARCHES"
	})
	if _, err := exec.LookPath("sudo"); err == nil {
		return env
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "sudo"), []byte("#!/bin/sh\nexec \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return append(env, "PATH="+dir+":"+os.Getenv("PATH"))
}
