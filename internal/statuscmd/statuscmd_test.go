// SPDX-License-Identifier: Apache-2.0

package statuscmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
	"github.com/docker-remote-write/docker-remote-write/internal/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// host is a directory that looks like a host's /run/docker and /var/lib/docker.
type host struct {
	t         *testing.T
	run, root string
}

func newHost(t *testing.T) *host {
	t.Setenv("DATA_DIR", "")
	t.Setenv("STATE_DIRECTORY", t.TempDir())
	t.Setenv("STATUS_LISTEN_ADDRESS", "")
	dir, err := os.MkdirTemp("", "s") // t.TempDir is too long for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return &host{t, filepath.Join(dir, "run"), filepath.Join(dir, "lib")}
}

// record writes what the engine keeps of a plugin.
func (h *host) record(id, name, program string, enabled bool) {
	h.write(filepath.Join(h.root, "plugins", id, "config.json"), fmt.Sprintf(`{"plugin":{"Config":{"Interface":{"Socket":"rw.sock",
		"Types":["docker.metricscollector/1.0"]},"Entrypoint":[%q]},"Enabled":%v,"Id":%q,"Name":%q,"Settings":{"Env":["REMOTE_WRITE_PASSWORD=hunter2"]}}}`,
		program, enabled, id, name))
}

func (h *host) write(path, content string) {
	h.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// serve answers with a state on a plugin's socket.
func (h *host) serve(id string, s telemetry.State) {
	h.t.Helper()
	socket := filepath.Join(h.run, "plugins", id, SocketName)
	if err := os.MkdirAll(filepath.Dir(socket), 0o755); err != nil {
		h.t.Fatal(err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		h.t.Fatal(err)
	}
	serve(h.t, l, s)
}

func serve(t *testing.T, l net.Listener, s telemetry.State) {
	tel := telemetry.New(telemetry.Options{State: func() telemetry.State { return s }, Job: "docker", Instance: "host-1"})
	srv := &http.Server{Handler: tel.Handler()}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Close(); <-done })
}

func (h *host) status(args ...string) (int, string, string) {
	var out, errs bytes.Buffer
	code := Status(append([]string{"--run-dir", h.run, "--data-root", h.root}, args...), &out, &errs)
	return code, out.String(), errs.String()
}

func good() telemetry.State {
	now := time.Now()
	return telemetry.State{
		Version: "1.2.3", Mode: "plugin", Started: now.Add(-time.Hour),
		Targets:   []telemetry.TargetState{{Running: true, Interval: 15, Last: now, Samples: 409}},
		Spool:     telemetry.SpoolState{Dir: "/data", Bytes: 1 << 20},
		Endpoints: []telemetry.EndpointState{{Name: "default", URL: "https://metrics.example/write", Protocol: "2.0", Phase: telemetry.Idle, Delivered: 1234, Appended: 1234}},
	}
}

func bad() telemetry.State {
	s := good()
	now := time.Now()
	e := &s.Endpoints[0]
	e.Phase, e.Failures = telemetry.Waiting, 3
	e.LastError, e.LastErrorTime = "503 Service Unavailable: \x1b[31mno ingester", now.Add(-time.Second)
	e.NextAttempt = now.Add(500 * time.Second)
	e.Backlog = telemetry.Backlog{Scrapes: 40, Samples: 16360, Oldest: now.Add(-600500 * time.Millisecond)}
	e.Lost[series.Refused], e.Lost[series.Future] = 2, 5
	return s
}

func TestStatus(t *testing.T) {
	id := func(c string) string { return strings.Repeat(c, 64) }
	for _, c := range []struct {
		name string
		make func(*host)
		code int
		want []string
		not  []string
	}{
		{"healthy", func(h *host) {
			h.record(id("a"), "rw:latest", "/docker-remote-write", true)
			h.serve(id("a"), good())
		}, Healthy, []string{"rw:latest (plugin aaaaaaaaaaaa) on host-1: healthy", "nothing waits", "1,234 samples delivered", "0 lost\n"}, []string{"\x1b", "NOT"}},
		{"receiver fails", func(h *host) {
			h.record(id("a"), "rw:latest", "/docker-remote-write", true)
			h.serve(id("a"), bad())
		}, Unhealthy, []string{
			"NOT HEALTHY", "x endpoint default: 503 Service Unavailable: \ufffd[31mno ingester; 40 scrapes wait, the oldest for 10 min; next attempt in 8 min",
			"10 min behind: 40 scrapes, 16,360 samples", "7 lost (future 5, refused 2)",
		}, []string{"\x1b"}},
		{"dead, and the engine has removed its socket", func(h *host) {
			if os.Geteuid() != 0 {
				h.t.Skip("the records of an engine are root's")
			}
			h.record(id("a"), "rw:latest", "/docker-remote-write", true)
		}, Unhealthy, []string{"rw:latest (plugin aaaaaaaaaaaa): listed as enabled, not running", "docker plugin disable -f rw:latest && docker plugin enable rw:latest"}, nil},
		{"a rootless engine's, asked from outside", func(h *host) {
			h.record(id("a"), "rw:latest", "/docker-remote-write", true)
			if os.Geteuid() == 0 {
				if err := os.Chown(filepath.Join(h.root, "plugins", id("a"), "config.json"), 1000, 1000); err != nil {
					h.t.Fatal(err)
				}
			}
		}, Unhealthy, []string{"listed as enabled by a rootless engine", "nsenter -U "}, []string{"not running", "disable -f"}},
		{"dead socket without a record", func(h *host) {
			socket := filepath.Join(h.run, "plugins", id("b"), SocketName)
			h.write(socket+".x", "")
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
			if err != nil {
				h.t.Fatal(err)
			}
			l.SetUnlinkOnClose(false)
			l.Close()
		}, Unhealthy, []string{"plugin (plugin bbbbbbbbbbbb): listed as enabled, not running"}, nil},
		{"disabled beside a healthy one", func(h *host) {
			h.record(id("a"), "old:latest", "/docker-remote-write", false)
			h.serve(id("b"), good())
		}, Healthy, []string{"old:latest (plugin aaaaaaaaaaaa): disabled", "docker plugin enable old:latest", "on host-1: healthy"}, nil},
		{"only a disabled one", func(h *host) {
			h.record(id("a"), "old:latest", "/docker-remote-write", false)
		}, Unhealthy, []string{"disabled"}, nil},
		{"other plugins", func(h *host) {
			h.record(id("a"), "volumes:latest", "/volumes", true)
			h.write(filepath.Join(h.root, "plugins", "storage", "x"), "")
			h.write(filepath.Join(h.root, "plugins", id("c"), "config.json"), "{")
		}, Unhealthy, []string{"No docker-remote-write was found"}, []string{"volumes"}},
		{"it answers something else", func(h *host) {
			socket := filepath.Join(h.run, "plugins", id("b"), SocketName)
			h.write(socket+".x", "")
			l, err := net.Listen("unix", socket)
			if err != nil {
				h.t.Fatal(err)
			}
			srv := &http.Server{Handler: http.NotFoundHandler()}
			done := make(chan struct{})
			go func() { defer close(done); _ = srv.Serve(l) }()
			h.t.Cleanup(func() { srv.Close(); <-done })
		}, Unhealthy, []string{"404 Not Found", "does not answer as it should"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t)
			c.make(h)
			code, out, errs := h.status()
			if code != c.code || errs != "" {
				t.Errorf("exit %d, want %d; stderr %q", code, c.code, errs)
			}
			for _, w := range c.want {
				if !strings.Contains(out, w) {
					t.Errorf("it does not say %q:\n%s", w, out)
				}
			}
			for _, w := range append(c.not, "hunter2") {
				if strings.Contains(out, w) {
					t.Errorf("it says %q:\n%s", w, out)
				}
			}
			code, out, _ = h.status("--json")
			var r Report
			if err := json.Unmarshal([]byte(out), &r); err != nil || code != c.code || r.Healthy != (c.code == Healthy) || strings.Contains(out, "hunter2") {
				t.Errorf("--json: %v, exit %d\n%s", err, code, out)
			}
		})
	}
}

func TestRunProcess(t *testing.T) {
	h := newHost(t)
	s := good()
	s.Mode = "run"
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l, s)
	_, port, _ := net.SplitHostPort(l.Addr().String())
	t.Setenv("STATUS_LISTEN_ADDRESS", ":"+port)
	if code, out, _ := h.status(); code != Healthy || !strings.Contains(out, "run on host-1: healthy") {
		t.Errorf("by address: %d\n%s", code, out)
	}
	if code, out, _ := h.status("--socket", "127.0.0.1:"+port); code != Healthy || !strings.Contains(out, "healthy") {
		t.Errorf("by --socket: %d\n%s", code, out)
	}
	t.Setenv("STATUS_LISTEN_ADDRESS", "")
	dir := filepath.Dir(h.run)
	t.Setenv("DATA_DIR", dir)
	if code, out, _ := h.status(); code != Unhealthy || !strings.Contains(out, "run: not running") {
		t.Errorf("dead by DATA_DIR: %d\n%s", code, out)
	}
	ul, err := net.Listen("unix", filepath.Join(dir, SocketName))
	if err != nil {
		t.Fatal(err)
	}
	serve(t, ul, s)
	if code, out, _ := h.status(); code != Healthy || !strings.Contains(out, "run on host-1: healthy") {
		t.Errorf("by DATA_DIR: %d\n%s", code, out)
	}
}

// TestNotRoot: where the engine's directories cannot be read, nothing is said to be missing.
func TestNotRoot(t *testing.T) {
	h := newHost(t)
	h.write(h.root+"/plugins", "a file, which cannot be listed either")
	code, out, errs := h.status()
	if code != Unhealthy || out != "" || !strings.Contains(errs, "plugins") {
		t.Errorf("exit %d, %q, %q", code, out, errs)
	}
	err := fmt.Errorf("open: %w", fs.ErrPermission)
	if got := explain(err); !errors.Is(got, fs.ErrPermission) || !strings.Contains(got.Error(), "run this as root") {
		t.Errorf("%v", got)
	}
}

func TestCommandLine(t *testing.T) {
	h := newHost(t)
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--help"}, Healthy, "Usage: docker-remote-write status"},
		{[]string{"--nonsense"}, Usage, "nonsense"},
		{[]string{"extra"}, Usage, `unexpected argument "extra"`},
	} {
		if code, _, errs := h.status(c.args...); code != c.code || !strings.Contains(errs, c.want) {
			t.Errorf("%q: exit %d, want %d; %s", c.args, code, c.code, errs)
		}
	}
}

func TestDataRoot(t *testing.T) {
	h := newHost(t)
	daemon := filepath.Join(h.root, "daemon.json")
	if got := dataRoot("x", daemon); got != "/var/lib/docker" {
		t.Errorf("without daemon.json: %s", got)
	}
	h.write(daemon, `{"data-root": "/srv/docker"}`)
	if got := dataRoot("x", daemon); got != "/srv/docker" {
		t.Errorf("with daemon.json: %s", got)
	}
	if got := rootOf("/srv/d/plugins/abc/rootfs/docker-remote-write"); got != "/srv/d" {
		t.Errorf("from a plugin's root filesystem: %q", got)
	}
	if got := rootOf("/usr/local/bin/docker-remote-write"); got != "" {
		t.Errorf("from elsewhere: %q", got)
	}
}

func TestSparkline(t *testing.T) {
	var points []telemetry.Point
	for i := range 120 {
		points = append(points, telemetry.Point{Age: telemetry.Seconds(i * 10)})
	}
	got := []rune(sparkline(points))
	if len(got) != 30 || got[0] != '▁' || got[29] != '█' {
		t.Errorf("%q", string(got))
	}
	if s := sparkline(points[:3]); s != "" {
		t.Errorf("no backlog to speak of is drawn as %q", s)
	}
}
