// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker-remote-write/docker-remote-write/proof/faultproxy"
	"github.com/docker-remote-write/docker-remote-write/proof/promtest"
)

// TestKill kills the program with SIGKILL at random moments while its receiver, a
// Prometheus without an out-of-order window, is up, down and flapping. It scrapes three
// targets. What it had appended by then must arrive: each number that it wrote to its pipe,
// with every sample of that scrape, at its time, to the bit. Of what a target
// served nothing else may be missing but the last answer before a kill, and one that came
// too late for the program, in whose place the receiver holds `up 0`: the machine may be
// busy.
func TestKill(t *testing.T) {
	kills := min(50*loops(), 200)
	binary := program(t, traced)
	rnd := random(t)
	for i, protocol := range []string{"auto", "1.0"} {
		rnd := rand.New(rand.NewPCG(rnd.Uint64(), uint64(i)))
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			k := newKiller(t, rnd, binary, protocol)
			for range kills / 2 {
				k.life()
			}
			k.last()
			k.judge()
		})
	}
}

// killer is one test's program, its targets and its receiver.
type killer struct {
	t       *testing.T
	rnd     *rand.Rand
	targets []*target
	served  chan struct{} // has one in it after an answer of any
	proxy   *faultproxy.Proxy
	prom    *promtest.Server
	binary  string
	env     []string
	dir     string

	lives    []string           // paths on the targets
	begun    []int64            // when each life began, in milliseconds
	traced   map[answer]int64   // on disk when the process said so, with their times
	failed   map[string][]int64 // scrapes of each job that failed, likewise
	receiver int                // what it is: up, down, flapping, up ...
	remains  int                // for so many lives
	tally    *endpoint
}

// answer is one of a job's target, by its number.
type answer struct {
	job string
	n   int
}

// lifeInterval is that of the engine's target, the shortest, and the time that any scrape
// may take as well.
const lifeInterval = 2 * time.Second

func newKiller(t *testing.T, rnd *rand.Rand, binary, protocol string) *killer {
	prom, err := promtest.Start(promtest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { prom.Close() })
	proxy, err := faultproxy.New(prom.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	served := make(chan struct{}, 1)
	return &killer{
		t: t, rnd: rnd, served: served, proxy: proxy, prom: prom, binary: binary,
		targets: []*target{
			newTarget(t, "docker", lifeInterval, 20, served),
			newTarget(t, "node", 3*time.Second, 40, served),
			// With what is added more than goes into a request of one scrape.
			newTarget(t, "wide", 5*time.Second, 10_000, served),
		},
		dir: filepath.Join(t.TempDir(), "data"), traced: map[answer]int64{}, failed: map[string][]int64{},
		env: []string{
			"REMOTE_WRITE_URL=" + proxy.URL() + "/api/v1/write", "REMOTE_WRITE_PROTOCOL=" + protocol, "REMOTE_WRITE_TIMEOUT=5s",
			"SCRAPE_INTERVAL=" + lifeInterval.String(), "SELF_METRICS=false", "INSTANCE=" + instance,
			"MIN_BACKOFF=10ms", "MAX_BACKOFF=50ms",
		},
	}
}

func (k *killer) start() *process {
	life := fmt.Sprintf("/life/%d", len(k.lives))
	k.lives, k.begun = append(k.lives, life), append(k.begun, time.Now().UnixMilli())
	var others []string
	for _, s := range k.targets[1:] {
		others = append(others, fmt.Sprintf("%s@%s=%s%s", s.job, s.interval, s.URL, life))
	}
	return start(k.t, k.binary, k.dir, append(k.env, "SCRAPE_TARGET="+k.targets[0].URL+life, "EXTRA_TARGETS="+strings.Join(others, ","))...)
}

// life runs the program until a random moment: any at all, or one shortly after an
// answer of a target, when it parses, appends and sends.
func (k *killer) life() {
	k.weather()
	select {
	case <-k.served:
	default:
	}
	p := k.start()
	moment := time.Duration(k.rnd.Int64N(int64(3 * lifeInterval / 2)))
	if k.rnd.IntN(2) == 0 {
		moment = time.Duration(k.rnd.Int64N(int64(8 * time.Millisecond)))
		for range 1 + k.rnd.IntN(3) {
			select {
			case <-k.served:
			case <-time.After(30 * time.Second):
				k.t.Fatalf("the program does not scrape:\n%s", p.tail())
			}
		}
	}
	time.Sleep(moment) // the moment is random: nothing is waited for
	lines, err := p.end(syscall.SIGKILL)
	if err == nil || !strings.Contains(err.Error(), "killed") {
		k.t.Fatalf("ended by itself: %v\n%s", err, p.tail())
	}
	k.trace(lines, p)
}

// weather makes the receiver be up, down and flapping in turn, for a few lives each.
func (k *killer) weather() {
	if k.remains--; k.remains > 0 {
		return
	}
	k.remains = 1 + k.rnd.IntN(4)
	k.receiver = (k.receiver + 1) % 3
	switch k.receiver {
	case 0:
		k.up()
	case 1:
		k.proxy.Down()
	case 2:
		k.up()
		k.proxy.Decide(flapping(rand.New(rand.NewPCG(k.rnd.Uint64(), 0))))
	}
}

// flapping is a receiver whose requests and answers are cut, at any place, and
// which is overloaded.
func flapping(rnd *rand.Rand) func(*http.Request) faultproxy.Fault {
	return func(*http.Request) faultproxy.Fault {
		f := faultproxy.Fault{Delay: time.Duration(rnd.Int64N(int64(20 * time.Millisecond)))}
		switch rnd.IntN(6) {
		case 0:
			f.Kind, f.Bytes = faultproxy.CutRequest, rnd.IntN(500)
		case 1, 2:
			f.Kind, f.Bytes = faultproxy.CutAnswer, rnd.IntN(2)*rnd.IntN(100)
		case 3:
			return faultproxy.Status([]int{408, 429, 500, 502, 503, 504}[rnd.IntN(6)], "")
		}
		return f
	}
}

func (k *killer) up() {
	if err := k.proxy.Up(); err != nil {
		k.t.Fatal(err)
	}
	k.proxy.Set(faultproxy.Fault{})
}

// trace notes what a life said to be on disk.
func (k *killer) trace(lines []string, p *process) {
	for _, line := range lines {
		var at int64
		var a answer
		var number string
		c, err := fmt.Sscanf(line, "%d %s %s", &at, &a.job, &number)
		if err == nil && number != "-" {
			a.n, err = strconv.Atoi(number)
		}
		switch {
		case c != 3 || err != nil || len(strings.Fields(line)) != 3:
			k.t.Fatalf("an append failed: %q %v\n%s", line, err, p.tail())
		case number == "-":
			k.failed[a.job] = append(k.failed[a.job], at)
		default:
			k.traced[a] = at
		}
	}
}

// last runs the program once more, with its receiver up, until nothing waits, and
// ends it as a service manager does.
func (k *killer) last() {
	k.up()
	p := k.start()
	limit := time.After(5 * time.Minute)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for done := false; !done; {
		e, err := p.status(k.t.Context())
		if err == nil {
			k.tally = e
			done = e.Backlog.Samples == 0 && e.balance() == nil
		}
		for _, s := range k.targets {
			done = done && len(s.of(k.lives[len(k.lives)-1])) > 1
		}
		select {
		case <-tick.C:
		case <-limit:
			k.t.Fatalf("there still waits something: %s, %v\n%s", k.tally, err, p.tail())
		}
	}
	for _, s := range k.targets {
		s.horizon = slices.Max(slices.Collect(maps.Keys(k.arrived(s))))
	}
	lines, err := p.end(syscall.SIGTERM)
	if err != nil {
		k.t.Fatalf("SIGTERM: %v\n%s", err, p.tail())
	}
	k.trace(lines, p)
}
