// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker-remote-write/docker-remote-write/proof/engine"
	"github.com/docker-remote-write/docker-remote-write/proof/promtest"
)

// TestConfined looks at the running process from the host: no capability, no way
// to gain one, a socket for root only, and nothing in its root file system but
// the program and what the engine puts there.
func TestConfined(t *testing.T) {
	e := sharedEngine(t)
	r := newReceiver(t, promtest.Options{})
	p := create(t, e, "REMOTE_WRITE_URL="+r.WriteURL(), "SCRAPE_INTERVAL=1s")
	p.enable()
	r.up(1, time.Time{})
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", p.pid()))
	if err != nil || len(threads) == 0 {
		t.Fatal(threads, err)
	}
	for _, thread := range threads {
		b, err := os.ReadFile(thread)
		if err != nil {
			continue // it has ended
		}
		status := map[string]string{}
		for line := range strings.Lines(string(b)) {
			k, v, _ := strings.Cut(line, ":")
			status[k] = strings.TrimSpace(v)
		}
		for _, k := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
			if v := strings.Trim(status[k], "0"); v != "" {
				t.Errorf("%s is %s", k, status[k])
			}
		}
		if status["NoNewPrivs"] != "1" {
			t.Errorf("NoNewPrivs is %q", status["NoNewPrivs"])
		}
	}
	st, err := os.Stat(engine.PluginSocket(p.id))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the plugin socket: %v, %v", st, err)
	}
	root, err := p.PluginRootfs(t.Context(), p.id)
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, strings.TrimPrefix(path, root))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	// The others are mount points that the engine makes.
	files = slices.DeleteFunc(files, func(f string) bool {
		return slices.Contains([]string{"/.dockerenv", "/dev/console", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/run/docker/metrics.sock"}, f)
	})
	if !slices.Equal(files, []string{"/docker-remote-write"}) {
		t.Errorf("the root file system holds %q", files)
	}
}

// TestSecretFiles: a password reaches the plugin by the config mount and by a
// file in its data directory, and neither shows in inspect.
func TestSecretFiles(t *testing.T) {
	e := sharedEngine(t)
	const secret = "correct horse battery staple"
	host := t.TempDir()
	for name, c := range map[string]struct {
		file  string
		place func(*plugin)
	}{
		"config mount": {"/config/password", func(p *plugin) {
			if err := os.WriteFile(filepath.Join(host, "password"), []byte(secret+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			p.set("config.source=" + host)
		}},
		"data directory": {"/data/password", func(p *plugin) {
			if err := os.WriteFile(filepath.Join(p.data(), "password"), []byte(secret), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t, promtest.Options{})
			p := create(t, e, "REMOTE_WRITE_URL="+r.WriteURL(), "SCRAPE_INTERVAL=1s",
				"REMOTE_WRITE_USERNAME=host", "REMOTE_WRITE_PASSWORD_FILE="+c.file)
			p.enable() // makes the data directory
			p.disable()
			c.place(p)
			event := time.Now()
			p.enable()
			r.up(1, event)
			got := r.got()
			q := got[len(got)-1]
			if auth := q.Header.Get("Authorization"); !strings.HasPrefix(auth, "Basic ") {
				t.Errorf("Authorization is %q", auth)
			}
			if strings.Contains(p.docker("plugin", "inspect", p.name), secret) {
				t.Error("inspect shows the secret")
			}
			if p.logged(secret) {
				t.Error("the log shows the secret")
			}
		})
	}
}
