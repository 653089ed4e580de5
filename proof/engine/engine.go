// SPDX-License-Identifier: Apache-2.0

// Package engine runs Docker engines of its own, beside the one of the machine,
// and the servers that tests and the demonstration send to. It needs root and
// the dockerd, containerd and docker commands.
package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Options of a private engine.
type Options struct {
	// LiveRestore keeps containers and plugins running while the engine is down.
	LiveRestore bool
	// Args are further arguments of dockerd.
	Args []string
	// Tree is the directory that holds another distribution's files, as Tree finds it:
	// the engine is the one in there. Empty is the machine's.
	Tree string
}

// Engine is a Docker engine. A private one has a directory, a containerd and
// an API socket of its own, no networks and no firewall rules; only
// /run/docker/plugins is shared with other engines, under names that differ.
type Engine struct {
	// Host is the address of the API, as DOCKER_HOST has it.
	Host string

	dir        string // of a private engine, else empty
	opts       Options
	containerd *process
	mu         sync.Mutex
	dockerd    *process // nil while it is down
}

// process is a child whose end has been waited for when done is closed.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// Missing says what of the commands and rights that a private engine needs is
// not there; nil when one can be started.
func Missing() error {
	var errs []error
	if os.Geteuid() != 0 {
		errs = append(errs, errors.New("a private engine needs root"))
	}
	for _, name := range []string{"dockerd", "containerd", "docker"} {
		if _, err := command(name); err != nil {
			errs = append(errs, fmt.Errorf("%s is not installed", name))
		}
	}
	return errors.Join(errs...)
}

// command finds a program, also where a user's PATH does not lead.
func command(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
		if path, e := exec.LookPath(filepath.Join(dir, name)); e == nil {
			return path, nil
		}
	}
	return "", err
}

// Local is the machine's own engine, or the one that DOCKER_HOST names. It is an
// error when that does not answer. Stop, Kill and Close leave it alone.
func Local(ctx context.Context) (*Engine, error) {
	e := &Engine{Host: os.Getenv("DOCKER_HOST")}
	if e.Host == "" {
		e.Host = "unix:///var/run/docker.sock"
	}
	if _, err := e.Version(ctx); err != nil {
		return nil, err
	}
	return e, nil
}

// Start starts a private engine and returns when it answers. The caller owns
// it and must Close it. Engines whose owner died without that are removed.
func Start(ctx context.Context, o Options) (*Engine, error) {
	if err := Missing(); err != nil {
		return nil, err
	}
	Reap()
	dir, err := os.MkdirTemp("", dirPrefix)
	if err != nil {
		return nil, err
	}
	e := &Engine{Host: "unix://" + filepath.Join(dir, "docker.sock"), dir: dir, opts: o}
	if err := e.start(ctx); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

func (e *Engine) start(ctx context.Context) error {
	if err := writeOwner(e.dir); err != nil {
		return err
	}
	config := fmt.Sprintf(`version = 2
root = %q
state = %q
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = %q
`, e.path("containerd-root"), e.path("containerd-state"), e.path("containerd.sock"))
	if err := errors.Join(
		os.WriteFile(e.path("containerd.toml"), []byte(config), 0o600),
		os.WriteFile(e.path("daemon.json"), []byte("{}"), 0o600),
	); err != nil {
		return err
	}
	var err error
	if e.containerd, err = e.spawn("containerd", "--config", e.path("containerd.toml")); err != nil {
		return err
	}
	if err := e.containerd.await(ctx, "containerd", e.path("containerd.log"), func() error {
		c, err := net.Dial("unix", e.path("containerd.sock"))
		if err == nil {
			c.Close()
		}
		return err
	}); err != nil {
		return err
	}
	return e.Up(ctx)
}

// Up starts dockerd after Stop or Kill and returns when it answers.
func (e *Engine) Up(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.dockerd != nil {
		return errors.New("the engine is running")
	}
	args := []string{
		"--config-file", e.path("daemon.json"), "--data-root", e.path("data"), "--exec-root", e.path("exec"),
		"--pidfile", e.path("docker.pid"), "--host", e.Host, "--containerd", e.path("containerd.sock"),
		"--bridge", "none", "--iptables=false", "--ip6tables=false", "--ip-forward=false",
	}
	if e.opts.LiveRestore {
		args = append(args, "--live-restore")
	}
	p, err := e.spawn("dockerd", append(args, e.opts.Args...)...)
	if err != nil {
		return err
	}
	e.dockerd = p
	return p.await(ctx, "dockerd", e.Log(), func() error {
		_, err := e.Version(ctx)
		return err
	})
}

// spawn starts a program in a process group of its own, so that an interrupt
// from the terminal does not reach it, its output in DIR/NAME.log.
func (e *Engine) spawn(name string, args ...string) (*process, error) {
	cmd, err := e.program(name, args)
	if err != nil {
		return nil, err
	}
	log, err := os.OpenFile(e.path(name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	return spawn(cmd, log)
}

func (e *Engine) program(name string, args []string) (*exec.Cmd, error) {
	if e.opts.Tree != "" {
		return e.inTree(name, args)
	}
	path, err := command(name)
	return exec.Command(path, args...), err
}

func spawn(cmd *exec.Cmd, log *os.File) (*process, error) {
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Env = append(cmd.Environ(), "PATH="+os.Getenv("PATH")+":/usr/local/sbin:/usr/sbin:/sbin")
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// await calls ready until it succeeds. It fails when the process ends, or after
// a minute, with the end of its log.
func (p *process) await(ctx context.Context, name, log string, ready func() error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.done:
			return fmt.Errorf("%s ended: %v: %s", name, p.err, tail(log))
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w: %s", name, err, tail(log))
		}
	}
}

// end signals the process and waits until it has ended, then kills it.
func (p *process) end(s os.Signal, patience time.Duration) {
	_ = p.cmd.Process.Signal(s)
	select {
	case <-p.done:
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

func tail(path string) string {
	b, _ := os.ReadFile(path)
	return strings.TrimSpace(string(b[max(0, len(b)-2000):]))
}

func (e *Engine) path(name string) string { return filepath.Join(e.dir, name) }

// Private reports whether the engine was started by this package.
func (e *Engine) Private() bool { return e.dir != "" }

// DataRoot is the engine's /var/lib/docker.
func (e *Engine) DataRoot(ctx context.Context) (string, error) {
	if e.Private() {
		return e.path("data"), nil
	}
	out, err := e.Docker(ctx, "info", "--format", "{{.DockerRootDir}}")
	return strings.TrimSpace(out), err
}

// MetricsSocket is the socket that the engine's metrics are served on.
func (e *Engine) MetricsSocket() string {
	if e.Private() {
		return e.path("exec/metrics.sock")
	}
	return "/run/docker/metrics.sock"
}

// Log is the file that a private engine logs to, over restarts.
func (e *Engine) Log() string { return e.path("dockerd.log") }

// PID is that of dockerd, 0 while it is down or not ours.
func (e *Engine) PID() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.dockerd == nil {
		return 0
	}
	return e.dockerd.cmd.Process.Pid
}

// Stop ends dockerd as a service manager does and waits for it. What live-restore
// keeps running stays.
func (e *Engine) Stop() { e.down(syscall.SIGTERM) }

// Kill ends dockerd as a crash does. Containers and plugins stay.
func (e *Engine) Kill() { e.down(syscall.SIGKILL) }

func (e *Engine) down(s os.Signal) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.dockerd != nil {
		e.dockerd.end(s, 40*time.Second)
		e.dockerd = nil
	}
}

// Version asks the engine for its version.
func (e *Engine) Version(ctx context.Context) (string, error) {
	path, unix := strings.CutPrefix(e.Host, "unix://")
	if unix { // a refused socket is answered faster than by a new process
		c, err := net.Dial("unix", path)
		if err != nil {
			return "", err
		}
		c.Close()
	}
	out, err := e.Docker(ctx, "version", "--format", "{{.Server.Version}}")
	return strings.TrimSpace(out), err
}

// Command is the docker command against this engine.
func (e *Engine) Command(ctx context.Context, args ...string) *exec.Cmd {
	path, err := command("docker")
	if err != nil {
		path = "docker" // Run reports it
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+e.Host, "DOCKER_CONTEXT=")
	return cmd
}

// Docker runs the docker command against this engine and returns its standard
// output. The error carries what it wrote to standard error.
func (e *Engine) Docker(ctx context.Context, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := e.Command(ctx, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("docker %s: %w: %s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}
