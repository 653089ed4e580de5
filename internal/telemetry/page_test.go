// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"bytes"
	"context"
	"html"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker-remote-write/docker-remote-write/proof/engine"
)

// chromium opens a URL in a real browser, without a window, and returns the text
// of the document as it stands after rendering. A picture is kept in png, if set.
func chromium(t *testing.T, url, png string) string {
	t.Helper()
	path, err := exec.LookPath("chromium")
	cmd := exec.Command(path)
	if err != nil {
		if cmd, err = engine.PackageCommand("chromium", "../lib/chromium/chromium"); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatal(err)
			}
			t.Skip("no browser: ", err)
		}
	}
	args := []string{"--headless", "--disable-gpu", "--hide-scrollbars", "--window-size=1100,1060", "--user-data-dir=" + t.TempDir()}
	if os.Getuid() == 0 {
		args = append(args, "--no-sandbox")
	}
	if png != "" {
		args = append(args, "--screenshot="+png)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	browser := exec.CommandContext(ctx, cmd.Path, append(args, "--dump-dom", url)...)
	browser.Env = cmd.Env
	var stderr bytes.Buffer
	browser.Stderr = &stderr
	out, err := browser.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd.Path, err, stderr.Bytes())
	}
	dom := regexp.MustCompile(`(?s)<style>.*?</style>`).ReplaceAllString(string(out), "")
	return html.UnescapeString(regexp.MustCompile(`(?s)<[^>]*>`).ReplaceAllString(dom, "|"))
}

func TestPageInABrowserDuringAnOutageAndAfter(t *testing.T) {
	var mu sync.Mutex
	s, at := fresh(), now.Add(-time.Hour)
	s.Started = now.Add(-50 * time.Hour)
	tel := New(Options{
		State: func() State {
			mu.Lock()
			defer mu.Unlock()
			c := s
			c.Endpoints = append([]EndpointState(nil), s.Endpoints...)
			return c
		},
		Job: "docker", Instance: "host-1", Self: true,
		Now: func() time.Time { mu.Lock(); defer mu.Unlock(); return at },
	})
	set := func(st State, t time.Time) {
		mu.Lock()
		s, at = st, t
		mu.Unlock()
	}
	broken := outage()
	for m := range 100 { // fifty minutes with an outage of eight that has been caught up on
		at := now.Add(-time.Hour + time.Duration(m)*30*time.Second)
		st := fresh()
		if m > 30 && m < 47 {
			st.Endpoints[0].Failures = 1
			st.Endpoints[0].Backlog.Oldest = now.Add(-45 * time.Minute)
		}
		set(st, at)
		tel.Own()
	}
	broken.Targets = append(broken.Targets, TargetState{Name: "node", URL: "http://127.0.0.1:9100/metrics", Running: true, Interval: 30, Last: now, Failures: 3, LastError: "connection refused"})
	broken.Endpoints[0].LastError = `503 Service Unavailable: <script>document.title="pwned"</script>`
	for m := range 20 { // then ten of the outage that lasts
		st := outage()
		at := now.Add(-10*time.Minute + time.Duration(m)*30*time.Second)
		st.Endpoints[0].Backlog.Oldest = at.Add(-time.Duration(m+3) * 30 * time.Second)
		set(st, at)
		tel.Own()
	}
	set(broken, now)

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &httptest.Server{Listener: listener, Config: &http.Server{Handler: tel.TCPHandler(listener.Addr().String())}}
	srv.Start()
	defer srv.Close()

	text := chromium(t, srv.URL, os.Getenv("STATUS_PAGE_PNG"))
	for _, want := range []string{
		"Needs attention", "host-1", `503 Service Unavailable: <script>document.title="pwned"</script>`,
		"48 scrapes wait, the oldest for 11 min; next attempt in 31 s", "19 failed attempts in a row",
		"11 min behind", "19,632 samples", "4,908", "20 min", "attempts were failing", "Nothing is lost",
		"Engine||up", "Target node||down", "connection refused", "every 30 s", "3 failed",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("during the outage the page lacks %q", want)
		}
	}
	if strings.Contains(text, "|pwned|") || !strings.Contains(text, "host-1: Needs attention") {
		t.Error("the receiver's answer became part of the document")
	}

	healed := fresh()
	healed.Endpoints[0].Appended, healed.Endpoints[0].Delivered = 24949, 24949
	healed.Endpoints[0].LastError, healed.Endpoints[0].LastErrorTime = broken.Endpoints[0].LastError, now.Add(-20*time.Second)
	set(healed, now.Add(time.Minute))
	text = chromium(t, srv.URL, "")
	for _, want := range []string{"host-1: Healthy", "nothing waits", "24,949", "Last error, 80 s ago", "idle"} {
		if !strings.Contains(text, want) {
			t.Errorf("after the outage the page lacks %q", want)
		}
	}
	for _, not := range []string{"Needs attention", "failed attempt", "min behind|"} {
		if strings.Contains(text, not) {
			t.Errorf("after the outage the page still has %q", not)
		}
	}
}

// Nothing is loaded from anywhere, and every value from outside is escaped.
func TestPageIsSelfContainedAndEscapes(t *testing.T) {
	const evil = `<img src=x onerror=alert(1)>"'&`
	s := outage()
	s.Instance, s.Version, s.Mode = evil, evil, evil
	s.Config = ConfigState{Error: evil, File: evil, Warnings: []string{evil}}
	s.Targets[0].URL, s.Targets[0].LastError = evil, evil
	s.Spool.Dir, s.Spool.Error = evil, evil
	s.Unclaimed = []UnclaimedState{{Name: evil, Samples: 3}}
	e := &s.Endpoints[0]
	e.Name, e.URL, e.Protocol, e.Phase, e.LastError = evil, evil, evil, evil, evil
	tel := New(Options{State: func() State { return s }, Job: evil, Instance: evil, Now: func() time.Time { return now }})
	w := request(tel.TCPHandler("127.0.0.1:1"), "GET", PathPage, "127.0.0.1:1")
	body := w.Body.String()
	if strings.Contains(body, "<img") || strings.Count(body, "&lt;img") < 12 {
		t.Errorf("%d values are escaped", strings.Count(body, "&lt;img"))
	}
	if m := regexp.MustCompile(`(?i)<[^>]*\bsrc=|<script|@import|url\(|href="(http|//)`).FindString(body); m != "" {
		t.Errorf("the page refers to something outside: %s", m)
	}
	policy := w.Header().Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "frame-ancestors 'none'") {
		t.Errorf("Content-Security-Policy: %s", policy)
	}
}

func TestHistoryIsBoundedAndForgets(t *testing.T) {
	s := fresh()
	at := now
	tel := New(Options{State: func() State { return s }, Now: func() time.Time { return at }})
	for range 1000 { // four hours
		at = at.Add(15 * time.Second)
		tel.Own()
	}
	got := tel.State().Endpoints[0].History
	if len(got) != historyCap && len(got) != historyCap+1 {
		t.Errorf("%d points, want about %d", len(got), historyCap)
	}
	for i := 1; i < len(got); i++ {
		if !got[i].Time.After(got[i-1].Time) || at.Sub(got[i].Time) > historySpan {
			t.Fatalf("point %d is of %s, the one before of %s", i, got[i].Time, got[i-1].Time)
		}
	}
	s.Endpoints = []EndpointState{{Name: "other"}}
	at = at.Add(time.Minute)
	if got := tel.State(); len(got.Endpoints[0].History) != 1 || len(tel.history.endpoints) != 1 {
		t.Errorf("%d tracks, %d points for a new endpoint", len(tel.history.endpoints), len(got.Endpoints[0].History))
	}
}
