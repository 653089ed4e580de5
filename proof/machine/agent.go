// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
)

// Request is a script for the agent in the machine, which bash runs as root, by -e.
type Request struct {
	ID     int
	Script string
}

// Answer is what came of it: standard output and error together. Status is empty for
// success. The agent says hello with an Answer to no request.
type Answer struct {
	ID     int
	Status string
	Output string
}

// errOff is for whoever waits when the machine goes off.
var errOff = errors.New("the machine went off")

// agent is the end of the port outside of the machine.
type agent struct {
	conn net.Conn
	mu   sync.Mutex // of sending, and of what follows
	last int
	wait map[int]chan Answer // nil when the connection has ended
}

// attach takes over a connection to the port and waits for the agent's hello.
func attach(ctx context.Context, conn net.Conn) (*agent, error) {
	a := &agent{conn: conn, wait: map[int]chan Answer{}}
	hello := make(chan Answer, 1)
	a.wait[0] = hello
	go a.receive()
	select {
	case _, ok := <-hello:
		if ok {
			return a, nil
		}
		return nil, errOff
	case <-ctx.Done():
		conn.Close()
		return nil, context.Cause(ctx)
	}
}

// receive hands answers to those who wait, until the machine is off.
func (a *agent) receive() {
	defer a.conn.Close()
	in := json.NewDecoder(a.conn)
	for {
		var r Answer
		err := in.Decode(&r)
		a.mu.Lock()
		if err != nil {
			for _, c := range a.wait {
				close(c)
			}
			a.wait = nil
			a.mu.Unlock()
			return
		}
		if c := a.wait[r.ID]; c != nil {
			c <- r
			delete(a.wait, r.ID)
		}
		a.mu.Unlock()
	}
}

// run executes a script.
func (a *agent) run(ctx context.Context, script string) (string, error) {
	answer := make(chan Answer, 1)
	a.mu.Lock()
	if a.wait == nil {
		a.mu.Unlock()
		return "", errOff
	}
	a.last++
	a.wait[a.last] = answer
	b, err := json.Marshal(Request{a.last, script})
	if err == nil {
		_, err = io.WriteString(a.conn, string(b)+"\n")
	}
	a.mu.Unlock()
	if err != nil {
		return "", fmt.Errorf("%w: %w", errOff, err)
	}
	select {
	case r, ok := <-answer:
		switch {
		case !ok:
			return "", errOff
		case r.Status != "":
			return r.Output, fmt.Errorf("%s: %s\n%s", r.Status, script, strings.TrimSpace(r.Output))
		}
		return r.Output, nil
	case <-ctx.Done():
		return "", fmt.Errorf("%w: %s", context.Cause(ctx), script)
	}
}
