// SPDX-License-Identifier: Apache-2.0

// Package statuscmd is `docker-remote-write status`: it finds the forwarders of
// this host, asks each for its status over its own socket, and says what matters.
package statuscmd

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/term"

	"github.com/docker-remote-write/docker-remote-write/internal/telemetry"
)

// Exit codes of Status.
const (
	// Healthy: at least one forwarder runs, and all that should run are healthy.
	Healthy = 0
	// Unhealthy: one is not, or none runs.
	Unhealthy = 1
	// Usage: the command line is wrong.
	Usage = 2
)

// SocketName is the name of the forwarder's own socket: below
// /run/docker/plugins/ID in the engine, below DATA_DIR in `run`.
const SocketName = "rw.sock"

const usage = `Usage: docker-remote-write status [--json]

Finds the forwarders on this host, plugins of the Docker Engine and processes of
"docker-remote-write run", and says how they do. Needs root for plugins.
The exit status is 0 if all are healthy, 1 if not, 2 for a wrong command line.

`

// Report is what --json prints: docs/status.md describes it.
type Report struct {
	// Healthy is what the exit status says.
	Healthy    bool        `json:"healthy"`
	Forwarders []Forwarder `json:"forwarders"`
}

// Forwarder is one plugin or `run` process that was found.
type Forwarder struct {
	// Name is the plugin's as `docker plugin ls` shows it, or "run".
	Name string `json:"name"`
	// ID is the plugin's.
	ID string `json:"id,omitempty"`
	// Socket or address that was asked.
	Socket string `json:"socket"`
	// Listed is "enabled" or "disabled" as the engine lists the plugin, empty where
	// that is not known.
	Listed string `json:"listed,omitempty"`
	// Running says that it answered; Error is why it did not, Hint what to do.
	Running bool   `json:"running"`
	Error   string `json:"error,omitempty"`
	Hint    string `json:"hint,omitempty"`
	// Status is its answer.
	Status *telemetry.State `json:"status,omitempty"`

	rootless bool // its engine's records are not root's
}

// Status runs the command with its arguments, those after the word "status", and
// returns the exit code.
func Status(args []string, stdout, stderr io.Writer) int {
	var p places
	fs := flag.NewFlagSet("status", flag.ContinueOnError)
	fs.SetOutput(stderr)
	asJSON := fs.Bool("json", false, "print JSON for programs")
	fs.StringVar(&p.socket, "socket", "", "ask this `socket` or host:port only")
	fs.StringVar(&p.run, "run-dir", "/run/docker", "the engine's runtime `directory`")
	fs.StringVar(&p.root, "data-root", "", "the engine's data `directory`, where it is neither the one in /etc/docker/daemon.json nor /var/lib/docker")
	fs.Usage = func() {
		fmt.Fprint(stderr, usage)
		fs.PrintDefaults()
	}
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return Healthy
		}
		return Usage
	}
	if fs.NArg() > 0 {
		fmt.Fprintf(stderr, "status: unexpected argument %q\n", fs.Arg(0))
		return Usage
	}
	if p.root == "" {
		program, _ := os.Executable()
		p.root = dataRoot(program, "/etc/docker/daemon.json")
	}
	p.environment = os.Getenv
	found, err := p.find()
	for i := range found {
		found[i].ask()
	}
	r := Report{Forwarders: found}
	r.judge()
	if *asJSON {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		_ = enc.Encode(r)
	} else if len(found) > 0 || err == nil {
		newPrinter(stdout).report(&r)
	}
	if err != nil {
		fmt.Fprintf(stderr, "status: %v\n", err)
	}
	if r.Healthy && err == nil {
		return Healthy
	}
	return Unhealthy
}

// judge sets Healthy. A plugin that someone has disabled is no failure beside one
// that runs.
func (r *Report) judge() {
	running := false
	r.Healthy = true
	if r.Forwarders == nil {
		r.Forwarders = []Forwarder{}
	}
	for _, f := range r.Forwarders {
		running = running || f.Running
		if f.Running && !f.Status.Healthy || !f.Running && f.Listed != disabled {
			r.Healthy = false
		}
	}
	r.Healthy = r.Healthy && running
}

// dataRoot is the engine's data directory: the one in which this very program lies
// when it is run out of a plugin's root filesystem, else what daemon.json says.
func dataRoot(program, daemonJSON string) string {
	if root := rootOf(program); root != "" {
		return root
	}
	var c struct {
		Root string `json:"data-root"`
	}
	if b, err := os.ReadFile(daemonJSON); err == nil && json.Unmarshal(b, &c) == nil && c.Root != "" {
		return c.Root
	}
	return "/var/lib/docker"
}

// rootOf is ROOT of ROOT/plugins/ID/rootfs/PROGRAM, or empty.
func rootOf(program string) string {
	rootfs := filepath.Dir(program)
	plugins := filepath.Dir(filepath.Dir(rootfs))
	if filepath.Base(rootfs) != "rootfs" || filepath.Base(plugins) != "plugins" {
		return ""
	}
	return filepath.Dir(plugins)
}

// terminal says whether w is a terminal that wants colours.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}
