// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func sample() (figures, about) {
	f := figures{
		Version: "20.10.24+dfsg1", OS: "Debian GNU/Linux 12 (bookworm)", Kernel: "6.1.0", Driver: "overlay2", Architecture: "x86_64",
		CPUs: 2, Memory: 25276510208, Up: 1, Series: 409, ScrapeSeconds: 0.0031,
		HostUp: 1, HostSeries: 1234, HostScrapeSeconds: 0.012, Available: 20e9,
		Running: 3, Paused: 1, Stopped: 1, Checks: 24, FailedChecks: 6,
		CPU: 0.031, Resident: 78643200, CPUHistory: []float64{0, 0.01, 0.02, 0.05}, MemoryHistory: []float64{70e6, 75e6, 78e6},
		Samples: 12345, SampleRate: 409, Bytes: 45678, ByteRate: 1520, Requests: 30, Lost: 0, Waiting: 409, Protocol: "2.0",
	}
	for i := range 12 {
		f.Actions = append(f.Actions, action{Name: fmt.Sprint("action", i), Count: float64(i + 1), P50: 0.0005, P90: 0.12, P99: math.NaN()})
	}
	return f, about{Elapsed: 12 * time.Second, Total: 30 * time.Second, Plugin: "drw-demo-1", Engine: "the local engine", Receiver: "http://127.0.0.1:9/api/v1/write", Added: "EXTRA_TARGETS=node=http://127.0.0.1:8/metrics"}
}

func TestFrame(t *testing.T) {
	lines := frame(sample())
	if len(lines) > frameLines {
		t.Errorf("%d lines, %d were promised", len(lines), frameLines)
	}
	for _, l := range lines {
		if visible(l) > 79 {
			t.Errorf("%d columns: %q", visible(l), l)
		}
	}
	var got bytes.Buffer
	for _, l := range lines {
		fmt.Fprintln(&got, strings.TrimRight(unpainted.Replace(l), " "))
	}
	want, err := os.ReadFile(filepath.Join("testdata", "frame.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got.String()); d != "" {
		t.Error(d)
	}
}

func TestLine(t *testing.T) {
	f, a := sample()
	f.Actions = f.Actions[:1]
	got := line(f, a)
	want := " 12 s | engine 20.10.24+dfsg1 | host: 1,234 series, 18.6 GiB available | containers: 3 running, 1 paused, 1 stopped | actions: action0 1 (p50 500 us, p99 -) | " +
		"health checks: 24 run, 6 failed | daemon: CPU 3.1 %, memory 75.0 MiB | sent: 12,345 samples, 44.6 KiB"
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestDrawInPlace(t *testing.T) {
	var out bytes.Buffer
	width := 40
	s := &screen{out: &out, size: func() (int, int) { return width, 50 }, colour: true}
	take := func() string { defer out.Reset(); return out.String() }

	s.draw([]string{red + "one" + plain, strings.Repeat("x", 60)})
	if got, want := take(), "\x1b[?25l\x1b[31mone\x1b[0m\x1b[K\n"+strings.Repeat("x", 39)+"\x1b[0m\x1b[K\n\x1b[J"; got != want {
		t.Errorf("first: %q, not %q", got, want)
	}
	s.draw([]string{"three"})
	if got, want := take(), "\x1b[2A\rthree\x1b[K\n\x1b[J"; got != want {
		t.Errorf("second: %q, not %q", got, want)
	}
	width = 30
	s.draw([]string{"four"})
	if got := take(); !strings.HasPrefix(got, "\x1b[H\x1b[2J") {
		t.Errorf("after a change of width: %q", got)
	}
	s.say("end")
	if got, want := take(), "\x1b[?25hend\n"; got != want {
		t.Errorf("done: %q, not %q", got, want)
	}
	s.colour = false
	s.draw([]string{green + "plain" + plain})
	if got := take(); strings.Contains(got, "\x1b[32m") {
		t.Errorf("painted: %q", got)
	}
}

func TestWords(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{number(0), "0"}, {number(999), "999"}, {number(1234567), "1,234,567"}, {number(-1000), "-1,000"}, {number(math.NaN()), "-"},
		{size(0), "0 B"}, {size(1023), "1023 B"}, {size(1536), "1.5 KiB"}, {size(150 << 20), "150 MiB"}, {size(1 << 50), "1024.0 TiB"},
		{latency(0.0000005), "0 us"}, {latency(0.0031), "3.1 ms"}, {latency(0.25), "250 ms"}, {latency(2.5), "2.50 s"},
		{spark([]float64{0, 1, 2}, 0), "▁▄█"}, {spark([]float64{5, 5}, 5), "▁▁"}, {spark(nil, 0), ""},
		{text("a\x1b[2J\u009bb"), "a[2Jb"}, {text("\x01"), "-"},
		{up(1), green + "up" + plain}, {up(0), red + "down" + plain}, {up(math.NaN()), yellow + "waiting" + plain},
	} {
		if c.got != c.want {
			t.Errorf("%q, not %q", c.got, c.want)
		}
	}
}

func TestDemoLength(t *testing.T) {
	for setting, want := range map[string]time.Duration{"": 30 * time.Second, "5": 5 * time.Second, "0": 0, "-1": 0, "30s": 0, "90000": 0} {
		got, err := demoLength(setting)
		if got != want || (err == nil) != (want != 0) {
			t.Errorf("%q: %s, %v", setting, got, err)
		}
		if err != nil && !strings.Contains(err.Error(), "DEMO_SECONDS") {
			t.Errorf("%q: the error does not name the setting: %v", setting, err)
		}
	}
}
