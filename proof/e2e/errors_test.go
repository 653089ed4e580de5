// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"debug/elf"
	bin "encoding/binary"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker-remote-write/docker-remote-write/proof/engine"
	"github.com/docker-remote-write/docker-remote-write/proof/promtest"
)

// tellLog prints the first line of the plugin's log that contains a text.
func tellLog(t *testing.T, p *plugin, text string) {
	t.Helper()
	for _, l := range p.log() {
		if strings.Contains(l.Message, text) {
			tell(t, "the engine's log has, level=%s: %s", l.Level, l.Message)
			return
		}
	}
	t.Errorf("the engine's log says nothing of %q", text)
}

// TestWrongArchitecture: enable fails for want of the socket; the cause is in the
// engine's log.
func TestWrongArchitecture(t *testing.T) {
	e := sharedEngine(t)
	other := filepath.Join(t.TempDir(), "other")
	b, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	machine := elf.EM_AARCH64
	if runtime.GOARCH == "arm64" {
		machine = elf.EM_X86_64
	}
	bin.LittleEndian.PutUint16(b[18:], uint16(machine)) // e_machine
	if err := os.WriteFile(other, b, 0o755); err != nil {
		t.Fatal(err)
	}
	p := createFrom(t, e, assemble(t, other, "/data"), "REMOTE_WRITE_URL=http://127.0.0.1:9/")
	_, err = p.Docker(t.Context(), "plugin", "enable", p.name)
	if err == nil || !strings.Contains(err.Error(), "no such file or directory") {
		t.Errorf("enable says %v", err)
	}
	tell(t, "enable says: %v", err)
	tellLog(t, p, "exec format error")
}

// TestInvalidSettings: enable succeeds and is quick, the plugin stays alive and
// idle, and the engine's log says what is wrong, twice: as the plugin's own line
// and as the answer to StartMetrics.
func TestInvalidSettings(t *testing.T) {
	e := sharedEngine(t)
	for name, c := range map[string]struct{ settings, says []string }{
		"missing URL":            {nil, []string{"REMOTE_WRITE_URL"}},
		"bad interval":           {[]string{"REMOTE_WRITE_URL=http://127.0.0.1:9/", "SCRAPE_INTERVAL=often"}, []string{"SCRAPE_INTERVAL", "often"}},
		"unreadable secret file": {[]string{"REMOTE_WRITE_URL=http://127.0.0.1:9/", "REMOTE_WRITE_BEARER_TOKEN_FILE=/config/token"}, []string{"REMOTE_WRITE_BEARER_TOKEN_FILE", "/config/token"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := create(t, e, c.settings...)
			if took := p.enable(); took > 4*time.Second {
				t.Errorf("enable took %v", took)
			}
			pid := p.pid()
			eventually(t, "the log to say it", func() bool { return p.logged(c.says...) })
			tellLog(t, p, c.says[0])
			b, err := os.ReadFile(e.Log())
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Contains(b, []byte("StartMetrics")) {
				t.Error("the engine did not log the answer to StartMetrics")
			}
			if p.pid() != pid || pid == 0 {
				t.Errorf("process %d became %d", pid, p.pid())
			}
			if took := p.disable(); took > 2*time.Second {
				t.Errorf("disable took %v", took)
			}
		})
	}
}

// TestFileComesLater: a plugin that idles for a file takes up its work when that
// has come, with nothing said to the engine.
func TestFileComesLater(t *testing.T) {
	e := sharedEngine(t)
	r := newReceiver(t, promtest.Options{})
	p := create(t, e, "REMOTE_WRITE_URL="+r.WriteURL(), "SCRAPE_INTERVAL=1s", "REMOTE_WRITE_BEARER_TOKEN_FILE=/data/token")
	p.enable()
	eventually(t, "the log to say it", func() bool { return p.logged("REMOTE_WRITE_BEARER_TOKEN_FILE", "no such file") })
	event := time.Now()
	if err := os.WriteFile(filepath.Join(p.data(), "token"), []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.up(1, event)
	got := r.got()
	if auth := got[len(got)-1].Header.Get("Authorization"); auth != "Bearer abc" {
		t.Errorf("Authorization is %q", auth)
	}
}

// TestUnreachableURL: one line that names the receiver and the cause.
func TestUnreachableURL(t *testing.T) {
	e := sharedEngine(t)
	p := create(t, e, "REMOTE_WRITE_URL=http://127.0.0.1:9/api/v1/write", "SCRAPE_INTERVAL=1s")
	p.enable()
	eventually(t, "the log to say it", func() bool { return p.logged("connection refused") })
	tellLog(t, p, "connection refused")
}

// TestFullDisk: the plugin says so, goes on sending, and heals.
func TestFullDisk(t *testing.T) {
	e := sharedEngine(t)
	r := newReceiver(t, promtest.Options{})
	p := create(t, e, "REMOTE_WRITE_URL="+r.WriteURL(), "SCRAPE_INTERVAL=1s")
	p.enable() // makes the data directory
	p.disable()
	data, unmount, err := e.MountTmpfs(p.data(), "size=2m")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unmount() })
	ballast := filepath.Join(data, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	f.Close()
	event := time.Now()
	p.enable()
	r.up(1, event)
	r.some()
	eventually(t, "the log to say it", func() bool { return p.logged("no space left") })
	tellLog(t, p, "no space left")
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	r.some()
	healed := time.Now()
	p.kill() // what is on disk now survives
	r.up(1, healed)
	p.disable()
}

// TestGarbageAnswers: two minutes with a receiver that answers anything but
// HTTP fill no log, and the first complaint is the cause.
func TestGarbageAnswers(t *testing.T) {
	t.Parallel()
	e := ownEngine(t, engine.Options{})
	r := newReceiver(t, promtest.Options{})
	r.setFault(func(w http.ResponseWriter, _ *http.Request) bool {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return false
		}
		_, _ = c.Write([]byte("\x16\x03\x01 what is this?\n\x00"))
		c.Close()
		return true
	})
	p := create(t, e, "REMOTE_WRITE_URL="+r.WriteURL(), "SCRAPE_INTERVAL=1s", "MAX_BACKOFF=1s")
	p.enable()
	const length = 2 * time.Minute
	<-time.After(length)
	lines := p.log()
	if len(lines) >= 20 {
		t.Errorf("%d lines in %v", len(lines), length)
	}
	complaint := slices.IndexFunc(lines, func(l engine.LogLine) bool { return l.Level == "error" })
	if complaint < 0 || !strings.Contains(lines[complaint].Message, "malformed HTTP") {
		t.Errorf("the first complaint is not the cause: %v", lines)
	} else {
		tell(t, "%v of garbage: %d lines, the first complaint: %s", length, len(lines), lines[complaint].Message)
	}
}
