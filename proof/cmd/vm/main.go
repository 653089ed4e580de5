// SPDX-License-Identifier: Apache-2.0

// Command vm boots Debian machines under an emulator and goes through what users do on
// theirs: the README's installation, the life of an engine under systemd, a unit, a
// fleet's script, rootless and remapped engines, and machines that stop dead. The
// receiver, a Prometheus, is outside and keeps what it has.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == "relay" {
		if err := relay(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, "relay:", err)
			os.Exit(1)
		}
		return
	}
	var o options
	flag.StringVar(&o.suite, "suite", "trixie", "the Debian `suite` of the machines")
	flag.IntVar(&o.stops, "stops", 3, "how many times a machine stops dead")
	flag.Uint64Var(&o.seed, "seed", 0, "of the random moments; 0 is another one each time")
	only := flag.String("only", "", "the scenarios to run, a regular `expression`")
	flag.Parse()
	var err error
	if o.only, err = regexp.Compile(*only); err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
		err = run(ctx, o)
		stop()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "vm:", err)
		os.Exit(1)
	}
}

type options struct {
	suite string
	stops int
	seed  uint64
	only  *regexp.Regexp
}

func run(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp("", "drw-vm-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b, err := compile(ctx, dir)
	if err != nil {
		return err
	}
	return machines(ctx, o, b)
}

// build is what was compiled for the machines, by name in their /media/host.
type build map[string]string

// compile builds the program as it ships, the same without a sync, and what runs it.
func compile(ctx context.Context, dir string) (build, error) {
	agent, program, unsynced := filepath.Join(dir, "agent"), filepath.Join(dir, "program"), filepath.Join(dir, "unsynced")
	overlay, err := withoutSync(dir)
	if err != nil {
		return nil, err
	}
	const ldflags = "-s -w -X main.version=vm"
	for _, args := range [][]string{
		{"-o", agent, "./proof/machine/agent"},
		{"-ldflags", ldflags, "-o", program, "./cmd/docker-remote-write"},
		{"-ldflags", ldflags, "-overlay", overlay, "-o", unsynced, "./cmd/docker-remote-write"},
	} {
		cmd := exec.CommandContext(ctx, "go", append([]string{"build"}, args...)...)
		if path := os.Getenv("GO"); path != "" {
			cmd.Path, cmd.Err = path, nil
		}
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH=amd64")
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("go build: %w: %s", err, out)
		}
	}
	b := build{"agent": agent, "program": program, "lib.sh": "proof/cmd/vm/lib.sh", "go": "proof/cmd/vm/go.sh"}
	for _, name := range []string{"Makefile", "README.md", "scripts", "plugin", "deploy"} {
		b["repository/"+name] = name
	}
	for name, binary := range map[string]string{"plugin": program, "unsynced": unsynced} {
		b[name] = filepath.Join(dir, name+"-files")
		if out, err := exec.CommandContext(ctx, "plugin/assemble", binary, b[name]).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("assemble: %w: %s", err, out)
		}
	}
	return b, nil
}

// relay copies between its standard streams and an address: what the emulator starts
// for each connection that leaves a machine.
func relay(address string) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(conn, os.Stdin)
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	_, err = io.Copy(os.Stdout, conn)
	return err
}
