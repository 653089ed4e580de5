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
	t.mu.Lock()
	t.n++
	n := t.n
	close(t.waiting)
	t.waiting = make(chan struct{})
	t.mu.Unlock()
	rw.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	fmt.Fprintf(rw, "# TYPE %s gauge\n%s %d\n", sequence, sequence, n)
	_, _ = rw.Write(t.engine)
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
