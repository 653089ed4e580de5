// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// PluginID is the full id of an installed plugin.
func (e *Engine) PluginID(ctx context.Context, name string) (string, error) {
	out, err := e.Docker(ctx, "plugin", "inspect", "--format", "{{.Id}}", name)
	return strings.TrimSpace(out), err
}

// PluginEnabled reports what `docker plugin inspect` says of it.
func (e *Engine) PluginEnabled(ctx context.Context, name string) (bool, error) {
	out, err := e.Docker(ctx, "plugin", "inspect", "--format", "{{.Enabled}}", name)
	return strings.TrimSpace(out) == "true", err
}

// PluginRootfs is where the plugin's root filesystem lies on the host.
func (e *Engine) PluginRootfs(ctx context.Context, id string) (string, error) {
	root, err := e.DataRoot(ctx)
	return filepath.Join(root, "plugins", id, "rootfs"), err
}

// PluginData is where the plugin's PropagatedMount lies on the host: what
// outlives an upgrade.
func (e *Engine) PluginData(ctx context.Context, id string) (string, error) {
	root, err := e.DataRoot(ctx)
	return filepath.Join(root, "plugins", id, "propagated-mount"), err
}

// PluginSocket is where a plugin's socket lies on the host.
func PluginSocket(id string) string { return filepath.Join("/run/docker/plugins", id, "rw.sock") }

// PluginPIDs are the host's process numbers of a running plugin or container;
// none when it is not running.
func PluginPIDs(id string) []int {
	var out []int
	for _, pid := range pids() {
		cgroup, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
		if strings.Contains(string(cgroup), id) && running(pid) {
			out = append(out, pid)
		}
	}
	return out
}

// PluginLog is what a plugin of a private engine wrote, line by line, with the
// level under which the engine logged it: "info" for standard output, "error"
// for standard error.
func (e *Engine) PluginLog(id string) ([]LogLine, error) {
	f, err := os.Open(e.Log())
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []LogLine
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		rest, ours := strings.CutSuffix(s.Text(), " plugin="+id)
		_, rest, ok := strings.Cut(rest, " level=")
		level, msg, ok2 := strings.Cut(rest, " msg=")
		if !ours || !ok || !ok2 {
			continue
		}
		if unquoted, err := strconv.Unquote(msg); err == nil {
			msg = unquoted
		}
		out = append(out, LogLine{level, msg})
	}
	return out, s.Err()
}

// LogLine is one line of a plugin in the engine's log.
type LogLine struct{ Level, Message string }
