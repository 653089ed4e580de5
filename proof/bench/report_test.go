// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker-remote-write/docker-remote-write/proof/bench/agents"
	"github.com/docker-remote-write/docker-remote-write/proof/bench/procstat"
)

func TestTableShowsRatiosToTheFirst(t *testing.T) {
	all := []*agents.Agent{{Name: "ours", Version: "1", Protocol: "2.0"}, {Name: "theirs", Version: "2", Protocol: "1.0"}}
	var b strings.Builder
	Table(&b, "Title", all, []Result{
		{CPU: time.Millisecond, CatchUp: -1, CatchUpRate: -1, DiskBytes: 0.5},
		{CPU: 3 * time.Millisecond, CatchUp: -1, CatchUpRate: -1, DiskBytes: 10},
	})
	for _, want := range []string{
		"### Title\n", "| | ours 1, remote write 2.0 | theirs 2, remote write 1.0 |",
		"| processor time a scrape, whole process | 1.00 ms | 3.00 ms (× 3) |",
		"| disk bytes a sample, receiver down | 0.50 B | 10.00 B (× 20) |",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "samples a second, catching up") {
		t.Error("a row that nobody was measured for")
	}
}

func TestMemoryTableTellsTheTwoApart(t *testing.T) {
	all := []*agents.Agent{{Name: "ours", Version: "1", Protocol: "2.0"}, {Name: "theirs", Version: "2", Protocol: "1.0"}}
	var b strings.Builder
	MemoryTable(&b, "Title", all,
		[]procstat.Memory{{Resident: 10e6, Anonymous: 4e6, Peak: 11e6}, {Resident: 20e6, Anonymous: 6e6, Peak: 33e6}},
		[]procstat.Memory{{Resident: 12e6, Anonymous: 5e6, Peak: 13e6}, {Resident: 30e6, Anonymous: 15e6, Peak: 39e6}})
	want := "### Title\n\n| | ours 1, remote write 2.0 | theirs 2, remote write 1.0 |\n|---|---|---|\n" +
		"| resident memory, own metrics on | 12.0 MB | 30.0 MB (× 2.5) |\n" +
		"| of it anonymous | 5.0 MB | 15.0 MB (× 3) |\n" +
		"| resident, peak | 13.0 MB | 39.0 MB (× 3) |\n" +
		"| resident memory, own metrics off | 10.0 MB | 20.0 MB (× 2) |\n" +
		"| of it anonymous | 4.0 MB | 6.0 MB (× 1.5) |\n" +
		"| resident, peak | 11.0 MB | 33.0 MB (× 3) |\n\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
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
