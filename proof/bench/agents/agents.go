// SPDX-License-Identifier: Apache-2.0

// Package agents starts this project's program and its peers on the same work: the
// same scrape targets, and one remote write URL.
package agents

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Target is what is scraped at "host:port", as which job and how often.
type Target struct {
	Job, Addr string
	Interval  time.Duration
}

// Work is what an agent is to do.
type Work struct {
	// Dir takes its configuration, data and log.
	Dir string
	// Targets are scraped; the first is the engine's.
	Targets []Target
	// URL is the receiver.
	URL string
	// CA is the file of the authority that signed the receiver's certificate.
	CA string
	// Self puts the agent's metrics of itself into the stream, once an interval;
	// the peers scrape themselves for it.
	Self bool
	// Env is passed to this project's program, which reads its settings there.
	Env []string
}

// Data is the directory whose growth is what the agent writes.
func (w Work) Data() string { return filepath.Join(w.Dir, "data") }

// Agent is a program that scrapes and writes.
type Agent struct {
	Name, Version, Binary string
	// Protocol is what it is told to speak, or speaks by default.
	Protocol string

	args func(w Work) (args, env []string, err error)
}

// Ours is this project's program.
func Ours(binary string) (*Agent, error) {
	v, err := exec.Command(binary, "version").Output()
	if err != nil {
		return nil, fmt.Errorf("ask %s for its version: %w", binary, err)
	}
	return &Agent{
		Name: "docker-remote-write", Version: firstField(string(v), 1), Binary: binary, Protocol: "2.0",
		args: func(w Work) ([]string, []string, error) {
			first := w.Targets[0]
			env := []string{
				"SCRAPE_TARGET=http://" + first.Addr + "/metrics",
				"JOB=" + first.Job,
				"SCRAPE_INTERVAL=" + first.Interval.String(),
				"SCRAPE_TIMEOUT=" + first.Interval.String(),
				"SCRAPE_SAMPLE_LIMIT=100000",
				"REMOTE_WRITE_URL=" + w.URL,
				"DATA_DIR=" + w.Data(),
				"SPOOL_MAX_BYTES=1GiB",
				"MAX_BACKOFF=5s",
				"SELF_METRICS=" + strconv.FormatBool(w.Self),
			}
			if w.CA != "" {
				env = append(env, "REMOTE_WRITE_CA_FILE="+w.CA)
			}
			var others []string
			for _, t := range w.Targets[1:] {
				others = append(others, fmt.Sprintf("%s@%s=http://%s/metrics", t.Job, t.Interval, t.Addr))
			}
			if len(others) > 0 {
				env = append(env, "EXTRA_TARGETS="+strings.Join(others, ","))
			}
			return []string{"run"}, append(env, w.Env...), nil
		},
	}, nil
}

// Prometheus is Prometheus in agent mode. From version 3 on it is told to speak
// remote write 2.0, which is the smaller on the wire.
func Prometheus(binary string) (*Agent, error) {
	out, err := exec.Command(binary, "--version").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("ask %s for its version: %w", binary, err)
	}
	version := firstField(string(out), 2)
	mode, protocol, message := "--agent", "2.0", "    protobuf_message: io.prometheus.write.v2.Request\n"
	if strings.HasPrefix(version, "2.") {
		mode, protocol, message = "--enable-feature=agent", "1.0", ""
	}
	return &Agent{
		Name: "Prometheus agent", Version: version, Binary: binary, Protocol: protocol,
		args: func(w Work) ([]string, []string, error) {
			listen, err := freeAddr()
			if err != nil {
				return nil, nil, err
			}
			text := fmt.Sprintf("%sremote_write:\n  - url: %s\n%s", scrapeConfig(w, listen), w.URL, message)
			if w.CA != "" {
				text += fmt.Sprintf("    tls_config:\n      ca_file: %s\n", w.CA)
			}
			config := filepath.Join(w.Dir, "prometheus.yml")
			err = os.WriteFile(config, []byte(text), 0o600)
			return []string{mode, "--config.file=" + config, "--storage.agent.path=" + w.Data(), "--web.listen-address=" + listen, "--log.level=warn"}, nil, err
		},
	}, nil
}

// VMAgent is VictoriaMetrics' agent.
func VMAgent(binary string) (*Agent, error) {
	out, _ := exec.Command(binary, "-version").CombinedOutput()
	version := strings.TrimPrefix(firstField(string(out), 0), "vmagent-")
	if i := strings.Index(version, "-tags-"); i >= 0 {
		version = version[i+len("-tags-"):]
	}
	if version == "" { // Debian builds it without
		version = debianVersion(binary, "victoria-metrics")
	}
	return &Agent{
		Name: "vmagent", Version: version, Binary: binary, Protocol: "1.0",
		args: func(w Work) ([]string, []string, error) {
			listen, err := freeAddr()
			if err != nil {
				return nil, nil, err
			}
			config := filepath.Join(w.Dir, "vmagent.yml")
			args := []string{"-promscrape.config=" + config, "-remoteWrite.url=" + w.URL, "-remoteWrite.tmpDataPath=" + w.Data(),
				"-httpListenAddr=" + listen, "-loggerLevel=WARN"}
			if w.CA != "" {
				args = append(args, "-remoteWrite.tlsCAFile="+w.CA)
			}
			err = os.WriteFile(config, []byte(scrapeConfig(w, listen)), 0o600)
			return args, nil, err
		},
	}, nil
}

// Floor is a program that does the input and output of an agent and nothing else;
// body is the file that it posts each time.
func Floor(binary, body string) *Agent {
	return &Agent{
		Name: "input and output alone", Binary: binary,
		args: func(w Work) ([]string, []string, error) {
			t := w.Targets[0]
			return []string{t.Addr, w.URL, body, filepath.Join(w.Data(), "file"), t.Interval.String()}, nil, nil
		},
	}
}

// scrapeConfig is what both peers read; self is the agent's own address.
func scrapeConfig(w Work, self string) string {
	targets := w.Targets
	if w.Self {
		targets = append(slices.Clip(targets), Target{"self", self, targets[0].Interval})
	}
	s := "scrape_configs:\n"
	for _, t := range targets {
		s += fmt.Sprintf("  - job_name: %s\n    scrape_interval: %[2]s\n    scrape_timeout: %[2]s\n    static_configs:\n      - targets: [%[3]q]\n", t.Job, t.Interval, t.Addr)
	}
	return s
}

// Size is the length of the program's file in bytes.
func (a *Agent) Size() (int64, error) {
	i, err := os.Stat(a.Binary)
	if err != nil {
		return 0, err
	}
	return i.Size(), nil
}

// Process is an agent at work.
type Process struct {
	Pid     int
	Started time.Time

	cmd  *exec.Cmd
	log  *os.File
	done chan struct{}
}

// Start starts the agent; its output goes to log in the work's directory.
func (a *Agent) Start(w Work) (*Process, error) {
	if err := os.MkdirAll(w.Data(), 0o700); err != nil {
		return nil, err
	}
	args, env, err := a.args(w)
	if err != nil {
		return nil, fmt.Errorf("prepare %s: %w", a.Name, err)
	}
	log, err := os.OpenFile(filepath.Join(w.Dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(a.Binary, args...)
	cmd.Dir = w.Dir
	cmd.Env = append([]string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/"}, env...)
	cmd.Stdout, cmd.Stderr = log, log
	// What this program starts ends with it, interrupted or not.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p := &Process{Started: time.Now(), cmd: cmd, log: log, done: make(chan struct{})}
	if err := cmd.Start(); err != nil {
		log.Close()
		return nil, fmt.Errorf("start %s: %w", a.Name, err)
	}
	p.Pid = cmd.Process.Pid
	go func() {
		cmd.Wait()
		log.Close()
		close(p.done)
	}()
	return p, nil
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Kill ends the process as a power cut would.
func (p *Process) Kill() {
	p.cmd.Process.Kill()
	<-p.done
}

// Goroutines ends the process by SIGQUIT and counts the goroutines in what the Go
// runtime then writes to the log.
func (p *Process) Goroutines() (int, error) {
	p.cmd.Process.Signal(syscall.SIGQUIT)
	select {
	case <-p.done:
	case <-time.After(15 * time.Second):
		p.Kill()
		return 0, errors.New("did not end within 15 s of SIGQUIT")
	}
	raw, err := os.ReadFile(p.log.Name())
	if err != nil {
		return 0, err
	}
	if i := bytes.LastIndex(raw, []byte("SIGQUIT: quit")); i >= 0 {
		raw = raw[i:]
	}
	return bytes.Count(raw, []byte("\ngoroutine ")) - bytes.Count(raw, []byte("\ngoroutine 0 ")), nil
}

// Stop asks the process to end and kills it after 15 seconds.
func (p *Process) Stop() error {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return nil
	case <-time.After(15 * time.Second):
		p.Kill()
		return errors.New("did not end within 15 s of SIGTERM")
	}
}

// freeAddr is a loopback address that was free a moment ago.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func firstField(s string, i int) string {
	line, _, _ := strings.Cut(s, "\n")
	if f := strings.Fields(line); i < len(f) {
		return f[i]
	}
	return ""
}

// debianVersion reads the package's version from the changelog that lies beside
// the program in an unpacked or installed package.
func debianVersion(binary, pkg string) string {
	doc := filepath.Join(filepath.Dir(binary), "..", "share", "doc", pkg)
	logs, _ := filepath.Glob(filepath.Join(doc, "changelog.Debian*.gz"))
	for _, name := range logs {
		raw, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		z, err := gzip.NewReader(bytes.NewReader(raw))
		if err != nil {
			continue
		}
		head, _ := io.ReadAll(io.LimitReader(z, 256))
		return strings.Trim(firstField(string(head), 1), "()")
	}
	return "unknown"
}
