// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"
)

var block = regexp.MustCompile("(?s)<!-- (run|example) -->\n```sh\n(.*?)```")

// command is what a document says to do, first of all after a line that begins so.
func command(file, line string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	_, text, _ := strings.Cut("\n"+string(b), "\n"+line)
	m := block.FindStringSubmatch(text)
	if m == nil {
		return "", fmt.Errorf("%s: no commands after %q", file, line)
	}
	return m[2], nil
}

// step is one of the README's commands, or what goes between them. The receiver is the
// one that gets the scrapes afterwards, if there are any.
type step struct {
	what   string
	line   string // of the README, before the command
	script string
	to     func(*world) *receiver
}

// steps are the README's commands word by word, in the order of a user's life.
func steps() ([]step, error) {
	first, second := func(w *world) *receiver { return w.first }, func(w *world) *receiver { return w.second }
	all := []step{
		{"install", "## Install", "", first},
		{"status", "## Is it working?", "", nil},
		{"remove the first one", "", "docker plugin disable docker-remote-write\ndocker plugin rm docker-remote-write", nil},
		{"push and install", "For more hosts than one", "", first},
		{"change", "### Change a setting", "", second},
		{"everything of one host", "### Everything of one host", "", second},
		{"upgrade", "### Upgrade", "", second},
		{"uninstall", "### Uninstall", "", nil},
	}
	for i := range all {
		if s := &all[i]; s.line != "" {
			var err error
			if s.script, err = command("README.md", s.line); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// readme executes the README's commands: its names lead to what stands around the machine.
func readme(ctx context.Context, w *world) (string, error) {
	all, err := steps()
	if err != nil {
		return "", err
	}
	if _, err := w.sh(ctx, "registry"); err != nil {
		return "", err
	}
	var says []string
	for _, s := range all {
		if s.what == "status" { // it is healthy some moments after the first scrape
			s.script = "until_true sh -c " + quote(s.script)
		}
		began := time.Now()
		_, err := w.sh(ctx, s.script)
		if err == nil && s.to != nil { // the plugin that runs now must have scraped
			var at int64
			if at, err = w.at(ctx, `date -d "$(ps -o lstart= -p $(plugin_pid))" +%s%3N`); err == nil {
				_, err = s.to(w).up(ctx, 1, at)
			}
			says = append(says, fmt.Sprintf("%s %.0f s", s.what, time.Since(began).Seconds()))
		}
		if err != nil {
			return "", fmt.Errorf("%s: %w", s.what, err)
		}
	}
	out, err := w.sh(ctx, "docker plugin ls -q; ls /var/lib/docker/plugins | grep -v -e storage -e tmp || true")
	if err != nil {
		return "", err
	}
	if out != "" {
		return "", fmt.Errorf("after the uninstallation there is left: %s", out)
	}
	return "from the command to the first scrape: " + strings.Join(says, ", "), nil
}

// quote makes one word for the shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func lines(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == '\n' })
}
