// SPDX-License-Identifier: Apache-2.0

package dockerplugin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	logtest "github.com/sirupsen/logrus/hooks/test"
)

// socketClient speaks to a plugin as an engine does.
func socketClient(t *testing.T, socket string) func(method, path, host string) (int, string) {
	c := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	t.Cleanup(c.CloseIdleConnections)
	return func(method, path, host string) (int, string) {
		t.Helper()
		req, err := http.NewRequest(method, "http://plugin"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, strings.TrimSpace(string(b))
	}
}

// serve runs a plugin until the end of the test, after its socket is there.
func serve(t *testing.T, o Options) (*Plugin, context.CancelFunc, chan error) {
	t.Helper()
	o.Log, _ = logtest.NewNullLogger()
	p := New(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(cancel)
	for {
		if c, err := net.Dial("unix", o.Socket); err == nil {
			c.Close()
			return p, cancel, done
		}
		select {
		case err := <-done:
			t.Fatalf("ended: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
}

func TestProtocol(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "rw.sock")
	scraping, lasts := make(chan struct{}, 4), make(chan bool, 4)
	p, sigterm, done := serve(t, Options{
		Socket: socket,
		Open: func(context.Context) (Pipeline, error) {
			return Pipeline{
				Scrape: func(ctx context.Context) { scraping <- struct{}{}; <-ctx.Done() },
				Last:   func(_ context.Context, down bool) { lasts <- down },
				Flush:  func(context.Context) {},
			}, nil
		},
	})
	p.Handle("GET /status", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "fine") }))
	if st, err := os.Stat(socket); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v; only root may use it", st.Mode(), err)
	}
	do := socketClient(t, socket)
	for _, c := range []struct {
		method, path, host string
		status             int
		body               string
	}{
		{"POST", "/Plugin.Activate", "", 200, `{"Implements":["MetricsCollector"]}`},
		{"POST", "/MetricsCollector.StartMetrics", "plugin.moby.localhost", 200, "{}"},
		{"POST", "/MetricsCollector.StartMetrics", "", 200, "{}"},
		{"GET", "/MetricsCollector.StartMetrics", "x", 405, "Method Not Allowed"},
		{"POST", "/Nothing", "x", 404, "404 page not found"},
		{"GET", "/status", "x", 200, "fine"},
	} {
		if status, body := do(c.method, c.path, c.host); status != c.status || body != c.body {
			t.Errorf("%s %s: %d %q, want %d %q", c.method, c.path, status, body, c.status, c.body)
		}
	}
	<-scraping
	for range 2 {
		if status, body := do("POST", "/MetricsCollector.StopMetrics", ""); status != 200 || body != "{}" {
			t.Errorf("StopMetrics: %d %q", status, body)
		}
	}
	sigterm()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if down := <-lasts; !down || len(lasts) != 0 || len(scraping) != 0 {
		t.Errorf("engine down %v, then %d more ends and %d more beginnings", down, len(lasts), len(scraping))
	}
	if p.Deadline().IsZero() {
		t.Error("no deadline")
	}
}

// TestInvalid: a wrong setting leaves the plugin alive, so that enable is quick
// and the engine does not start it again and again.
func TestInvalid(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "rw.sock")
	_, sigterm, done := serve(t, Options{Socket: socket, Invalid: errors.New(`SCRAPE_INTERVAL "1": no unit`)})
	do := socketClient(t, socket)
	if status, body := do("POST", "/MetricsCollector.StartMetrics", ""); status != 500 || body != `{"Err":"SCRAPE_INTERVAL \"1\": no unit"}` {
		t.Errorf("%d %s", status, body)
	}
	if status, body := do("POST", "/MetricsCollector.StopMetrics", ""); status != 200 || body != "{}" {
		t.Errorf("%d %s", status, body)
	}
	sigterm()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestStaleSocket: a crash leaves the file.
func TestStaleSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "rw.sock")
	old, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	old.(*net.UnixListener).SetUnlinkOnClose(false)
	old.Close()
	_, sigterm, done := serve(t, Options{Socket: socket, Invalid: errors.New("x")})
	sigterm()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestDialAndLinks(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "metrics.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := dial(socket); err != nil {
		t.Error(err)
	}
	if n, err := links(socket); n != 1 || err != nil {
		t.Errorf("%d links, %v", n, err)
	}
	l.Close()
	if err := dial(socket); !refused(err) {
		t.Errorf("a closed socket: %v", err)
	}
	if err := dial(socket + "x"); err == nil || refused(err) {
		t.Errorf("no socket: %v", err)
	}
	if err := dial(""); err != nil {
		t.Error(err)
	}
}

func TestMounts(t *testing.T) {
	const info = `71 46 254:0 /var/lib/docker/plugins/a8e5/rootfs / rw,relatime - ext4 /dev/vda rw
88 71 254:0 /var/lib/docker/plugins/a8e5/propagated-mount /data rw,relatime shared:2 - ext4 /dev/vda rw
89 71 254:0 /etc/our\040secrets /config ro,relatime shared:3 master:1 - ext4 /dev/vda rw
a torn line
`
	want := []mount{
		{"/var/lib/docker/plugins/a8e5/rootfs", "/", "ext4", false},
		{"/var/lib/docker/plugins/a8e5/propagated-mount", "/data", "ext4", false},
		{"/etc/our secrets", "/config", "ext4", true},
	}
	if d := cmp.Diff(want, parseMounts([]byte(info))); d != "" {
		t.Error(d)
	}
}

// TestConfigJSON holds the file that the engine reads to what the code does and
// to what engines accept.
func TestConfigJSON(t *testing.T) {
	b, err := os.ReadFile("../../plugin/config.json")
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Description, Documentation, PropagatedMount string
		Interface                                   struct {
			Types  []string
			Socket string
		}
		Entrypoint []string
		Network    struct{ Type string }
		Linux      struct {
			Capabilities    []string
			AllowAllDevices bool
			Devices         []any
		}
		Mounts []struct {
			Name, Description, Source, Destination, Type string
			Options, Settable                            []string
		}
		Env []struct {
			Name, Description string
			Value             *string
			Settable          []string
		}
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		t.Fatal(err)
	}
	if name := c.Interface.Socket; len(name) > 22 || name != filepath.Base(Socket) {
		t.Errorf("socket %q: engines refuse names over 22 bytes, and the code listens on %s", name, Socket)
	}
	if d := cmp.Diff([]string{"docker.metricscollector/1.0"}, c.Interface.Types); d != "" {
		t.Error(d)
	}
	if c.PropagatedMount != "/data" || c.Network.Type != "host" {
		t.Errorf("propagated mount %q, network %q", c.PropagatedMount, c.Network.Type)
	}
	if len(c.Linux.Capabilities)+len(c.Linux.Devices) > 0 || c.Linux.AllowAllDevices {
		t.Errorf("privileges are asked for: %+v", c.Linux)
	}
	if len(c.Mounts) != 1 || c.Mounts[0].Source != "rootfs" || c.Mounts[0].Destination != "/config" ||
		!cmp.Equal(c.Mounts[0].Options, []string{"rbind", "ro", "nosuid", "nodev", "noexec"}) || !cmp.Equal(c.Mounts[0].Settable, []string{"source"}) {
		t.Errorf("mounts %+v", c.Mounts)
	}
	seen := map[string]bool{}
	for _, e := range c.Env {
		switch {
		case seen[e.Name]:
			t.Errorf("%s stands twice", e.Name)
		case e.Value != nil:
			t.Errorf("%s has a value: an upgrade would freeze it", e.Name)
		case !cmp.Equal(e.Settable, []string{"value"}):
			t.Errorf("%s cannot be set", e.Name)
		case e.Description == "":
			t.Errorf("%s is not described", e.Name)
		}
		seen[e.Name] = true
	}
	if !seen["REMOTE_WRITE_URL"] {
		t.Error("REMOTE_WRITE_URL is not declared")
	}
}
