// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/docker-remote-write/docker-remote-write/proof/engine"
)

// plugin is the plugin under test in an engine.
type plugin struct {
	*engine.Engine
	t        *testing.T
	name, id string
}

var plugins atomic.Int32

// assemble lays the plugin out for `docker plugin create`.
func assemble(t *testing.T, binary, propagatedMount string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "plugin")
	out, err := exec.Command(filepath.Join(repo, "plugin/assemble"), binary, dir, propagatedMount).CombinedOutput()
	if err != nil {
		t.Fatalf("assemble: %v: %s", err, out)
	}
	return dir
}

// create makes the plugin in e, disabled, with those settings. It goes with the test.
func create(t *testing.T, e *engine.Engine, settings ...string) *plugin {
	t.Helper()
	return createFrom(t, e, assemble(t, binary, "/data"), settings...)
}

func createFrom(t *testing.T, e *engine.Engine, dir string, settings ...string) *plugin {
	t.Helper()
	p := &plugin{Engine: e, t: t, name: fmt.Sprintf("rw%d", plugins.Add(1))}
	p.docker("plugin", "create", p.name, dir)
	p.adopt()
	p.set(settings...)
	return p
}

// adopt notes the id of the plugin that bears the name and looks after its end.
func (p *plugin) adopt() {
	p.t.Helper()
	var err error
	if p.id, err = p.PluginID(p.t.Context(), p.name); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		if p.t.Failed() {
			lines, _ := p.PluginLog(p.id)
			for _, l := range lines[max(0, len(lines)-40):] {
				p.t.Logf("%s %s: %s", p.name, l.Level, l.Message)
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if p.PID() != 0 {
			if _, err := p.Docker(ctx, "plugin", "rm", "-f", p.name); err != nil {
				p.t.Error(err)
			}
		}
	})
}

func (p *plugin) docker(args ...string) string {
	p.t.Helper()
	out, err := p.Docker(p.t.Context(), args...)
	if err != nil {
		p.t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

func (p *plugin) set(settings ...string) {
	p.t.Helper()
	if len(settings) > 0 {
		p.docker(append([]string{"plugin", "set", p.name}, settings...)...)
	}
}

// enable, disable and timed return how long the engine took.
func (p *plugin) enable() time.Duration {
	p.t.Helper()
	return timed(func() { p.docker("plugin", "enable", p.name) })
}

func (p *plugin) disable() time.Duration {
	p.t.Helper()
	return timed(func() { p.docker("plugin", "disable", p.name) })
}

func timed(f func()) time.Duration {
	began := time.Now()
	f()
	return time.Since(began)
}

// log is what the plugin wrote.
func (p *plugin) log() []engine.LogLine {
	p.t.Helper()
	lines, err := p.PluginLog(p.id)
	if err != nil {
		p.t.Fatal(err)
	}
	return lines
}

// logged reports whether a line contains all the texts.
func (p *plugin) logged(texts ...string) bool {
	return slices.ContainsFunc(p.log(), func(l engine.LogLine) bool {
		return !slices.ContainsFunc(texts, func(s string) bool { return !strings.Contains(l.Message, s) })
	})
}

// pid is that of the plugin's process, 0 when it is not running.
func (p *plugin) pid() int {
	if pids := engine.PluginPIDs(p.id); len(pids) > 0 {
		return slices.Min(pids)
	}
	return 0
}

// kill ends the process as a crash does, waits until it is gone, and says when it was killed.
func (p *plugin) kill() (at time.Time) {
	p.t.Helper()
	pid := p.pid()
	if pid == 0 {
		p.t.Fatal("the plugin is not running")
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		p.t.Fatal(err)
	}
	at = time.Now()
	eventually(p.t, "the killed process to be gone", func() bool { return p.pid() != pid })
	return at
}

// data is the plugin's data directory on the host.
func (p *plugin) data() string {
	p.t.Helper()
	dir, err := p.PluginData(p.t.Context(), p.id)
	if err != nil {
		p.t.Fatal(err)
	}
	return dir
}

// eventually waits for what no event tells of. The limit is only there to end a
// test that hangs.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	limit := time.After(90 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// tell prints a figure that the documentation may quote, and on which engine it was seen.
func tell(t *testing.T, format string, args ...any) {
	on := ""
	if v := tested.Load(); v != nil {
		on = " on " + *v
	}
	say("%s%s: %s", t.Name(), on, fmt.Sprintf(format, args...))
}

// say prints a line for whoever reads the run. Runners keep what a passing test
// prints to themselves, so it also goes to the end of the file in E2E_SAYS.
func say(format string, args ...any) {
	line := fmt.Sprintf(format+"\n", args...)
	_, _ = os.Stdout.WriteString(line)
	if f, err := os.OpenFile(os.Getenv("E2E_SAYS"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644); err == nil {
		_, _ = f.WriteString(line)
		f.Close()
	}
}
