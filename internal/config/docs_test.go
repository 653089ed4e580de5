// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the tables of docs/settings.md and the env list of plugin/config.json")

const (
	settingsDoc  = "../../docs/settings.md"
	pluginConfig = "../../plugin/config.json"
)

// reference is the settings table for people, a heading for each group.
func reference() string {
	var b strings.Builder
	group := ""
	for _, s := range Settings() {
		if s.Group != group {
			group = s.Group
			fmt.Fprintf(&b, "\n## %s\n\n| setting | value | default | |\n|---|---|---|---|\n", group)
		}
		kind := string(s.Type)
		if r := s.Range(); r != "" && len(s.Choices) == 0 {
			kind += ", " + r
		} else if r != "" {
			kind = "`" + strings.Join(s.Choices, "`, `") + "`"
		}
		fallback := "-"
		if s.Default != "" {
			fallback = "`" + s.Default + "`"
		} else if s.DefaultText != "" {
			fallback = s.DefaultText
		}
		help := s.Help
		if s.Secret {
			help += " *Secret.*"
		}
		if s.Example != "" {
			help += " Example: `" + s.Example + "`"
		}
		cells := []string{"`" + s.Name + "`", kind, fallback, help}
		for i, c := range cells {
			cells[i] = strings.ReplaceAll(c, "|", `\|`)
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
	}
	return b.String() + "\n"
}

// env is the env list of the plugin's configuration, one setting a line.
func env() string {
	var lines []string
	for _, s := range Settings() {
		description, _, _ := strings.Cut(strings.ReplaceAll(s.Help, "`", ""), ". ")
		name, err1 := json.Marshal(s.Name)
		text, err2 := json.Marshal(strings.TrimSuffix(description, "."))
		if err1 != nil || err2 != nil {
			panic("a string cannot be encoded")
		}
		lines = append(lines, fmt.Sprintf(`    {"name": %s, "description": %s, "settable": ["value"]}`, name, text))
	}
	return "\n" + strings.Join(lines, ",\n") + "\n  "
}

// generated compares what stands in the file between begin and end with want,
// and writes it with -update.
func generated(t *testing.T, file, begin, end, want string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), begin)
	got, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s: the marks %q and %q are gone", file, begin, end)
	}
	if *update {
		if os.Getenv("CI") == "true" {
			t.Fatal("-update is not for CI")
		}
		if err := os.WriteFile(file, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s differs from the code; run go test ./internal/config -run Documented -update\n%s", file, d)
	}
}

// TestSettingsAreDocumented: the reference has every setting as the code has
// it, and the prose names none that is none.
func TestSettingsAreDocumented(t *testing.T) {
	generated(t, settingsDoc, "<!-- table -->\n", "<!-- /table -->", reference())
	b, err := os.ReadFile(settingsDoc)
	if err != nil {
		t.Fatal(err)
	}
	known := append(Names(), "STATE_DIRECTORY")
	for _, name := range regexp.MustCompile(`\b[A-Z]+_[A-Z_]+[A-Z]\b`).FindAllString(string(b), -1) {
		if !slices.Contains(known, name) {
			t.Errorf("%s names %s, which is no setting", settingsDoc, name)
		}
	}
}

var (
	example    = regexp.MustCompile("(?s)<!-- example -->\n```(\\w*)\n(.*?)```")
	assignment = regexp.MustCompile(`\b([A-Z][A-Z0-9_]+)=("[^"]*"|'[^']*'|\S*)`)
	dataFile   = regexp.MustCompile(`(/data/|/config/|/run/secrets/)\S+`)
)

// TestExamplesAreValid: the settings in every example of the documents are what
// the program takes, and so is every remote_write list.
func TestExamplesAreValid(t *testing.T) {
	some := writeFile(t, "file", "remote_write: [{url: 'http://x/w'}]")
	checked := 0
	for _, pattern := range []string{"../../*.md", "../../docs/*.md", "../../deploy/*.md", "../../dashboards/*.md"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, block := range example.FindAllStringSubmatch(string(b), -1) {
				language, text := block[1], block[2]
				if language == "yaml" && strings.HasPrefix(text, "remote_write:") {
					text = regexp.MustCompile(`_file: \S+`).ReplaceAllString(text, "_file: "+some)
					if _, _, err := parseFile([]byte(text), ".", testBase(t)); err != nil {
						t.Errorf("%s: %v\n%s", file, err, text)
					}
					checked++
				}
				if language != "sh" {
					continue
				}
				var environ []string
				for _, m := range assignment.FindAllStringSubmatch(text, -1) {
					environ = append(environ, m[1]+"="+strings.Trim(dataFile.ReplaceAllString(m[2], some), `"'`))
				}
				_, warnings, err := load(Run, environ...)
				if err != nil || len(warnings) > 0 {
					t.Errorf("%s: %v %q\n%s", file, err, warnings, text)
				}
				checked += len(environ)
			}
		}
	}
	if checked < 10 {
		t.Errorf("only %d settings were found", checked)
	}
}

// TestPluginConfigIsDocumented: the plugin declares every setting, settable and
// without a value, since an upgrade would freeze that.
func TestPluginConfigIsDocumented(t *testing.T) {
	generated(t, pluginConfig, `"env": [`, `]
}`, env())
	b, err := os.ReadFile(pluginConfig)
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Env []struct {
			Name     string
			Value    *string
			Settable []string
		}
	}
	if err := json.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range c.Env {
		names = append(names, e.Name)
		if e.Value != nil || !slices.Equal(e.Settable, []string{"value"}) {
			t.Errorf("%s: has a value or is not settable", e.Name)
		}
	}
	if d := cmp.Diff(Names(), names); d != "" {
		t.Error(d)
	}
}

// TestTable: each setting's default, bounds and example are valid themselves.
func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for i := range settings {
		s := &settings[i]
		if seen[s.Name] || s.Help == "" || s.Group == "" || s.Type == "" || !strings.HasSuffix(s.Help, ".") {
			t.Errorf("%s stands there twice or is not described", s.Name)
		}
		seen[s.Name] = true
		if s.Example == "" && s.Default == "" {
			t.Errorf("%s has neither a default nor an example", s.Name)
		}
		if (s.Min == "") != (s.Max == "") {
			t.Errorf("%s has one bound", s.Name)
		}
		for _, v := range []string{s.Default, s.Min, s.Max} {
			if v == "" || s.dest == nil {
				continue
			}
			l := &loader{cfg: &Config{}}
			if err := s.parse(v, s.dest(l)); err != nil {
				t.Errorf("%s=%s: %v", s.Name, v, err)
			}
		}
		// Examples of files do not exist here and those of PEM are cut short.
		if s.Type == Path || s.Type == PEM || s.Example == "" {
			continue
		}
		environ := []string{s.Name + "=" + s.Example}
		switch s.Name {
		case "REMOTE_WRITE_USERNAME":
			environ = append(environ, "REMOTE_WRITE_PASSWORD=x")
		case "REMOTE_WRITE_PASSWORD":
			environ = append(environ, "REMOTE_WRITE_USERNAME=x")
		case "REMOTE_WRITE_SIGV4_ROLE_ARN":
			environ = append(environ, "REMOTE_WRITE_SIGV4_REGION=x")
		}
		if _, _, err := load(Run, environ...); err != nil {
			t.Errorf("the example of %s: %v", s.Name, err)
		}
	}
}
