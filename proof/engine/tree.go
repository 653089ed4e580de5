// SPDX-License-Identifier: Apache-2.0

package engine

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

//go:embed tree.sh
var treeScript string

// inTree is a program of another distribution's, with that distribution's files around
// it. Containerd comes first and brings a mount namespace about, in which the tree is the
// root; dockerd joins it, and joins it again after its end: what it has mounted is there.
func (e *Engine) inTree(name string, args []string) (*exec.Cmd, error) {
	path, err := One(filepath.Join(e.opts.Tree, "usr/*bin", name))
	if err != nil {
		return nil, err
	}
	if path, err = filepath.Rel(e.opts.Tree, path); err != nil {
		return nil, err
	}
	words := append([]string{"/" + path}, args...)
	if e.containerd == nil {
		script := []string{"--mount", "sh", "-e", "-c", treeScript, "tree", e.opts.Tree, e.dir, os.TempDir()}
		return exec.Command("unshare", append(script, words...)...), nil
	}
	return e.nsenter(words...), nil
}

// nsenter is a command in the engine's mount namespace.
func (e *Engine) nsenter(words ...string) *exec.Cmd {
	namespace := fmt.Sprintf("--mount=/proc/%d/ns/mnt", e.containerd.cmd.Process.Pid)
	return exec.Command("nsenter", append([]string{namespace, "--"}, words...)...)
}

// MountTmpfs puts a small file system over a directory of a private engine. It returns
// where this process sees it, and what takes it away.
func (e *Engine) MountTmpfs(dir, options string) (seen string, unmount func() error, err error) {
	if e.opts.Tree == "" {
		return dir, func() error { return unix.Unmount(dir, unix.MNT_DETACH) }, unix.Mount("tmpfs", dir, "tmpfs", 0, options)
	}
	run := func(words ...string) error {
		if out, err := e.nsenter(words...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s in the engine's namespace: %w: %s", words[0], err, out)
		}
		return nil
	}
	seen = fmt.Sprintf("/proc/%d/root%s", e.containerd.cmd.Process.Pid, dir)
	return seen, func() error { return run("umount", "-l", dir) }, run("mount", "-t", "tmpfs", "-o", options, "tmpfs", dir)
}

// One is the one file that the pattern fits; more or none is an error that says so.
func One(pattern string) (string, error) {
	found, err := filepath.Glob(pattern)
	if err == nil && len(found) != 1 {
		err = fmt.Errorf("%s: one file is wanted, there are %d", pattern, len(found))
	}
	if err != nil {
		return "", err
	}
	return found[0], nil
}
