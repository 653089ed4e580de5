// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker-remote-write/docker-remote-write/proof/engine"
	"github.com/docker-remote-write/docker-remote-write/proof/promtest"
)

// publish pushes the plugin in dir to the registry and removes it here.
func publish(t *testing.T, e *engine.Engine, dir, ref string) {
	t.Helper()
	for _, args := range [][]string{{"create", ref, dir}, {"push", ref}, {"rm", ref}} {
		if _, err := e.Docker(t.Context(), append([]string{"plugin"}, args...)...); err != nil {
			t.Fatal(err)
		}
	}
}

// later is the plugin as a coming version may be: another binary, and a setting
// that this one does not have.
func later(t *testing.T) string {
	t.Helper()
	newer := filepath.Join(t.TempDir(), "newer")
	if err := build(newer, version+"-later"); err != nil {
		t.Fatal(err)
	}
	dir := assemble(t, newer, "/data")
	config := filepath.Join(dir, "config.json")
	b, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	s := strings.Replace(string(b), `"env": [`, `"env": [{"name": "NEW_SETTING", "description": "x", "settable": ["value"]},`, 1)
	if err := os.WriteFile(config, []byte(s), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestInstallAndUpgrade goes the way of a user with a registry: install with
// settings, an upgrade while a backlog waits, a new setting, and back again.
func TestInstallAndUpgrade(t *testing.T) {
	t.Parallel()
	registry := server(t, engine.Registry, "docker-registry")
	e := ownEngine(t, engine.Options{})
	r := newReceiver(t, promtest.Options{})
	ref := registry.Address() + "/docker-remote-write"
	publish(t, e, assemble(t, binary, "/data"), ref+":v1")
	publish(t, e, later(t), ref+":v2")

	p := &plugin{Engine: e, t: t, name: "rw"}
	event := time.Now()
	p.docker("plugin", "install", "--grant-all-permissions", "--alias", "rw", ref+":v1",
		"REMOTE_WRITE_URL="+r.WriteURL(), "SCRAPE_INTERVAL=1s", "EXTERNAL_LABELS=site=a b,rack=7")
	p.adopt()
	r.alive("install", event)
	labelled := func(since time.Time) {
		t.Helper()
		r.await("the external labels", func() bool {
			v, err := r.Query(t.Context(), `timestamp(up{job="docker",site="a b",rack="7"})`, time.Now())
			return err == nil && len(v) == 1 && v[0].F > float64(since.UnixMilli())/1000
		})
	}
	labelled(event)
	r.some()

	var windows []window
	upgrade := func(what, tag string, settings ...string) {
		t.Helper()
		r.setFault(refuseAll(503))
		queued := time.Now()
		eventually(t, "scrapes to queue", func() bool { return time.Since(queued) > 3*interval })
		id := p.id
		off := time.Now()
		p.disable()
		p.docker("plugin", "upgrade", "--grant-all-permissions", "--skip-remote-check", "rw", ref+":"+tag)
		p.set(settings...)
		p.enable()
		on := time.Now()
		r.setFault(nil)
		r.alive(what+" with a backlog, from the disable", off)
		labelled(on)
		if got, err := p.PluginID(t.Context(), "rw"); got != id || err != nil {
			t.Errorf("the id changed from %s to %s, %v", id, got, err)
		}
		windows = append(windows, window{off, time.UnixMilli(r.up(1, on).T)})
		r.noLoss(interval, windows...)
	}
	upgrade("upgrade", "v2", "NEW_SETTING=x")
	if got := p.docker("plugin", "inspect", "--format", "{{.Settings.Env}}", "rw"); !strings.Contains(got, "NEW_SETTING=x") {
		t.Errorf("the new setting is not there: %s", got)
	}
	agent := func() string {
		got := r.got()
		return got[len(got)-1].Header.Get("User-Agent")
	}
	if !strings.HasPrefix(agent(), "docker-remote-write/"+version+"-later") {
		t.Errorf("the sender is %q", agent())
	}
	upgrade("back to the version before", "v1")
	if strings.HasPrefix(agent(), "docker-remote-write/"+version+"-later") {
		t.Errorf("the sender is %q", agent())
	}
	p.disable()
	p.docker("plugin", "rm", "rw")
	if _, err := os.Stat(p.data()); !os.IsNotExist(err) {
		t.Errorf("rm left the data directory: %v", err)
	}
	// There must be something for the clean-up to remove.
	p.docker("plugin", "install", "--disable", "--grant-all-permissions", "--alias", "rw", ref+":v1")
}

// TestPrivileges: what `docker plugin install` asks for, and what a user sees who
// misspells a setting there.
func TestPrivileges(t *testing.T) {
	registry := server(t, engine.Registry, "docker-registry")
	e := sharedEngine(t)
	ref := registry.Address() + "/docker-remote-write:v1"
	publish(t, e, assemble(t, binary, "/data"), ref)
	cmd := e.Command(t.Context(), "plugin", "install", "--alias", "asked", ref)
	cmd.Stdin = strings.NewReader("n\n")
	out, _ := cmd.CombinedOutput()
	var asked []string
	for line := range strings.Lines(string(out)) {
		if p, ok := strings.CutPrefix(strings.TrimSpace(line), "- "); ok {
			asked = append(asked, p)
		}
	}
	if want := []string{"network: [host]", "mount: [rootfs]"}; !slices.Equal(asked, want) {
		t.Errorf("install asks for %q, want %q; it said:\n%s", asked, want, out)
	}

	_, err := e.Docker(t.Context(), "plugin", "install", "--grant-all-permissions", "--alias", "bad", ref, "REMOTE_WRITE_URI=http://x")
	if err == nil || !strings.Contains(err.Error(), "REMOTE_WRITE_URI") {
		t.Errorf("a setting that does not exist: %v", err)
	}
	tell(t, "install with an unknown setting: %v", err)
	p := &plugin{Engine: e, t: t, name: "bad"}
	p.adopt()
	if enabled, err := p.PluginEnabled(t.Context(), "bad"); enabled || err != nil {
		t.Errorf("it is left enabled %v, %v", enabled, err)
	}
}
