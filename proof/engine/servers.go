// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Server is a process of another project's program, on loopback, with its files
// in a temporary directory.
type Server struct {
	// Name and Version are those of the package.
	Name, Version string
	// URL is its root, http://127.0.0.1:PORT.
	URL string
	// Write is where it takes remote write; empty for the registry.
	Write string

	dir  string
	proc *process
}

// Package is the directory into which `make deps` unpacked a Debian package, or
// an error that says how to get it.
func Package(name string) (string, error) {
	return cached(filepath.Join("packages", name), "/.complete", "the Debian package "+name+" is not unpacked: run make deps")
}

// Tree is the directory that holds the files of a Debian machine with an engine, or
// an error that says how to get it.
func Tree(suite string) (string, error) {
	return cached(filepath.Join("debian", suite), ".complete", "there is no Debian "+suite+" machine: run scripts/deps "+suite)
}

// cached looks for what scripts/deps left in .cache, here or in a directory above;
// the mark says that it is whole.
func cached(name, mark, missing string) (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		p := filepath.Join(dir, ".cache", name)
		if _, err := os.Stat(p + mark); err == nil {
			return p, nil
		}
		if dir == "/" {
			return "", errors.New(missing)
		}
	}
}

// PackageCommand is a program of an unpacked package, with the libraries that
// were unpacked beside it.
func PackageCommand(pkg, program string, args ...string) (*exec.Cmd, error) {
	dir, err := Package(pkg)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(filepath.Join(dir, "usr/bin", program), args...)
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+strings.Join(libraries(dir), ":"))
	return cmd, nil
}

// libraries are the directories of an unpacked package that hold shared libraries.
// Some libraries keep private ones a level below, where an installed package finds
// them by an absolute path.
func libraries(dir string) []string {
	triplet := map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[runtime.GOARCH]
	dirs := []string{filepath.Join(dir, "usr/lib", triplet), filepath.Join(dir, "lib", triplet)}
	private, _ := filepath.Glob(filepath.Join(dirs[0], "*", "lib*.so*"))
	for _, lib := range private {
		if d := filepath.Dir(lib); !slices.Contains(dirs, d) {
			dirs = append(dirs, d)
		}
	}
	return dirs
}

// Prometheus starts the distribution's Prometheus with its remote write receiver.
func Prometheus(ctx context.Context) (*Server, error) {
	return startServer(ctx, "prometheus", "/api/v1/write", "/-/ready", func(dir, address string) ([]string, error) {
		config := filepath.Join(dir, "prometheus.yml")
		return []string{
			"--config.file=" + config, "--storage.tsdb.path=" + filepath.Join(dir, "data"),
			"--web.listen-address=" + address, "--web.enable-remote-write-receiver",
		}, os.WriteFile(config, []byte("global: {scrape_interval: 1h}\n"), 0o600)
	})
}

// NodeExporter starts the distribution's exporter of the host's own metrics, without
// the collectors that want an init system or a bus.
func NodeExporter(ctx context.Context) (*Server, error) {
	return startServer(ctx, "prometheus-node-exporter", "", "/metrics", func(_, address string) ([]string, error) {
		return []string{"--web.listen-address=" + address, "--no-collector.systemd", "--no-collector.rapl"}, nil
	})
}

// VictoriaMetrics starts the distribution's VictoriaMetrics.
func VictoriaMetrics(ctx context.Context) (*Server, error) {
	return startServer(ctx, "victoria-metrics", "/api/v1/write", "/health", func(dir, address string) ([]string, error) {
		return []string{"-storageDataPath=" + filepath.Join(dir, "data"), "-httpListenAddr=" + address, "-search.latencyOffset=0s"}, nil
	})
}

// Registry starts the distribution's image registry. The engine takes one on
// loopback without TLS.
func Registry(ctx context.Context) (*Server, error) {
	return startServer(ctx, "docker-registry", "", "/v2/", func(dir, address string) ([]string, error) {
		config := filepath.Join(dir, "config.yml")
		return []string{"serve", config}, os.WriteFile(config, fmt.Appendf(nil, `version: 0.1
log: {level: warn}
storage: {filesystem: {rootdirectory: %q}, delete: {enabled: true}}
http: {addr: %q}
`, filepath.Join(dir, "data"), address), 0o600)
	})
}

func startServer(ctx context.Context, pkg, write, ready string, args func(dir, address string) ([]string, error)) (*Server, error) {
	dir, err := os.MkdirTemp("", "drw-"+pkg+"-")
	if err != nil {
		return nil, err
	}
	s := &Server{Name: pkg, dir: dir}
	address, err := freeAddress()
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.URL = "http://" + address
	if write != "" {
		s.Write = s.URL + write
	}
	list, err := args(dir, address)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	cmd, err := PackageCommand(pkg, pkg, list...)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	unpacked, err := Package(pkg)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	version, err := os.ReadFile(filepath.Join(unpacked, ".complete"))
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.Version = strings.TrimSpace(string(version))
	logPath := filepath.Join(dir, "log")
	log, err := os.Create(logPath)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	defer log.Close()
	cmd.Dir = dir
	if s.proc, err = spawn(cmd, log); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	err = s.proc.await(ctx, pkg, logPath, func() error {
		resp, err := client.Get(s.URL + ready)
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// freeAddress is a loopback address that nothing listens on at the moment.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// Address is the host:port of the server.
func (s *Server) Address() string { return strings.TrimPrefix(s.URL, "http://") }

// Pause stops the process without ending it, so that clients hang; Resume
// lets it go on.
func (s *Server) Pause() error  { return s.proc.cmd.Process.Signal(syscall.SIGSTOP) }
func (s *Server) Resume() error { return s.proc.cmd.Process.Signal(syscall.SIGCONT) }

// Close ends the process and removes its files.
func (s *Server) Close() error {
	if s.proc != nil {
		s.proc.end(syscall.SIGKILL, time.Second)
	}
	return os.RemoveAll(s.dir)
}
