// SPDX-License-Identifier: Apache-2.0

package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const testURL = "REMOTE_WRITE_URL=https://prometheus.example.org/api/v1/write"

// load is Load with a receiver, unless the environment has one.
func load(mode Mode, environ ...string) (*Config, []Warning, error) {
	if !slices.ContainsFunc(environ, func(e string) bool {
		return strings.HasPrefix(e, "REMOTE_WRITE_URL=") || strings.HasPrefix(e, "CONFIG_FILE=")
	}) {
		environ = append([]string{testURL}, environ...)
	}
	return Load(mode, environ)
}

func mustLoad(t *testing.T, mode Mode, environ ...string) *Config {
	t.Helper()
	c, _, err := load(mode, environ...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestDefaults: with a URL alone everything has the documented default.
func TestDefaults(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range []Mode{Plugin, Run} {
		c := mustLoad(t, mode)
		e := c.Endpoints[0]
		dir := map[Mode]string{Plugin: "/data", Run: "/var/lib/docker-remote-write"}[mode]
		got := []any{
			c.Mode, c.Target, c.Interval, c.Timeout, c.MaxBytes, c.SampleLimit, c.Job, c.Instance, c.External.Len(),
			c.Keep.Regexp == nil, c.Drop.Regexp == nil, c.SelfMetrics, c.DataDir, c.SpoolMaxBytes, c.SpoolMaxAge, c.StatusListen, c.LogLevel,
			len(c.Endpoints), e.Name, e.URL.String(), e.Protocol, e.Timeout, e.HoldOnAuthError, e.MaxSamples, e.MaxBytes, e.Deadline,
			e.MinBackoff, e.MaxBackoff, e.RateLimit, e.Client.FollowRedirects, e.Client.EnableHTTP2,
		}
		want := []any{
			mode, "unix:///run/docker/metrics.sock", 15 * time.Second, 10 * time.Second, int64(16 << 20), 50000, "docker", host, 0,
			true, true, true, dir, int64(64 << 20), time.Duration(0), "", "info",
			1, "prometheus.example.org", "https://prometheus.example.org/api/v1/write", "auto", 30 * time.Second, false, 30000, int64(1 << 20), time.Duration(0),
			500 * time.Millisecond, time.Minute, 0, false, true,
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", mode, d)
		}
	}
}

// TestEmptyMeansUnset: each setting alone, set to nothing or to spaces, changes nothing.
func TestEmptyMeansUnset(t *testing.T) {
	for _, mode := range []Mode{Plugin, Run} {
		want := mustLoad(t, mode).Effective()
		for _, name := range Names() {
			for _, empty := range []string{"", "  ", "\n"} {
				environ := []string{name + "=" + empty}
				if name == "REMOTE_WRITE_URL" {
					if _, _, err := Load(mode, environ); err == nil || !strings.Contains(err.Error(), "REMOTE_WRITE_URL is not set") {
						t.Errorf("%s: %v", mode, err)
					}
					continue
				}
				c, _, err := Load(mode, append(environ, testURL))
				if err != nil {
					t.Errorf("%s %q: %v", mode, environ, err)
				} else if d := cmp.Diff(want, c.Effective()); d != "" {
					t.Errorf("%s %q: %s", mode, environ, d)
				}
			}
		}
	}
}

// TestBadSettings has malformed, out of range and contradictory values. The
// error must hold every one of the texts, and never the secret marker.
func TestBadSettings(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	empty, garbage, secret := write("empty", "\n"), write("garbage", "MARKER"), write("secret", "s3cr3t")
	two := "REMOTE_WRITE_URL=https://a.example.org/w https://b.example.org/w"
	missing := filepath.Join(dir, "missing")
	for _, tc := range []struct {
		environ []string
		want    []string
	}{
		{[]string{"REMOTE_WRITE_URL="}, []string{"REMOTE_WRITE_URL is not set", "CONFIG_FILE"}},
		{[]string{"REMOTE_WRITE_URL=prometheus:9090"}, []string{"REMOTE_WRITE_URL", `"prometheus:9090"`, "http://"}},
		{[]string{"REMOTE_WRITE_URL=ftp://x/"}, []string{"REMOTE_WRITE_URL", `"ftp://x/"`, "http://"}},
		{[]string{"REMOTE_WRITE_URL=https:///api"}, []string{"REMOTE_WRITE_URL", "no host"}},
		{[]string{"REMOTE_WRITE_URL=https://x:0/api"}, []string{"REMOTE_WRITE_URL", "port"}},
		{[]string{"REMOTE_WRITE_URL=https://x:99999/api"}, []string{"REMOTE_WRITE_URL", "port"}},
		{[]string{"REMOTE_WRITE_URL=https://x:/api"}, []string{"REMOTE_WRITE_URL", "port"}},
		{[]string{"REMOTE_WRITE_URL=https://x/api#MARKER"}, []string{"REMOTE_WRITE_URL", "https://x/api", "fragment"}},
		{[]string{"REMOTE_WRITE_URL=https://user:MARKER/@x/api"}, []string{"REMOTE_WRITE_URL", "percent-encoded"}},
		{[]string{"REMOTE_WRITE_URL=https://user:MAR%KER@x/api"}, []string{"REMOTE_WRITE_URL", "percent-encoded"}},
		{[]string{"REMOTE_WRITE_URL=user:MARKER@x"}, []string{"REMOTE_WRITE_URL", "http://"}},
		{[]string{"REMOTE_WRITE_URL=https://us%3Aer:MARKER@x/"}, []string{"REMOTE_WRITE_URL", "colon"}},
		{[]string{"REMOTE_WRITE_URL=https://x/w http://[::1"}, []string{"REMOTE_WRITE_URL", "URL 2"}},
		{[]string{"REMOTE_WRITE_URL=https://x/w https://u:MARKER@x/w"}, []string{"REMOTE_WRITE_URL", "twice"}},
		{[]string{"REMOTE_WRITE_URL=" + strings.Repeat("https://x/w ", 33)}, []string{"REMOTE_WRITE_URL", "at most 32"}},
		{[]string{"REMOTE_WRITE_PROTOCOL=3"}, []string{`REMOTE_WRITE_PROTOCOL="3"`, "auto, 2.0, 1.0"}},

		{[]string{"REMOTE_WRITE_USERNAME=a"}, []string{"REMOTE_WRITE_USERNAME", "REMOTE_WRITE_PASSWORD_FILE"}},
		{[]string{"REMOTE_WRITE_PASSWORD=MARKER"}, []string{"REMOTE_WRITE_PASSWORD", "set REMOTE_WRITE_USERNAME"}},
		{[]string{"REMOTE_WRITE_USERNAME=a:b", "REMOTE_WRITE_PASSWORD=MARKER"}, []string{`REMOTE_WRITE_USERNAME="a:b"`, "colon"}},
		{[]string{"REMOTE_WRITE_USERNAME=a\nb", "REMOTE_WRITE_PASSWORD=MARKER"}, []string{"REMOTE_WRITE_USERNAME", "one line"}},
		{[]string{"REMOTE_WRITE_USERNAME=a", "REMOTE_WRITE_PASSWORD=MARKER\nb"}, []string{"REMOTE_WRITE_PASSWORD", "one line"}},
		{[]string{"REMOTE_WRITE_USERNAME=a", "REMOTE_WRITE_PASSWORD=MARKER", "REMOTE_WRITE_PASSWORD_FILE=" + secret}, []string{"REMOTE_WRITE_PASSWORD, REMOTE_WRITE_PASSWORD_FILE", "exclude"}},
		{[]string{"REMOTE_WRITE_USERNAME=a", "REMOTE_WRITE_PASSWORD_FILE=" + missing}, []string{"REMOTE_WRITE_PASSWORD_FILE", missing, "no such file"}},
		{[]string{"REMOTE_WRITE_USERNAME=a", "REMOTE_WRITE_PASSWORD_FILE=" + dir}, []string{"REMOTE_WRITE_PASSWORD_FILE", "is not a file"}},
		{[]string{"REMOTE_WRITE_USERNAME=a", "REMOTE_WRITE_PASSWORD_FILE=" + empty}, []string{"REMOTE_WRITE_PASSWORD_FILE", "is empty"}},
		{[]string{"REMOTE_WRITE_USERNAME=a", "REMOTE_WRITE_PASSWORD=MARKER", "REMOTE_WRITE_BEARER_TOKEN=MARKER"}, []string{"REMOTE_WRITE_USERNAME, REMOTE_WRITE_PASSWORD, REMOTE_WRITE_BEARER_TOKEN", "keep one"}},
		{[]string{"REMOTE_WRITE_BEARER_TOKEN=MARKER", "REMOTE_WRITE_BEARER_TOKEN_FILE=" + secret}, []string{"REMOTE_WRITE_BEARER_TOKEN, REMOTE_WRITE_BEARER_TOKEN_FILE", "exclude"}},
		{[]string{"REMOTE_WRITE_BEARER_TOKEN=Bearer MARKER"}, []string{"REMOTE_WRITE_BEARER_TOKEN", "bare token"}},
		{[]string{"REMOTE_WRITE_BEARER_TOKEN=MARKER\x01"}, []string{"REMOTE_WRITE_BEARER_TOKEN"}},
		{[]string{"REMOTE_WRITE_BEARER_TOKEN_FILE=" + missing}, []string{"REMOTE_WRITE_BEARER_TOKEN_FILE", "no such file"}},
		{[]string{"REMOTE_WRITE_URL=https://u:MARKER@x/w", "REMOTE_WRITE_USERNAME=a", "REMOTE_WRITE_PASSWORD=MARKER"}, []string{"REMOTE_WRITE_URL, REMOTE_WRITE_USERNAME, REMOTE_WRITE_PASSWORD", "user name as well"}},
		{[]string{two, "REMOTE_WRITE_USERNAME=a", "REMOTE_WRITE_PASSWORD=MARKER"}, []string{"REMOTE_WRITE_USERNAME", "https://a.example.org:443", "https://b.example.org:443", "CONFIG_FILE"}},
		{[]string{two, "REMOTE_WRITE_BEARER_TOKEN=MARKER"}, []string{"REMOTE_WRITE_BEARER_TOKEN", "CONFIG_FILE"}},
		{[]string{two, "REMOTE_WRITE_HEADERS=X-Key=MARKER"}, []string{"REMOTE_WRITE_HEADERS", "CONFIG_FILE"}},
		{[]string{two, "REMOTE_WRITE_TENANT=a"}, []string{"REMOTE_WRITE_TENANT", "CONFIG_FILE"}},
		{[]string{"REMOTE_WRITE_TENANT=a\x00b"}, []string{"REMOTE_WRITE_TENANT", "one line"}},
		{[]string{"REMOTE_WRITE_TENANT=a", "REMOTE_WRITE_HEADERS=x-scope-orgid=b"}, []string{"REMOTE_WRITE_TENANT, REMOTE_WRITE_HEADERS", "X-Scope-OrgID"}},
		{[]string{"REMOTE_WRITE_HEADERS=MARKER"}, []string{"REMOTE_WRITE_HEADERS: entry 1 is not name=value"}},
		{[]string{"REMOTE_WRITE_HEADERS=a=b,=MARKER"}, []string{"REMOTE_WRITE_HEADERS: entry 2 is not name=value"}},
		{[]string{"REMOTE_WRITE_HEADERS=a=\"MARKER"}, []string{"REMOTE_WRITE_HEADERS", "closing"}},
		{[]string{"REMOTE_WRITE_HEADERS=a=\"MARKER\"b"}, []string{"REMOTE_WRITE_HEADERS", "no comma"}},
		{[]string{"REMOTE_WRITE_HEADERS=a b=MARKER"}, []string{"REMOTE_WRITE_HEADERS", "no header name"}},
		{[]string{"REMOTE_WRITE_HEADERS=a=b,A=MARKER"}, []string{"REMOTE_WRITE_HEADERS", "twice"}},
		{[]string{"REMOTE_WRITE_HEADERS=a=MARKER\nx"}, []string{"REMOTE_WRITE_HEADERS", "control"}},
		{[]string{"REMOTE_WRITE_HEADERS=authorization=MARKER"}, []string{"REMOTE_WRITE_HEADERS", "Authorization", "bearer token"}},
		{[]string{"REMOTE_WRITE_HEADERS=host=x"}, []string{"REMOTE_WRITE_HEADERS", "Host", "protocol"}},
		{[]string{"REMOTE_WRITE_HEADERS=content-encoding=x,content-type=x,user-agent=x,x-prometheus-remote-write-version=x"}, []string{"Content-Encoding", "Content-Type", "User-Agent", "X-Prometheus-Remote-Write-Version"}},
		{[]string{"REMOTE_WRITE_CA=MARKER"}, []string{"REMOTE_WRITE_CA", "PEM"}},
		{[]string{"REMOTE_WRITE_CA=-----BEGIN CERTIFICATE-----\nTUFSS0VS\n-----END CERTIFICATE-----"}, []string{"REMOTE_WRITE_CA", "certificate 1"}},
		{[]string{"REMOTE_WRITE_CA=-----BEGIN PRIVATE KEY-----\nTUFSS0VS\n-----END PRIVATE KEY-----"}, []string{"REMOTE_WRITE_CA", "PRIVATE KEY"}},
		{[]string{"REMOTE_WRITE_CA_FILE=" + garbage}, []string{"REMOTE_WRITE_CA_FILE", "PEM"}},
		{[]string{"REMOTE_WRITE_CA_FILE=" + missing}, []string{"REMOTE_WRITE_CA_FILE", "no such file"}},
		{[]string{"REMOTE_WRITE_CA=x", "REMOTE_WRITE_CA_FILE=" + garbage}, []string{"REMOTE_WRITE_CA, REMOTE_WRITE_CA_FILE", "exclude"}},
		{[]string{"REMOTE_WRITE_CERT=MARKER"}, []string{"REMOTE_WRITE_CERT", "REMOTE_WRITE_KEY"}},
		{[]string{"REMOTE_WRITE_KEY=MARKER"}, []string{"REMOTE_WRITE_KEY", "REMOTE_WRITE_CERT"}},
		{[]string{"REMOTE_WRITE_CERT=MARKER", "REMOTE_WRITE_KEY=MARKER"}, []string{"REMOTE_WRITE_CERT", "cannot be used"}},
		{[]string{"REMOTE_WRITE_CERT=x", "REMOTE_WRITE_CERT_FILE=" + garbage, "REMOTE_WRITE_KEY=y"}, []string{"REMOTE_WRITE_CERT, REMOTE_WRITE_CERT_FILE", "exclude"}},
		{[]string{"REMOTE_WRITE_CERT=x", "REMOTE_WRITE_KEY=y", "REMOTE_WRITE_KEY_FILE=" + garbage}, []string{"REMOTE_WRITE_KEY, REMOTE_WRITE_KEY_FILE", "exclude"}},
		{[]string{"REMOTE_WRITE_CERT_FILE=" + missing, "REMOTE_WRITE_KEY_FILE=" + missing}, []string{"REMOTE_WRITE_CERT_FILE", "REMOTE_WRITE_KEY_FILE", "no such file"}},
		{[]string{"REMOTE_WRITE_CERT_FILE=" + garbage, "REMOTE_WRITE_KEY_FILE=" + garbage}, []string{"REMOTE_WRITE_CERT_FILE", "cannot be used"}},
		{[]string{"REMOTE_WRITE_SERVER_NAME=a\tb"}, []string{"REMOTE_WRITE_SERVER_NAME", "one line"}},
		{[]string{"REMOTE_WRITE_INSECURE_SKIP_VERIFY=maybe"}, []string{`REMOTE_WRITE_INSECURE_SKIP_VERIFY="maybe"`, "true nor false"}},
		{[]string{"HTTP_PROXY=http://u:MARKER@"}, []string{"HTTP_PROXY", "http://proxy"}},
		{[]string{"HTTPS_PROXY=gopher://u:MARKER@x"}, []string{"HTTPS_PROXY", "socks5"}},

		{[]string{"REMOTE_WRITE_TIMEOUT=30"}, []string{`REMOTE_WRITE_TIMEOUT="30"`, "15s"}},
		{[]string{"REMOTE_WRITE_TIMEOUT=0"}, []string{`REMOTE_WRITE_TIMEOUT="0"`, "100ms to 10m"}},
		{[]string{"REMOTE_WRITE_HOLD_ON_AUTH_ERROR=2"}, []string{"REMOTE_WRITE_HOLD_ON_AUTH_ERROR", "true nor false"}},
		{[]string{"MAX_SAMPLES_PER_SEND=0"}, []string{`MAX_SAMPLES_PER_SEND="0"`, "1 to 1000000"}},
		{[]string{"MAX_SAMPLES_PER_SEND=1e3"}, []string{"MAX_SAMPLES_PER_SEND", "whole number"}},
		{[]string{"MAX_REQUEST_BYTES=1KiB"}, []string{`MAX_REQUEST_BYTES="1KiB"`, "64KiB to 32MiB"}},
		{[]string{"MAX_REQUEST_BYTES=1 apple"}, []string{"MAX_REQUEST_BYTES", "64MiB"}},
		{[]string{"BATCH_SEND_DEADLINE=2h"}, []string{"BATCH_SEND_DEADLINE", "or 0: send each scrape at once"}},
		{[]string{"MIN_BACKOFF=-1s"}, []string{"MIN_BACKOFF", "is not a duration"}},
		{[]string{"MIN_BACKOFF=5ms"}, []string{"MIN_BACKOFF", "10ms to 1h"}},
		{[]string{"MAX_BACKOFF=1d"}, []string{"MAX_BACKOFF", "10ms to 1h"}},
		{[]string{"MIN_BACKOFF=2m"}, []string{"MIN_BACKOFF, MAX_BACKOFF", "2m0s", "1m0s"}},
		{[]string{"MAX_SAMPLES_PER_SECOND=-1"}, []string{"MAX_SAMPLES_PER_SECOND", "or 0: no limit"}},
		{[]string{"MAX_SAMPLES_PER_SECOND=99999999999999999999"}, []string{"MAX_SAMPLES_PER_SECOND", "too large"}},

		{[]string{"SCRAPE_TARGET=/run/docker/metrics.sock"}, []string{"SCRAPE_TARGET", "unix:///path/of/socket"}},
		{[]string{"SCRAPE_TARGET=unix://metrics.sock"}, []string{"SCRAPE_TARGET", "absolute"}},
		{[]string{"SCRAPE_TARGET=unix:///" + strings.Repeat("a", 200)}, []string{"SCRAPE_TARGET", "107"}},
		{[]string{"SCRAPE_TARGET=https://x/metrics"}, []string{"SCRAPE_TARGET", "http://host:port/metrics"}},
		{[]string{"SCRAPE_TARGET=http://x:123456/metrics"}, []string{"SCRAPE_TARGET", "port"}},
		{[]string{"SCRAPE_TARGET=http://a:MARKER@x/metrics"}, []string{"SCRAPE_TARGET=\"http://x/metrics\"", "user info"}},
		{[]string{"EXTRA_TARGETS=http://127.0.0.1:9100"}, []string{"EXTRA_TARGETS", "entry 1 is not name=value"}},
		{[]string{"EXTRA_TARGETS=a=ftp://h/x"}, []string{"EXTRA_TARGETS", `"a"`, "http or https://host:port/metrics"}},
		{[]string{"EXTRA_TARGETS=a=https://h/x"}, []string{"EXTRA_TARGETS", `"a"`, "EXTRA_TARGETS_CA", "EXTRA_TARGETS_INSECURE_SKIP_VERIFY"}},
		{[]string{"EXTRA_TARGETS=a=http://u:MARKER@h/x"}, []string{"EXTRA_TARGETS", `"a"`, "user info"}},
		{[]string{"EXTRA_TARGETS=a@fast=http://h/x"}, []string{"EXTRA_TARGETS", `"fast"`, "such as 15s"}},
		{[]string{"EXTRA_TARGETS=a@1ms=http://h/x"}, []string{"EXTRA_TARGETS", "100ms to 1h"}},
		{[]string{"EXTRA_TARGETS=@1s=http://h/x"}, []string{"EXTRA_TARGETS", "has no name"}},
		{[]string{"EXTRA_TARGETS=a=http://h/x,a=http://h/y"}, []string{"EXTRA_TARGETS", `job="a" and instance="h"`}},
		{[]string{"EXTRA_TARGETS=docker=http://127.0.0.1:1"}, []string{"EXTRA_TARGETS", `job="docker"`}},
		{[]string{"EXTRA_TARGETS=" + strings.TrimPrefix(strings.Repeat(",x=http://h", 32), ",")}, []string{"EXTRA_TARGETS", "has 32 targets", "at most 31"}},
		{[]string{"EXTRA_TARGETS_CA=x"}, []string{"EXTRA_TARGETS_CA", "BEGIN CERTIFICATE"}},
		{[]string{"SCRAPE_INTERVAL=15"}, []string{`SCRAPE_INTERVAL="15"`, "such as 15s"}},
		{[]string{"SCRAPE_INTERVAL=1ms"}, []string{"SCRAPE_INTERVAL", "100ms to 1h"}},
		{[]string{"SCRAPE_TIMEOUT=20s"}, []string{"SCRAPE_TIMEOUT, SCRAPE_INTERVAL", "20s", "15s"}},
		{[]string{"SCRAPE_TIMEOUT=0"}, []string{"SCRAPE_TIMEOUT", "10ms to 1h"}},
		{[]string{"SCRAPE_MAX_BYTES=1TiB"}, []string{"SCRAPE_MAX_BYTES", "64KiB to 256MiB"}},
		{[]string{"SCRAPE_MAX_BYTES=9999999999999TiB"}, []string{"SCRAPE_MAX_BYTES", "too large"}},
		{[]string{"SCRAPE_SAMPLE_LIMIT=0"}, []string{"SCRAPE_SAMPLE_LIMIT", "1 to 1000000"}},
		{[]string{"JOB=a\nb"}, []string{"JOB", "one line"}},
		{[]string{"JOB=" + strings.Repeat("a", 1025)}, []string{"JOB", "at most 1024"}},
		{[]string{"INSTANCE=a\xffb"}, []string{"INSTANCE", "UTF-8"}},
		{[]string{"EXTERNAL_LABELS=a"}, []string{`EXTERNAL_LABELS="a"`, "name=value"}},
		{[]string{"EXTERNAL_LABELS=1a=b"}, []string{"EXTERNAL_LABELS", "label name"}},
		{[]string{"EXTERNAL_LABELS=__a=b"}, []string{"EXTERNAL_LABELS", "reserved"}},
		{[]string{"EXTERNAL_LABELS=job=b"}, []string{"EXTERNAL_LABELS", "JOB"}},
		{[]string{"EXTERNAL_LABELS=instance=b"}, []string{"EXTERNAL_LABELS", "INSTANCE"}},
		{[]string{"EXTERNAL_LABELS=le=b"}, []string{"EXTERNAL_LABELS", "buckets"}},
		{[]string{"EXTERNAL_LABELS=a=b,a=c"}, []string{"EXTERNAL_LABELS", "twice"}},
		{[]string{"EXTERNAL_LABELS=a="}, []string{"EXTERNAL_LABELS", "no value"}},
		{[]string{"METRICS_KEEP=go_(.*"}, []string{`METRICS_KEEP="go_(.*"`, "RE2"}},
		{[]string{"METRICS_DROP=a)|(b"}, []string{"METRICS_DROP", "RE2"}},
		{[]string{"SELF_METRICS=off"}, []string{`SELF_METRICS="off"`, "true nor false"}},
		{[]string{"DATA_DIR=data"}, []string{`DATA_DIR="data"`, "absolute path"}},
		{[]string{"SPOOL_MAX_BYTES=1MiB"}, []string{"SPOOL_MAX_BYTES", "2MiB to 1TiB"}},
		{[]string{"SPOOL_MAX_AGE=1s"}, []string{"SPOOL_MAX_AGE", "or 0: no limit"}},
		{[]string{"STATUS_LISTEN_ADDRESS=9324"}, []string{"STATUS_LISTEN_ADDRESS", "127.0.0.1:9324"}},
		{[]string{"STATUS_LISTEN_ADDRESS=127.0.0.1:http"}, []string{"STATUS_LISTEN_ADDRESS", "numeric port"}},
		{[]string{"STATUS_LISTEN_ADDRESS=http://a:1"}, []string{"STATUS_LISTEN_ADDRESS", "not an address"}},
		{[]string{"LOG_LEVEL=loud"}, []string{`LOG_LEVEL="loud"`, "debug, info, warning, error"}},
		{[]string{"NO_PROXY=a\x00"}, []string{"NO_PROXY", "one line"}},
		{[]string{"CONFIG_FILE=" + missing}, []string{"CONFIG_FILE", missing, "no such file"}},
		{[]string{"CONFIG_FILE=" + dir}, []string{"CONFIG_FILE", "is not a file"}},
		{[]string{"CONFIG_FILE=" + missing, testURL}, []string{"CONFIG_FILE, REMOTE_WRITE_URL: exclude"}},
		{[]string{"CONFIG_FILE=" + missing, "REMOTE_WRITE_USERNAME=a"}, []string{"REMOTE_WRITE_USERNAME, CONFIG_FILE"}},
	} {
		for _, mode := range []Mode{Plugin, Run} {
			c, _, err := load(mode, tc.environ...)
			if err == nil {
				t.Errorf("%s %q: accepted", mode, tc.environ)
				continue
			}
			if c != nil {
				t.Errorf("%s %q: a configuration beside the error", mode, tc.environ)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%s %q: %q is not in: %v", mode, tc.environ, want, err)
				}
			}
			if strings.Contains(err.Error(), "MARKER") {
				t.Errorf("%s %q: shows a secret: %v", mode, tc.environ, err)
			}
		}
	}
}
