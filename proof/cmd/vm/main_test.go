// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestWithoutSync: the build that the stops must catch can be made of the product's file
// as it is, and has no sync left.
func TestWithoutSync(t *testing.T) {
	t.Chdir("../../..")
	dir := t.TempDir()
	if _, err := withoutSync(dir); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "fsops.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, sync := range []string{"unix.Fdatasync(", ".Sync()"} {
		if strings.Contains(string(b), sync) {
			t.Errorf("%s is still there", sync)
		}
	}
}

// TestSteps: the scenarios find their commands in the documents, and the README has no
// other.
func TestSteps(t *testing.T) {
	t.Chdir("../../..")
	all, err := steps()
	if err != nil {
		t.Fatal(err)
	}
	had := map[string]bool{}
	for _, s := range all {
		had[s.script] = true
	}
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range block.FindAllStringSubmatch(string(b), -1) {
		if m[1] == "run" && !had[m[2]] {
			t.Errorf("no step executes\n%s", m[2])
		}
	}
	if got, err := command("deploy/README.md", "## systemd"); err != nil || !strings.HasPrefix(got, "make build\ninstall -m 0755 ") {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := command("README.md", "## No such heading"); err == nil {
		t.Error("a heading that is not there was found")
	}
}

// TestBooks: books that do not balance, or that tell of a loss, are an error; what was
// refused because it was there already is none.
func TestBooks(t *testing.T) {
	for status, good := range map[string]bool{
		`{"endpoints":[{"samples_appended":3,"samples_delivered":2,"backlog":{"samples":1}}]}`:                               true,
		`{"endpoints":[{"samples_appended":3,"samples_delivered":2,"samples_lost":{"refused":0,"refused_after_resend":1}}]}`: true,
		`{"endpoints":[{"samples_appended":3,"samples_delivered":2,"samples_lost":{"refused":1}}]}`:                          false,
		`{"endpoints":[{"samples_appended":3,"samples_delivered":2}]}`:                                                       false,
	} {
		b, err := read(status)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.balance(); (err == nil) != good {
			t.Errorf("%s: %v", status, err)
		}
	}
	if _, err := read(`{"endpoints":[]}`); err == nil {
		t.Error("no endpoint is no error")
	}
}
