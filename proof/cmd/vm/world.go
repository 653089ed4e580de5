// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/docker-remote-write/docker-remote-write/proof/machine"
	"github.com/docker-remote-write/docker-remote-write/proof/promtest"
)

// patience ends a run that hangs. It is no measure of anything: an emulated machine on a
// busy one is slow.
const patience = 20 * time.Minute

// world is a machine, and what stands around it.
type world struct {
	*machine.Machine
	options
	name   string // of the machine, in what is printed
	engine string // version of its engine
	first  *receiver
	second *receiver // where a changed URL leads
	target *target   // beside the engine, for who says so
}

// newWorld makes a machine, which is off, and starts what stands around it.
func newWorld(ctx context.Context, name string, o options, b build) (w *world, err error) {
	w = &world{options: o, name: name}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close())
		}
	}()
	if w.target, err = newTarget(); err != nil {
		return w, err
	}
	forward := map[string]string{"192.0.2.100:9100": w.target.l.Addr().String()}
	for at, r := range map[string]**receiver{"192.0.2.100:9090": &w.first, "192.0.2.101:9090": &w.second} {
		if *r, err = newReceiver(); err != nil {
			return w, err
		}
		forward[at] = (*r).Addr()
	}
	self, err := os.Executable()
	if err != nil {
		return w, err
	}
	w.Machine, err = machine.New(ctx, machine.Options{
		Suite: o.suite, Files: b, Relay: []string{self, "relay"}, Forward: forward, Log: w.say,
	})
	return w, err
}

// Close removes all of it.
func (w *world) Close() error {
	var errs []error
	if w.Machine != nil {
		errs = append(errs, w.Machine.Close())
	}
	for _, r := range []*receiver{w.first, w.second} {
		if r != nil {
			errs = append(errs, r.Close())
		}
	}
	if w.target != nil {
		errs = append(errs, w.target.Close())
	}
	return errors.Join(errs...)
}

var printing sync.Mutex

func (w *world) say(format string, args ...any) {
	printing.Lock()
	defer printing.Unlock()
	fmt.Printf(w.name+": "+format+"\n", args...)
}

// boot turns the machine on and waits for its engine.
func (w *world) boot(ctx context.Context) error {
	if err := w.Boot(ctx); err != nil {
		return err
	}
	_, err := w.sh(ctx, "until_true docker version")
	return err
}

// sh has the machine execute a script, with lib.sh.
func (w *world) sh(ctx context.Context, script string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	out, err := w.Run(ctx, ". /media/host/lib.sh\n"+script)
	return strings.TrimSpace(out), err
}

// at is sh for a script that prints the machine's time in milliseconds last, as now does.
func (w *world) at(ctx context.Context, script string) (int64, error) {
	out, err := w.sh(ctx, script)
	if err != nil {
		return 0, err
	}
	lines := strings.Split(out, "\n")
	return strconv.ParseInt(lines[len(lines)-1], 10, 64)
}

// books are what one of the machine's plugins says of its only endpoint.
type books struct {
	Appended  uint64            `json:"samples_appended"`
	Delivered uint64            `json:"samples_delivered"`
	Lost      map[string]uint64 `json:"samples_lost"`
	Backlog   struct {
		Samples uint64 `json:"samples"`
	} `json:"backlog"`
}

// read finds the books in what /status answered.
func read(status string) (books, error) {
	var s struct {
		Endpoints []books `json:"endpoints"`
	}
	if err := json.Unmarshal([]byte(status), &s); err != nil || len(s.Endpoints) != 1 {
		return books{}, fmt.Errorf("one endpoint is wanted: %w in %s", err, status)
	}
	return s.Endpoints[0], nil
}

// balance holds the books to what may never be otherwise, and to nothing lost: what was
// refused because it was there already is not.
func (b books) balance() error {
	sum := b.Delivered + b.Backlog.Samples + b.Lost["refused_after_resend"]
	lost := maps.Clone(b.Lost)
	maps.DeleteFunc(lost, func(reason string, n uint64) bool { return n == 0 || reason == "refused_after_resend" })
	for _, n := range lost {
		sum += n
	}
	if sum != b.Appended || len(lost) > 0 {
		return fmt.Errorf("the books: appended %d, delivered %d, waiting %d, lost %v", b.Appended, b.Delivered, b.Backlog.Samples, lost)
	}
	return nil
}

// settled waits until the plugin's, or the process', books are settled: nothing waits, and
// the receiver holds as many samples as were delivered.
func (w *world) settled(ctx context.Context, socket string) (books, error) {
	return wait(ctx, "the books and the receiver to agree", func(ctx context.Context) (books, error) {
		out, err := w.sh(ctx, "curl -sf --unix-socket "+socket+" http://localhost/status")
		if err != nil {
			return books{}, retry{err}
		}
		b, err := read(out)
		if err != nil {
			return b, err
		}
		if err := b.balance(); err != nil {
			return b, err
		}
		held, err := w.first.held(ctx)
		switch {
		case err != nil:
			return b, err
		case b.Backlog.Samples > 0 || held != b.Delivered+b.Lost["refused_after_resend"]:
			return b, retry{fmt.Errorf("%d delivered, %d waiting, the receiver holds %d", b.Delivered, b.Backlog.Samples, held)}
		}
		return b, nil
	})
}

const pluginSocket = "$(ls /run/docker/plugins/*/rw.sock)"

// receiver is a Prometheus.
type receiver struct {
	*promtest.Server
	weather *weather
}

// held is how many samples it has.
func (r *receiver) held(ctx context.Context) (uint64, error) {
	c, err := r.Samples(ctx, `{__name__=~".+"}`, time.Time{}, time.Time{})
	return uint64(c.Samples()), err
}

// ups are the samples of up, in the order of time.
func (r *receiver) ups(ctx context.Context) ([]promtest.Sample, error) {
	c, err := r.Samples(ctx, `up{job="docker"}`, time.Time{}, time.Time{})
	var out []promtest.Sample
	for _, s := range c {
		out = append(out, s...)
	}
	slices.SortFunc(out, func(a, b promtest.Sample) int { return int(a.T - b.T) })
	return slices.DeleteFunc(out, promtest.Sample.Stale), err
}

// up waits for a scrape later than a time of the machine with that value of up.
func (r *receiver) up(ctx context.Context, value float64, after int64) (time.Duration, error) {
	return wait(ctx, fmt.Sprintf("up %v after %d", value, after), func(ctx context.Context) (time.Duration, error) {
		ups, err := r.ups(ctx)
		if err != nil {
			return 0, err
		}
		for _, s := range ups {
			if s.V == value && s.T > after {
				return time.Duration(s.T-after) * time.Millisecond, nil
			}
		}
		return 0, retry{fmt.Errorf("the receiver holds %d scrapes", len(ups))}
	})
}

// retry is an error that may pass.
type retry struct{ error }

// wait asks until there is no error that may pass.
func wait[T any](ctx context.Context, what string, ask func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		got, err := ask(ctx)
		var r retry
		if !errors.As(err, &r) {
			return got, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return got, fmt.Errorf("waited in vain for %s: %w", what, r.error)
		}
	}
}
