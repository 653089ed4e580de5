// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"strings"
	"testing"
)

// TestAgent: answers find those who wait for them, in whatever order they come, and who
// waits when the machine goes off is told.
func TestAgent(t *testing.T) {
	here, there := net.Pipe()
	hello := make(chan error, 1)
	var a *agent
	go func() {
		var err error
		a, err = attach(t.Context(), here)
		hello <- err
	}()
	in, out := json.NewDecoder(there), json.NewEncoder(there)
	if err := out.Encode(Answer{}); err != nil {
		t.Fatal(err)
	}
	if err := <-hello; err != nil {
		t.Fatal(err)
	}
	type result struct {
		out string
		err error
	}
	results := map[string]chan result{}
	requests := map[string]Request{}
	for _, script := range []string{"first", "second", "third"} {
		c := make(chan result, 1)
		results[script] = c
		go func() {
			out, err := a.run(context.Background(), script)
			c <- result{out, err}
		}()
		var r Request
		if err := in.Decode(&r); err != nil || r.Script != script {
			t.Fatal(r, err)
		}
		requests[script] = r
	}
	for _, r := range []Answer{{requests["second"].ID, "", "two"}, {requests["first"].ID, "exit status 3", "one"}} {
		if err := out.Encode(r); err != nil {
			t.Fatal(err)
		}
	}
	if r := <-results["second"]; r.out != "two" || r.err != nil {
		t.Error(r)
	}
	if r := <-results["first"]; r.out != "one" || r.err == nil || !strings.Contains(r.err.Error(), "exit status 3: first") {
		t.Error(r)
	}
	there.Close()
	if r := <-results["third"]; !errors.Is(r.err, errOff) {
		t.Error(r)
	}
	if _, err := a.run(t.Context(), "fourth"); !errors.Is(err, errOff) {
		t.Error(err)
	}
}
