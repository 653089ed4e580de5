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
		ca   string
		self bool
		jobs int
	}{{"", false, 1}, {"/ca.pem", true, 2}} {
		w := Work{Dir: t.TempDir(), Target: "127.0.0.1:1", URL: "https://127.0.0.1:2/w", Interval: time.Second, CA: tc.ca, Self: tc.self}
		ours, err := Ours(some)
		if err != nil {
			t.Fatal(err)
		}
		_, env, err := ours.args(w)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(env, map[bool]string{true: "SELF_METRICS=true", false: "SELF_METRICS=false"}[tc.self]) ||
			slices.Contains(env, "REMOTE_WRITE_CA_FILE="+tc.ca) != (tc.ca != "") {
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
		if len(c.ScrapeConfigs) != tc.jobs || len(c.RemoteWrite) != 1 || c.RemoteWrite[0].URL != w.URL || c.RemoteWrite[0].TLS.CA != tc.ca {
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
		if c := read(t, filepath.Join(w.Dir, "vmagent.yml")); len(c.ScrapeConfigs) != tc.jobs || c.Global.Interval != "1s" ||
			slices.Contains(args, "-remoteWrite.tlsCAFile="+tc.ca) != (tc.ca != "") {
			t.Errorf("self %v, CA %q: vmagent gets %q and reads %+v", tc.self, tc.ca, args, c)
		}
	}
}

// peerConfig is what matters here of the file that the peers read.
type peerConfig struct {
	Global struct {
		Interval string `yaml:"scrape_interval"`
	}
	ScrapeConfigs []struct {
		Job string `yaml:"job_name"`
	} `yaml:"scrape_configs"`
	RemoteWrite []struct {
		URL string
		TLS struct {
			CA string `yaml:"ca_file"`
		} `yaml:"tls_config"`
	} `yaml:"remote_write"`
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
