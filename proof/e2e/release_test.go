// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/docker-remote-write/docker-remote-write/proof/engine"
)

// TestRelease makes a release twice, in two places, and starts the binary of the
// other architecture under an emulator.
func TestRelease(t *testing.T) {
	t.Parallel()
	arch, emulator := "arm64", "qemu-aarch64"
	if runtime.GOARCH == "arm64" {
		arch, emulator = "amd64", "qemu-x86_64"
	}
	if _, err := engine.Package("qemu-user"); err != nil {
		if _, e := exec.LookPath(emulator); e != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	release := func() (dir, sums string) {
		t.Helper()
		dir = filepath.Join(t.TempDir(), "dist")
		cmd := exec.Command(filepath.Join(repo, "scripts/release"), version, arch)
		cmd.Env = append(os.Environ(), "DIST="+dir)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("release: %v: %s", err, out)
		}
		b, err := os.ReadFile(filepath.Join(dir, "SHA256SUMS"))
		if err != nil {
			t.Fatal(err)
		}
		return dir, string(b)
	}
	dir, first := release()
	if _, second := release(); first != second {
		t.Errorf("the second release differs:\n%s%s", first, second)
	}
	check := exec.Command("sha256sum", "-c", "--strict", "SHA256SUMS")
	check.Dir = dir
	if out, err := check.CombinedOutput(); err != nil || strings.Count(string(out), ": OK") != 3 {
		t.Errorf("sha256sum -c: %v: %s", err, out)
	}
	name := "docker-remote-write_" + version + "_linux_" + arch
	bill, err := os.ReadFile(filepath.Join(dir, name+".bom.txt"))
	if err != nil || !strings.Contains(string(bill), "github.com/prometheus/prometheus") {
		t.Errorf("the bill of materials: %v: %.200s", err, bill)
	}
	list, err := exec.Command("tar", "-tzf", filepath.Join(dir, "docker-remote-write_"+version+"_plugin_"+arch+".tar.gz")).Output()
	if err != nil || !strings.Contains(string(list), "config.json\n") || !strings.Contains(string(list), "rootfs/docker-remote-write\n") {
		t.Errorf("the plugin's archive: %v: %s", err, list)
	}
	run, err := engine.PackageCommand("qemu-user", emulator, filepath.Join(dir, name), "version")
	if err != nil {
		run = exec.Command(emulator, filepath.Join(dir, name), "version")
	}
	if out, err := run.CombinedOutput(); err != nil || !strings.Contains(string(out), version) || !strings.Contains(string(out), "linux/"+arch) {
		t.Errorf("under %s: %v: %s", emulator, err, out)
	} else {
		tell(t, "under %s it says: %s", emulator, strings.TrimSpace(string(out)))
	}
}
