// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
)

var runBlock = regexp.MustCompile("(?s)<!-- (?:run|example) -->\n```sh\n(.*?)```")

// blocks are the commands of a document, in order, of those below a heading if it is
// given.
func blocks(file, heading string) ([]string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	_, text, ok := strings.Cut("\n"+string(b), "\n"+heading)
	var out []string
	for _, m := range runBlock.FindAllStringSubmatch(text, -1) {
		out = append(out, m[1])
	}
	if !ok || len(out) == 0 {
		return nil, fmt.Errorf("%s: no commands below %q", file, heading)
	}
	return out, nil
}

// readme executes the README's commands word by word, in the order of a user's life: its
// names lead to what stands around the machine.
func readme(ctx context.Context, w *world) (string, error) {
	install, err := blocks("README.md", "## Install\n")
	if err != nil {
		return "", err
	}
	working, err := blocks("README.md", "## Is it working?\n")
	if err != nil {
		return "", err
	}
	first, push, change, upgrade, uninstall, ask := install[0], install[1], install[2], install[3], install[4], working[0]
	var says []string
	step := func(what, script string, r *receiver) error {
		at, err := w.at(ctx, "at=$(now)\n"+script+"\necho\necho $at")
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if r == nil {
			return nil
		}
		took, err := r.up(ctx, 1, at)
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		says = append(says, fmt.Sprintf("%s %.1f s", what, took.Seconds()))
		return nil
	}
	if _, err := w.sh(ctx, "registry"); err != nil {
		return "", err
	}
	for _, s := range []struct {
		what, script string
		to           *receiver
	}{
		{"install", first, w.first},
		{"status", "until_true sh -c " + quote(ask) + "\n" + ask, nil},
		{"remove the first one", "docker plugin disable docker-remote-write\ndocker plugin rm docker-remote-write", nil},
		{"push and install", push, w.first},
		{"change", change, w.second},
		{"upgrade", upgrade, w.second},
		{"uninstall", uninstall, nil},
	} {
		if err := step(s.what, s.script, s.to); err != nil {
			return "", err
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
