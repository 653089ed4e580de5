// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/docker-remote-write/docker-remote-write/proof/promtest"
)

// process is `docker-remote-write run` on the host.
type process struct {
	cmd    *exec.Cmd
	output bytes.Buffer
	done   chan error
	ended  sync.Once
}

// startRun starts it with nothing in its environment but the settings.
func startRun(t *testing.T, settings ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(binary, "run"), done: make(chan error, 1)}
	p.cmd.Env = settings
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	t.Cleanup(func() {
		p.ended.Do(func() {
			_ = p.cmd.Process.Kill()
			<-p.done
		})
		if t.Failed() {
			t.Logf("run:\n%s", p.output.String())
		}
	})
	return p
}

// end signals the process, waits for it and returns how long that took.
func (p *process) end(t *testing.T, s os.Signal) time.Duration {
	t.Helper()
	began := time.Now()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
	p.ended.Do(func() {
		if err := <-p.done; err != nil {
			t.Errorf("run ended with %v", err)
		}
	})
	return time.Since(began)
}

// capture is a handler that serves a payload file as its engine did.
func capture(t *testing.T, name string) http.Handler {
	t.Helper()
	dir := filepath.Join(repo, "testdata/captures")
	body, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	// One capture was taken without its headers.
	contentType := "text/plain; version=0.0.4; charset=utf-8"
	header, err := os.ReadFile(filepath.Join(dir, name+".headers"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(header)) {
		if v, ok := strings.CutPrefix(line, "Content-Type: "); ok {
			contentType = strings.TrimSpace(v)
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, _ = w.Write(body)
	})
}

// target serves a handler on a TCP or unix socket. It returns what SCRAPE_TARGET
// is to be and a channel that receives at each scrape.
func target(t *testing.T, network string, h http.Handler) (string, <-chan struct{}) {
	t.Helper()
	scraped := make(chan struct{}, 100)
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "metrics.sock")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		h.ServeHTTP(w, q)
		select {
		case scraped <- struct{}{}:
		default:
		}
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l)
	}()
	t.Cleanup(func() { s.Close(); <-done })
	if network == "unix" {
		return "unix://" + address, scraped
	}
	return "http://" + l.Addr().String() + "/metrics", scraped
}

// TestRun forwards without the plugin interface, from a TCP target and from the
// engine's socket, and ends with a last send on either signal.
func TestRun(t *testing.T) {
	for name, c := range map[string]struct {
		handler func(*testing.T) http.Handler
		network string
		signal  os.Signal
	}{
		"http": {func(t *testing.T) http.Handler { return capture(t, "v20.10-busy.txt") }, "tcp", syscall.SIGINT},
		"unix": {func(t *testing.T) http.Handler {
			e := sharedEngine(t)
			return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				m, err := e.Metrics(q.Context())
				if err != nil {
					http.Error(w, err.Error(), http.StatusBadGateway)
				}
				w.Header().Set("Content-Type", "text/plain; version=0.0.4")
				_, _ = io.WriteString(w, m)
			})
		}, "unix", syscall.SIGTERM},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t, promtest.Options{})
			to, scraped := target(t, c.network, c.handler(t))
			// Scrapes wait to be merged for longer than the test lasts: what arrives
			// after the first request comes with the last send.
			p := startRun(t, "SCRAPE_TARGET="+to, "REMOTE_WRITE_URL="+r.WriteURL(), "SCRAPE_INTERVAL=500ms",
				"BATCH_SEND_DEADLINE=1m", "DATA_DIR="+t.TempDir())
			for range 4 {
				<-scraped
			}
			if took := p.end(t, c.signal); took > 3*time.Second {
				t.Errorf("it took %v to end", took)
			}
			if ups := r.ups(); len(ups) < 3 {
				t.Errorf("of four scrapes %d arrived", len(ups))
			}
		})
	}
}

// TestStartTimestamps: all that a current engine tells, and nothing else, is in
// the requests.
func TestStartTimestamps(t *testing.T) {
	const want = 1386
	r := newReceiver(t, promtest.Options{})
	to, scraped := target(t, "tcp", capture(t, "master-swarm.pb"))
	p := startRun(t, "SCRAPE_TARGET="+to, "REMOTE_WRITE_URL="+r.WriteURL(), "SCRAPE_INTERVAL=1h", "SCRAPE_TIMEOUT=10s",
		"REMOTE_WRITE_PROTOCOL=2.0", "DATA_DIR="+t.TempDir())
	<-scraped
	r.await("the scrape", func() bool { return len(r.ups()) > 0 })
	p.end(t, syscall.SIGTERM)
	first := r.ups()[0].T
	// The engine gives one start timestamp a metric; each series that a histogram
	// consists of carries it.
	starts := map[string]int64{}
	for _, q := range r.got() {
		m, err := q.V2()
		if err != nil {
			t.Fatal(err)
		}
		for _, ts := range m.Timeseries {
			name, rest := metricOf(m.Symbols, ts.LabelsRefs)
			for _, s := range ts.Samples {
				if s.Timestamp != first || s.StartTimestamp == 0 || strings.HasPrefix(name, "docker_remote_write_") {
					continue
				}
				if had, ok := starts[name+rest]; ok && had != s.StartTimestamp {
					t.Errorf("%s%s starts at %d and at %d", name, rest, had, s.StartTimestamp)
				}
				starts[name+rest] = s.StartTimestamp
			}
		}
	}
	if len(starts) != want {
		t.Errorf("%d start timestamps arrived of %d", len(starts), want)
	}
}

// metricOf is the metric that a series belongs to, a histogram's for its parts.
func metricOf(symbols []string, refs []uint32) (name, labels string) {
	for i := 0; i+1 < len(refs); i += 2 {
		k, v := symbols[refs[i]], symbols[refs[i+1]]
		switch k {
		case "__name__":
			for _, part := range []string{"_bucket", "_count", "_sum"} {
				v = strings.TrimSuffix(v, part)
			}
			name = v
		case "le":
		default:
			labels += " " + k + "=" + v
		}
	}
	return name, labels
}
