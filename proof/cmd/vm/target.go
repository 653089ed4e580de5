// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
)

// sequence is the series that numbers a target's answers.
const sequence = "vm_sequence"

// target is scraped from a machine and is outside of it: what it has served is known
// when the machine is gone. Beside its number each answer has what an engine had to say.
type target struct {
	engine  []byte
	l       net.Listener
	server  *http.Server
	done    chan struct{}
	mu      sync.Mutex
	dead    bool // the machine: what is still on its way from there gets no number
	n       int
	waiting chan struct{} // closed at the next answer
}

func newTarget() (*target, error) {
	engine, err := os.ReadFile("testdata/captures/v20.10-busy.txt")
	if err != nil {
		return nil, err
	}
	t := &target{engine: engine, done: make(chan struct{}), waiting: make(chan struct{})}
	if t.l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	t.server = &http.Server{Handler: t}
	go func() {
		defer close(t.done)
		_ = t.server.Serve(t.l)
	}()
	return t, nil
}

func (t *target) ServeHTTP(rw http.ResponseWriter, _ *http.Request) {
	n, ok := t.next()
	if !ok {
		http.Error(rw, "you are dead", http.StatusServiceUnavailable)
		return
	}
	rw.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	fmt.Fprintf(rw, "# TYPE %s gauge\n%s %d\n", sequence, sequence, n)
	_, _ = rw.Write(t.engine)
}

func (t *target) next() (n int, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dead {
		return 0, false
	}
	t.n++
	close(t.waiting)
	t.waiting = make(chan struct{})
	return t.n, true
}

// machineIs tells whether the machine is dead, and returns the number of the last answer.
func (t *target) machineIs(dead bool) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dead = dead
	return t.n
}

// served is the number of the last answer, and a channel that is closed at the next one.
func (t *target) served() (int, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n, t.waiting
}

func (t *target) Close() error {
	err := t.server.Close()
	<-t.done
	return err
}
