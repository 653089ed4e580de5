// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// replay gives the recorded scrapes over and over, 15 s apart.
type replay struct {
	scs []*series.Scrape
	n   int
	at  int64
}

func newReplay(t testing.TB) *replay {
	return &replay{scs: sequence(t), at: 1_800_000_000_000}
}

func (r *replay) next() *series.Scrape {
	sc := r.scs[r.n%len(r.scs)]
	r.n++
	r.at += 15_000
	sc.Time = r.at
	return sc
}

func diskSize(t testing.TB, dir string) (n int64) {
	names, err := filepath.Glob(filepath.Join(dir, dirName(0), "*"+segmentSuffix))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		i, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		n += i.Size()
	}
	return n
}

// BenchmarkAppend stores the recorded scrapes; B/sample is what they take on disk,
// definitions, checksums and full records included.
func BenchmarkAppend(b *testing.B) {
	for name, sync := range map[string]bool{"synced": true, "unsynced": false} {
		b.Run(name, func(b *testing.B) {
			dir := b.TempDir()
			if !sync {
				dir = memoryDir(b)
			}
			r := newReplay(b)
			s := mustOpen(b, dir, Options{})
			mustClaim(b, s, "a")
			samples := 0
			b.ReportAllocs()
			b.ResetTimer()
			for b.Loop() {
				sc := r.next()
				mustAppend(b, s, sc)
				samples += sc.Len()
			}
			b.StopTimer()
			closeSpool(b, s)
			b.ReportMetric(float64(diskSize(b, dir))/float64(samples), "B/sample")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(samples), "ns/sample")
		})
	}
}

// day writes a backlog of 24 hours and gives its samples.
func day(b testing.TB, dir string) int {
	r := newReplay(b)
	s := mustOpen(b, dir, Options{})
	mustClaim(b, s, "a")
	samples := 0
	for range 5760 {
		sc := r.next()
		mustAppend(b, s, sc)
		samples += sc.Len()
	}
	closeSpool(b, s)
	return samples
}

// BenchmarkRead reads and merges a backlog of 24 hours in batches of 10,000 samples.
func BenchmarkRead(b *testing.B) {
	dir := memoryDir(b)
	samples := day(b, dir)
	s := mustOpen(b, dir, Options{})
	c := mustClaim(b, s, "a")[0]
	start := c.Position()
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var batch series.Batch
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		n := 0
		for at := start; ; at = batch.To {
			if err := c.Read(ctx(), &batch, at, Limits{Samples: 10_000}); err != nil {
				b.Fatal(err)
			}
			if batch.To == batch.From {
				break
			}
			n += batch.Samples
		}
		if n != samples {
			b.Fatalf("%d of %d samples", n, samples)
		}
	}
	b.StopTimer()
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(samples), "ns/sample")
	b.ReportMetric(float64(diskSize(b, dir))/float64(samples), "B/sample")
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1024, "heap-KiB")
	runtime.KeepAlive(c)
}

// BenchmarkMerge serves an endpoint that is up to date: one scrape from memory.
func BenchmarkMerge(b *testing.B) {
	r := newReplay(b)
	s := mustOpen(b, memoryDir(b), Options{})
	c := mustClaim(b, s, "a")[0]
	for range 4 {
		mustAppend(b, s, r.next())
	}
	var batch series.Batch
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		if err := c.Read(ctx(), &batch, c.Position(), Limits{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(batch.Samples), "ns/sample")
}

// BenchmarkOpen opens the spool of a day.
func BenchmarkOpen(b *testing.B) {
	dir := memoryDir(b)
	day(b, dir)
	b.ResetTimer()
	for b.Loop() {
		s, err := Open(dir, Options{Series: registry})
		if err != nil {
			b.Fatal(err)
		}
		closeSpool(b, s)
	}
}
