// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"syscall"
	"testing"
	"time"

	"github.com/docker-remote-write/docker-remote-write/proof/engine"
	"github.com/docker-remote-write/docker-remote-write/proof/promtest"
)

// The tests of the engine's life, TestLife..., run on each engine that is at hand: see
// the Makefile.

const interval = time.Second

// living starts an engine of its own with the plugin at work in it.
func living(t *testing.T, o engine.Options, settings ...string) (*plugin, *receiver) {
	t.Helper()
	e := ownEngine(t, o)
	r := newReceiver(t, promtest.Options{})
	p := create(t, e, append([]string{"REMOTE_WRITE_URL=" + r.WriteURL(), "SCRAPE_INTERVAL=" + interval.String()}, settings...)...)
	event := time.Now()
	p.enable()
	r.alive("enable", event)
	return p, r
}

// some waits until a few scrapes on the grid have arrived.
func (r *receiver) some() {
	r.t.Helper()
	n := len(r.ups())
	r.await("a few scrapes", func() bool { return len(r.ups()) >= n+3 })
}

func (p *plugin) engineUp() time.Duration {
	p.t.Helper()
	return timed(func() {
		if err := p.Up(p.t.Context()); err != nil {
			p.t.Fatal(err)
		}
	})
}

// ended reports whether the engine's series end with a stale marker.
func (r *receiver) ended() bool {
	r.t.Helper()
	c, err := r.Samples(r.t.Context(), "engine_daemon_engine_info", time.Time{}, time.Time{})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, s := range c {
		if len(s) > 0 && s[len(s)-1].Stale() {
			return true
		}
	}
	return false
}

func TestLifeDisableSetEnable(t *testing.T) {
	t.Parallel()
	p, r := living(t, engine.Options{})
	r.some()
	event := time.Now()
	took := p.disable()
	if !r.ended() {
		t.Error("the last scrape and the stale markers did not arrive with the disable")
	}
	if s := r.ups(); s[len(s)-1].V != 1 || s[len(s)-1].T < event.UnixMilli() {
		t.Errorf("the last scrape was %v, the disable began at %d", s[len(s)-1], event.UnixMilli())
	}
	tell(t, "disable took %v", took.Round(time.Millisecond))
	p.set("EXTERNAL_LABELS=stage=second")
	event2 := time.Now()
	p.enable()
	r.alive("disable, set, enable", event2)
	if v, err := r.Query(t.Context(), `up{job="docker",stage="second"}`, time.Now()); err != nil || len(v) != 1 {
		t.Errorf("with the new label: %v, %v", v, err)
	}
}

func TestLifeEngineStopAndStart(t *testing.T) {
	t.Parallel()
	p, r := living(t, engine.Options{})
	r.some()
	event := time.Now()
	took := timed(p.Stop)
	s := r.ups()
	if last := s[len(s)-1]; last.V != 0 || last.T < event.UnixMilli() {
		t.Errorf("the last up is %v, want 0 after %d", last, event.UnixMilli())
	}
	if last := s[len(s)-2]; last.V != 1 || last.T < event.UnixMilli() {
		t.Errorf("the last scrape is %v, want one after %d", last, event.UnixMilli())
	}
	if !r.ended() {
		t.Error("no stale markers")
	}
	start := time.Now()
	boot := p.engineUp()
	r.alive("engine stop and start, from its start", start)
	tell(t, "the stop took %v, the start %v", took.Round(time.Millisecond), boot.Round(time.Millisecond))
	r.noLoss(interval, window{event, time.UnixMilli(r.up(1, start).T)})
}

func TestLifeEngineKilled(t *testing.T) {
	t.Parallel()
	p, r := living(t, engine.Options{})
	r.some()
	event := time.Now()
	p.Kill()
	down := r.up(0, event)
	delay := time.UnixMilli(down.T).Sub(event)
	tell(t, "up 0 was scraped %v after the kill and arrived after %v", delay.Round(time.Millisecond), time.Since(event).Round(time.Millisecond))
	if delay > 2*interval {
		t.Errorf("up 0 came %v after the kill", delay)
	}
	if p.pid() == 0 {
		t.Error("the plugin did not outlive the engine")
	}
	r.some() // more of the same
	start := time.Now()
	boot := p.engineUp()
	r.alive("engine kill -9 and start, from its start", start)
	tell(t, "the start took %v", boot.Round(time.Millisecond))
	r.noLoss(interval, window{start, time.UnixMilli(r.up(1, start).T)})
}

func testLiveRestore(t *testing.T, what string, down func(*plugin)) {
	p, r := living(t, engine.Options{LiveRestore: true})
	r.some()
	var windows []window
	for range 2 {
		event := time.Now()
		pid := p.pid()
		down(p)
		if p.pid() != pid {
			t.Fatal("live-restore did not keep the plugin running")
		}
		start := time.Now()
		boot := p.engineUp()
		r.alive(what+" with live-restore, from its start", start)
		tell(t, "the start took %v", boot.Round(time.Millisecond))
		if p.pid() == pid {
			t.Error("it is still the process with the dead mount")
		}
		windows = append(windows, window{event, time.UnixMilli(r.up(1, start).T)})
		r.noLoss(interval, windows...)
	}
}

func TestLifeLiveRestoreStop(t *testing.T) {
	t.Parallel()
	testLiveRestore(t, "engine stop and start", func(p *plugin) { p.Stop() })
}

func TestLifeLiveRestoreKill(t *testing.T) {
	t.Parallel()
	testLiveRestore(t, "engine kill -9 and start", func(p *plugin) { p.Kill() })
}

// TestLifePluginKilledTenTimes: the first few times it is back at once, then its own
// delay sets in, for the engine has none.
func TestLifePluginKilledTenTimes(t *testing.T) {
	t.Parallel()
	p, r := living(t, engine.Options{})
	r.some()
	var windows []window
	for range 10 {
		event := p.kill()
		r.alive("plugin kill -9", event)
		windows = append(windows, window{event, time.UnixMilli(r.up(1, event).T)})
	}
	r.some()
	r.noLoss(interval, windows...)
}

func TestLifePluginKilledWhileEngineIsDown(t *testing.T) {
	t.Parallel()
	p, r := living(t, engine.Options{})
	r.some()
	event := time.Now()
	p.Kill()
	r.up(0, event)
	killed := p.kill()
	start := time.Now()
	boot := p.engineUp()
	r.alive("plugin killed while the engine is down, from the engine's start", start)
	tell(t, "the start took %v", boot.Round(time.Millisecond))
	r.noLoss(interval, window{killed, time.UnixMilli(r.up(1, start).T)})
}

// TestLifeBacklogSurvives: what waits on disk outlives every way in which the plugin
// can end, and arrives once the receiver takes it.
func TestLifeBacklogSurvives(t *testing.T) {
	t.Parallel()
	p, r := living(t, engine.Options{})
	r.some()
	outage := time.Now()
	r.setFault(refuseAll(503))
	queued := func(n int) { // waits for n scrapes that cannot be delivered
		begin := time.Now()
		eventually(t, "scrapes to queue", func() bool { return time.Since(begin) > time.Duration(n)*interval })
	}
	queued(3)
	k := window{from: p.kill()}
	eventually(t, "the plugin to be back", func() bool { return p.pid() != 0 })
	queued(3)
	k.to = time.Now()
	d := window{from: time.Now()}
	p.disable()
	p.enable()
	d.to = time.Now().Add(interval)
	queued(3)
	s := window{from: time.Now()}
	p.Stop()
	p.engineUp()
	s.to = time.Now().Add(interval)
	queued(3)
	r.setFault(nil)
	mended := time.Now()
	r.up(1, mended)
	tell(t, "an outage of %v, with a crash, a disable and an engine stop in it: first new sample %v after its end",
		mended.Sub(outage).Round(time.Second), time.Since(mended).Round(time.Millisecond))
	r.noLoss(interval, window{k.from, k.from.Add(3 * interval)}, d, s)
}

// TestLifeFrozenPlugin: a plugin that does not answer at all is the engine's worst
// case; it is here so that the bounds of the others mean something.
func TestLifeFrozenPlugin(t *testing.T) {
	t.Parallel()
	p, _ := living(t, engine.Options{})
	if err := syscall.Kill(p.pid(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	took := p.disable()
	if took < 5*time.Second {
		t.Errorf("a frozen plugin cost only %v: the harness cannot see a slow one", took)
	}
	tell(t, "disabling a frozen plugin took %v", took.Round(time.Millisecond))
}
