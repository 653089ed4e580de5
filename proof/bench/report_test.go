// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker-remote-write/docker-remote-write/proof/bench/agents"
)

func TestTableShowsRatiosToTheFirst(t *testing.T) {
	all := []*agents.Agent{{Name: "ours", Version: "1", Protocol: "2.0"}, {Name: "theirs", Version: "2", Protocol: "1.0"}}
	var b strings.Builder
	Table(&b, "Title", "one engine", all, []Result{
		{CPU: time.Millisecond, PeakShape: 12e6, CatchUp: -1, CatchUpRate: -1, DiskBytes: 0.5},
		{CPU: 3 * time.Millisecond, PeakShape: 24e6, CatchUp: -1, CatchUpRate: -1, DiskBytes: 10},
	})
	ReturnTable(&b, "one engine", all, []Outage{{time.Minute, 3}}, [][]time.Duration{{time.Second, 4 * time.Second}})
	for _, want := range []string{
		"### Title\n", "| | | ours 1, remote write 2.0 | theirs 2, remote write 1.0 |\n|---|---|---|---|\n",
		"| one engine | processor time a scrape, of each target one | 1.00 ms | 3.00 ms (× 3) |",
		"| one engine | resident, peak when all series are replaced by others | 12.0 MB | 24.0 MB (× 2) |",
		"| one engine | disk bytes a sample, receiver down | 0.50 B | 10.00 B (× 20) |",
		"| one engine | outage of 1m0s, the longest of 3 | 1.00 s | 4.00 s (× 4) |",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "samples a second that waited") {
		t.Error("a row that nobody was measured for")
	}
}

func TestInsertReplacesWhatIsBetweenTheMarks(t *testing.T) {
	file := filepath.Join(t.TempDir(), "doc.md")
	if err := os.WriteFile(file, []byte("head\n<!-- x -->\nold\n<!-- /x -->\ntail\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time changes nothing
		if err := Insert(file, "x", []byte("new\n\n")); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if want := "head\n<!-- x -->\n\nnew\n\n<!-- /x -->\ntail\n"; string(got) != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if err := Insert(file, "y", nil); err == nil {
		t.Error("inserted without marks")
	}
}
