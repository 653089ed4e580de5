// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/docker-remote-write/docker-remote-write/proof/engine"
	"github.com/docker-remote-write/docker-remote-write/proof/promtest"
)

// moody is a target that behaves as it is told.
type moody struct {
	*httptest.Server
	mood atomic.Int32
}

const (
	good = iota
	hangs
	floods
	lies
	moods
)

func newMoody(t *testing.T) *moody {
	m := &moody{}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		switch m.mood.Load() {
		case good:
			io.WriteString(w, "moody 1\n")
		case hangs:
			<-r.Context().Done()
		case floods:
			for line := strings.Repeat("# flood\n", 8192); ; {
				if _, err := io.WriteString(w, line); err != nil {
					return
				}
			}
		case lies:
			// The engine's own labels, a series that is no such thing, and half a line.
			io.WriteString(w, "up{job=\"docker\"} 7\nengine_daemon_engine_info{job=\"docker\"} 7\nbroken{")
		}
	}))
	t.Cleanup(m.Close)
	return m
}

// TestThreeTargets: the plugin forwards the engine, the distribution's node exporter and
// a target that hangs, floods and lies. Each has its labels, and what the third does is
// nothing to the others.
func TestThreeTargets(t *testing.T) {
	e := sharedEngine(t)
	exporter := server(t, engine.NodeExporter, "prometheus-node-exporter")
	third := newMoody(t)
	r := newReceiver(t, promtest.Options{})
	p := create(t, e, "REMOTE_WRITE_URL="+r.WriteURL(), "SCRAPE_INTERVAL=1s", "SCRAPE_MAX_BYTES=4MiB",
		"EXTRA_TARGETS=node="+exporter.URL+"/metrics,moody@500ms="+third.URL)
	p.enable()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	is := func(what, expr string, n int) {
		t.Helper()
		r.await(what, func() bool {
			found, err := r.Query(t.Context(), expr, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			return len(found) == n
		})
	}
	labels := func(job string) string { return fmt.Sprintf(`{job=%q,instance=%q}`, job, host) }
	is("the engine", "engine_daemon_engine_info"+labels("docker"), 1)
	is("the exporter", "node_uname_info"+labels("node")+" and on (instance) up"+labels("node")+" == 1", 1)
	is("the third target", "moody"+labels("moody"), 1)
	began := time.Now()
	for mood := int32(hangs); mood < moods; mood++ {
		third.mood.Store(mood)
		is(fmt.Sprintf("mood %d", mood), "up"+labels("moody")+" == 0", 1)
		is(fmt.Sprintf("the end of its series in mood %d", mood), "moody"+labels("moody"), 0)
		third.mood.Store(good)
		is(fmt.Sprintf("its good mood after %d", mood), "up"+labels("moody")+" == 1 and on (instance) moody", 1)
	}
	r.noLoss(time.Second)
	for _, job := range []string{"docker", "node"} {
		content, err := r.Samples(t.Context(), "up"+labels(job), began, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, samples := range content {
			for _, s := range samples {
				if n++; s.V != 1 {
					t.Errorf("up of %s is %v at %d", job, s.V, s.T)
				}
			}
		}
		if n == 0 {
			t.Errorf("no up of %s", job)
		}
	}
	if found, err := r.Query(t.Context(), `{exported_job!=""}`, time.Now()); err != nil || len(found) > 0 {
		t.Errorf("of a body that is broken there is %v, %v", found, err)
	}
	tell(t, "the engine's and the node exporter's series from one plugin, beside a target that hangs, floods and lies")
}
