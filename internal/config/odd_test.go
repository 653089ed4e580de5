// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"strings"
	"testing"
)

// TestOddValues: what a shell, a list of settings or an editor leaves in a value is named,
// with the setting, and no secret is shown.
func TestOddValues(t *testing.T) {
	const quotes, mark = "has a quote at both ends", "begins with a byte order mark"
	file := func(content string) string { return writeFile(t, "odd", content) }
	for _, tc := range []struct {
		set  []string
		want string // of the one warning; none if it is empty
	}{
		{[]string{`JOB="docker"`}, "JOB " + quotes},
		{[]string{`INSTANCE='host-17'`}, "INSTANCE " + quotes},
		{[]string{"INSTANCE=\ufeffhost-17"}, "INSTANCE " + mark},
		{[]string{`EXTERNAL_LABELS=cluster='eu1'`}, `EXTERNAL_LABELS: the value of "cluster" ` + quotes},
		{[]string{`EXTERNAL_LABELS=a=b,cluster="\"eu1\""`}, `EXTERNAL_LABELS: the value of "cluster" ` + quotes},
		{[]string{`EXTERNAL_LABELS=a="b"`}, ""},
		{[]string{`REMOTE_WRITE_HEADERS='X-A=MARKER'`}, "REMOTE_WRITE_HEADERS " + quotes},
		{[]string{`METRICS_KEEP="go_.*"`}, "METRICS_KEEP " + quotes},
		{[]string{`METRICS_DROP='go_.*'`}, "METRICS_DROP " + quotes},
		{[]string{`REMOTE_WRITE_TENANT='a'`}, "REMOTE_WRITE_TENANT " + quotes},
		{[]string{`REMOTE_WRITE_BEARER_TOKEN="MARKER"`}, "REMOTE_WRITE_BEARER_TOKEN " + quotes},
		{[]string{`REMOTE_WRITE_BEARER_TOKEN=MARKER"`}, ""},
		{[]string{`REMOTE_WRITE_BEARER_TOKEN="`}, ""},
		{[]string{"REMOTE_WRITE_USERNAME=a", ` REMOTE_WRITE_PASSWORD= "MARKER" `[1:]}, "REMOTE_WRITE_PASSWORD " + quotes},
		{[]string{"REMOTE_WRITE_USERNAME='a'", "REMOTE_WRITE_PASSWORD=MARKER"}, "REMOTE_WRITE_USERNAME " + quotes},
		{[]string{"REMOTE_WRITE_USERNAME=a", "REMOTE_WRITE_PASSWORD_FILE=" + file("\ufeffMARKER\n")}, "REMOTE_WRITE_PASSWORD_FILE: the file " + mark},
		{[]string{"REMOTE_WRITE_USERNAME=a", "REMOTE_WRITE_PASSWORD_FILE=" + file("\xff\xfeM\x00A\x00")}, "REMOTE_WRITE_PASSWORD_FILE: the file " + mark},
		{[]string{"REMOTE_WRITE_BEARER_TOKEN_FILE=" + file("\"MARKER\"\n")}, "REMOTE_WRITE_BEARER_TOKEN_FILE: the file " + quotes},
		{[]string{"REMOTE_WRITE_BEARER_TOKEN_FILE=" + file("MARKER\n")}, ""},
		{[]string{"REMOTE_WRITE_CA_FILE=" + file("\ufeff"+certificate(t).cert+certificate(t).cert)}, "REMOTE_WRITE_CA_FILE: the file " + mark},
	} {
		_, warnings, err := load(Run, append(tc.set, "REMOTE_WRITE_URL=https://x.example.org/w")...)
		got := fmt.Sprint(warnings)
		if err != nil || len(warnings) != 1 && tc.want != "" || tc.want == "" && len(warnings) != 0 || !strings.Contains(got, tc.want) || strings.Contains(got, "MARKER") {
			t.Errorf("%q: %v, %v, want one warning with %q", tc.set, err, warnings, tc.want)
		}
	}
}

// TestOddFiles: the same for the files that CONFIG_FILE names, and an empty one is an error
// there, too.
func TestOddFiles(t *testing.T) {
	mark, empty, good := writeFile(t, "mark", "\ufeffMARKER"), writeFile(t, "empty", " \n"), writeFile(t, "good", "MARKER\n")
	for _, entry := range []struct{ text, key string }{
		{"basic_auth: {username_file: FILE, password: x}", "basic_auth.username_file"},
		{"basic_auth: {username: a, password_file: FILE}", "basic_auth.password_file"},
		{"authorization: {credentials_file: FILE}", "authorization.credentials_file"},
		{"bearer_token_file: FILE", "authorization.credentials_file"},
		{"oauth2: {client_id: a, client_secret_file: FILE, token_url: http://x}", "oauth2.client_secret_file"},
	} {
		read := func(file string) ([]Warning, error) {
			path := writeFile(t, "rw.yml", "remote_write:\n- url: http://x/w\n  name: a\n  "+strings.Replace(entry.text, "FILE", file, 1))
			_, warnings, err := LoadFile(path, testBase(t))
			return warnings, err
		}
		if w, err := read(good); err != nil || len(w) > 0 {
			t.Errorf("%s: %v %v", entry.text, w, err)
		}
		want := `line 2: remote_write entry 1 ("a"): the file of ` + entry.key + " begins with a byte order mark"
		if w, err := read(mark); err != nil || len(w) != 1 || !strings.Contains(w[0].String(), want) || strings.Contains(w[0].String(), "MARKER") {
			t.Errorf("%s: %v %v, want %q", entry.text, w, err, want)
		}
		if _, err := read(empty); err == nil || !strings.Contains(err.Error(), entry.key) || !strings.Contains(err.Error(), "the file is empty") {
			t.Errorf("%s: %v", entry.text, err)
		}
	}
}

// TestSeparatedURLs: several URLs that no white space separates are not one.
func TestSeparatedURLs(t *testing.T) {
	for _, urls := range []string{
		"http://a/w,http://b/w", "http://a/w, http://b/w", "http://a/w ,https://b/w", "http://a/w;HTTPS://b/w", "http://a/w|http://b/w", "http://u:MARKER@a/w,http://u:MARKER@b/w", "http://a/w,",
	} {
		_, _, err := load(Run, "REMOTE_WRITE_URL="+urls)
		if err == nil || !strings.Contains(err.Error(), "REMOTE_WRITE_URL") || !strings.Contains(err.Error(), "white space") || strings.Contains(err.Error(), "MARKER") {
			t.Errorf("%q: %v", urls, err)
		}
	}
	for _, urls := range []string{"http://a/w,x", "http://a/w?x=1,2", "http://a/w?to=http://b/w", "http://a/http://b/w"} {
		if c, _, err := load(Run, "REMOTE_WRITE_URL="+urls); err != nil || len(c.Endpoints) != 1 {
			t.Errorf("%q: %v", urls, err)
		}
	}
	for _, text := range []string{"'http://a/w,http://b/w'", "'http://a/w http://b/w'"} {
		if _, _, err := LoadFile(writeFile(t, "rw.yml", "remote_write:\n- url: "+text), testBase(t)); err == nil || !strings.Contains(err.Error(), "an entry of its own") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
