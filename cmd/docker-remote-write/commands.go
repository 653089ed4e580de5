// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"runtime"

	"github.com/docker-remote-write/docker-remote-write/internal/statuscmd"
)

func commands() []command {
	return []command{
		{
			name: "plugin", summary: "serve the engine as a managed plugin (the default)",
			help: `
The engine starts this as the entry point of the plugin; by hand it is of no use.
It listens on /run/docker/plugins/rw.sock, scrapes between the engine's
StartMetrics and StopMetrics and sends as long as it lives. A wrong setting does
not end it: it stays idle and tells the engine what is wrong.`,
			run: runPlugin,
		},
		{
			name: "run", summary: "scrape SCRAPE_TARGET and push, without an engine's plugin interface",
			help: `
Scrapes from the start until SIGINT or SIGTERM and pushes what it scraped. The
settings are those of the plugin; SCRAPE_TARGET may also be http://host:port/metrics.`,
			run: runRun,
		},
		{
			name: "check", args: "[--push]", summary: "print the effective settings; with --push try the receivers",
			help: `
Prints every setting with its value and where it came from, secrets redacted, and
every problem at once. With --push it scrapes once, sends that scrape to each
endpoint and prints what the receiver answered. Exit status 1 if anything is wrong.`,
			run: runCheck,
		},
		{
			name: "status", args: "[--json]", summary: "ask the plugins of this host how they are",
			help: `
Finds the plugins' sockets below /run/docker/plugins and prints what is behind,
what was lost and why, and the receivers' last words. Exit status 0 means healthy.
--data-root DIR and --run-dir DIR are for an engine with other directories, the latter
is its --exec-root; --socket SOCKET or --socket HOST:PORT asks one process alone.`,
			run: runStatus,
		},
		{
			name: "spool", args: "DIR", summary: "show what lies in a data directory",
			help: `
Reads every byte of the spool in a data directory and prints, for each endpoint,
from when to when scrapes wait and how many, each segment, and damage if any. It
changes nothing and works beside a running process. Exit status 1 means damage.`,
			run: runSpool,
		},
		{
			name: "version", summary: "print the version",
			help: "Prints the version, the Go release it was built with and the platform.",
			run:  runVersion,
		},
	}
}

func runVersion(c call) error {
	if err := noArgs(c.args); err != nil {
		return err
	}
	_, err := fmt.Fprintf(c.stdout, "docker-remote-write %s %s %s/%s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

func runStatus(c call) error {
	if code := statuscmd.Status(c.args, c.stdout, c.stderr); code != exitOK {
		return statusError(code)
	}
	return nil
}
