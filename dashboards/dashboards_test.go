// SPDX-License-Identifier: Apache-2.0

// Package dashboards_test checks the Grafana dashboards and the alert rules
// without Grafana: their form, their expressions, and that the rules fire.
package dashboards_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v2"

	"github.com/docker-remote-write/docker-remote-write/internal/telemetry"
	"github.com/docker-remote-write/docker-remote-write/proof/engine"
)

type dashboard struct {
	UID, Title, Description string
	Templating              struct {
		List []struct {
			Name, Type string
			Datasource source
			Query      any
		}
	}
	Panels []struct {
		ID          int
		Type, Title string
		Datasource  source
		GridPos     struct{ X, Y, W, H int }
		FieldConfig struct{ Defaults struct{ Unit string } }
		Targets     []struct {
			RefID, Expr string
			Datasource  source
		}
	}
}

type source struct{ Type, UID string }

type rules struct {
	Groups []struct {
		Name  string
		Rules []struct {
			Alert, Expr, For    string
			Labels, Annotations map[string]string
		}
	}
}

func dashboards(t *testing.T) map[string]dashboard {
	t.Helper()
	files, err := filepath.Glob("*.json")
	if err != nil || len(files) < 3 {
		t.Fatalf("%d dashboards: %v", len(files), err)
	}
	all := map[string]dashboard{}
	for _, f := range files {
		var d dashboard
		if err := json.Unmarshal(read(t, f), &d); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		all[f] = d
	}
	return all
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func alerts(t *testing.T) rules {
	t.Helper()
	var r rules
	if err := yaml.Unmarshal(read(t, "alerts.yml"), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestPanelsAreComplete(t *testing.T) {
	uids := map[string]string{}
	want := source{"prometheus", "${datasource}"}
	for file, d := range dashboards(t) {
		if other := uids[d.UID]; d.UID == "" || len(d.UID) > 40 || other != "" {
			t.Errorf("%s: uid %q is empty, too long or that of %q", file, d.UID, other)
		}
		uids[d.UID] = file
		if d.Title == "" || d.Description == "" || len(d.Panels) == 0 {
			t.Errorf("%s: title %q, description %q, %d panels", file, d.Title, d.Description, len(d.Panels))
		}
		if v := d.Templating.List; len(v) == 0 || v[0].Name != "datasource" || v[0].Type != "datasource" || v[0].Query != "prometheus" {
			t.Errorf("%s: the first variable is not the data source", file)
		}
		for _, v := range d.Templating.List[1:] {
			if v.Datasource != want {
				t.Errorf("%s: variable %s asks %v", file, v.Name, v.Datasource)
			}
		}
		ids, cells := map[int]bool{}, map[[2]int]string{}
		for _, p := range d.Panels {
			if p.Title == "" || p.FieldConfig.Defaults.Unit == "" || p.Datasource != want || len(p.Targets) == 0 || ids[p.ID] {
				t.Errorf("%s: panel %d %q lacks a title, a unit, the data source variable, a query or an id of its own", file, p.ID, p.Title)
			}
			ids[p.ID] = true
			refs := map[string]bool{}
			for _, q := range p.Targets {
				if q.Expr == "" || q.RefID == "" || refs[q.RefID] || q.Datasource != want {
					t.Errorf("%s: %q: query %q %q of %v", file, p.Title, q.RefID, q.Expr, q.Datasource)
				}
				refs[q.RefID] = true
			}
			g := p.GridPos
			if g.W == 0 || g.H == 0 || g.X+g.W > 24 {
				t.Errorf("%s: %q lies at %+v", file, p.Title, g)
			}
			for x := g.X; x < g.X+g.W; x++ {
				for y := g.Y; y < g.Y+g.H; y++ {
					if other := cells[[2]int{x, y}]; other != "" {
						t.Fatalf("%s: %q lies on %q", file, p.Title, other)
					}
					cells[[2]int{x, y}] = p.Title
				}
			}
		}
	}
}

// Every expression parses, and every metric in it is one that an engine sends, as
// the captures have it, or one of the forwarder's own.
func TestExpressionsNameKnownMetrics(t *testing.T) {
	known := map[string]bool{}
	for _, name := range []string{"up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling", "scrape_series_added"} {
		known[name] = true
	}
	for _, m := range telemetry.Metrics() {
		known[m.Name] = true
	}
	captures, err := filepath.Glob("../testdata/captures/*.txt")
	if err != nil || len(captures) == 0 {
		t.Fatalf("no captures: %v", err)
	}
	series := regexp.MustCompile(`(?m)^([a-zA-Z_:][a-zA-Z0-9_:]*)[{ ]`)
	for _, c := range captures {
		for _, m := range series.FindAllSubmatch(read(t, c), -1) {
			known[string(m[1])] = true
		}
	}
	p := parser.NewParser(parser.Options{})
	check := func(where, expr string) {
		e, err := p.ParseExpr(expr)
		if err != nil {
			t.Errorf("%s: %v", where, err)
			return
		}
		n := 0
		parser.Inspect(e, func(node parser.Node, _ []parser.Node) error {
			if v, ok := node.(*parser.VectorSelector); ok {
				n++
				if !known[v.Name] {
					t.Errorf("%s: %q is a metric of neither the engine nor the forwarder", where, v.Name)
				}
			}
			return nil
		})
		if n == 0 {
			t.Errorf("%s: %s asks for no metric", where, expr)
		}
	}
	for file, d := range dashboards(t) {
		for _, panel := range d.Panels {
			for _, q := range panel.Targets {
				check(file+": "+panel.Title, expand(q.Expr))
			}
		}
		for _, v := range d.Templating.List {
			if q, ok := v.Query.(map[string]any); ok {
				m := regexp.MustCompile(`^label_values\((.*), \w+\)$`).FindStringSubmatch(q["query"].(string))
				if m == nil {
					t.Errorf("%s: variable %s: %v", file, v.Name, q["query"])
					continue
				}
				check(file+": $"+v.Name, expand(m[1]))
			}
		}
	}
	for _, g := range alerts(t).Groups {
		for _, r := range g.Rules {
			check(r.Alert, r.Expr)
		}
	}
}

// expand stands in for Grafana's variables.
func expand(expr string) string {
	return strings.NewReplacer("$__rate_interval", "1m", "$__range", "1h", "$job", "docker", "$instance", "host").Replace(expr)
}

func TestAlertsSayWhatToDo(t *testing.T) {
	for _, g := range alerts(t).Groups {
		for _, r := range g.Rules {
			a := r.Annotations
			if a["summary"] == "" || a["description"] == "" || a["runbook"] == "" || strings.Contains(a["runbook"], "\n") {
				t.Errorf("%s lacks a summary, a description or a runbook of one line", r.Alert)
			}
			if s := r.Labels["severity"]; s != "warning" && s != "critical" {
				t.Errorf("%s has severity %q", r.Alert, s)
			}
		}
	}
}

// Each alert has a case in alerts_test.yml in which it fires and one in which it
// does not, and all of them hold.
func TestAlertsFire(t *testing.T) {
	var cases struct {
		Tests []struct {
			Cases []struct {
				Alert  string           `yaml:"alertname"`
				Alerts []map[string]any `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	if err := yaml.Unmarshal(read(t, "alerts_test.yml"), &cases); err != nil {
		t.Fatal(err)
	}
	var fires, silent []string
	for _, c := range cases.Tests {
		for _, a := range c.Cases {
			if len(a.Alerts) > 0 {
				fires = append(fires, a.Alert)
			} else {
				silent = append(silent, a.Alert)
			}
		}
	}
	for _, g := range alerts(t).Groups {
		for _, r := range g.Rules {
			if !slices.Contains(fires, r.Alert) || !slices.Contains(silent, r.Alert) {
				t.Errorf("%s has no case in which it fires, or none in which it does not", r.Alert)
			}
		}
	}
	for _, args := range [][]string{{"check", "rules", "alerts.yml"}, {"test", "rules", "alerts_test.yml"}} {
		if out, err := promtool(t, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

func promtool(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	if path, err := exec.LookPath("promtool"); err == nil {
		return exec.Command(path, args...)
	}
	cmd, err := engine.PackageCommand("prometheus", "promtool", args...)
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return cmd
}
