// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"strings"
	"testing"

	promconfig "github.com/prometheus/common/config"
)

// sound checks what must hold for every configuration that was accepted.
func sound(t *testing.T, c *Config) {
	t.Helper()
	if len(c.Endpoints) == 0 || c.Interval <= 0 || c.Timeout <= 0 || c.Timeout > c.Interval || c.MaxBytes <= 0 || c.SampleLimit <= 0 ||
		c.Job == "" || c.Instance == "" || c.Target == "" || !strings.HasPrefix(c.DataDir, "/") || c.SpoolMaxBytes <= 0 || c.SpoolMaxAge < 0 {
		t.Fatalf("out of bounds: %+v", c)
	}
	soundEndpoints(t, c.Endpoints)
	var b bytes.Buffer
	if err := c.Write(&b); err != nil {
		t.Fatal(err)
	}
	c.Secrets()
}

func soundEndpoints(t *testing.T, endpoints []Endpoint) {
	t.Helper()
	names := map[string]bool{}
	for i := range endpoints {
		e := &endpoints[i]
		if e.Name == "" || names[e.Name] {
			t.Fatalf("name %q is empty or stands there twice", e.Name)
		}
		names[e.Name] = true
		if e.URL == nil || e.URL.User != nil || e.URL.Hostname() == "" || e.URL.Scheme != "http" && e.URL.Scheme != "https" {
			t.Fatalf("URL %v", e.URL)
		}
		if e.Timeout <= 0 || e.MaxSamples <= 0 || e.MaxBytes <= 0 || e.Deadline < 0 || e.MinBackoff <= 0 || e.MinBackoff > e.MaxBackoff || e.RateLimit < 0 || e.Client.FollowRedirects {
			t.Fatalf("out of bounds: %+v", e)
		}
		client, err := promconfig.NewClientFromConfig(e.Client, e.Name)
		if err != nil {
			t.Fatalf("no client can be made: %v", err)
		}
		client.CloseIdleConnections()
		e.Secrets()
	}
}

// FuzzSettings: any value of any setting is refused or ends in a sound
// configuration. The input is an environment, one setting after each zero byte.
func FuzzSettings(f *testing.F) {
	for i := range settings {
		s := &settings[i]
		for _, v := range []string{s.Default, s.Example, s.Min, s.Max, "0", "-1", "\xff", "a=b,c=\"d\\\"e\"", "(", "https://u:p@x/y?z=1 http://[::1]:9/"} {
			f.Add(testURL+"\x00"+s.Name+"="+v, i%2 == 0)
		}
	}
	f.Add("REMOTE_WRITE_URL=https://a/b https://a/b/ https://a:443/b", true)
	f.Add("REMOTE_WRITE_USERNAME=a\x00REMOTE_WRITE_PASSWORD=b\x00"+testURL, true)
	f.Add("", false)
	f.Fuzz(func(t *testing.T, text string, plugin bool) {
		mode := Run
		if plugin {
			mode = Plugin
		}
		c, _, err := Load(mode, strings.Split(text, "\x00"))
		if (c == nil) != (err != nil) {
			t.Fatal("a configuration and an error, or neither")
		}
		if err != nil {
			return
		}
		sound(t, c)
	})
}

// FuzzConfigFile: any file is refused or ends in sound endpoints.
func FuzzConfigFile(f *testing.F) {
	f.Add([]byte(strings.ReplaceAll(wholeFile, "client_secret_file: secret", "client_secret: secret")))
	for _, text := range []string{
		"", "remote_write:", "remote_write: [null]", "- a", "remote_write:\n- url: http://x/w\n  write_relabel_configs: [{action: replace, target_label: '${1}'}]",
		"remote_write:\n- url: http://x/w\n  http_headers: {a: {values: [b], secrets: [c]}}\n  proxy_url: http://p\n  no_proxy: a\n  proxy_connect_header: {d: [e]}",
		"remote_write:\n- &a {url: http://x/w, name: a}\n- <<: *a\n  name: b", "a: &a [*a]", "? {a: b}\n: c", "!!binary x: !!float .nan", "remote_write: !!map {1: 2}",
		"remote_write:\n- url: http://x/w\n  oauth2: {client_id: a, token_url: http://t, claims: {a: {b: [1]}}, endpoint_params: {c: d}, grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer'}",
	} {
		f.Add([]byte(text))
	}
	base := Endpoint{}
	if c, _, err := load(Run); err == nil {
		base = c.base
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		// A file may name others; none of the machine's is to be read here.
		if bytes.Contains(text, []byte("_file")) || bytes.Contains(text, []byte("files")) {
			return
		}
		endpoints, _, err := parseFile(text, "/nonexistent", base)
		if (len(endpoints) == 0) != (err != nil) {
			t.Fatal("endpoints and an error, or neither")
		}
		if err == nil {
			soundEndpoints(t, endpoints)
		}
	})
}
