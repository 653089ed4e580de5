// SPDX-License-Identifier: Apache-2.0

package statuscmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/docker-remote-write/docker-remote-write/internal/telemetry"
)

const (
	// patience is how long a forwarder may take to answer.
	patience = 5 * time.Second
	// maxAnswer bounds what is read of an answer.
	maxAnswer = 8 << 20
)

// ask fills in what the forwarder answers, or why it does not and what to do.
func (f *Forwarder) ask() {
	s, err := fetch(f.Socket)
	if err == nil {
		f.Running, f.Status = true, s
		return
	}
	gone := errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist)
	switch {
	case gone && f.Listed == disabled:
		f.Error = "disabled"
		f.Hint = "Enable it with: docker plugin enable " + f.Name
	case gone && f.Listed == enabled && f.rootless:
		f.Error = "listed as enabled by a rootless engine, whose sockets are in namespaces of its own"
		f.Hint = `Ask in there, as its user: nsenter -U --preserve-credentials -m -n -t "$(cat "$XDG_RUNTIME_DIR/docker.pid")" ` + program() + " status"
	case gone && f.Listed == enabled:
		f.Error = "listed as enabled, not running"
		f.Hint = "If the engine is up it has given up on the plugin. Start it again with: docker plugin disable -f " + f.Name +
			" && docker plugin enable " + f.Name + "; the engine's log says why it ended. What it had stored is sent then."
	case gone && f.ID != "":
		f.Error = "listed as enabled, not running"
		f.Hint = "The socket is there and nobody listens on it. If the engine is up, disable and enable the plugin with that ID (docker plugin ls)."
	case gone && f.Name == "run":
		f.Error = "not running"
		f.Hint = "Nobody listens there. Start it again, for example with: systemctl restart docker-remote-write"
	case errors.Is(err, fs.ErrPermission):
		f.Error = err.Error()
		f.Hint = "The socket is for root only: run this as root."
	default:
		f.Error = err.Error()
		f.Hint = "It listens and does not answer as it should. The log, or /debug/pprof/goroutine?debug=2 on that socket, says more."
	}
}

// program is this one, as one would start it again.
func program() string {
	path, err := os.Executable()
	if err != nil {
		return "docker-remote-write"
	}
	return path
}

// fetch asks a unix socket, or host:port over TCP, for its status.
func fetch(where string) (*telemetry.State, error) {
	network, url := "unix", "http://localhost"+telemetry.PathStatus
	if !strings.Contains(where, "/") {
		network, url = "tcp", "http://"+local(where)+telemetry.PathStatus
		where = local(where)
	}
	var d net.Dialer
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, network, where) },
	}
	client := http.Client{Transport: transport, Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Get(url)
	if err != nil {
		return nil, fmt.Errorf("ask for the status: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask for the status: %s answered %s", where, resp.Status)
	}
	var s telemetry.State
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&s); err != nil {
		return nil, fmt.Errorf("read the status of %s: %w", where, err)
	}
	return &s, nil
}

// local is the address to dial for one to listen on: an open interface is reached
// over loopback.
func local(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if ip != nil && ip.To4() == nil {
			host = "::1"
		}
	}
	return net.JoinHostPort(host, port)
}
