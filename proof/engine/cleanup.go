// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const dirPrefix = "drw-engine-"

// Close removes the engine with all that it holds: plugins, containers, its
// processes, mounts and files. It works in whatever state the engine is.
func (e *Engine) Close() error {
	if !e.Private() {
		return nil
	}
	if e.PID() != 0 {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		for _, list := range [][]string{{"plugin", "ls", "-q", "--no-trunc"}, {"ps", "-aq", "--no-trunc"}} {
			out, err := e.Docker(ctx, list...)
			for _, id := range strings.Fields(out) {
				if err == nil && list[0] == "plugin" {
					_, _ = e.Docker(ctx, "plugin", "rm", "-f", id)
				} else if err == nil {
					_, _ = e.Docker(ctx, "rm", "-f", id)
				}
			}
		}
		e.Stop()
	}
	if e.containerd != nil {
		e.containerd.end(syscall.SIGTERM, 10*time.Second)
	}
	return remove(e.dir)
}

// Reap removes the private engines whose owner has died without Close.
func Reap() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"*"))
	for _, dir := range dirs {
		owner, err := os.ReadFile(filepath.Join(dir, "owner"))
		pid, started, ok := strings.Cut(string(owner), " ")
		if n, e := strconv.Atoi(pid); err == nil && ok && e == nil && startTime(n) != started {
			_ = remove(dir)
		}
	}
}

func writeOwner(dir string) error {
	pid := os.Getpid()
	return os.WriteFile(filepath.Join(dir, "owner"), fmt.Appendf(nil, "%d %s", pid, startTime(pid)), 0o600)
}

// startTime tells a process from a later one with the same number: field 22 of
// proc_pid_stat(5). It is empty when there is none.
func startTime(pid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(b), ") ")
	if f := strings.Fields(rest); len(f) > 19 {
		return f[19]
	}
	return ""
}

// remove ends every process of the engine in dir, takes its mounts away and
// deletes its files.
func remove(dir string) error {
	var ids []string
	for _, sub := range []string{"data/plugins", "data/containers"} {
		entries, _ := os.ReadDir(filepath.Join(dir, sub))
		for _, f := range entries {
			if len(f.Name()) == 64 {
				ids = append(ids, f.Name())
			}
		}
	}
	ours := func(pid int) bool {
		cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		args := strings.Split(string(cmdline), "\x00")
		switch filepath.Base(args[0]) {
		case "dockerd", "containerd":
		default:
			if !strings.HasPrefix(filepath.Base(args[0]), "containerd-shim") {
				cgroup, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
				return slices.ContainsFunc(ids, func(id string) bool { return strings.Contains(string(cgroup), id) })
			}
		}
		return slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, dir+"/") })
	}
	// Killing a shim or an engine can bring up another process: until none is left.
	for range 100 {
		var alive bool
		for _, pid := range pids() {
			if ours(pid) && running(pid) {
				alive = true
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		if !alive {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	mounts, err := mountsUnder(dir)
	for _, m := range slices.Backward(mounts) {
		_ = unix.Unmount(m, unix.MNT_DETACH)
	}
	for _, id := range ids {
		err = errors.Join(err, os.RemoveAll(filepath.Join("/run/docker/plugins", id)))
	}
	return errors.Join(err, os.RemoveAll(dir))
}

func pids() []int {
	entries, _ := os.ReadDir("/proc")
	var out []int
	for _, f := range entries {
		if n, err := strconv.Atoi(f.Name()); err == nil {
			out = append(out, n)
		}
	}
	return out
}

// running is false for a process that has ended and is not yet waited for.
func running(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, ok := strings.Cut(string(b), ") ")
	return err == nil && ok && !strings.HasPrefix(rest, "Z")
}

// mountsUnder lists the mount points below a directory in the order in which
// they were mounted.
func mountsUnder(dir string) ([]string, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var out []string
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], dir+"/") {
			out = append(out, f[4])
		}
	}
	return out, nil
}
