// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

func inspect(t testing.TB, dir string) (Report, string) {
	t.Helper()
	r, err := Inspect(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := r.Write(&out); err != nil {
		t.Fatal(err)
	}
	return r, out.String()
}

func TestInspectBesideTheOwner(t *testing.T) {
	dir := memoryDir(t)
	s := mustOpen(t, dir, Options{})
	cs := mustClaim(t, s, "live", "dead")
	g := newTarget(5)
	first := g.time + 15_000
	for range 300 {
		mustAppend(t, s, g.next())
	}
	drain(t, cs[0], Limits{})
	r, text := inspect(t, dir)
	if !r.Healthy() || r.Missing != 0 || len(r.Segments) != 2 || len(r.Endpoints) != 2 {
		t.Fatalf("%s", text)
	}
	live, dead := r.Endpoints[0], r.Endpoints[1]
	if live.Samples != 0 || live.Scrapes != 0 || live.Tally.Delivered != 1500 || !live.From.IsZero() {
		t.Errorf("live: %+v", live)
	}
	b := cs[1].Backlog()
	if dead.Samples != 1500 || dead.Scrapes != 300 || dead.Bytes != b.Bytes || dead.From.UnixMilli() != first || dead.To.UnixMilli() != g.time {
		t.Errorf("dead: %+v, its backlog is %+v", dead, b)
	}
	if n := r.Segments[0].Samples + r.Segments[1].Samples; n != 1500 {
		t.Errorf("%d samples in the segments", n)
	}
	for _, part := range []string{"live", "dead", "No damage.", segmentName(1), "1500"} {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in the text:\n%s", part, text)
		}
	}
	mustAppend(t, s, g.next()) // it still works
	balanced(t, cs...)
}

func TestInspectDamage(t *testing.T) {
	p := makeSpecimen(t, 2*fullEvery+10, false)
	b := p.bytes
	b[p.offsets[20]+9] ^= 0xff
	b[p.offsets[fullEvery+5]+9] ^= 0xff
	if err := os.WriteFile(p.path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	r, text := inspect(t, p.dir)
	if len(r.Damage) != 2 || r.Damage[0].Offset != p.offsets[20] || r.Damage[1].Offset != p.offsets[fullEvery+5] {
		t.Fatalf("%s", text)
	}
	if n := r.Damage[0].Samples; n != 2*(fullEvery-20) {
		t.Errorf("the first damage costs %d samples", n)
	}
	if n := r.Damage[1].Samples; n != 2*(fullEvery-5) {
		t.Errorf("the second damage costs %d samples", n)
	}
	before := readTree(t, p.dir)
	s := mustOpen(t, p.dir, Options{})
	c := mustClaim(t, s, "a")[0]
	drain(t, c, Limits{})
	balanced(t, c)
	if n := c.Tally().Lost[series.Unreadable]; n != r.Damage[0].Samples+r.Damage[1].Samples {
		t.Errorf("reading loses %d samples", n)
	}
	if len(before) != 3 {
		t.Errorf("%d files", len(before))
	}
}

func TestInspectChangesNothing(t *testing.T) {
	p := makeSpecimen(t, 5, false)
	torn := p.bytes[:len(p.bytes)-3]
	if err := os.WriteFile(p.path, torn, 0o600); err != nil {
		t.Fatal(err)
	}
	before := readTree(t, p.dir)
	r, text := inspect(t, p.dir)
	if r.Missing != 2 {
		t.Errorf("%d samples are missing, want 2:\n%s", r.Missing, text)
	}
	for name, b := range readTree(t, p.dir) {
		if before[name] != b {
			t.Errorf("%s was changed", name)
		}
	}
	if _, err := Inspect(filepath.Join(p.dir, "none")); err == nil {
		t.Error("a directory that does not exist is no error")
	}
	empty, text := inspect(t, t.TempDir())
	if empty.Dir != "" || !strings.Contains(text, "no spool") {
		t.Errorf("an empty directory: %s", text)
	}
}

func readTree(t testing.TB, dir string) map[string]string {
	t.Helper()
	m := map[string]string{}
	err := filepath.Walk(dir, func(path string, i os.FileInfo, err error) error {
		if err != nil || i.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		m[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}
