// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/docker-remote-write/docker-remote-write/proof/engine"
	"github.com/docker-remote-write/docker-remote-write/proof/promtest"
)

// scratchImage builds an image of the program alone in an engine.
func scratchImage(t *testing.T, e *engine.Engine) string {
	t.Helper()
	dir := t.TempDir()
	copyFile(t, binary, filepath.Join(dir, "program"))
	dockerfile := "FROM scratch\nCOPY program /program\nENTRYPOINT [\"/program\", \"version\"]\n"
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(dockerfile), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := e.Command(t.Context(), "build", "-t", "scratch-run", dir)
	cmd.Env = append(cmd.Env, "DOCKER_BUILDKIT=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("docker build: %v: %s", err, out)
	}
	return "scratch-run"
}

// runs are the median durations of ten runs of a container in each engine, one
// after the other in turn, so that a busy machine slows both.
func runs(t *testing.T, image string, engines ...*engine.Engine) []time.Duration {
	t.Helper()
	all := make([][]time.Duration, len(engines))
	for range 10 {
		for i, e := range engines {
			all[i] = append(all[i], timed(func() {
				if _, err := e.Docker(t.Context(), "run", "--rm", "--network=none", image); err != nil {
					t.Fatal(err)
				}
			}))
		}
	}
	var medians []time.Duration
	for _, d := range all {
		slices.Sort(d)
		medians = append(medians, (d[4]+d[5])/2)
	}
	return medians
}

// TestEngineNeverWaits holds the engine's waits to their bounds while the
// receiver is dead or hangs. Each bound is asserted at twice what it should be.
func TestEngineNeverWaits(t *testing.T) {
	e, bare := ownEngine(t, engine.Options{}), ownEngine(t, engine.Options{})
	image := scratchImage(t, e)
	scratchImage(t, bare)
	for name, fault := range map[string]func(*receiver){
		"dead":    func(r *receiver) { r.Close() },
		"hanging": func(r *receiver) { r.setFault(hangAll) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t, promtest.Options{})
			fault(r)
			p := create(t, e, "REMOTE_WRITE_URL="+r.WriteURL(), "SCRAPE_INTERVAL=1s")
			bound := func(what string, took, should time.Duration) {
				tell(t, "%s: %v", what, took.Round(time.Millisecond))
				if took > 2*should {
					t.Errorf("%s took %v, it should be under %v", what, took, should)
				}
			}
			bound("enable", p.enable(), 2*time.Second)
			medians := runs(t, image, e, bare)
			with, without := medians[0], medians[1]
			tell(t, "docker run, median of ten: %v, without the plugin %v", with.Round(time.Millisecond), without.Round(time.Millisecond))
			if with > without*3/2 {
				t.Errorf("docker run takes %v with the plugin and %v without", with, without)
			}
			bound("disable", p.disable(), 5*time.Second)
			bound("enable with a backlog", p.enable(), 2*time.Second)
			eventually(t, "a request to be under way", func() bool { return p.pid() != 0 })
			bound("engine stop", timed(e.Stop), 5*time.Second)
			bare.Stop()
			boot := timed(func() {
				if err := bare.Up(t.Context()); err != nil {
					t.Fatal(err)
				}
			})
			tell(t, "engine start without the plugin: %v", boot.Round(time.Millisecond))
			bound("engine start", p.engineUp(), boot+time.Second)
			if enabled, err := p.PluginEnabled(t.Context(), p.name); !enabled || err != nil {
				t.Errorf("enabled %v after the start, %v", enabled, err)
			}
			r.setFault(nil)
		})
	}
}
