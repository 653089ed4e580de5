// SPDX-License-Identifier: Apache-2.0

package remotewrite_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/docker-remote-write/docker-remote-write/internal/remotewrite"
	"github.com/docker-remote-write/docker-remote-write/internal/scrape"
	"github.com/docker-remote-write/docker-remote-write/internal/spool"
	"github.com/docker-remote-write/docker-remote-write/proof/bench/replay"
)

// TestWireBytes sends scrapes recorded from an engine, as many in a request
// as when catching up and as few as when live, and bounds what they take.
func TestWireBytes(t *testing.T) {
	if _, err := exec.LookPath("xz"); err != nil {
		t.Skip("xz is not installed")
	}
	frames, err := replay.Recorded(filepath.Join(captures, "v20.10-sequence-60x1s.tar.xz"), 1)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		w.Write(frames.Append(nil, n))
		n++
	}))
	defer target.Close()
	sc, err := scrape.New(scrape.Options{Target: target.URL, Job: "docker", Instance: "host.example", Log: silent(), Series: hostNumbers})
	if err != nil {
		t.Fatal(err)
	}
	defer sc.Close()
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("X-Prometheus-Remote-Write-Samples-Written", "0")
	}))
	defer receiver.Close()
	u, err := url.Parse(receiver.URL)
	if err != nil {
		t.Fatal(err)
	}
	q, _ := spool.Open(os.DevNull+"/none", spool.Options{Log: silent(), Series: hostNumbers, RingBytes: 64 << 20})
	var eps []spool.Endpoint
	cases := []struct {
		protocol remotewrite.Protocol
		samples  int
		plain    bool    // without metadata
		limit    float64 // bytes a sample
	}{
		{remotewrite.V2, 415, false, 19}, {remotewrite.V1, 415, false, 17},
		{remotewrite.V2, 415, true, 13.5}, {remotewrite.V1, 415, true, 17},
		{remotewrite.V2, 4 * 415, false, 5.6}, {remotewrite.V1, 4 * 415, false, 5.5},
		{remotewrite.V2, 4 * 415, true, 4.3}, {remotewrite.V1, 4 * 415, true, 5.5},
		{remotewrite.V2, 10_000, false, 2.1}, {remotewrite.V1, 10_000, false, 2.2},
		{remotewrite.V2, 20_000, false, 1.7}, {remotewrite.V1, 20_000, false, 1.9},
		{remotewrite.V2, 30_000, false, 1.65}, {remotewrite.V1, 30_000, false, 1.8},
		{remotewrite.V2, 30_000, true, 1.55},
	}
	for i := range cases {
		eps = append(eps, spool.Endpoint{Name: fmt.Sprint(i), URL: receiver.URL})
	}
	cursors, err := q.Claim(eps)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(-3 * time.Hour).Truncate(time.Minute)
	for range 240 {
		s, err := sc.Scrape(t.Context(), at, nil)
		if err != nil {
			t.Fatal(err)
		}
		if s.Time = at.UnixMilli(); err != nil {
			t.Fatal(err)
		}
		if _, err := q.Append(t.Context(), s); err != nil && !errors.Is(err, spool.ErrNotDurable) {
			t.Fatal(err)
		}
		at = at.Add(15 * time.Second)
	}
	for i, c := range cases {
		s, err := remotewrite.New(remotewrite.Options{Name: "wire", URL: u, Protocol: c.protocol, MaxSamples: c.samples, Log: silent(), Omit: remotewrite.Omit{Metadata: c.plain}}, cursors[i])
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		if err := s.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		cancel()
		st := s.Status()
		got := float64(st.WireBytes) / float64(st.SentSamples)
		t.Logf("%s, at most %d samples a request, without metadata %v: %.3f bytes a sample", c.protocol, c.samples, c.plain, got)
		if got > c.limit {
			t.Errorf("%s, at most %d samples a request, without metadata %v: %.3f bytes a sample, want at most %.2f", c.protocol, c.samples, c.plain, got, c.limit)
		}
	}
}
