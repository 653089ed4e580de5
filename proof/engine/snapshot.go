// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
)

// Snapshot is what a program could leave behind on a machine: each entry is
// one plugin, container, image, process, temporary file, mount or plugin
// directory of the engine.
type Snapshot []string

// TakeSnapshot looks at the machine and, unless e is nil, at that engine.
func TakeSnapshot(ctx context.Context, e *Engine) (Snapshot, error) {
	var s Snapshot
	add := func(kind string, entries ...string) {
		for _, x := range entries {
			s = append(s, kind+" "+x)
		}
	}
	if e != nil {
		for kind, args := range map[string][]string{
			"plugin":    {"plugin", "ls", "--no-trunc", "--format", "{{.Name}} {{.Enabled}}"},
			"container": {"ps", "-a", "--no-trunc", "--format", "{{.Names}} {{.Image}}"},
			"image":     {"images", "-a", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"},
		} {
			out, err := e.Docker(ctx, args...)
			if err != nil {
				return nil, err
			}
			add(kind, slices.Collect(lines(out))...)
		}
		root, err := e.DataRoot(ctx)
		if err != nil {
			return nil, err
		}
		add("plugin files", names(root+"/plugins")...)
	}
	add("plugin sockets", names("/run/docker/plugins")...)
	add("temporary file", names(os.TempDir())...)
	for _, pid := range pids() {
		cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if len(cmdline) > 0 && running(pid) && pid != os.Getpid() { // no command line: a kernel thread
			add("process", fmt.Sprintf("%d %s", pid, bytes.ReplaceAll(bytes.TrimRight(cmdline, "\x00"), []byte{0}, []byte{' '})))
		}
	}
	mounts, err := mountsUnder("")
	add("mount", mounts...)
	slices.Sort(s)
	return s, err
}

// Left lists what is in the later snapshot and was not in s.
func (s Snapshot) Left(later Snapshot) []string {
	var out []string
	for _, x := range later {
		if _, found := slices.BinarySearch(s, x); !found {
			out = append(out, x)
		}
	}
	return out
}

// Lost lists what was in s and is not in the later snapshot.
func (s Snapshot) Lost(later Snapshot) []string { return later.Left(s) }

func names(dir string) []string {
	entries, _ := os.ReadDir(dir)
	var out []string
	for _, f := range entries {
		out = append(out, dir+"/"+f.Name())
	}
	return out
}

func lines(s string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for line := range strings.Lines(s) {
			if line = strings.TrimSpace(line); line != "" && !yield(line) {
				return
			}
		}
	}
}
