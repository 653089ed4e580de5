// SPDX-License-Identifier: Apache-2.0

// Command demo shows the project at work: it runs the plugin in a Docker engine,
// lets some containers live there, receives the engine's metrics in an embedded
// Prometheus and shows them as they come. It removes all that it made. `make demo`
// builds what it needs and starts it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// errInterrupted ends the demo where it cannot be called complete.
var errInterrupted = errors.New("interrupted before there was anything to see")

func run(args []string) error {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	dir := flags.String("dir", "", "directory that `make demo` has prepared; it is removed at the end")
	stays := flags.String("stays", "", "what was installed before and stays, for the summary")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *dir == "" || flags.NArg() > 0 {
		return errors.New("start it with `make demo`")
	}
	length, err := demoLength(os.Getenv("DEMO_SECONDS"))
	if err != nil {
		return errors.Join(err, os.RemoveAll(*dir))
	}
	s := newScreen(os.Stdout)
	ctx, stop := interruptible()
	defer stop()
	d := &demo{screen: s, dir: *dir, length: length, stays: *stays, name: "drw-demo-" + strconv.Itoa(os.Getpid())}
	return d.run(ctx)
}

func demoLength(setting string) (time.Duration, error) {
	if setting == "" {
		return 30 * time.Second, nil
	}
	n, err := strconv.Atoi(setting)
	if err != nil || n < 1 || n > 86400 {
		return 0, fmt.Errorf("DEMO_SECONDS %q: a number of seconds from 1 to 86400 is wanted", setting)
	}
	return time.Duration(n) * time.Second, nil
}

// interruptible returns a context that ends with the first signal that asks for
// it. No later one cuts the removal short, nor does a terminal or a pipe that
// has gone.
func interruptible() (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signal.Ignore(syscall.SIGPIPE)
	ch := make(chan os.Signal, 8)
	signal.Notify(ch, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	go func() {
		for range ch {
			cancel()
		}
	}()
	return ctx, func() {
		signal.Stop(ch)
		close(ch)
		cancel()
	}
}
