// SPDX-License-Identifier: Apache-2.0

// Command life is what runs in the demo's containers. It is small and static, so
// that an image FROM scratch holds it and nothing else.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: life serve|job|broken|health")
	}
	switch args[0] {
	case "serve": // until it is told to end
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
		<-stop
		return nil
	case "job": // does its work and ends well
		time.Sleep(300 * time.Millisecond)
		return nil
	case "broken":
		time.Sleep(300 * time.Millisecond)
		return errors.New("broken on purpose")
	case "health":
		return nil
	}
	return fmt.Errorf("%q is none of serve, job, broken, health", args[0])
}
