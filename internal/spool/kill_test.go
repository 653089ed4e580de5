// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"bufio"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

const appenderDir = "SPOOL_TEST_APPENDER"

// TestAppender is the process that TestKilled kills: it appends scrapes, sends at
// one endpoint, and prints the number of each scrape after Append returned.
func TestAppender(t *testing.T) {
	dir := os.Getenv(appenderDir)
	if dir == "" {
		t.Skip("run by TestKilled")
	}
	s := mustOpen(t, dir, Options{})
	cs := mustClaim(t, s, "live", "dead")
	for n := uint64(0); ; n++ {
		seq := s.log.readable().seq
		// Three targets in turn, of which the third stamps what it has long before.
		k := seq % 3
		sc := newTarget(12).at(1_800_000_000_000 + int64(seq)*15_000)
		sc.Target, sc.Series, sc.Values = uint8(k), sc.Series[4*k:4*k+4], sc.Values[:4]
		if k == 2 {
			sc.Time -= 40_000
		}
		if n == 0 && seq > 1 {
			sc.Time += 5 // another run of the process: not on the grid
		}
		for i := range sc.Values {
			sc.Values[i] = float64(seq)
		}
		mustAppend(t, s, sc)
		if _, err := os.Stdout.WriteString(strconv.FormatUint(seq, 10) + "\n"); err != nil {
			return
		}
		if n%3 == 0 {
			drain(t, cs[0], Limits{})
		}
	}
}

// TestKilled kills -9 the process that owns a spool, again and again: what Append
// acknowledged is there, once, in order.
func TestKilled(t *testing.T) {
	dir := memoryDir(t)
	kills := 25
	if testing.Short() {
		kills = 5
	}
	seed := uint64(time.Now().UnixNano())
	rnd := rand.New(rand.NewPCG(seed, 1))
	t.Logf("%d kills, seed %d", kills, seed)
	acknowledged := uint64(0)
	for range kills {
		cmd := exec.Command(os.Args[0], "-test.run=^TestAppender$")
		cmd.Env = append(os.Environ(), appenderDir+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		after := rnd.IntN(400)
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			seq, err := strconv.ParseUint(lines.Text(), 10, 64)
			if err != nil {
				t.Fatal(lines.Text())
			}
			if seq <= acknowledged {
				t.Fatalf("scrape %d is given twice", seq)
			}
			acknowledged = seq
			if n == after {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = cmd.Wait()
	}
	s := mustOpen(t, dir, Options{})
	cs := mustClaim(t, s, "live", "dead")
	if last := s.log.readable().seq - 1; last < acknowledged || last > acknowledged+1 {
		t.Errorf("the last scrape is %d, %d was acknowledged", last, acknowledged)
	}
	balanced(t, cs...)
	var b series.Batch
	next := uint64(1)
	for {
		if err := cs[1].Read(ctx(), &b, cs[1].Position(), Limits{Scrapes: 1}); err != nil {
			t.Fatal(err)
		}
		if b.To == b.From {
			break
		}
		for _, r := range b.Rows {
			if v := uint64(r.Samples[0].V); v != next || len(r.Samples) != 1 {
				t.Fatalf("scrape %d has the value %d", next, v)
			}
		}
		if len(b.Rows) != 4 || b.Lost[series.Unreadable] != 0 {
			t.Fatalf("scrape %d has %d series", next, len(b.Rows))
		}
		next++
		if err := ack(cs[1], b.To, series.Tally{Delivered: uint64(b.Samples)}); err != nil {
			t.Fatal(err)
		}
	}
	if next != s.log.readable().seq {
		t.Errorf("%d scrapes arrive of %d", next-1, s.log.readable().seq-1)
	}
	balanced(t, cs...)
	for _, c := range cs {
		if tally := c.Tally(); tally.Sum() != tally.Delivered {
			t.Errorf("%s lost %v", c.Name(), losses(tally))
		}
	}
}
