// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/docker-remote-write/docker-remote-write/proof/chaos/load"
	"github.com/docker-remote-write/docker-remote-write/proof/promtest"
)

// driver is a spool and a sender in a process of their own.
var driver = sync.OnceValues(func() (string, error) { return goBuild("driver", "./driver") })

// drive is one data directory, and the driver's lives on it.
type drive struct {
	t      *testing.T
	binary string
	dir    string
	args   []string
	load   load.Load
	// receiver tells one URL from the next: what was learned of a receiver goes with it.
	receiver int

	begun int          // the newest number that was to be appended
	torn  map[int]bool // begun, and the driver was killed before it said done
	kills int
	books *endpoint // after the last life
}

// base is the time of the first scrape: the last one of a long test lies in the
// past, too.
var base = time.Now().Add(-8 * 24 * time.Hour).UnixMilli()

func newDrive(t *testing.T, url string, width int, args ...string) *drive {
	t.Helper()
	d := &drive{
		t: t, binary: program(t, driver), dir: filepath.Join(t.TempDir(), "data"), torn: map[int]bool{},
		load: load.Load{
			Base: base, Width: width, Wide: slices.Contains(args, "-wide"),
			Several: slices.Contains(args, "-several"), SetBack: slices.Contains(args, "-set-back"),
		},
	}
	d.args = append([]string{"-dir", d.dir, "-url", url, "-base", strconv.FormatInt(base, 10), "-series", strconv.Itoa(width)}, args...)
	if err := os.Mkdir(d.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return d
}

// life is one process of a driver.
type life struct {
	d      *drive
	cmd    *exec.Cmd
	log    bytes.Buffer
	exited chan struct{} // closed after the process, and what it said, has ended
	lines  []string
	err    error
}

// start goes on to append up to that number.
func (d *drive) start(to int, args ...string) *life {
	d.t.Helper()
	l := &life{d: d, exited: make(chan struct{})}
	l.cmd = exec.Command(d.binary, append(append(d.args, "-from", strconv.Itoa(d.begun+1), "-to", strconv.Itoa(to), "-receiver", strconv.Itoa(d.receiver)), args...)...)
	l.cmd.Env = []string{"HOME=/"}
	l.cmd.Stderr = &l.log
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := l.cmd.StdoutPipe()
	if err == nil {
		err = l.cmd.Start()
	}
	if err != nil {
		d.t.Fatal(err)
	}
	go func() {
		defer close(l.exited)
		for s := bufio.NewScanner(out); s.Scan(); {
			l.lines = append(l.lines, s.Text())
		}
		l.err = l.cmd.Wait()
	}()
	return l
}

// signal ends the process and takes down what it said.
func (l *life) signal(sig syscall.Signal) {
	l.d.t.Helper()
	_ = l.cmd.Process.Signal(sig)
	l.wait(2 * time.Minute)
	switch {
	case sig == syscall.SIGKILL && l.err != nil && strings.Contains(l.err.Error(), "killed"):
		l.d.kills++
	case sig == syscall.SIGTERM && l.err != nil && strings.Contains(l.err.Error(), "terminated"):
		// It had not come to listen for it.
	case l.err != nil:
		l.d.t.Fatalf("ended with %v:\n%s", l.err, l.tail())
	}
}

// wait waits until the process has ended by itself.
func (l *life) wait(limit time.Duration) {
	d := l.d
	d.t.Helper()
	select {
	case <-l.exited:
	case <-time.After(limit):
		_ = l.cmd.Process.Kill()
		<-l.exited
		d.t.Fatalf("does not end within %s:\n%s", limit, l.tail())
	}
	for _, line := range l.lines {
		var n int
		switch {
		case strings.HasPrefix(line, "{"):
			d.books = new(endpoint)
			if err := json.Unmarshal([]byte(line), d.books); err != nil {
				d.t.Fatal(err)
			}
		case scan(line, "begin %d", &n):
			d.begun = n
			d.torn[n] = true
		case scan(line, "done %d", &n):
			delete(d.torn, n)
		default:
			d.t.Fatalf("the driver says %q", line)
		}
	}
}

func scan(line, format string, n *int) bool {
	c, err := fmt.Sscanf(line, format, n)
	return c == 1 && err == nil
}

func (l *life) tail() string {
	b := l.log.Bytes()
	return string(b[max(0, len(b)-3000):])
}

// finish ends a life that ends by itself, and checks the books.
func (l *life) finish(limit time.Duration) {
	d := l.d
	d.t.Helper()
	l.wait(limit)
	if l.err != nil || d.books == nil {
		d.t.Fatalf("ended with %v:\n%s", l.err, l.tail())
	}
	if err := d.books.balance(); err != nil || d.books.Backlog.Samples != 0 {
		d.t.Errorf("at the end: %s: %v", d.books, err)
	}
}

// content is what must have arrived: all that was appended, but the samples left
// out. Of what may have been appended, whole scrapes count that got has.
func (d *drive) content(got promtest.Content, without func(name string, at int64) bool) promtest.Content {
	var names [][]string
	numbers := map[int]bool{}
	for k, all := range d.load.Series() {
		names = append(names, nil)
		for _, s := range all {
			names[k] = append(names[k], s.Labels.String())
		}
		for _, s := range got[names[k][0]] {
			numbers[int(s.V)] = true
		}
	}
	want := promtest.Content{}
	for n := 1; n <= d.begun; n++ {
		if d.torn[n] && !numbers[n] {
			continue
		}
		for i, name := range names[d.load.Target(n)] {
			at := d.load.At(n)
			if without == nil || !without(name, at) {
				want[name] = append(want[name], promtest.Sample{T: at, V: load.Value(i, n)})
			}
		}
	}
	return sorted(want)
}

// compare compares what the receiver holds with what was appended.
func (d *drive) compare(prom *promtest.Server, without func(name string, at int64) bool) string {
	d.t.Helper()
	got, err := prom.Samples(d.t.Context(), `{__name__=~"load_.+"}`, time.Time{}, time.Time{})
	if err != nil {
		d.t.Fatal(err)
	}
	return differences(d.content(got, without), got)
}
