// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// process is one life of `docker-remote-write run`.
type process struct {
	dir    string
	cmd    *exec.Cmd
	log    string   // the path of what it logs
	lines  []string // what it wrote to the inherited pipe; complete when traced is closed
	traced chan struct{}
	exited chan error
}

// start starts the program on the data directory with these settings.
func start(t *testing.T, binary, dir string, env ...string) *process {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{dir: dir, log: dir + ".log", cmd: exec.Command(binary, "run"), traced: make(chan struct{}), exited: make(chan error, 1)}
	log, err := os.Create(p.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p.cmd.Env = append([]string{"HOME=/", "DATA_DIR=" + dir, "TRACE_FD=3", "TRACE_SERIES=" + sequence}, env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.ExtraFiles = []*os.File{w}
	// What the test starts ends with it.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err = p.cmd.Start()
	w.Close()
	if err != nil {
		r.Close()
		t.Fatal(err)
	}
	go func() {
		defer close(p.traced)
		defer r.Close()
		for s := bufio.NewScanner(r); s.Scan(); {
			p.lines = append(p.lines, s.Text())
		}
	}()
	go func() { p.exited <- p.cmd.Wait() }()
	return p
}

// end sends the process the signal and returns how it ended, and what it had
// written to the pipe by then.
func (p *process) end(sig os.Signal) (lines []string, err error) {
	_ = p.cmd.Process.Signal(sig)
	err = <-p.exited
	<-p.traced
	return p.lines, err
}

// endpoint is what `/status` says of the only endpoint.
type endpoint struct {
	Appended  uint64            `json:"samples_appended"`
	Delivered uint64            `json:"samples_delivered"`
	Lost      map[string]uint64 `json:"samples_lost"`
	Backlog   struct {
		Samples uint64 `json:"samples"`
	} `json:"backlog"`
}

// String leaves out the reasons for which nothing was lost.
func (e *endpoint) String() string {
	lost := maps.Clone(e.Lost)
	maps.DeleteFunc(lost, func(_ string, n uint64) bool { return n == 0 })
	return fmt.Sprintf("appended %d, delivered %d, lost %v, waiting %d", e.Appended, e.Delivered, lost, e.Backlog.Samples)
}

func (e *endpoint) balance() error {
	sum := e.Delivered + e.Backlog.Samples
	for _, n := range e.Lost {
		sum += n
	}
	if sum != e.Appended {
		return fmt.Errorf("delivered + lost + waiting = %d, appended %d: %s", sum, e.Appended, e)
	}
	return nil
}

// status asks the process on the socket in its data directory.
func (p *process) status(ctx context.Context) (*endpoint, error) {
	sockets, _ := filepath.Glob(filepath.Join(p.dir, "*.sock"))
	if len(sockets) != 1 {
		return nil, fmt.Errorf("sockets in %s: %q, want one", p.dir, sockets)
	}
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", sockets[0])
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/status", nil)
	if err != nil {
		return nil, err
	}
	res, err := tr.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	var s struct {
		Endpoints []endpoint `json:"endpoints"`
	}
	if err := json.Unmarshal(body, &s); err != nil || len(s.Endpoints) != 1 {
		return nil, fmt.Errorf("%w in %s", err, body)
	}
	return &s.Endpoints[0], nil
}

// tail is the end of the process's log, for a test that failed.
func (p *process) tail() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}
