// SPDX-License-Identifier: Apache-2.0

// Package docs_test checks what the documents promise about themselves.
package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/docker-remote-write/docker-remote-write/internal/config"
	"github.com/docker-remote-write/docker-remote-write/internal/telemetry"
)

// documents are those for users: each of their code blocks is either executed or
// parsed by a test, and says by which.
func documents(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, pattern := range []string{"README.md", "docs/*.md", "dashboards/*.md", "deploy/*.md"} {
		files, err := filepath.Glob(filepath.Join("..", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			all[strings.TrimPrefix(f, "../")] = string(b)
		}
	}
	if len(all) < 5 {
		t.Fatalf("only %d documents were found", len(all))
	}
	return all
}

// A block is tagged by a comment on the line before it: run blocks are executed in
// order, entry blocks are what CI runs, the settings in example blocks are parsed.
func TestCodeBlocksAreTagged(t *testing.T) {
	tag := regexp.MustCompile(`^<!-- (run|entry|example) -->$`)
	blocks := 0
	for file, text := range documents(t) {
		lines := strings.Split(text, "\n")
		inside := false
		for i, line := range lines {
			if !strings.HasPrefix(strings.TrimLeft(line, " "), "```") && !strings.HasPrefix(line, "~~~") {
				if !inside && strings.HasPrefix(line, "    ") && i > 0 && strings.TrimSpace(lines[i-1]) == "" {
					t.Errorf("%s:%d: an indented code block cannot be tagged; fence it", file, i+1)
				}
				continue
			}
			if inside = !inside; !inside {
				continue
			}
			blocks++
			if i == 0 || !tag.MatchString(lines[i-1]) {
				t.Errorf("%s:%d: the code block carries no tag: <!-- run -->, <!-- entry --> or <!-- example -->", file, i+1)
			}
		}
		if inside {
			t.Errorf("%s: the last code block does not end", file)
		}
	}
	if blocks < 5 {
		t.Errorf("only %d blocks were found", blocks)
	}
}

// Links within the repository lead somewhere, to a heading where they name one.
func TestLinksLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for file, text := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			path := filepath.Join("..", file)
			if target != "" {
				path = filepath.Join("..", filepath.Dir(file), target)
			}
			b, err := os.ReadFile(path)
			if info, serr := os.Stat(path); serr != nil || err != nil && !info.IsDir() {
				t.Errorf("%s links to %s, which is not there", file, m[1])
				continue
			}
			if anchor != "" && !anchors(string(b))[anchor] {
				t.Errorf("%s links to %s: no such heading", file, m[1])
			}
		}
	}
}

// anchors are the headings of a document as links name them.
func anchors(text string) map[string]bool {
	all := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		h := strings.ToLower(regexp.MustCompile(`[^\w\- ]`).ReplaceAllString(m[1], ""))
		all[strings.ReplaceAll(h, " ", "-")] = true
	}
	return all
}

// The threat model names the test that holds each claim.
func TestClaimsNameTheirTests(t *testing.T) {
	security := documents(t)["docs/security.md"]
	declared := map[string]bool{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != ".." {
			if err == nil {
				err = fs.SkipDir
			}
			return err
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		b, err := os.ReadFile(path)
		for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`).FindAllStringSubmatch(string(b), -1) {
			declared[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(security, "## Threat model")
	rows := 0
	for _, line := range strings.Split(table, "\n") {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| who ") && strings.Contains(line, "held by") {
			continue
		}
		rows++
		names := regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllStringSubmatch(line, -1)
		if len(names) == 0 {
			t.Errorf("no test holds: %s", line)
		}
		for _, m := range names {
			if !declared[m[1]] {
				t.Errorf("%s is no test", m[1])
			}
		}
	}
	if rows < 10 {
		t.Errorf("the threat model has %d claims", rows)
	}
}

// What the documents call a setting, a metric or an alert is one.
func TestNamesExist(t *testing.T) {
	settings := map[string]bool{"STATE_DIRECTORY": true}
	for _, n := range config.Names() {
		settings[n] = true
	}
	metrics := map[string]bool{}
	for _, m := range telemetry.Metrics() {
		metrics[m.Name] = true
	}
	rules, err := os.ReadFile("../dashboards/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	alerts := map[string]bool{}
	for _, m := range regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(string(rules), -1) {
		alerts[m[1]] = true
	}
	counts := make([]int, 3)
	for file, text := range documents(t) {
		for i, c := range []struct {
			pattern string
			known   map[string]bool
		}{
			{`\b(?:REMOTE_WRITE|SCRAPE|SPOOL|MAX|MIN|BATCH|METRICS|STATUS|SELF|EXTERNAL|CONFIG|DATA|LOG)_[A-Z_]*[A-Z]\b`, settings},
			{`\bdocker_remote_write_\w*\w`, metrics},
			{`\bDocker(?:Engine|Container|Health|RemoteWrite)\w+`, alerts},
		} {
			for _, name := range regexp.MustCompile(c.pattern).FindAllString(text, -1) {
				counts[i]++
				if !c.known[name] && name != "docker_remote_write_" {
					t.Errorf("%s names %s, which does not exist", file, name)
				}
			}
		}
	}
	if counts[0] < 50 || counts[1] < 20 || counts[2] < 5 {
		t.Errorf("only %d settings, metrics and alerts were found", counts)
	}
}

// Entry blocks are make targets.
func TestEntriesAreTargets(t *testing.T) {
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	entries := 0
	for file, text := range documents(t) {
		for _, m := range regexp.MustCompile("(?s)<!-- entry -->\n```sh\n(.*?)```").FindAllStringSubmatch(text, -1) {
			for _, line := range strings.Split(strings.TrimSpace(m[1]), "\n") {
				entries++
				target, ok := strings.CutPrefix(line, "make ")
				if target, _, _ = strings.Cut(target, " "); !ok || !strings.Contains("\n"+string(makefile), "\n"+target+":") {
					t.Errorf("%s: %q is no target of the Makefile", file, line)
				}
			}
		}
	}
	if entries == 0 {
		t.Error("there are no entry blocks")
	}
}
