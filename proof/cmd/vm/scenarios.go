// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"
)

// scenario is something that a user does, or that happens to one. It returns what there is
// to tell.
type scenario struct {
	name string
	run  func(context.Context, *world) (string, error)
}

// all of them, the longest first, since machines side by side take them in turn.
func all() []scenario {
	return []scenario{
		{"the power is taken away", stops},
		{"install, change, upgrade, uninstall as in the README", readme},
		{"rootless", rootless},
		{"live-restore: systemctl restart docker, kill -9 of the engine", live},
		{"reboot of the machine", reboot},
		{"the power is taken away from a build without a sync", unsynced},
		{"the fleet's script, twice", fleet},
		{"the hardened unit", unit},
		{"userns-remap", remapped},
		{"kill -9 of the engine", killed},
		{"systemctl restart docker", restart},
		{"the plugin crashes three times", crashes},
		{"status as root and as a member of the group docker", status},
		{"what AppArmor, seccomp and the kernel say of the plugin", confinement},
	}
}

// machines go through the scenarios that were chosen, side by side: an emulated machine has
// one processor.
func machines(ctx context.Context, o options, b build) error {
	todo := make(chan scenario, len(all()))
	for _, s := range all() {
		if o.only.MatchString(s.name) && (o.stops > 0 || !strings.Contains(s.name, "power")) {
			todo <- s
		}
	}
	close(todo)
	if len(todo) == 0 {
		return errors.New("no scenario has such a name")
	}
	errs := make([]error, min(len(todo), runtime.NumCPU(), 4))
	var g sync.WaitGroup
	for i := range errs {
		g.Go(func() { errs[i] = work(ctx, fmt.Sprintf("%s %d", o.suite, i+1), o, b, todo) })
	}
	g.Wait()
	return errors.Join(errs...)
}

// work boots a machine and has it take scenarios until there are none.
func work(ctx context.Context, name string, o options, b build, todo <-chan scenario) (err error) {
	w, err := newWorld(ctx, name, o, b)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	if err := w.report(ctx, scenario{"boot", func(ctx context.Context, w *world) (string, error) {
		if err := w.boot(ctx); err != nil {
			return "", err
		}
		if _, err := w.sh(ctx, "cp -r /media/host/repository /root/docker-remote-write"); err != nil {
			return "", err
		}
		return w.describe(ctx)
	}}); err != nil {
		return err
	}
	for s := range todo {
		if err := w.clear(ctx); err != nil {
			return err
		}
		if e := w.report(ctx, s); e != nil { // the others are worth seeing, too
			err = errors.Join(err, e)
			if ctx.Err() != nil || w.Alive() != nil {
				return err
			}
		}
	}
	return err
}

// clear removes the plugins, and then what the receivers have.
func (w *world) clear(ctx context.Context) error {
	_, err := w.sh(ctx, "remove $(docker plugin ls -q --no-trunc)")
	for _, r := range []*receiver{w.first, w.second} {
		err = errors.Join(err, r.renew())
	}
	return err
}

// describe says what the machine is.
func (w *world) describe(ctx context.Context) (string, error) {
	out, err := w.sh(ctx, `docker version --format '{{.Server.Version}}'
docker version --format 'API {{.Server.APIVersion}}, {{range .Server.Components}}{{if ne .Name "docker-init"}}{{.Name}} {{.Version}}, {{end}}{{end}}'
docker info --format 'cgroup v{{.CgroupVersion}}, {{.SecurityOptions}}, {{.OperatingSystem}}, {{.KernelVersion}}'
systemctl --version | head -n 1`)
	if err != nil {
		return "", err
	}
	var rest string
	for i, line := range lines(out) {
		if i == 0 {
			w.engine = line
		} else {
			rest += ", " + line
		}
	}
	return "by " + w.Accelerator() + rest, nil
}

// report runs a scenario and prints its line.
func (w *world) report(ctx context.Context, s scenario) error {
	began, before := time.Now(), w.kept(ctx)
	says, err := s.run(ctx, w)
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", s.name, context.Cause(ctx))
	}
	kept := w.kept(ctx) - before
	word := "ok    "
	if err != nil {
		word = "FAILED"
	}
	w.say("%s %4.0f s %4d scrapes kept  %s (%s)", word, time.Since(began).Seconds(), kept, s.name, w.engine)
	for _, line := range lines(says) {
		w.say("       %s", line)
	}
	if err != nil {
		w.say("       %v", err)
		w.tellLog(ctx)
		return fmt.Errorf("%s: %w", s.name, err)
	}
	return nil
}

// kept is how many scrapes the receivers have.
func (w *world) kept(ctx context.Context) (n int) {
	for _, r := range []*receiver{w.first, w.second} {
		ups, err := r.ups(ctx)
		if n += len(ups); err != nil {
			w.say("%v", err)
		}
	}
	return n
}

// tellLog prints the end of the engine's log, which has the plugin's lines.
func (w *world) tellLog(ctx context.Context) {
	out, err := w.sh(ctx, "journalctl -q --no-pager -n 40 -u docker -u docker-remote-write -o cat")
	if err != nil {
		out = err.Error()
	}
	for _, line := range lines(out) {
		w.say("       | %s", line)
	}
}
