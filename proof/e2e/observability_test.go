// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/rules"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/docker-remote-write/docker-remote-write/internal/telemetry"
	"github.com/docker-remote-write/docker-remote-write/proof/engine"
	"github.com/docker-remote-write/docker-remote-write/proof/promtest"
)

// status runs the command as a user without anything installed does: the binary
// in the plugin's own root filesystem, on the host.
func (p *plugin) status(args ...string) (code int, out string) {
	p.t.Helper()
	root, err := p.PluginRootfs(p.t.Context(), p.id)
	if err != nil {
		p.t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(root, "docker-remote-write"), append([]string{"status"}, args...)...)
	b, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(b)
}

// TestStatusOfAnOutage: during an outage the command names the failure verbatim,
// the age of the backlog and the next attempt; afterwards it says healthy.
func TestStatusOfAnOutage(t *testing.T) {
	e := sharedEngine(t)
	r := newReceiver(t, promtest.Options{})
	const words = `no <live> replica for "docker"`
	r.setFault(func(w http.ResponseWriter, _ *http.Request) bool {
		http.Error(w, words, http.StatusServiceUnavailable)
		return true
	})
	p := create(t, e, "REMOTE_WRITE_URL="+r.WriteURL(), "SCRAPE_INTERVAL=1s", "MAX_BACKOFF=4s")
	p.enable()
	socket := engine.PluginSocket(p.id)
	failure := regexp.MustCompile(`x endpoint \S+ 503 Service Unavailable: no <live> replica for "docker"; \d+ scrapes wait, the oldest for \d+ s; next attempt in \d+ m?s`)
	var code int
	var out string
	eventually(t, "the failure in the status", func() bool {
		code, out = p.status("--socket", socket)
		return failure.MatchString(out)
	})
	if code != 1 || !strings.Contains(out, "NOT HEALTHY") {
		t.Errorf("exit %d during the outage\n%s", code, out)
	}
	r.setFault(nil)
	r.up(1, time.Time{})
	eventually(t, "a healthy status", func() bool {
		code, out = p.status("--socket", socket)
		return code == 0
	})
	if !strings.Contains(out, "healthy") || !strings.Contains(out, "last error") || !strings.Contains(out, words) {
		t.Errorf("after the outage\n%s", out)
	}

	// Without arguments it finds the plugin by the engine's own records.
	_, out = p.status("--json")
	var report struct {
		Forwarders []struct {
			ID, Name, Listed string
			Running          bool
			Status           json.RawMessage
		}
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatal(err)
	}
	for _, f := range report.Forwarders {
		if f.ID == p.id {
			if f.Name != p.name+":latest" || f.Listed != "enabled" || !f.Running {
				t.Errorf("found as %+v", f)
			}
			fits(t, "", f.Status)
		}
	}
	if !strings.Contains(out, p.id) {
		t.Errorf("the plugin was not found\n%s", out)
	}
	fits(t, "#/$defs/Report", []byte(out))

	p.disable()
	if _, out = p.status(); !strings.Contains(out, p.name+":latest (plugin "+p.id[:12]+"): disabled") {
		t.Errorf("disabled\n%s", out)
	}
}

// fits validates JSON against docs/status.schema.json or a part of it.
func fits(t *testing.T, part string, doc []byte) {
	t.Helper()
	s, err := jsonschema.NewCompiler().Compile(filepath.Join(repo, "docs/status.schema.json") + part)
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(doc))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(v); err != nil {
		t.Error(err)
	}
}

// TestDeadPlugin: an engine that could not start the plugin again goes on listing
// it as enabled; the status tells.
func TestDeadPlugin(t *testing.T) {
	p, _ := living(t, engine.Options{}, "SCRAPE_INTERVAL=1s")
	root, err := p.PluginRootfs(t.Context(), p.id)
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(root, "docker-remote-write")
	if err := os.Rename(program, program+".away"); err != nil {
		t.Fatal(err)
	}
	p.kill()
	eventually(t, "the engine to give up", func() bool {
		_, err := os.Stat(engine.PluginSocket(p.id))
		return p.pid() == 0 && err != nil
	})
	if err := os.Rename(program+".away", program); err != nil {
		t.Fatal(err)
	}
	code, out := p.status()
	want := fmt.Sprintf("%s:latest (plugin %s): listed as enabled, not running", p.name, p.id[:12])
	if code != 1 || !strings.Contains(out, want) {
		t.Fatalf("exit %d, want 1 and %q\n%s", code, want, out)
	}
	// What it says to do works.
	p.docker("plugin", "disable", "-f", p.name)
	p.docker("plugin", "enable", p.name)
	eventually(t, "a healthy status", func() bool { code, _ := p.status("--socket", engine.PluginSocket(p.id)); return code == 0 })
}

// TestStatusOverTCP: the port of a real plugin shows the page, and neither
// profiles nor the plugin protocol nor anything to a foreign Host.
func TestStatusOverTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	e := sharedEngine(t)
	r := newReceiver(t, promtest.Options{})
	p := create(t, e, "REMOTE_WRITE_URL="+r.WriteURL(), "SCRAPE_INTERVAL=1s", "STATUS_LISTEN_ADDRESS="+address)
	p.enable()
	r.up(1, time.Time{})
	for _, c := range []struct {
		method, path, host string
		code               int
		want               string
	}{
		{"GET", telemetry.PathPage, address, 200, "Healthy"},
		{"GET", telemetry.PathMetrics, address, 200, "docker_remote_write_samples_sent_total{"},
		{"GET", telemetry.PathReady, address, 200, "ready"},
		{"GET", telemetry.PathPage, "attacker.example", 421, ""},
		{"GET", telemetry.PathPprof, address, 404, ""},
		{"GET", "/MetricsCollector.StopMetrics", address, 404, ""},
		{"POST", "/MetricsCollector.StopMetrics", address, 405, ""},
		{"POST", telemetry.PathStatus, address, 405, ""},
	} {
		q, err := http.NewRequest(c.method, "http://"+address+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		q.Host, q.Close = c.host, true
		resp, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != c.code || !strings.Contains(string(body), c.want) {
			t.Errorf("%s %s with Host %s: %s\n%.300s", c.method, c.path, c.host, resp.Status, body)
		}
	}
	r.up(1, time.Now()) // it still scrapes
}

// TestDashboardsOnARealEngine: every query of every panel returns data from what one
// plugin with three targets has pushed, one of which is down; the variables know the
// engine alone.
func TestDashboardsOnARealEngine(t *testing.T) {
	e := sharedEngine(t)
	exporter := server(t, engine.NodeExporter, "prometheus-node-exporter")
	r := newReceiver(t, promtest.Options{})
	p := create(t, e, "REMOTE_WRITE_URL="+r.WriteURL(), "SCRAPE_INTERVAL=1s", "EXTRA_TARGETS=node="+exporter.URL+"/metrics,down=http://127.0.0.1:1/")
	p.enable()
	r.await("some scrapes", func() bool { return len(r.ups()) > 10 })
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	expand := strings.NewReplacer("$__rate_interval", "10s", "$job", "docker", "$instance", host)
	files, err := filepath.Glob(filepath.Join(repo, "dashboards/*.json"))
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	queries := 0
	ask := func(file, what, expr string) promql.Vector {
		queries++
		v, err := r.Query(t.Context(), expand.Replace(expr), time.Now())
		if err != nil || len(v) == 0 {
			t.Errorf("%s: %s: no data from %s (%v)", filepath.Base(file), what, expr, err)
		}
		return v
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var d struct {
			Panels []struct {
				Title   string
				Targets []struct{ Expr string }
			}
			Templating struct{ List []struct{ Definition string } }
		}
		if err := json.Unmarshal(b, &d); err != nil {
			t.Fatal(err)
		}
		for _, panel := range d.Panels {
			for _, q := range panel.Targets {
				v := ask(file, panel.Title, q.Expr)
				if panel.Title == "Targets down" && (len(v) != 1 || v[0].F != 1) || strings.Contains(panel.Title, "by target") && len(v) != 6 {
					t.Errorf("%s: %s: %v", filepath.Base(file), panel.Title, v)
				}
			}
		}
		for _, v := range d.Templating.List {
			if m := regexp.MustCompile(`^label_values\((.*), (\w+)\)$`).FindStringSubmatch(v.Definition); m != nil {
				for _, s := range ask(file, "$"+m[2], m[1]) {
					if value := s.Metric.Get(m[2]); value != "docker" && value != host {
						t.Errorf("%s: $%s is %s", filepath.Base(file), m[2], value)
					}
				}
			}
		}
	}
	tell(t, "%d queries of %d dashboards", queries, len(files))
}

// TestAlertsOnARealEngine: the rules as they are, but for shorter times, fire for
// an engine that is down, another target that is, a backlog and dropped samples.
func TestAlertsOnARealEngine(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(repo, "dashboards/alerts.yml"))
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile(`for: \d+m`).ReplaceAllString(string(b), "for: 2s")
	text = strings.Replace(text, "queue_seconds > 300", "queue_seconds > 3", 1)
	file := filepath.Join(t.TempDir(), "alerts.yml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := newReceiver(t, promtest.Options{RuleFiles: []string{file}})
	failing, refusing := newReceiver(t, promtest.Options{}), newReceiver(t, promtest.Options{})
	failing.setFault(refuseAll(http.StatusInternalServerError))
	refusing.setFault(refuseAll(http.StatusGone))
	p := create(t, ownEngine(t, engine.Options{}), "SCRAPE_INTERVAL=1s", newCounters(t).targets("good=good")+",down=http://127.0.0.1:1/",
		"REMOTE_WRITE_URL="+strings.Join([]string{r.WriteURL(), failing.WriteURL(), refusing.WriteURL()}, " "))
	p.enable()
	firing := func(alert, label, value string) func() bool {
		return func() bool {
			return slices.ContainsFunc(r.Alerts()[alert], func(a *rules.Alert) bool {
				return a.State == rules.StateFiring && strings.Contains(a.Labels.Get(label), value)
			})
		}
	}
	r.await("the alert for the backlog", firing("DockerRemoteWriteBacklog", "endpoint", failing.Addr()))
	r.await("the alert for dropped samples", firing("DockerRemoteWriteSamplesDropped", "endpoint", refusing.Addr()))
	r.await("the alert for a target", firing("DockerHostTargetDown", "target", "down"))
	if firing("DockerEngineDown", "job", "docker")() || firing("DockerRemoteWriteBacklog", "endpoint", r.Addr())() ||
		firing("DockerHostTargetDown", "target", "good")() {
		t.Errorf("too many alerts: %v", r.Alerts())
	}
	p.Kill()
	r.up(0, time.Time{})
	eventually(t, "the alert for the engine", firing("DockerEngineDown", "job", "docker"))
}
