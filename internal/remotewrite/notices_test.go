// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/docker-remote-write/docker-remote-write/internal/logging"
)

// TestLogOfAnOutage: an hour of one answer, in other words each time, writes the first
// line at once, few in all, each change of the answer, and the end.
func TestLogOfAnOutage(t *testing.T) {
	at2026(t, func(t *testing.T) {
		status := 503
		v := newVirtual(func(n int, g *got) reply {
			if status == 204 {
				return ok(g)
			}
			return reply{Status: status, Body: fmt.Sprintf("request %x: %c", n*n, 'a'+n%26)}
		})
		var out syncBuffer
		log, err := logging.New(logging.Options{Stdout: &out, Stderr: &out})
		if err != nil {
			t.Fatal(err)
		}
		q := newQueue(t, 2)
		o := usual(t)
		o.MaxBackoff, o.Log = 2*time.Second, log
		_, stop := start(t, o, q, v)
		q.fill(t, 1)
		answer := func(s int) {
			v.mu.Lock()
			status = s
			v.mu.Unlock()
		}
		for _, status := range []int{503, 500, 429, 401} {
			answer(status)
			before := strings.Count(out.String(), "\n")
			time.Sleep(time.Minute)
			synctest.Wait()
			lines := strings.Split(out.String(), "\n")
			if first := lines[before]; !strings.HasPrefix(first, "warning: remote write failed ") || !strings.Contains(first, fmt.Sprint(" status=", status)) {
				t.Errorf("%d begins with %q", status, first)
			}
			time.Sleep(14 * time.Minute)
		}
		answer(204)
		q.fill(t, 1)
		q.drained(t, time.Minute)
		stop()
		if err := log.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if n := strings.Count(out.String(), "remote write failed"); n < 8 || n > 40 || len(v.requests()) < 1000 {
			t.Errorf("%d lines for %d requests:\n%s", n, len(v.requests()), &out)
		}
		if !strings.Contains(out.String(), "remote write works again") {
			t.Errorf("the end is not told:\n%s", &out)
		}
	})
}
