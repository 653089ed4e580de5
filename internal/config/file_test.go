// SPDX-License-Identifier: Apache-2.0

package config

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	prometheus "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/prometheus/prometheus/storage/remote/azuread"
	"github.com/prometheus/prometheus/storage/remote/googleiam"
	"github.com/prometheus/sigv4"

	"github.com/docker-remote-write/docker-remote-write/internal/cloudauth"
	"github.com/docker-remote-write/docker-remote-write/internal/redact"
	"github.com/docker-remote-write/docker-remote-write/internal/weburl"
)

func testBase(t *testing.T) Endpoint {
	t.Helper()
	return mustLoad(t, Run).base
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const wholeFile = `
remote_write:
- name: mimir
  url: https://mimir.example.org/api/v1/push?zone=QUERYSECRET
  remote_timeout: 7s
  protobuf_message: io.prometheus.write.v2.Request
  headers: {X-Scope-OrgID: team-a}
  send_exemplars: false
  send_native_histograms: false
  round_robin_dns: true
  failed_request_logging: true
  oauth2:
    client_id: me
    client_secret_file: secret
    token_url: https://login.example.org/token
    scopes: [metrics]
  tls_config: {server_name: mimir.internal, min_version: TLS12}
  queue_config: {capacity: 1, max_shards: 2, min_shards: 1, max_samples_per_send: 500, batch_send_deadline: 1m, min_backoff: 1s, max_backoff: 2m, retry_on_http_429: true, sample_age_limit: 1h}
  metadata_config: {send: true, send_interval: 1m, max_samples_per_send: 7}
  write_relabel_configs:
  - {source_labels: [__name__], regex: go_.*, action: drop}
- url: http://user:p%40ss@prometheus:9090/api/v1/write
- url: http://prometheus:9090/other/write
  authorization: {credentials: TOKEN}
  proxy_url: http://proxy.example.org:3128
  follow_redirects: true
  enable_http2: false
`

func TestFile(t *testing.T) {
	path := writeFile(t, "rw.yml", wholeFile)
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), "secret"), []byte("CLIENTSECRET\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, warnings, err := load(Run, "CONFIG_FILE="+path, "HTTP_PROXY=http://u:PROXYSECRET@proxy:1")
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Endpoints) != 3 {
		t.Fatalf("%d endpoints", len(c.Endpoints))
	}
	m, p, o := c.Endpoints[0], c.Endpoints[1], c.Endpoints[2]
	got := []any{
		m.Name, weburl.Show(m.URL), m.Protocol, m.Timeout, m.Headers, m.MaxSamples, m.Deadline,
		m.MinBackoff, m.MaxBackoff, len(m.Relabel), m.Relabel[0].Action, m.Client.OAuth2.ClientSecretFile, m.Client.TLSConfig.ServerName,
		m.Client.FollowRedirects, m.Client.EnableHTTP2, m.Client.ProxyFromEnvironment, m.MaxBytes,
		p.Name, p.URL.String(), p.Client.BasicAuth.Username, string(p.Client.BasicAuth.Password), p.Protocol, p.Timeout,
		o.Name, o.Client.Authorization.Type, o.Client.FollowRedirects, o.Client.EnableHTTP2, o.Client.ProxyFromEnvironment,
	}
	want := []any{
		"mimir", "https://mimir.example.org/api/v1/push", "2.0", 7 * time.Second, map[string]string{"X-Scope-OrgID": "team-a"}, 500, time.Minute,
		time.Second, 2 * time.Minute, 1, relabel.Drop, filepath.Join(filepath.Dir(path), "secret"), "mimir.internal",
		false, true, true, int64(1 << 20),
		"prometheus:9090/api/v1/write", "http://prometheus:9090/api/v1/write", "user", "p@ss", "auto", 30 * time.Second,
		"prometheus:9090/other/write", "Bearer", false, false, false,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if len(warnings) != 1 || warnings[0].Setting != "CONFIG_FILE" {
		t.Fatalf("warnings %q", warnings)
	}
	for _, key := range []string{"capacity", "max_shards", "min_shards", "sample_age_limit", "round_robin_dns", "failed_request_logging", "send_interval", "metadata_config.max_samples_per_send"} {
		if strings.Count(warnings[0].Text, key) != 1 {
			t.Errorf("%q is not named once in %q", key, warnings[0].Text)
		}
	}
	secrets := c.Secrets()
	for _, s := range []string{"CLIENTSECRET", "QUERYSECRET", "p@ss", "dXNlcjpwQHNz", "TOKEN", "PROXYSECRET"} {
		if got := redact.New(secrets).Hide(s); got != redact.Hidden {
			t.Errorf("%s is shown as %s with %q", s, got, secrets)
		}
	}
}

// TestFileLeavesOut: an endpoint is not sent what its entry of the file says so of, and
// the environment holds where the entry says nothing.
func TestFileLeavesOut(t *testing.T) {
	type omit struct{ metadata, exemplars, histograms bool }
	for _, tc := range []struct {
		env, entry string
		want       omit
		shown      string
	}{
		{"", "{url: http://a/w}", omit{}, ""},
		{"", "{url: http://a/w, send_exemplars: true, send_native_histograms: true, metadata_config: {send: true}}", omit{}, ""},
		{"", "{url: http://a/w, send_exemplars: false}", omit{exemplars: true}, "exemplars"},
		{"", "{url: http://a/w, send_native_histograms: false}", omit{histograms: true}, "native histograms"},
		{"", "{url: http://a/w, metadata_config: {send: false}}", omit{metadata: true}, "metadata"},
		{"SEND_METADATA=false", "{url: http://a/w, send_exemplars: false}", omit{metadata: true, exemplars: true}, "metadata, exemplars"},
		{"SEND_METADATA=false", "{url: http://a/w, metadata_config: {send: true}}", omit{}, ""},
		{"SEND_EXEMPLARS=false", "{url: http://a/w}", omit{exemplars: true}, "exemplars"},
		{"SEND_NATIVE_HISTOGRAMS=false", "{url: http://a/w}", omit{histograms: true}, "native histograms"},
		{"SEND_NATIVE_HISTOGRAMS=false", "{url: http://a/w, send_native_histograms: true}", omit{}, ""},
	} {
		c, warnings, err := load(Run, "CONFIG_FILE="+writeFile(t, "rw.yml", "remote_write:\n- "+tc.entry+"\n"), tc.env)
		if err != nil || len(warnings) > 0 {
			t.Errorf("%s: %v %q", tc.entry, err, warnings)
			continue
		}
		e := &c.Endpoints[0]
		if got := (omit{e.OmitMetadata, e.OmitExemplars, e.OmitNativeHistograms}); got != tc.want {
			t.Errorf("%s %s: %+v, want %+v", tc.env, tc.entry, got, tc.want)
		}
		shown := ""
		for _, l := range e.Effective() {
			if l.Name == "left_out" {
				shown = l.Value
			}
		}
		if shown != tc.shown {
			t.Errorf("%s %s: shown as %q, want %q", tc.env, tc.entry, shown, tc.shown)
		}
	}
}

// TestFileDropsOn429: 429 is final where the entry says so, and only there.
func TestFileDropsOn429(t *testing.T) {
	for entry, want := range map[string]bool{
		"{url: http://a/w}": false,
		"{url: http://a/w, queue_config: {retry_on_http_429: true}}":  false,
		"{url: http://a/w, queue_config: {retry_on_http_429: false}}": true,
	} {
		c, warnings, err := load(Run, "CONFIG_FILE="+writeFile(t, "rw.yml", "remote_write:\n- "+entry+"\n"))
		if err != nil || len(warnings) > 0 {
			t.Errorf("%s: %v %q", entry, err, warnings)
			continue
		}
		e := &c.Endpoints[0]
		shown := slices.Contains(e.Effective(), Line{Name: "retry_on_http_429", Value: "false"})
		if e.DropOn429 != want || shown != want {
			t.Errorf("%s: drops %v and is shown %v, want %v", entry, e.DropOn429, shown, want)
		}
	}
}

// TestFileIsPrometheusSchema: every key of Prometheus' own configuration is
// known here, and no other, in the release that is linked.
func TestFileIsPrometheusSchema(t *testing.T) {
	for what, types := range map[string][2]reflect.Type{
		"remote_write":              {reflect.TypeFor[prometheus.RemoteWriteConfig](), reflect.TypeFor[remoteWrite]()},
		"queue_config":              {reflect.TypeFor[prometheus.QueueConfig](), reflect.TypeFor[queueConfig]()},
		"metadata_config":           {reflect.TypeFor[prometheus.MetadataConfig](), reflect.TypeFor[metadataConfig]()},
		"sigv4":                     {reflect.TypeFor[sigv4.SigV4Config](), reflect.TypeFor[cloudauth.SigV4]()},
		"azuread":                   {reflect.TypeFor[azuread.AzureADConfig](), reflect.TypeFor[cloudauth.AzureAD]()},
		"azuread.managed_identity":  {reflect.TypeFor[azuread.ManagedIdentityConfig](), reflect.TypeFor[cloudauth.ManagedIdentity]()},
		"azuread.workload_identity": {reflect.TypeFor[azuread.WorkloadIdentityConfig](), reflect.TypeFor[cloudauth.WorkloadIdentity]()},
		"azuread.oauth":             {reflect.TypeFor[azuread.OAuthConfig](), reflect.TypeFor[cloudauth.OAuth]()},
		"google_iam":                {reflect.TypeFor[googleiam.Config](), reflect.TypeFor[cloudauth.GoogleIAM]()},
	} {
		want, got := keysOf(types[0]), keysOf(types[1])
		slices.Sort(want)
		slices.Sort(got)
		if d := cmp.Diff(want, got); d != "" || len(want) == 0 {
			t.Errorf("%s: %s", what, d)
		}
	}
}

func keysOf(typ reflect.Type) []string {
	var keys []string
	for i := range typ.NumField() {
		f := typ.Field(i)
		key, option, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case option == "inline":
			keys = append(keys, keysOf(f.Type)...)
		case key != "":
			keys = append(keys, key)
		}
	}
	return keys
}

func TestBadFiles(t *testing.T) {
	for _, tc := range []struct {
		text string
		want []string
	}{
		{"", []string{"is empty"}},
		{"remote_write: []", []string{"no entry"}},
		{"- url: http://x/w", []string{"put remote_write: above it"}},
		{"just words", []string{"no YAML with a remote_write list"}},
		{"global: {}\nremote_write:\n- url: http://x/w", []string{"whole prometheus.yml", "EXTERNAL_LABELS"}},
		{"remote_writes:\n- url: http://x/w", []string{"line 1", `unknown key "remote_writes"`}},
		{"remote_write:\n-", []string{"entry 1 is empty"}},
		{"remote_write:\n- name: a", []string{`entry 1 ("a")`, "url is missing"}},
		{"remote_write:\n- url: http://x/w\n  colour: red", []string{"line 3", `unknown key "colour"`}},
		{"remote_write:\n- url: http://x/w\n  queue_config: {shards: 1}", []string{"line 3: remote_write entry 1: queue_config: unknown key \"shards\""}},
		{"remote_write:\n- url: http://x/w\n  basic_auth: {user: a}", []string{"line 3", `unknown key "user"`}},
		{"remote_write:\n- url: http://x/w\n  url: http://y/w", []string{"line 3", "url", "twice"}},
		{"remote_write:\n- url: [MARKER]", []string{"line 2"}},
		{"remote_write:\n- url: http://x/w\n  basic_auth: MARKER", []string{"line 3"}},
		{"remote_write:\n- url: http://x/w\n  basic_auth: {username: a, password: *MARKER}", []string{"anchor"}},
		{"remote_write:\n- url: http://x/w\n  send_exemplars: MARKER", []string{"line 3", "bool"}},
		{"remote_write:\n- url: http://user:MARKER/@x/w", []string{"entry 1: url", "percent-encoded"}},
		{"remote_write:\n- url: http://x/w\n  proxy_url: http://user:MAR%KER@x", []string{"URL"}},
		{"remote_write:\n- url: x/w", []string{"entry 1: url", "http://"}},
		{"remote_write:\n- {url: http://x/w, name: a}\n- {url: http://y/w, name: a}", []string{`entry 2 ("a")`, "must differ"}},
		{"remote_write:\n- {url: http://x/w, name: a}\n- {url: http://y/w, name: 'a '}", []string{`entry 2 ("a ")`, "must differ"}},
		{"remote_write:\n- url: http://x/w\n- {url: http://x/w, name: ' '}", []string{"entry 2", "give it a name"}},
		{"remote_write:\n- url: http://x/w\n- url: http://x/w", []string{"entry 2", "give it a name"}},
		{"remote_write:" + strings.Repeat("\n- url: http://x/w", 33), []string{"at most 32"}},
		{"remote_write:\n- url: http://x/w\n  remote_timeout: 1y", []string{"line 2: remote_write entry 1: remote_timeout is 1y", "100ms to 10m"}},
		{"remote_write:\n- url: http://x/w\n  remote_timeout: 30", []string{"line 3: remote_write entry 1: remote_timeout: ", "duration", "such as 30s"}},
		{"remote_write:\n- {url: http://x/w}\n- name: b\n  url: http://y/w\n  queue_config:\n    max_backoff: 1m\n    min_backoff: 010", []string{"line 7: remote_write entry 2 (\"b\"): queue_config: min_backoff: ", "such as 30s"}},
		{"remote_write:\n- url: http://x/w\n  tls_config:\n    min_version: TLS14", []string{"line 4: remote_write entry 1: tls_config: min_version: ", "TLS14", "give TLS10, TLS11, TLS12 or TLS13"}},
		{"remote_write:\n- url: http://x/w\n- url: http://y/w\n  oauth2: {client_id: a, client_secret: MARKER, token_url: http://z, tls_config: {max_version: x}}",
			[]string{"line 4: remote_write entry 2: oauth2: tls_config: max_version: unknown TLS version"}},
		{"remote_write:\n- url: http://x/w\n  write_relabel_configs:\n  - action: drop\n  - action: drop\n    regex: '('", []string{"line 6: remote_write entry 1: write_relabel_configs entry 2: regex: "}},
		{"remote_write:\n- {url: http://x/w, name: a, send_exemplars: 1}\n- {url: http://x/w, name: b, send_exemplars: true, queue_config: {capacity: MARKER}}",
			[]string{"line 2: remote_write entry 1 (\"a\"): send_exemplars: ", "bool", "line 3: remote_write entry 2 (\"b\"): queue_config: capacity: ", "int"}},
		{"remote_write: [{url: http://x/w}, {url: http://y/w, proxy_url: 'http://user:MAR%KER@x'}]", []string{"line 1: remote_write entry 2: proxy_url: ", "URL"}},
		{"remote_write:\n- url: http://x/w\n\n- url: http://y/w\n  basic_auth: {username: a}\n  authorization: {credentials: MARKER}", []string{"line 4: remote_write entry 2: ", "at most one of"}},
		{"remote_write:\n- url: http://x/w\n- url: http://y/w\n  tls_config:\n    ca: a\n    ca_file: MARKER", []string{"line 5: remote_write entry 2: tls_config: ", "at most one of"}},
		{"remote_write:\n- url: http://x/w\n  remote_timeout: soon", []string{"duration", "soon"}},
		{"remote_write:\n- url: http://x/w\n  protobuf_message: v3", []string{"protobuf_message", "v3", "prometheus.WriteRequest"}},
		{"remote_write:\n- url: http://x/w\n  headers: {Authorization: MARKER}", []string{"Authorization"}},
		{"remote_write:\n- url: http://x/w\n  headers: {content-type: MARKER}", []string{"Content-Type"}},
		{"remote_write:\n- url: http://x/w\n  headers: {\"a b\": MARKER}", []string{"no header name"}},
		{"remote_write:\n- url: http://x/w\n  http_headers: {host: {values: [MARKER]}}", []string{"Host"}},
		{"remote_write:\n- url: http://x/w\n  http_headers: {a: {files: [missing]}}", []string{"http_headers.a", "missing", "no such file"}},
		{"remote_write:\n- url: http://x/w\n  queue_config: {max_samples_per_send: -1}", []string{"max_samples_per_send is -1", "1 to 1000000"}},
		{"remote_write:\n- url: http://x/w\n  queue_config: {min_backoff: 5m, max_backoff: 1m}", []string{"min_backoff", "max_backoff"}},
		{"remote_write:\n- url: http://x/w\n  write_relabel_configs: [{action: eat}]", []string{"eat"}},
		{"remote_write:\n- url: http://x/w\n  write_relabel_configs: [{regex: '('}]", []string{"regexp"}},
		{"remote_write:\n- url: http://x/w\n  write_relabel_configs: [{action: hashmod, target_label: a}]", []string{"rule 1", "modulus"}},
		{"remote_write:\n- url: http://x/w\n  write_relabel_configs: [null]", []string{"rule 1 is empty"}},
		{"remote_write:\n- url: http://x/w\n  basic_auth: {username: a}\n  authorization: {credentials: MARKER}", []string{"at most one of"}},
		{"remote_write:\n- url: http://a:MARKER@x/w\n  bearer_token: MARKER", []string{"user name beside"}},
		{"remote_write:\n- url: http://x/w\n  basic_auth: {username: 'a:b'}", []string{"colon"}},
		{"remote_write:\n- url: http://x/w\n  basic_auth: {username: a, password_file: missing}", []string{"basic_auth.password_file", "no such file"}},
		{"remote_write:\n- url: http://x/w\n  basic_auth: {username: a, password_ref: vault}", []string{"_ref"}},
		{"remote_write:\n- url: http://x/w\n  oauth2: {client_id: a, client_secret: MARKER, token_url: x}", []string{"token_url"}},
		{"remote_write:\n- url: http://x/w\n  oauth2: {client_secret: MARKER, token_url: http://x}", []string{"client_id"}},
		{"remote_write:\n- url: http://x/w\n  tls_config: {ca: MARKER}", []string{"tls_config", "CA"}},
		{"remote_write:\n- url: http://x/w\n  tls_config: {ca_file: missing}", []string{"tls_config.ca_file", "no such file"}},
		{"remote_write:\n- url: http://x/w\n  tls_config: {cert: a, key: MARKER}", []string{"tls_config"}},
		{"remote_write:\n- url: http://x/w\n  tls_config: {min_version: SSL3}", []string{"SSL3"}},
		{"remote_write:\n- url: http://x/w\n  name: \"a\\nb\"", []string{"name", "control"}},
		{"remote_write: {a: [", []string{"line"}},
		{"a: &a [1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nremote_write: [*b]", []string{"line"}},
	} {
		path := writeFile(t, "rw.yml", tc.text)
		endpoints, _, err := LoadFile(path, testBase(t))
		if err == nil || endpoints != nil {
			t.Errorf("%q: accepted", tc.text)
			continue
		}
		for _, want := range append(tc.want, path) {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q: %q is not in: %v", tc.text, want, err)
			}
		}
		if strings.Contains(err.Error(), "MARKER") || strings.Contains(err.Error(), "config.") && !strings.Contains(tc.text, "config.") && !strings.Contains(err.Error(), "_config.") {
			t.Errorf("%q: shows a secret or a type: %v", tc.text, err)
		}
	}
}

// TestFileBounds: large files, pipes and devices are neither read nor waited for.
func TestFileBounds(t *testing.T) {
	for path, want := range map[string]string{
		writeFile(t, "large", strings.Repeat("#", maxFile+1)): "at most",
		"/dev/zero": "is not a file",
	} {
		if _, _, err := LoadFile(path, testBase(t)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestEqual: an unchanged entry is equal wherever it stands; a changed secret
// is a change.
func TestEqual(t *testing.T) {
	parse := func(text string) []Endpoint {
		t.Helper()
		endpoints, _, err := parseFile([]byte("remote_write:"+text), "/", testBase(t))
		if err != nil {
			t.Fatal(err)
		}
		return endpoints
	}
	const b = "\n- {url: http://b/w, write_relabel_configs: [{action: drop, regex: a}], oauth2: {client_id: a, client_secret: c, token_url: http://d}}"
	before := parse("\n- {url: http://a/w, basic_auth: {username: u, password: one}}" + b)
	after := parse(b + "\n# a comment\n- {url: http://a/w, basic_auth: {username: u, password: two}}")
	before[1].Client.OAuth2.Proxy() // what a client does
	if !before[1].Equal(&after[0]) {
		t.Error("an unchanged entry differs")
	}
	if before[0].Equal(&after[1]) {
		t.Error("another password makes no difference")
	}
}

// TestNamesDoNotDependOnOrder: reordering entries renames none.
func TestNamesDoNotDependOnOrder(t *testing.T) {
	entries := []string{
		"url: http://a/w", "url: https://a:443/v", "url: http://b:80/w?x=1", "url: http://b/w?x=2", "{url: http://c/w, name: d}", "url: http://d/w", "url: https://D/x",
	}
	want := []string{"a/w", "a/v", "b/w#", "b/w#", "d", "d/w", "d/x"}
	names := map[string]string{}
	for rotation := range entries {
		order := append(slices.Clone(entries[rotation:]), entries[:rotation]...)
		endpoints, _, err := parseFile([]byte("remote_write:\n- "+strings.Join(order, "\n- ")), "/", testBase(t))
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for i, e := range endpoints {
			if seen[e.Name] {
				t.Errorf("%s stands there twice", e.Name)
			}
			seen[e.Name] = true
			if before, ok := names[order[i]]; ok && before != e.Name {
				t.Errorf("%s is %s and then %s", order[i], before, e.Name)
			}
			names[order[i]] = e.Name
		}
	}
	for i, e := range entries {
		if n := names[e]; !strings.HasPrefix(n, want[i]) || strings.Contains(n, "x=") {
			t.Errorf("%s is named %s, want %s", e, n, want[i])
		}
	}
}
