// SPDX-License-Identifier: Apache-2.0

package promtest

import (
	"bytes"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

func TestAPI(t *testing.T) {
	s := start(t, Options{})
	now := time.Now()
	push(t, client, s.WriteURL(), two("up", writev2.Sample{Timestamp: now.UnixMilli(), Value: 1}))
	for path, want := range map[string]string{
		"/api/v1/query?query=up":                        `"value":`,
		"/api/v1/series?" + "match%5B%5D=up":            `[{"__name__":"up","job":"docker"}]`,
		"/api/v1/metadata":                              `{"up":[{"type":"counter","unit":"bytes","help":"help"}]}`,
		"/api/v1/metadata?metric=up":                    `{"up":[{"type":"counter","unit":"bytes","help":"help"}]}`,
		"/api/v1/status/buildinfo":                      `"version":"` + Version + `"`,
		"/api/v1/status/tsdb":                           `"numSeries":1`,
		"/api/v1/rules":                                 `{"groups":[]}`,
		"/api/v1/label/job/values":                      `["docker"]`,
		"/api/v1/query_range?" + rangeParams("up", now): `"resultType":"matrix"`,
	} {
		res, err := client.Get(s.URL() + path)
		if err != nil {
			t.Fatal(err)
		}
		var answer struct {
			Status string
			Data   json.RawMessage
		}
		err = json.NewDecoder(res.Body).Decode(&answer)
		res.Body.Close()
		if err != nil || answer.Status != "success" || !bytes.Contains(answer.Data, []byte(want)) {
			t.Errorf("%s: %s %v %s", path, res.Status, err, answer.Data)
		}
	}
	m, err := s.QueryRange(t.Context(), "up", now, now.Add(time.Minute), time.Minute)
	if err != nil || len(m) != 1 || len(m[0].Floats) != 2 {
		t.Error(m, err)
	}
	ls, err := s.Series(t.Context(), "up")
	if err != nil || len(ls) != 1 || !labels.Equal(ls[0], labels.FromStrings("__name__", "up", "job", "docker")) {
		t.Error(ls, err)
	}
}

func rangeParams(expr string, at time.Time) string {
	return url.Values{"query": {expr}, "start": {at.Format(time.RFC3339)}, "end": {at.Format(time.RFC3339)}, "step": {"1"}}.Encode()
}

func TestRules(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rules.yml")
	rule := "groups: [{name: g, rules: [{alert: Down, expr: up == 0}]}]\n"
	if err := os.WriteFile(file, []byte(rule), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, Options{RuleFiles: []string{file}, EvaluationInterval: 10 * time.Millisecond})
	push(t, client, s.WriteURL(), one("up", prompb.Sample{Timestamp: time.Now().UnixMilli()}))
	deadline := time.Now().Add(20 * time.Second)
	for len(s.Alerts()["Down"]) == 0 {
		if time.Now().After(deadline) {
			t.Fatal("no alert fires")
		}
		time.Sleep(5 * time.Millisecond)
	}
	if a := s.Alerts()["Down"][0]; a.Labels.Get("job") != "docker" {
		t.Error(a)
	}
}
