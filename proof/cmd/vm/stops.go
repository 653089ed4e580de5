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
	begin  int   // the number before the first that counts
	last   []int // of each stop, the number that was served last before it
	lost   int   // scrapes that were served before one of them and did not arrive
	inWork int   // stops that took the scrape in progress
}

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
	s := &stopping{world: w, rnd: rand.New(rand.NewPCG(seed, 0)), begin: w.number()}
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
	says := fmt.Sprintf("%d stops: %d scrapes served, %d of them lost, and %d times the one in progress", w.stops, w.number()-s.begin, s.lost, s.inWork)
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
	cut := s.target.machineIs(true)
	s.last = append(s.last, cut)
	s.first.weather.set(false)
	if err := s.Boot(ctx); err != nil {
		return "", err
	}
	s.target.machineIs(false)
	if err := s.scrapes(ctx, 2); err != nil { // of the new life
		return "", err
	}
	if _, err := wait(ctx, "a scrape of the new life", func(ctx context.Context) (int, error) {
		_, newest, err := s.arrived(ctx)
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
// served up to the stop.
func (s *stopping) count(ctx context.Context, cut int) (string, error) {
	arrived, _, err := s.arrived(ctx)
	if err != nil {
		return "", err
	}
	missing, lost := 0, 0
	for n := s.begin + 1; n <= cut; n++ {
		switch {
		case arrived[n]:
		case slices.Contains(s.last, n):
			missing++
		default:
			lost++
		}
	}
	s.lost, s.inWork = lost, missing
	return fmt.Sprintf("%d served by then, lost %d, in progress %d", cut-s.begin, lost, missing), nil
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

// arrived are the numbers that the receiver holds, and the newest. They are in order.
func (s *stopping) arrived(ctx context.Context) (map[int]bool, int, error) {
	c, err := s.first.Samples(ctx, sequence, time.Time{}, time.Time{})
	if err != nil {
		return nil, 0, err
	}
	if len(c) > 1 {
		return nil, 0, fmt.Errorf("the receiver holds %d series of %s", len(c), sequence)
	}
	got, last := map[int]bool{}, 0
	for _, samples := range c {
		for _, one := range samples {
			if one.Stale() {
				continue
			}
			if int(one.V) <= last {
				return nil, 0, fmt.Errorf("after %d the receiver holds %s", last, one)
			}
			last = int(one.V)
			got[last] = true
		}
	}
	return got, last, nil
}

// number is that of the target's last answer.
func (w *world) number() int {
	n, _ := w.target.served()
	return n
}
