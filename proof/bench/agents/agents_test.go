// SPDX-License-Identifier: Apache-2.0

package agents

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.yaml.in/yaml/v2"
)

// TestTheSameWork holds that all agents are told the same of the work: whether to
// send metrics of themselves, and whose signature the receiver's certificate bears.
func TestTheSameWork(t *testing.T) {
	const some = "/bin/true" // a program that can be asked for its version
	for _, tc := range []struct {
		ca    string
		self  bool
		more  []Target
		extra string
		jobs  []string
	}{
		{"", false, nil, "", []string{"docker 1s"}},
		{"/ca.pem", true, nil, "", []string{"docker 1s", "self 1s"}},
		{"", false, []Target{{"node", "127.0.0.1:3", 2 * time.Second}, {"wide", "127.0.0.1:4", 500 * time.Millisecond}},
			"EXTRA_TARGETS=node@2s=http://127.0.0.1:3/metrics,wide@500ms=http://127.0.0.1:4/metrics", []string{"docker 1s", "node 2s", "wide 500ms"}},
	} {
		targets := append([]Target{{"docker", "127.0.0.1:1", time.Second}}, tc.more...)
		w := Work{Dir: t.TempDir(), Targets: targets, URL: "https://127.0.0.1:2/w", CA: tc.ca, Self: tc.self}
		ours, err := Ours(some)
		if err != nil {
			t.Fatal(err)
		}
		_, env, err := ours.args(w)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(env, map[bool]string{true: "SELF_METRICS=true", false: "SELF_METRICS=false"}[tc.self]) ||
			slices.Contains(env, "REMOTE_WRITE_CA_FILE="+tc.ca) != (tc.ca != "") ||
			slices.Contains(env, tc.extra) != (tc.extra != "") || !slices.Contains(env, "SCRAPE_INTERVAL=1s") {
			t.Errorf("self %v, CA %q: environment %q", tc.self, tc.ca, env)
		}

		prometheus, err := Prometheus(some)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := prometheus.args(w); err != nil {
			t.Fatal(err)
		}
		c := read(t, filepath.Join(w.Dir, "prometheus.yml"))
		if !slices.Equal(c.jobs(), tc.jobs) || len(c.RemoteWrite) != 1 || c.RemoteWrite[0].URL != w.URL || c.RemoteWrite[0].TLS.CA != tc.ca {
			t.Errorf("self %v, CA %q: Prometheus reads %+v", tc.self, tc.ca, c)
		}

		vmagent, err := VMAgent(some)
		if err != nil {
			t.Fatal(err)
		}
		args, _, err := vmagent.args(w)
		if err != nil {
			t.Fatal(err)
		}
		if c := read(t, filepath.Join(w.Dir, "vmagent.yml")); !slices.Equal(c.jobs(), tc.jobs) ||
			slices.Contains(args, "-remoteWrite.tlsCAFile="+tc.ca) != (tc.ca != "") {
			t.Errorf("self %v, CA %q: vmagent gets %q and reads %+v", tc.self, tc.ca, args, c)
		}
	}
}

// peerConfig is what matters here of the file that the peers read.
type peerConfig struct {
	ScrapeConfigs []struct {
		Job      string `yaml:"job_name"`
		Interval string `yaml:"scrape_interval"`
	} `yaml:"scrape_configs"`
	RemoteWrite []struct {
		URL string
		TLS struct {
			CA string `yaml:"ca_file"`
		} `yaml:"tls_config"`
	} `yaml:"remote_write"`
}

// jobs are the jobs with their intervals.
func (c peerConfig) jobs() (all []string) {
	for _, s := range c.ScrapeConfigs {
		all = append(all, s.Job+" "+s.Interval)
	}
	return all
}

func read(t *testing.T, file string) (c peerConfig) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(raw, &c); err != nil {
		t.Fatalf("%s: %v in\n%s", file, err, raw)
	}
	return c
}
