// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// withoutSync writes an overlay for the compiler, in which the spool's file operations
// leave out every sync. It is the program that the stops must catch.
func withoutSync(dir string) (string, error) {
	const file = "internal/spool/fsops.go"
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	source := string(b)
	for _, sync := range [][2]string{
		{"err := unix.Fdatasync(int(f.Fd()))", "err := error(nil)"}, {"return f.Sync()", "return nil"}, {"return d.Sync()", "return nil"},
	} {
		if strings.Count(source, sync[0]) != 1 {
			return "", fmt.Errorf("%s: %q is not there once", file, sync[0])
		}
		source = strings.ReplaceAll(source, sync[0], sync[1])
	}
	absolute, err := filepath.Abs(file)
	if err != nil {
		return "", err
	}
	replaced, overlay := filepath.Join(dir, "fsops.go"), filepath.Join(dir, "overlay.json")
	list, err := json.Marshal(map[string]map[string]string{"Replace": {absolute: replaced}})
	if err != nil {
		return "", err
	}
	return overlay, errors.Join(os.WriteFile(replaced, []byte(source), 0o600), os.WriteFile(overlay, list, 0o600))
}

// stopping is a machine whose power is cut again and again, while the plugin in it scrapes
// the target outside.
type stopping struct {
	*world
	rnd    *rand.Rand
	begin  int       // the number before the first that counts
	since  time.Time // when that was
	last   []int     // of each stop, the number that was served last before it
	dark   []dark    // of each stop, when the target answered nobody
	lost   int       // scrapes that were served before one of them and did not arrive
	failed int       // those that came too late for the plugin, as up says
	inWork int       // stops that took the scrape in progress
}

type dark struct{ from, to time.Time }

// newStopping installs a plugin, on what is then on the disk, and begins to count.
func newStopping(ctx context.Context, w *world, files string) (*stopping, error) {
	seed := w.seed
	if seed == 0 {
		seed = rand.Uint64()
	}
	w.say("what is lost is what the machine had in memory, its page cache; not what a disk holds in a cache of its own (seed %d)", seed)
	if err := w.install(ctx, files, "SCRAPE_TARGET=http://target.example:9100/metrics", "SCRAPE_INTERVAL=1s", "MAX_BACKOFF=1s"); err != nil {
		return nil, err
	}
	s := &stopping{world: w, rnd: rand.New(rand.NewPCG(seed, 0)), begin: w.number(), since: time.Now()}
	_, err := w.sh(ctx, "sync")
	return s, err
}

// stops cuts the power of a machine whose plugin syncs: nothing may be lost.
func stops(ctx context.Context, w *world) (string, error) {
	s, err := newStopping(ctx, w, "plugin")
	if err != nil {
		return "", err
	}
	for i := range w.stops {
		if err := w.report(ctx, scenario{fmt.Sprintf("stop %d of %d", i+1, w.stops), func(ctx context.Context, _ *world) (string, error) {
			says, err := s.stop(ctx, moments[i%len(moments)])
			if err != nil {
				return says, err
			}
			books, err := s.judge(ctx)
			return says + "; " + books, err
		}}); err != nil {
			return "", err
		}
	}
	says := fmt.Sprintf("%d stops: %d scrapes served, %d of them lost, %d times the one in progress, and %d late answers", w.stops, w.number()-s.begin, s.lost, s.inWork, s.failed)
	if s.lost > 0 {
		return says, fmt.Errorf("%d scrapes that were on disk did not arrive", s.lost)
	}
	return says, nil
}

// unsynced cuts the power of a machine whose plugin leaves every sync out: something must
// be lost.
func unsynced(ctx context.Context, w *world) (string, error) {
	s, err := newStopping(ctx, w, "unsynced")
	if err != nil {
		return "", err
	}
	var all []string
	for range w.stops {
		says, err := s.stop(ctx, moments[0])
		if all = append(all, says); err != nil || s.lost > 0 {
			return strings.Join(all, "\n"), err
		}
	}
	return strings.Join(all, "\n"), errors.New("a build that syncs nothing lost nothing: the stops prove nothing")
}

// moment is when the power is cut.
type moment struct {
	name  string
	down  bool // the receiver, while scrapes are waited for
	drain bool // it comes back before the power goes
}

var moments = []moment{
	{"the receiver down", true, false},
	{"in a drain", true, true},
	{"the receiver up", false, false},
}

// stop cuts the power at such a moment, boots, and looks what is there.
func (s *stopping) stop(ctx context.Context, m moment) (string, error) {
	s.first.weather.set(m.down)
	if err := s.scrapes(ctx, 4+s.rnd.IntN(8)); err != nil {
		return "", err
	}
	if m.drain {
		s.first.weather.set(false)
		select {
		case <-s.first.weather.came:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	// Any moment at all, or one within a scrape, which takes a tenth of a second there.
	after := time.Duration(s.rnd.Int64N(int64(1500 * time.Millisecond)))
	if s.rnd.IntN(2) == 0 {
		after = time.Duration(s.rnd.Int64N(int64(150 * time.Millisecond)))
	}
	select {
	case <-time.After(after):
	case <-ctx.Done():
		return "", ctx.Err()
	}
	s.Cut()
	night := dark{from: time.Now()}
	cut := s.target.machineIs(true)
	s.last = append(s.last, cut)
	s.first.weather.set(false)
	if err := s.Boot(ctx); err != nil {
		return "", err
	}
	s.target.machineIs(false)
	night.to = time.Now()
	s.dark = append(s.dark, night)
	if err := s.scrapes(ctx, 2); err != nil { // of the new life
		return "", err
	}
	if _, err := wait(ctx, "a scrape of the new life", func(ctx context.Context) (int, error) {
		got, err := s.arrived(ctx)
		newest := 0
		if len(got) > 0 {
			newest = got[len(got)-1].n
		}
		if err == nil && newest <= cut {
			err = retry{fmt.Errorf("%d of %d served", newest, s.number())}
		}
		return newest, err
	}); err != nil {
		return "", err
	}
	says, err := s.count(ctx, cut)
	return fmt.Sprintf("%s, %d ms later; %s", m.name, after.Milliseconds(), says), err
}

// scrapes waits until the target was scraped so many times more.
func (s *stopping) scrapes(ctx context.Context, more int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	n, next := s.target.served()
	for until := n + more; n < until; n, next = s.target.served() {
		select {
		case <-next:
		case <-ctx.Done():
			return fmt.Errorf("waited in vain for scrape %d, %d were served: %w", until, n, ctx.Err())
		}
	}
	return nil
}

// count looks which scrapes the receiver has, of those since the last installation that were
// served up to the stop. Where some are missing that were not the last before a stop, there
// must be as many in their place that the plugin itself says it did not get in time.
func (s *stopping) count(ctx context.Context, cut int) (string, error) {
	got, err := s.arrived(ctx)
	if err != nil {
		return "", err
	}
	c, err := s.first.Samples(ctx, `up{job="docker"}`, s.since, time.Now())
	if err != nil {
		return "", err
	}
	late := func(from, to int64) (n int) {
		for _, samples := range c {
			for _, up := range samples {
				if up.V == 0 && up.T > from && up.T < to && !slices.ContainsFunc(s.dark, func(d dark) bool {
					return up.T >= d.from.UnixMilli() && up.T <= d.to.UnixMilli()
				}) {
					n++
				}
			}
		}
		return n
	}
	s.lost, s.failed, s.inWork = 0, 0, 0
	before := arrival{s.begin, s.since.UnixMilli()}
	for _, one := range got {
		if one.n <= s.begin {
			continue
		}
		missing := 0
		for n := before.n + 1; n < one.n; n++ {
			if slices.Contains(s.last, n) {
				s.inWork++
			} else {
				missing++
			}
		}
		if missing > 0 {
			failed := min(missing, late(before.t, one.t))
			s.failed += failed
			s.lost += missing - failed
		}
		before = one
	}
	return fmt.Sprintf("%d served by then, lost %d, in progress %d, late %d", cut-s.begin, s.lost, s.inWork, s.failed), nil
}

// judge holds the plugin to its books, and to a spool that opened.
func (s *stopping) judge(ctx context.Context) (string, error) {
	out, err := s.sh(ctx, "curl -sf --unix-socket "+pluginSocket+" http://localhost/status")
	if err != nil {
		return "", err
	}
	b, err := read(out)
	if err != nil {
		return "", err
	}
	if err := b.balance(); err != nil {
		return "", err
	}
	if damaged, err := s.sh(ctx, "journalctl -q -b -u docker -o cat | grep -i -e damage -e 'in memory only' || true"); err != nil || damaged != "" {
		return "", fmt.Errorf("the spool: %w %s", err, damaged)
	}
	return fmt.Sprintf("the books balance: %d samples appended, %d delivered, %d refused as sent before", b.Appended, b.Delivered, b.Lost["refused_after_resend"]), nil
}

// arrival is the number of a scrape that the receiver holds, and its time in milliseconds.
type arrival struct {
	n int
	t int64
}

// arrived is what the receiver holds, in order.
func (s *stopping) arrived(ctx context.Context) (got []arrival, err error) {
	c, err := s.first.Samples(ctx, sequence, time.Time{}, time.Time{})
	if err != nil {
		return nil, err
	}
	if len(c) > 1 {
		return nil, fmt.Errorf("the receiver holds %d series of %s", len(c), sequence)
	}
	for _, samples := range c {
		for _, one := range samples {
			if one.Stale() {
				continue
			}
			if len(got) > 0 && int(one.V) <= got[len(got)-1].n {
				return nil, fmt.Errorf("after %d the receiver holds %s", got[len(got)-1].n, one)
			}
			got = append(got, arrival{int(one.V), one.T})
		}
	}
	return got, nil
}

// number is that of the target's last answer.
func (w *world) number() int {
	n, _ := w.target.served()
	return n
}
