// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"archive/tar"
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

var update = flag.Bool("update", false, "write testdata/spool of this version anew, from the captures; needs the xz program")

const (
	goldenDir = "../../testdata/spool/v1"
	archive   = "../../testdata/captures/v20.10-sequence-60x1s.tar.xz"
)

// The golden spools hold the 60 recorded scrapes of a real engine, 15 s apart, with
// job and instance, as a release of each version wrote them. A spool of a version
// that was released is never written anew.
func TestGolden(t *testing.T) {
	if *update {
		writeGolden(t)
	}
	scs := sequence(t)
	if len(scs) != 60 {
		t.Fatalf("%d scrapes", len(scs))
	}
	for i, sc := range scs {
		if len(sc.Series) != 411 || sc.Time != 1_790_000_000_000+int64(i)*15_000 {
			t.Fatalf("scrape %d: %d series at %d", i, len(sc.Series), sc.Time)
		}
	}
	// Two values and a definition, taken from the captures by hand.
	found := 0
	for i, s := range scs[0].Series {
		switch s.Labels.String() {
		case `{__name__="engine_daemon_engine_cpus_cpus", instance="host-1", job="docker"}`:
			found++
			if scs[0].Values[i] != 2 || s.Type != model.MetricTypeGauge || s.Help != "The number of cpus that the host system of the engine has" {
				t.Errorf("%v is %v, a %s: %s", s.Labels, scs[0].Values[i], s.Type, s.Help)
			}
		case `{__name__="up", instance="host-1", job="docker"}`:
			found++
			if scs[0].Values[i] != 1 {
				t.Errorf("up is %v", scs[0].Values[i])
			}
		}
	}
	if found != 2 {
		t.Errorf("%d of 2 series found", found)
	}
}

// sequence reads the golden spool: the recorded scrapes.
func sequence(t testing.TB) []*series.Scrape {
	t.Helper()
	dir := memoryDir(t)
	if err := os.CopyFS(dir, os.DirFS(goldenDir)); err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, dir, Options{})
	c := mustClaim(t, s, "golden")[0]
	var scs []*series.Scrape
	var b series.Batch
	for {
		if err := c.Read(ctx(), &b, c.Position(), Limits{Scrapes: 1}); err != nil {
			t.Fatal(err)
		}
		if b.To == b.From {
			break
		}
		sc := &series.Scrape{Time: b.Times[0]}
		for _, r := range b.Rows {
			registry.Hold([]*series.Series{r.Series})
			sc.Series = append(sc.Series, r.Series)
			sc.Values = append(sc.Values, r.Samples[0].V)
		}
		scs = append(scs, sc)
		tally := series.Tally{Delivered: uint64(b.Samples)}
		tally.Lost = b.Lost
		if err := ack(c, b.To, tally); err != nil {
			t.Fatal(err)
		}
	}
	balanced(t, c)
	if tally := c.Tally(); tally.Sum() != tally.Delivered {
		t.Fatalf("lost %v", losses(tally))
	}
	closeSpool(t, s)
	return scs
}

func writeGolden(t *testing.T) {
	raw, err := exec.Command("xz", "-dc", archive).Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(goldenDir); err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, goldenDir, Options{})
	mustClaim(t, s, "golden")
	known := map[string]*series.Series{}
	at := int64(1_790_000_000_000)
	for r := tar.NewReader(bytes.NewReader(raw)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, s, parseScrape(t, body, at, known))
		at += 15_000
	}
	closeSpool(t, s)
	if err := os.Remove(filepath.Join(goldenDir, dirName(0), lockName)); err != nil {
		t.Fatal(err)
	}
}

// parseScrape reads a text exposition, and adds up and scrape_samples_scraped.
func parseScrape(t testing.TB, body []byte, at int64, known map[string]*series.Series) *series.Scrape {
	t.Helper()
	sc := &series.Scrape{Time: at}
	types, helps := map[string]model.MetricType{}, map[string]string{}
	add := func(ls labels.Labels, v float64, typ model.MetricType, help string) {
		b := labels.NewBuilder(ls)
		b.Set("job", "docker").Set("instance", "host-1")
		ls = b.Labels()
		s := known[ls.String()]
		if s == nil {
			s = registry.Number(&series.Series{Labels: ls, Type: typ, Help: help})
			known[ls.String()] = s
		}
		sc.Series, sc.Values = append(sc.Series, s), append(sc.Values, v)
	}
	p, err := textparse.New(body, "text/plain", labels.NewSymbolTable(), textparse.ParserOptions{})
	if err != nil {
		t.Fatal(err)
	}
	family := ""
	for {
		e, err := p.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch e {
		case textparse.EntryType:
			n, typ := p.Type()
			family = string(n)
			types[family] = typ
		case textparse.EntryHelp:
			n, help := p.Help()
			helps[string(n)] = string(help)
		case textparse.EntrySeries:
			var ls labels.Labels
			p.Labels(&ls)
			_, _, v := p.Series()
			add(ls, v, types[family], helps[family])
		}
	}
	n := len(sc.Series)
	add(labels.FromStrings("__name__", "up"), 1, model.MetricTypeGauge, "")
	add(labels.FromStrings("__name__", "scrape_samples_scraped"), float64(n), model.MetricTypeGauge, "")
	return sc
}
