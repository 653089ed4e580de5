// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/docker-remote-write/docker-remote-write/proof/bench/procstat"
	"github.com/docker-remote-write/docker-remote-write/proof/engine"
)

// Beside is what an engine takes that has nothing to do, with the plugin or without.
type Beside struct {
	Version string
	// Medians: Start is from dockerd's start until it answers, Stop from SIGTERM until it
	// has ended, Run that of a container whose program ends at once, Enable the plugin's.
	Start, Stop, Run, Enable time.Duration
	// CPU of dockerd and of the plugin over the time that is asked for; Memory of dockerd.
	CPU, PluginCPU time.Duration
	Memory         procstat.Memory
}

// beside names the image of the program, and the plugin.
const beside = "docker-remote-write"

// EngineBeside measures a private engine with the plugin in the directory, as `docker
// plugin create` takes it, or without one where that is empty: each step that many times,
// and processor time over that long. binary is what the containers run. It needs root.
func EngineBeside(ctx context.Context, binary, plugin string, times int, over time.Duration) (b Beside, err error) {
	e, err := engine.Start(ctx, engine.Options{})
	if err != nil {
		return b, err
	}
	defer e.Close()
	docker := func(args ...string) func() error {
		return func() error {
			_, err := e.Docker(ctx, args...)
			return err
		}
	}
	if b.Version, err = e.Version(ctx); err != nil {
		return b, err
	}
	if err := load(ctx, e, binary); err != nil {
		return b, err
	}
	steps := []step{{&b.Run, docker("run", "--rm", "--network", "none", beside, "/program", "version")}}
	if plugin != "" {
		s, err := receiver(nil)
		if err != nil {
			return b, err
		}
		defer s.Close()
		if _, err := e.Docker(ctx, "plugin", "create", beside, plugin); err != nil {
			return b, err
		}
		if _, err := e.Docker(ctx, "plugin", "set", beside, "REMOTE_WRITE_URL="+s.URL()); err != nil {
			return b, err
		}
		if err := repeat(times, step{&b.Enable, docker("plugin", "enable", beside)}, step{nil, docker("plugin", "disable", beside)}); err != nil {
			return b, err
		}
		if _, err := e.Docker(ctx, "plugin", "enable", beside); err != nil {
			return b, err
		}
	}
	stop := func() error { e.Stop(); return nil }
	start := func() error { return e.Up(ctx) }
	if err := repeat(times, append(steps, step{&b.Stop, stop}, step{&b.Start, start})...); err != nil {
		return b, err
	}
	return b, b.idle(ctx, e, plugin != "", over)
}

// step is one whose median goes there, if anywhere.
type step struct {
	median *time.Duration
	do     func() error
}

// repeat takes the steps in turn, that many times.
func repeat(times int, steps ...step) error {
	took := make([][]time.Duration, len(steps))
	for range times {
		for i, s := range steps {
			began := time.Now()
			if err := s.do(); err != nil {
				return err
			}
			took[i] = append(took[i], time.Since(began))
		}
	}
	for i, s := range steps {
		if s.median != nil {
			slices.Sort(took[i])
			*s.median = took[i][times/2]
		}
	}
	return nil
}

// idle measures what an engine takes that was started a moment ago.
func (b *Beside) idle(ctx context.Context, e *engine.Engine, plugin bool, over time.Duration) error {
	pids := []int{e.PID()}
	if plugin {
		id, err := e.PluginID(ctx, beside)
		if err != nil {
			return err
		}
		pids = append(pids, engine.PluginPIDs(id)...)
		if len(pids) != 2 {
			return fmt.Errorf("the plugin's processes are %v, want one", pids[1:])
		}
	}
	if err := pause(ctx, 20*time.Second); err != nil {
		return err
	}
	var used [2][2]time.Duration
	for i := range used {
		for k, pid := range pids {
			var err error
			if used[i][k], err = procstat.CPU(pid); err != nil {
				return err
			}
		}
		if i == 0 {
			if err := pause(ctx, over); err != nil {
				return err
			}
		}
	}
	b.CPU, b.PluginCPU = used[1][0]-used[0][0], used[1][1]-used[0][1]
	var err error
	b.Memory, err = procstat.ReadMemory(pids[0])
	return err
}

// load makes an image with nothing in it but the binary.
func load(ctx context.Context, e *engine.Engine, binary string) error {
	raw, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "program", Mode: 0o755, Size: int64(len(raw))}); err != nil {
		return err
	}
	if _, err := w.Write(raw); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	cmd := e.Command(ctx, "import", "-", beside)
	cmd.Stdin = &b
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("import the image: %w: %s", err, out)
	}
	return nil
}

// Assemble lays out the plugin that holds the binary, in a directory under dir.
func Assemble(ctx context.Context, dir, binary string) (string, error) {
	plugin := filepath.Join(dir, "plugin")
	if out, err := exec.CommandContext(ctx, "plugin/assemble", binary, plugin).CombinedOutput(); err != nil {
		return "", fmt.Errorf("assemble the plugin: %w: %s", err, out)
	}
	return plugin, nil
}
