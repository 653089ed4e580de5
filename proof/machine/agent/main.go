// SPDX-License-Identifier: Apache-2.0

// Command agent runs in an emulated machine and executes the scripts that come over
// the port that it is given, several at a time.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"

	"github.com/docker-remote-write/docker-remote-write/proof/machine"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: agent PORT")
		os.Exit(2)
	}
	if err := serve(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "agent:", err)
		os.Exit(1)
	}
}

// serve answers until the port is gone.
func serve(path string) error {
	port, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer port.Close()
	var mu sync.Mutex
	out := json.NewEncoder(port)
	answer := func(a machine.Answer) error {
		mu.Lock()
		defer mu.Unlock()
		return out.Encode(a)
	}
	if err := answer(machine.Answer{}); err != nil { // hello
		return err
	}
	in := json.NewDecoder(port)
	for {
		var r machine.Request
		if err := in.Decode(&r); err != nil {
			return err
		}
		go func() { _ = answer(execute(r)) }()
	}
}

func execute(r machine.Request) machine.Answer {
	cmd := exec.Command("bash", "-e", "-c", r.Script)
	cmd.Dir = "/root"
	out, err := cmd.CombinedOutput()
	a := machine.Answer{ID: r.ID, Output: string(out)}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		a.Status = exit.String()
	} else if err != nil {
		a.Status = err.Error()
	}
	return a
}
