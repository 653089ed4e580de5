// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker-remote-write/docker-remote-write/proof/promtest"
)

// copyFile copies with the mode.
func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	st, err := in.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, st.Mode())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestImage builds the Dockerfile without a network and runs the image: what it
// says of itself, and `run` beside the engine, on its metrics socket.
func TestImage(t *testing.T) {
	e := sharedEngine(t)
	ctx := t.Context()
	docker := func(args ...string) string {
		t.Helper()
		out, err := e.Docker(ctx, args...)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(out)
	}
	dir := t.TempDir()
	for _, f := range []string{"Dockerfile", ".dockerignore"} {
		copyFile(t, filepath.Join(repo, f), filepath.Join(dir, f))
	}
	copyFile(t, binary, filepath.Join(dir, "build/docker-remote-write"))
	image := "drw-e2e:test"
	build := e.Command(ctx, "build", "--network=none", "-t", image, dir)
	build.Env = append(build.Env, "DOCKER_BUILDKIT=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("docker build: %v: %s", err, out)
	}
	t.Cleanup(func() { _, _ = e.Docker(context.Background(), "rmi", "-f", image) })

	if got := docker("run", "--rm", "--network=none", image, "version"); !strings.Contains(got, version) {
		t.Errorf("version says %q", got)
	}
	r := newReceiver(t, promtest.Options{})
	// As deploy/compose.yml has it.
	id := docker("run", "-d", "--network=host", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges",
		"-v", filepath.Dir(e.MetricsSocket())+":/run/docker:ro", "-v", "/var/lib/docker-remote-write",
		"-e", "REMOTE_WRITE_URL="+r.WriteURL(), "-e", "SCRAPE_TARGET=unix:///run/docker/metrics.sock", "-e", "SCRAPE_INTERVAL=1s", image)
	defer docker("rm", "-f", "-v", id)
	r.up(1, time.Time{})
	// Once it runs, the container has the command to ask it.
	if out := docker("exec", id, "/docker-remote-write", "status", "--socket", "/var/lib/docker-remote-write/rw.sock"); !strings.Contains(out, "healthy") {
		t.Errorf("status says %q", out)
	}
	took := timed(func() { docker("stop", id) })
	if took > 5*time.Second {
		t.Errorf("docker stop took %v", took)
	}
	if code := docker("inspect", "--format", "{{.State.ExitCode}}", id); code != "0" {
		t.Errorf("it ended with status %s: %s", code, fmt.Sprint(docker("logs", id)))
	}
}
