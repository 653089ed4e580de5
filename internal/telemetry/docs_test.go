// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

var update = flag.Bool("update", false, "write the table in docs/metrics.md")

const (
	metricsDoc = "../../docs/metrics.md"
	statusDoc  = "../../docs/status.md"
	schemaFile = "../../docs/status.schema.json"
)

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func metricsTable() string {
	var b strings.Builder
	b.WriteString("| metric | type | labels | |\n|---|---|---|---|\n")
	for _, m := range Metrics() {
		labels := "-"
		if len(m.Labels) > 0 {
			labels = "`" + strings.Join(m.Labels, "`, `") + "`"
		}
		help := m.Help
		if m.Always {
			help += " *Always.*"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.Name, m.Type, labels, help)
	}
	return b.String()
}

// The table is what the code has; `go test ./internal/telemetry -update` writes it.
func TestMetricsDocument(t *testing.T) {
	doc := read(t, metricsDoc)
	const begin, end = "<!-- table -->\n", "<!-- /table -->"
	i, j := strings.Index(doc, begin), strings.Index(doc, end)
	if i < 0 || j < i {
		t.Fatal("the markers of the table are gone")
	}
	i += len(begin)
	if *update {
		if err := os.WriteFile(metricsDoc, []byte(doc[:i]+metricsTable()+doc[j:]), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(metricsTable(), doc[i:j]); d != "" {
		t.Errorf("docs/metrics.md differs from the code; run this test with -update\n%s", d)
	}
	known := map[string]bool{}
	for _, m := range Metrics() {
		known[m.Name] = true
	}
	for _, name := range regexp.MustCompile(prefix+`[a-z_]+`).FindAllString(doc, -1) {
		if !known[name] && name != prefix {
			t.Errorf("docs/metrics.md names %s, which is no metric", name)
		}
	}
}

// Each reason for a loss is explained, and no reason is explained that is none.
func TestLossesAreDocumented(t *testing.T) {
	var want []string
	for i := range series.Losses {
		want = append(want, series.Loss(i).String())
	}
	for file, pattern := range map[string]string{
		metricsDoc:                      "(?m)^\\| `([a-z_]+)` \\| [A-Z]",
		"../../docs/troubleshooting.md": "(?m)^### `([a-z_]+)`",
	} {
		var got []string
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(read(t, file), -1) {
			got = append(got, m[1])
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", file, d)
		}
	}
}

func TestPathsAreDocumented(t *testing.T) {
	var got []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(/[^`]*)` \\|").FindAllStringSubmatch(read(t, statusDoc), -1) {
		got = append(got, m[1])
	}
	want := []string{PathPage, PathStatus, PathMetrics, PathHealthy, PathReady, PathPprof}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	s := fresh()
	tel := newTelemetry(func() State { return s })
	for _, p := range want {
		socket, tcp := request(tel.Handler(), "GET", p, "").Code, request(tel.TCPHandler("127.0.0.1:1"), "GET", p, "localhost").Code
		if (socket == 200) != (p != PathPage) || (tcp == 200) != (p != PathPprof) {
			t.Errorf("%s: %d on the socket, %d over TCP", p, socket, tcp)
		}
	}
}

func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(read(t, schemaFile)))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("status.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("status.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStatusFitsItsSchema(t *testing.T) {
	s := schema(t)
	misconfigured := State{Mode: "plugin", Config: ConfigState{Error: "REMOTE_WRITE_URL is not set"}}
	for name, state := range map[string]State{"fresh": fresh(), "outage": outage(), "misconfigured": misconfigured, "full": full()} {
		got := newTelemetry(func() State { return state }).State()
		b, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(string(b)))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(v); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		v.(map[string]any)["surprise"] = 1
		if s.Validate(v) == nil {
			t.Errorf("%s: the schema lets an unknown property pass", name)
		}
	}
}

// The schema describes no property that the code does not have.
func TestSchemaHasNothingElse(t *testing.T) {
	var doc struct {
		Properties map[string]any
		Defs       map[string]struct{ Properties map[string]any } `json:"$defs"`
	}
	if err := json.Unmarshal([]byte(read(t, schemaFile)), &doc); err != nil {
		t.Fatal(err)
	}
	compare := func(v any, got map[string]any) {
		var want []string
		typ := reflect.TypeOf(v)
		for i := range typ.NumField() {
			name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			want = append(want, name)
		}
		var have []string
		for name := range got {
			have = append(have, name)
		}
		slices.Sort(want)
		slices.Sort(have)
		if d := cmp.Diff(want, have); d != "" {
			t.Errorf("%s: %s", typ.Name(), d)
		}
	}
	compare(State{}, doc.Properties)
	for _, v := range []any{
		ConfigState{}, TargetState{}, SpoolState{}, EndpointState{}, Backlog{}, UnclaimedState{},
		LogState{}, ProcessState{}, Point{}, Problem{},
	} {
		compare(v, doc.Defs[reflect.TypeOf(v).Name()].Properties)
	}
}

// full is a state in which nothing is left out of the JSON.
func full() State {
	s := outage()
	s.Config = ConfigState{Error: "no such file", File: "/data/rw.yml", Loaded: now, ReloadFailed: true, Warnings: []string{"max_shards has no meaning here"}}
	s.Targets[0].Waiting, s.Targets[0].LastError, s.Spool.Error = "waiting", "refused", "no space left on device"
	s.Unclaimed = []UnclaimedState{{Name: "old", Since: now.Add(-time.Hour), Samples: 3}}
	for r := range s.Endpoints[0].Lost {
		s.Endpoints[0].Lost[r] = uint64(r)
	}
	s.Endpoints[0].ClockOffset, s.Endpoints[0].CredentialError = 300, "no such file"
	s.Endpoints[0].AcceptedWith = "200 OK with a page of HTML"
	return s
}
