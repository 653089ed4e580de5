// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker-remote-write/docker-remote-write/proof/engine"
	"github.com/docker-remote-write/docker-remote-write/proof/promtest"
)

// TestFleetScript goes through the states of a host, each one twice.
func TestFleetScript(t *testing.T) {
	t.Parallel()
	registry := server(t, engine.Registry, "docker-registry")
	e := ownEngine(t, engine.Options{})
	r := newReceiver(t, promtest.Options{})
	ref := registry.Address() + "/docker-remote-write"
	publish(t, e, assemble(t, binary, "/data"), ref+":v1")
	publish(t, e, later(t), ref+":v2")
	link := filepath.Join(t.TempDir(), "docker-remote-write")
	script := func(fails bool, args ...string) string {
		t.Helper()
		cmd := exec.Command("sh", append([]string{filepath.Join(repo, "deploy/fleet.sh")}, args...)...)
		cmd.Env = append(os.Environ(), "DOCKER_HOST="+e.Host, "NAME=fleet", "LINK="+link)
		out, err := cmd.CombinedOutput()
		if (err != nil) != fails {
			t.Fatalf("fleet.sh %q: %v: %s", args, err, out)
		}
		return strings.ReplaceAll(string(out), "fleet: ", "")
	}
	t.Cleanup(func() { _, _ = e.Docker(context.Background(), "plugin", "rm", "-f", "fleet") })
	url := "REMOTE_WRITE_URL=" + r.WriteURL()
	labels := `EXTERNAL_LABELS=site="a, b",note=it's \ here`
	for i, c := range []struct {
		args []string
		says string
	}{
		{[]string{"remove"}, "no such plugin\n"},
		{[]string{"apply", ref + ":v1", url, "SCRAPE_INTERVAL=1s"},
			"installed " + ref + ":v1\nset REMOTE_WRITE_URL\nset SCRAPE_INTERVAL\nenabled\nlinked " + link + "\n"},
		{[]string{"apply", ref + ":v1", url, "SCRAPE_INTERVAL=1s"}, "nothing to do\n"},
		{[]string{"apply", ref + ":v1"}, "nothing to do\n"},
		{[]string{"apply", ref + ":v1", labels}, "set EXTERNAL_LABELS\nenabled\n"},
		{[]string{"apply", ref + ":v1", labels, "LOG_LEVEL="}, "nothing to do\n"},
		{[]string{"apply", ref + ":v2", url}, "upgraded from " + ref + ":v1 to " + ref + ":v2; queue and settings stay\nenabled\n"},
		{[]string{"apply", ref + ":v2", labels}, "nothing to do\n"},
	} {
		if got := script(false, c.args...); got != c.says {
			t.Errorf("step %d, %q said:\n%swant:\n%s", i, c.args, got, c.says)
		}
	}
	r.up(1, time.Now())
	if out, err := exec.Command(link, "version").Output(); err != nil || !bytes.Contains(out, []byte(version+"-later")) {
		t.Errorf("the linked command: %q, %v", out, err)
	}
	if got := script(true, "apply", ref+":v2", "NO_SUCH_SETTING=1"); !strings.Contains(got, "NO_SUCH_SETTING could not be set") {
		t.Errorf("an unknown setting: %s", got)
	}
	for i, says := range []string{"removed the link " + link + "\nremoved the plugin and its queue\n", "no such plugin\n"} {
		if got := script(false, "remove"); got != says {
			t.Errorf("remove %d said %q", i, got)
		}
	}
	if _, err := os.Lstat(link); !os.IsNotExist(err) {
		t.Errorf("the link is left: %v", err)
	}
}

// TestUnit has systemd check the unit, where there is one.
func TestUnit(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("no systemd-analyze here")
	}
	unit, err := os.ReadFile(filepath.Join(repo, "deploy/docker-remote-write.service"))
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "docker-remote-write.service") // with a program that is there
	if err := os.WriteFile(copied, bytes.ReplaceAll(unit, []byte("/usr/local/bin/docker-remote-write"), []byte(binary)), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("systemd-analyze", "verify", "--man=no", copied).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "docker-remote-write") {
			t.Error(line)
		}
	}
	if err != nil {
		t.Logf("systemd-analyze: %v: %s", err, out)
	}
}

// TestCompose runs the compose file where there is a docker-compose.
func TestCompose(t *testing.T) {
	path, err := exec.LookPath("docker-compose")
	if err != nil {
		t.Skip("no docker-compose here")
	}
	cmd := exec.Command(path, "-f", filepath.Join(repo, "deploy/compose.yml"), "config")
	cmd.Env = append(os.Environ(), "REMOTE_WRITE_URL=http://127.0.0.1:9/api/v1/write")
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("network_mode: host")) {
		t.Errorf("docker-compose config: %v: %s", err, out)
	}
}
