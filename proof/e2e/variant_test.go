// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"testing"
	"time"

	"github.com/docker-remote-write/docker-remote-write/proof/engine"
	"github.com/docker-remote-write/docker-remote-write/proof/promtest"
)

// TestPropagatedRunDocker is the variant with the PropagatedMount that the
// protocol's document has. What a crash does to it is the engine's doing: it is
// printed, not asserted.
func TestPropagatedRunDocker(t *testing.T) {
	t.Parallel()
	e := ownEngine(t, engine.Options{})
	r := newReceiver(t, promtest.Options{})
	p := createFrom(t, e, assemble(t, binary, "/run/docker"), "REMOTE_WRITE_URL="+r.WriteURL(), "SCRAPE_INTERVAL=1s")
	event := time.Now()
	p.enable()
	r.alive("enable", event)
	p.disable()
	if !r.ended() {
		t.Error("the last scrape and the stale markers did not arrive with the disable")
	}
	event = time.Now()
	p.enable()
	r.alive("disable, enable", event)
	killed := time.Now()
	p.kill()
	limit := time.After(8 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	outcome := ""
	for outcome == "" {
		select {
		case <-tick.C:
			for _, s := range r.ups() {
				if s.V == 1 && s.T > killed.UnixMilli() {
					outcome = "was back: first new sample after " + time.Since(killed).Round(time.Millisecond).String()
				}
			}
		case <-limit:
			outcome = "never came back"
			if enabled, err := p.PluginEnabled(t.Context(), p.name); err == nil && enabled {
				outcome += ", and is still listed as enabled"
			}
		}
	}
	v, err := e.Version(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tell(t, "Docker Engine %s, PropagatedMount /run/docker, plugin kill -9: it %s", v, outcome)
}
