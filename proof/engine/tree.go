// SPDX-License-Identifier: Apache-2.0

package engine

import (
	_ "embed"
	"fmt"
	"os/exec"
	"path/filepath"
)

//go:embed tree.sh
var treeScript string

// inTree is a program of another distribution's, with that distribution's files around
// it. Containerd comes first and brings a mount namespace about, in which the tree is the
// root; dockerd joins it, and joins it again after its end: what it has mounted is there.
func (e *Engine) inTree(name string, args []string) (*exec.Cmd, error) {
	path, err := one(filepath.Join(e.opts.Tree, "usr/*bin", name))
	if err != nil {
		return nil, err
	}
	if path, err = filepath.Rel(e.opts.Tree, path); err != nil {
		return nil, err
	}
	words := append([]string{"/" + path}, args...)
	if e.containerd == nil {
		script := []string{"--mount", "sh", "-e", "-c", treeScript, "tree", e.opts.Tree, e.dir}
		return exec.Command("unshare", append(script, words...)...), nil
	}
	namespace := fmt.Sprintf("--mount=/proc/%d/ns/mnt", e.containerd.cmd.Process.Pid)
	return exec.Command("nsenter", append([]string{namespace, "--"}, words...)...), nil
}

func one(pattern string) (string, error) {
	found, err := filepath.Glob(pattern)
	if err == nil && len(found) != 1 {
		err = fmt.Errorf("%s: one file is wanted, there are %d", pattern, len(found))
	}
	if err != nil {
		return "", err
	}
	return found[0], nil
}
