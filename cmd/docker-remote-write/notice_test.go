// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the files that the tests compare with")

const noticeHead = `docker-remote-write
Copyright the docker-remote-write authors
Licensed under the Apache License, Version 2.0; see LICENSE.

The binary links the modules below. Each is named with its version, followed by
the licence and notice files that it ships. This file travels with the binary.
`

// TestNotice compares NOTICE with the licences of exactly those modules that the
// binary links, on every architecture it is released for.
func TestNotice(t *testing.T) {
	want := noticeHead
	for _, m := range linkedModules(t) {
		want += fmt.Sprintf("\n%s\n%s %s\n%s\n", strings.Repeat("=", 78), m.Path, m.Version, strings.Repeat("=", 78))
		texts := licenceFiles(t, m.Dir)
		if len(texts) == 0 {
			t.Errorf("module %s ships no licence file", m.Path)
		}
		for _, text := range texts {
			want += "\n" + strings.TrimSpace(text) + "\n"
		}
	}
	file := filepath.Join("..", "..", "NOTICE")
	if *update {
		if os.Getenv("CI") == "true" {
			t.Fatal("-update is refused with CI=true")
		}
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("NOTICE does not match the linked modules: go test ./cmd/docker-remote-write -run TestNotice -update")
	}
}

type module struct{ Path, Version, Dir string }

func linkedModules(t *testing.T) []module {
	t.Helper()
	seen := map[string]module{}
	for _, arch := range []string{"amd64", "arm64"} {
		cmd := exec.Command("go", "list", "-deps", "-json=Module,Standard", ".")
		cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("go list: %v\n%s", err, stderr.String())
		}
		dec := json.NewDecoder(bytes.NewReader(out))
		for {
			var p struct {
				Module *struct {
					Path, Version, Dir string
					Main               bool
					Replace            *struct{ Version string }
				}
			}
			if err := dec.Decode(&p); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			// What is replaced by a directory, which has no version, is the project's own.
			if p.Module != nil && !p.Module.Main && (p.Module.Replace == nil || p.Module.Replace.Version != "") {
				seen[p.Module.Path] = module{p.Module.Path, p.Module.Version, p.Module.Dir}
			}
		}
	}
	var all []module
	for _, m := range seen {
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b module) int { return strings.Compare(a.Path, b.Path) })
	return all
}

func licenceFiles(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, e := range entries {
		name := strings.ToUpper(e.Name())
		if e.IsDir() || !strings.HasPrefix(name, "LICEN") && !strings.HasPrefix(name, "COPYING") && !strings.HasPrefix(name, "NOTICE") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(b))
	}
	return texts
}
