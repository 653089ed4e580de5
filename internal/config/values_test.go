// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	promconfig "github.com/prometheus/common/config"

	"github.com/docker-remote-write/docker-remote-write/internal/redact"
)

// TestValues: each setting arrives where it belongs, in both modes.
func TestValues(t *testing.T) {
	hostname, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		set  string
		get  func(*Config) any
		want any
	}{
		{"REMOTE_WRITE_PROTOCOL=1.0", func(c *Config) any { return c.Endpoints[0].Protocol }, "1.0"},
		{"REMOTE_WRITE_PROTOCOL= AUTO ", func(c *Config) any { return c.Endpoints[0].Protocol }, "auto"},
		{"REMOTE_WRITE_BEARER_TOKEN=abc", func(c *Config) any { return *c.Endpoints[0].Client.Authorization }, promconfig.Authorization{Type: "Bearer", Credentials: "abc"}},
		{"REMOTE_WRITE_TENANT=team", func(c *Config) any { return c.Endpoints[0].Headers }, map[string]string{"X-Scope-Orgid": "team"}},
		{`REMOTE_WRITE_HEADERS=a=b, x-c = "d,\"e" ,f=`, func(c *Config) any { return c.Endpoints[0].Headers }, map[string]string{"A": "b", "X-C": `d,"e`, "F": ""}},
		{"REMOTE_WRITE_SERVER_NAME=x", func(c *Config) any { return c.Endpoints[0].Client.TLSConfig.ServerName }, "x"},
		{"REMOTE_WRITE_INSECURE_SKIP_VERIFY=TRUE", func(c *Config) any { return c.Endpoints[0].Client.TLSConfig.InsecureSkipVerify }, true},
		{"HTTPS_PROXY=proxy:3128", func(c *Config) any { return c.Endpoints[0].Client.ProxyFromEnvironment }, true},
		{"http_proxy=socks5://proxy:1080", func(c *Config) any { return c.Endpoints[0].Client.ProxyFromEnvironment }, true},
		{"NO_PROXY=a,b", func(c *Config) any { return c.Endpoints[0].Client.ProxyFromEnvironment }, false},
		{"REMOTE_WRITE_TIMEOUT=1m30s", func(c *Config) any { return c.Endpoints[0].Timeout }, 90 * time.Second},
		{"REMOTE_WRITE_HOLD_ON_AUTH_ERROR=1", func(c *Config) any { return c.Endpoints[0].HoldOnAuthError }, true},
		{"MAX_SAMPLES_PER_SEND=1", func(c *Config) any { return c.Endpoints[0].MaxSamples }, 1},
		{"MAX_REQUEST_BYTES=1 mib", func(c *Config) any { return c.Endpoints[0].MaxBytes }, int64(1 << 20)},
		{"MAX_REQUEST_BYTES=1.5MB", func(c *Config) any { return c.Endpoints[0].MaxBytes }, int64(1_500_000)},
		{"MAX_REQUEST_BYTES=65536", func(c *Config) any { return c.Endpoints[0].MaxBytes }, int64(65536)},
		{"BATCH_SEND_DEADLINE=1m", func(c *Config) any { return c.Endpoints[0].Deadline }, time.Minute},
		{"MIN_BACKOFF=10ms", func(c *Config) any { return c.Endpoints[0].MinBackoff }, 10 * time.Millisecond},
		{"MAX_BACKOFF=1h", func(c *Config) any { return c.Endpoints[0].MaxBackoff }, time.Hour},
		{"MAX_SAMPLES_PER_SECOND=500", func(c *Config) any { return c.Endpoints[0].RateLimit }, 500},
		{"SEND_METADATA=false", func(c *Config) any { return c.Endpoints[0].OmitMetadata }, true},
		{"SEND_METADATA=true", func(c *Config) any { return c.Endpoints[0].OmitMetadata }, false},
		{"SEND_EXEMPLARS=false", func(c *Config) any { return c.Endpoints[0].OmitExemplars }, true},
		{"SEND_NATIVE_HISTOGRAMS=false", func(c *Config) any { return c.Endpoints[0].OmitNativeHistograms }, true},
		{"SEND_METADATA=false", func(c *Config) any { return c.Endpoints[0].OmitExemplars || c.Endpoints[0].OmitNativeHistograms }, false},
		{"SCRAPE_NATIVE_HISTOGRAMS=true", func(c *Config) any { return []bool{c.NativeHistograms, c.ClassicHistograms} }, []bool{true, false}},
		{"SCRAPE_NATIVE_HISTOGRAMS=false", func(c *Config) any { return []bool{c.NativeHistograms, c.ClassicHistograms} }, []bool{false, false}},
		{"SCRAPE_TARGET=unix:/run/x.sock", func(c *Config) any { return c.Target }, "unix:///run/x.sock"},
		{"SCRAPE_TARGET=http://[::1]:9323", func(c *Config) any { return c.Target }, "http://[::1]:9323/metrics"},
		{"SCRAPE_TARGET=http://h/a?b=c", func(c *Config) any { return c.Target }, "http://h/a?b=c"},
		{"EXTRA_TARGETS=node=http://127.0.0.1:9100, db@1m=http://10.0.0.5:9187/x ,db=http://localhost:1/,s=unix:/run/s.sock:/m", func(c *Config) any { return c.Extra }, []ScrapeTarget{
			{Name: "node", URL: "http://127.0.0.1:9100/metrics", Job: "node", Instance: hostname, Interval: 15 * time.Second, Timeout: 10 * time.Second},
			{Name: "db 10.0.0.5:9187", URL: "http://10.0.0.5:9187/x", Job: "db", Instance: "10.0.0.5:9187", Interval: time.Minute, Timeout: 10 * time.Second},
			{Name: "db", URL: "http://localhost:1/metrics", Job: "db", Instance: hostname, Interval: 15 * time.Second, Timeout: 10 * time.Second},
			{Name: "s", URL: "unix:///run/s.sock:/m", Job: "s", Instance: hostname, Interval: 15 * time.Second, Timeout: 10 * time.Second},
		}},
		{"EXTRA_TARGETS=a@2s=http://[::1]:1", func(c *Config) any { return c.Extra[0].Timeout }, 2 * time.Second},
		{"SCRAPE_INTERVAL=5s", func(c *Config) any { return []time.Duration{c.Interval, c.Timeout} }, []time.Duration{5 * time.Second, 5 * time.Second}},
		{"SCRAPE_TIMEOUT=15s", func(c *Config) any { return c.Timeout }, 15 * time.Second},
		{"SCRAPE_MAX_BYTES=1MiB", func(c *Config) any { return c.MaxBytes }, int64(1 << 20)},
		{"SCRAPE_SAMPLE_LIMIT=7", func(c *Config) any { return c.SampleLimit }, 7},
		{"JOB=my job", func(c *Config) any { return c.Job }, "my job"},
		{"INSTANCE=häuschen", func(c *Config) any { return c.Instance }, "häuschen"},
		{`EXTERNAL_LABELS=b="x,y",a=1`, func(c *Config) any { return c.External.String() }, `{a="1", b="x,y"}`},
		{"METRICS_KEEP=go_.*", func(c *Config) any {
			return []bool{c.Keep.MatchString("go_x"), c.Keep.MatchString("ago_x"), c.Drop.Regexp != nil}
		}, []bool{true, false, false}},
		{"METRICS_DROP=a|b", func(c *Config) any {
			return []bool{c.Drop.MatchString("a"), c.Drop.MatchString("ab"), c.Keep.Regexp != nil}
		}, []bool{true, false, false}},
		{"SELF_METRICS=false", func(c *Config) any { return c.SelfMetrics }, false},
		{"DATA_DIR=/data/x/../y/", func(c *Config) any { return c.DataDir }, "/data/y"},
		{"SPOOL_MAX_BYTES=1GiB", func(c *Config) any { return c.SpoolMaxBytes }, int64(1 << 30)},
		{"SPOOL_MAX_AGE=2d", func(c *Config) any { return c.SpoolMaxAge }, 48 * time.Hour},
		{"STATUS_LISTEN_ADDRESS=127.0.0.1:0", func(c *Config) any { return c.StatusListen }, "127.0.0.1:0"},
		{"LOG_LEVEL=WARN", func(c *Config) any { return c.LogLevel }, "warning"},
	} {
		for _, mode := range []Mode{Plugin, Run} {
			c, warnings, err := load(mode, tc.set)
			if err != nil || len(warnings) > 0 {
				t.Errorf("%s %q: %v %q", mode, tc.set, err, warnings)
			} else if d := cmp.Diff(tc.want, tc.get(c)); d != "" {
				t.Errorf("%s %q: %s", mode, tc.set, d)
			}
		}
	}
}

// TestStateDirectory: systemd's directory is the default in run, and only there.
func TestStateDirectory(t *testing.T) {
	for _, tc := range []struct {
		mode        Mode
		state, want string
	}{
		{Run, "/var/lib/private/a", "/var/lib/private/a"},
		{Run, "/a:/b", "/a"},
		{Run, "relative", "/var/lib/docker-remote-write"},
		{Plugin, "/a", "/data"},
	} {
		if got := mustLoad(t, tc.mode, "STATE_DIRECTORY="+tc.state).DataDir; got != tc.want {
			t.Errorf("%s %s: %s, want %s", tc.mode, tc.state, got, tc.want)
		}
	}
}

// TestUserInfo: credentials in URLs become basic authentication, each their own.
func TestUserInfo(t *testing.T) {
	c := mustLoad(t, Plugin, "REMOTE_WRITE_URL=https://a:p%40ss@one.example.org/w\n\thttps://two.example.org/w https://key@three.example.org/w")
	var got []string
	for _, e := range c.Endpoints {
		s := e.Name + " " + e.URL.String()
		if b := e.Client.BasicAuth; b != nil {
			s += " " + b.Username + " " + string(b.Password)
		}
		got = append(got, s)
	}
	want := []string{"one.example.org https://one.example.org/w a p@ss", "two.example.org https://two.example.org/w", "three.example.org https://three.example.org/w key "}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// TestOneOrigin: credentials may go to several paths of one server.
func TestOneOrigin(t *testing.T) {
	c := mustLoad(t, Run, "REMOTE_WRITE_URL=https://a.example.org/1 https://A.example.org:443/2", "REMOTE_WRITE_BEARER_TOKEN=x", "REMOTE_WRITE_CA="+certificate(t).cert)
	for _, e := range c.Endpoints {
		if e.Client.Authorization == nil {
			t.Errorf("%s has no token", e.Name)
		}
	}
}

type keyPair struct{ cert, key string }

func certificate(t *testing.T) keyPair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return keyPair{
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})),
	}
}

// TestTLS: certificates inline, on one line, and in files; a client can be made of each.
func TestTLS(t *testing.T) {
	a, b := certificate(t), certificate(t)
	dir := t.TempDir()
	for name, text := range map[string]string{"ca": a.cert, "cert": a.cert, "key": a.key} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	oneLine := func(s string) string { return strings.ReplaceAll(s, "\n", `\n`) }
	for name, environ := range map[string][]string{
		"inline":   {"REMOTE_WRITE_CA=" + a.cert, "REMOTE_WRITE_CERT=" + a.cert, "REMOTE_WRITE_KEY=" + a.key},
		"one line": {"REMOTE_WRITE_CA=" + oneLine(a.cert), "REMOTE_WRITE_CERT=" + oneLine(a.cert), "REMOTE_WRITE_KEY=" + oneLine(a.key)},
		"files":    {"REMOTE_WRITE_CA_FILE=" + dir + "/ca", "REMOTE_WRITE_CERT_FILE=" + dir + "/cert", "REMOTE_WRITE_KEY_FILE=" + dir + "/key"},
		"mixed":    {"REMOTE_WRITE_CERT=" + a.cert, "REMOTE_WRITE_KEY_FILE=" + dir + "/key"},
	} {
		c, _, err := load(Plugin, environ...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := promconfig.NewClientFromConfig(c.Endpoints[0].Client, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, _, err := load(Plugin, "REMOTE_WRITE_CERT="+a.cert, "REMOTE_WRITE_KEY="+b.key)
	if err == nil || !strings.Contains(err.Error(), "does not match") {
		t.Errorf("a foreign key: %v", err)
	}
}

// TestPluginHint: a file that the plugin cannot see is explained.
func TestPluginHint(t *testing.T) {
	for _, environ := range [][]string{{"CONFIG_FILE=/etc/rw.yml"}, {"REMOTE_WRITE_BEARER_TOKEN_FILE=/etc/token"}, {"REMOTE_WRITE_CA_FILE=/etc/nothing.pem"}} {
		_, _, err := load(Plugin, environ...)
		if err == nil || !strings.Contains(err.Error(), "config.source=") {
			t.Errorf("%q: %v", environ, err)
		}
		if _, _, err = load(Run, environ...); err == nil || strings.Contains(err.Error(), "config.source=") {
			t.Errorf("%q: %v", environ, err)
		}
	}
}

// TestAllAtOnce: every problem is in one error.
func TestAllAtOnce(t *testing.T) {
	_, _, err := Load(Plugin, []string{"SCRAPE_INTERVAL=x", "LOG_LEVEL=y", "EXTERNAL_LABELS=z", "REMOTE_WRITE_HEADERS=host=a", "REMOTE_WRITE_CA=b", "HTTP_PROXY=://"})
	if err == nil {
		t.Fatal("accepted")
	}
	lines := strings.Split(err.Error(), "\n")
	var names []string
	for _, l := range lines {
		name, _, _ := strings.Cut(l, ":")
		name = regexp.MustCompile(`^[A-Z_]+`).FindString(name)
		names = append(names, name)
	}
	slices.Sort(names)
	if d := cmp.Diff([]string{"EXTERNAL_LABELS", "HTTP_PROXY", "LOG_LEVEL", "REMOTE_WRITE_CA", "REMOTE_WRITE_HEADERS", "REMOTE_WRITE_URL", "SCRAPE_INTERVAL"}, names); d != "" {
		t.Errorf("%s\n%v", d, err)
	}
}

func TestWarnings(t *testing.T) {
	for set, want := range map[string]string{
		"SCRAPE_INTERVAL=10m":                                "SCRAPE_INTERVAL: receivers",
		"METRICS_KEEP=a,b":                                   "METRICS_KEEP has a comma",
		"DATA_DIR=/var/x":                                    "DATA_DIR: in the plugin",
		"STATUS_LISTEN_ADDRESS=:9324":                        "STATUS_LISTEN_ADDRESS: anyone",
		"REMOTE_WRITE_URL=http://a:b@x.example/w":            "REMOTE_WRITE_URL: credentials go to http://x.example/w in clear",
		"REMOTE_WRITE_URL=http://a:b@127.0.0.1/w":            "",
		"REMOTE_WRITE_URL=http://a:b@10.1.2.3/w":             "",
		"DATA_DIR=/data/sub":                                 "",
		"METRICS_DROP=a{1,2}":                                "",
		"REMOTE_WRITE_URL=https://x/w REMOTE_WRITE_NOTHING=": "",
	} {
		_, warnings, err := load(Plugin, set)
		if strings.Contains(set, " ") {
			_, warnings, err = load(Plugin, strings.Fields(set)...)
		}
		if err != nil {
			t.Errorf("%q: %v", set, err)
		}
		switch {
		case want == "" && len(warnings) > 0, want != "" && (len(warnings) != 1 || !strings.HasPrefix(warnings[0].String(), want)):
			t.Errorf("%q: warnings %q, want %q", set, warnings, want)
		}
	}
	_, warnings, err := load(Run, "REMOTE_WRITE_URL=http://x/w", "REMOTE_WRITE_SERVER_NAME=y")
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0].Text, "no effect") {
		t.Errorf("%v %q", err, warnings)
	}
}

// TestUnknownNames: in run, a name that looks like a setting is warned about,
// with the nearest; what other programs use is not.
func TestUnknownNames(t *testing.T) {
	want := map[string]string{
		"REMOTE_WRITE_ULR": "REMOTE_WRITE_URL", "REMOTE_WRITE_URLS": "REMOTE_WRITE_URL", "REMOTE_WRITE_PASSWD": "REMOTE_WRITE_PASSWORD",
		"SCRAPE_INTERVALL": "SCRAPE_INTERVAL", "SCRAPE_TIMEOUT_SECONDS": "SCRAPE_TIMEOUT", "LOG_LEVELS": "LOG_LEVEL", "DATA_DIRECTORY": "DATA_DIR",
		"remote_write_url": "REMOTE_WRITE_URL", "EXTERNAL_LABEL": "EXTERNAL_LABELS", "MAX_BACKOF": "MAX_BACKOFF",
		"METRICS_KEEPS": "METRICS_KEEP", "STATUS_LISTEN_ADDR": "STATUS_LISTEN_ADDRESS", "JOB_NAME": "JOB", "SELF_METRIC": "SELF_METRICS", "CONFIG_FILES": "CONFIG_FILE",
		"BATCH_DEADLINE": "", "HTTP_PORT": "", "NO_COLOR": "", "LOG_FORMAT": "", "PATH": "", "HOME": "", "STATE_DIRECTORY": "", "LOGNAME": "",
		"JOURNAL_STREAM": "", "INVOCATION_ID": "", "MAX_CONNECTIONS": "", "ALL_PROXY": "", "no_proxy": "", "HOSTNAME": "", "DATABASE_URL": "", "CONFIGURATION_DIRECTORY": "",
		"GOMEMLIMIT": "", "KUBERNETES_PORT": "", "HTTP_PROXYS": "HTTP_PROXY", "_": "",
	}
	var environ []string
	for _, name := range slices.Sorted(maps.Keys(want)) {
		environ = append(environ, name+"=x")
	}
	_, warnings, err := load(Run, environ...)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, w := range warnings {
		_, near, _ := strings.Cut(w.Text, "did you mean ")
		got[w.Setting] = strings.TrimSuffix(near, "?")
	}
	for name, near := range want {
		if got[name] != near {
			t.Errorf("%s: %q, want %q", name, got[name], near)
		}
	}
	if _, warnings, _ := load(Plugin, environ...); len(warnings) > 0 {
		t.Errorf("in the plugin: %q", warnings)
	}
	if _, warnings, _ := load(Run, "REMOTE_WRITE_ULR="); len(warnings) > 0 {
		t.Errorf("an empty one: %q", warnings)
	}
}

// TestNothingShowsSecrets: with every secret set to a marker, what check prints
// has none of them, and Secrets has them all.
func TestNothingShowsSecrets(t *testing.T) {
	pair := certificate(t)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("MARKERfile\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, environ := range map[string][]string{
		"basic":  {"REMOTE_WRITE_USERNAME=user", "REMOTE_WRITE_PASSWORD= MARKER pass", "REMOTE_WRITE_HEADERS=X-Key=MARKERheader", "HTTP_PROXY=http://u:MARKERproxy@p"},
		"bearer": {"REMOTE_WRITE_BEARER_TOKEN=MARKERtoken", "REMOTE_WRITE_CERT=" + pair.cert, "REMOTE_WRITE_KEY=" + pair.key, "REMOTE_WRITE_CA=" + pair.cert},
		"file":   {"REMOTE_WRITE_BEARER_TOKEN_FILE=" + token},
		"url":    {"REMOTE_WRITE_URL=https://user:MARKERurl@x/w?key=MARKERquery"},
	} {
		c := mustLoad(t, Run, environ...)
		var b bytes.Buffer
		if err := c.Write(&b); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), "MARKER") || strings.Contains(b.String(), "PRIVATE KEY") {
			t.Errorf("%s: %s", name, &b)
		}
		for _, s := range c.Secrets() {
			if strings.Contains(b.String(), s) && s != "user" {
				t.Errorf("%s: %q is in %s", name, s, &b)
			}
		}
		all := strings.Join(c.Secrets(), "\n")
		for _, e := range environ {
			for word := range strings.FieldsFuncSeq(e, func(r rune) bool { return strings.ContainsRune("=: @&?/\n", r) }) {
				if strings.HasPrefix(word, "MARKER") && !strings.Contains(all, word) {
					t.Errorf("%s: %s is not among the secrets", name, word)
				}
			}
		}
	}
	var b bytes.Buffer
	if err := mustLoad(t, Run, "SCRAPE_TARGET=http://h:1/m?key=MARKER").Write(&b); err != nil || !strings.Contains(b.String(), "http://h:1/m") || strings.Contains(b.String(), "MARKER") {
		t.Errorf("a target's query: %v, %s", err, &b)
	}
	if all := mustLoad(t, Run, "REMOTE_WRITE_BEARER_TOKEN_FILE="+token).Secrets(); !slices.Contains(all, "MARKERfile") {
		t.Errorf("%q", all)
	}
	basic := mustLoad(t, Run, "REMOTE_WRITE_USERNAME=user", "REMOTE_WRITE_PASSWORD=p@ss word").Secrets()
	for _, shown := range []string{"p@ss word", "dXNlcjpwQHNzIHdvcmQ=", "p%40ss+word", "p%40ss%20word", "p@ss%20word"} {
		if got := redact.New(basic).Hide(shown); got != redact.Hidden {
			t.Errorf("%s is shown as %s with %q", shown, got, basic)
		}
	}
}

func TestWrite(t *testing.T) {
	c := mustLoad(t, Plugin, "SCRAPE_INTERVAL=30s", "INSTANCE=host-1", "REMOTE_WRITE_BEARER_TOKEN=x", "REMOTE_WRITE_URL=https://x.example/w?k=v")
	var b bytes.Buffer
	if err := c.Write(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range [][]string{
		{"SCRAPE_INTERVAL", "30s", "environment"}, {"SCRAPE_TIMEOUT", "10s", "default"}, {"INSTANCE", "host-1", "environment"},
		{"REMOTE_WRITE_URL", "https://x.example/w", "environment"}, {"REMOTE_WRITE_BEARER_TOKEN", "<secret>", "environment"},
		{"DATA_DIR", "/data", "default"}, {"name", "x.example"}, {"authentication", "bearer"},
	} {
		if !slices.ContainsFunc(strings.Split(b.String(), "\n"), func(line string) bool { return slices.Equal(strings.Fields(line), want) }) {
			t.Errorf("%q is not in\n%s", want, &b)
		}
	}
}
