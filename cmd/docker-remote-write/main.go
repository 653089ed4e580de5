// SPDX-License-Identifier: Apache-2.0

// Command docker-remote-write pushes a Docker Engine's own metrics by Prometheus
// remote write: as a managed plugin of the engine, or beside it with `run`.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strings"

	"github.com/docker-remote-write/docker-remote-write/internal/panics"
)

// version comes from `git describe` at link time.
var version = "devel"

// Exit statuses.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	log.SetOutput(io.Discard) // what libraries print, until withLog
	os.Exit(run(os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

// command is one word behind the program's name.
type command struct {
	name, args, summary, help string
	run                       func(call) error
}

// call is what a command gets to see of the process.
type call struct {
	ctx            context.Context
	args, env      []string
	stdout, stderr *os.File
}

// usageError ends in exit status 2 and the command's usage line.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

// statusError ends in that exit status without another word.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

func run(args, env []string, stdout, stderr *os.File) int {
	commands := commands()
	name := "plugin"
	if len(args) > 0 {
		name, args = args[0], args[1:]
	}
	switch name {
	case "help", "-h", "-help", "--help":
		usage(stdout, commands)
		return exitOK
	case "-v", "-version", "--version":
		name = "version"
	}
	for _, c := range commands {
		if c.name != name {
			continue
		}
		for _, a := range args {
			if a == "-h" || a == "-help" || a == "--help" {
				c.usage(stdout)
				return exitOK
			}
		}
		var err error
		panicked := panics.Guard(c.name, func() { err = c.run(call{context.Background(), args, env, stdout, stderr}) })
		return c.exit(cmp.Or(panicked, err), stderr)
	}
	fmt.Fprintf(stderr, "docker-remote-write: unknown command %q\n\n", name)
	usage(stderr, commands)
	return exitUsage
}

func (c command) exit(err error, stderr io.Writer) int {
	var usage usageError
	var status statusError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &status):
		return int(status)
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "docker-remote-write %s: %v\n\n", c.name, err)
		c.usage(stderr)
		return exitUsage
	}
	// A joined error has a line for each problem; each gets the program's name.
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintf(stderr, "docker-remote-write: %s\n", line)
	}
	return exitFailed
}

func (c command) usage(w io.Writer) {
	fmt.Fprintf(w, "usage: %s\n\n%s\n", strings.TrimSpace("docker-remote-write "+c.name+" "+c.args), strings.TrimSpace(c.help))
}

func usage(w io.Writer, commands []command) {
	fmt.Fprint(w, "docker-remote-write pushes a Docker Engine's own metrics by Prometheus remote write.\n\nusage: docker-remote-write [command]\n\n")
	for _, c := range commands {
		fmt.Fprintf(w, "  %-18s %s\n", strings.TrimSpace(c.name+" "+c.args), c.summary)
	}
	fmt.Fprint(w, "\nSettings come from the environment; `docker-remote-write check` prints them.\n`docker-remote-write COMMAND --help` says more of one command.\n")
}

// noArgs refuses what a command does not take.
func noArgs(args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Sprintf("unexpected argument %q", args[0])}
	}
	return nil
}
