// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// install makes the plugin anew with a quick interval and waits for its first scrape.
func (w *world) install(ctx context.Context, files string, settings ...string) error {
	at, err := w.at(ctx, fmt.Sprintf(`docker plugin create docker-remote-write /media/host/%s >/dev/null
docker plugin set docker-remote-write REMOTE_WRITE_URL=http://prometheus.example:9090/api/v1/write SCRAPE_INTERVAL=2s %s
at=$(now)
docker plugin enable docker-remote-write
echo $at`, files, strings.Join(settings, " ")))
	if err != nil {
		return err
	}
	_, err = w.first.up(ctx, 1, at)
	return err
}

// survives installs the plugin, has events happen, and holds what the receiver has to the
// books: not a sample lost, none too many. An event's script leaves the time of the machine
// when it was killed, or had restarted, as at.
func survives(ctx context.Context, w *world, events ...string) (string, error) {
	if err := w.install(ctx, "plugin"); err != nil {
		return "", err
	}
	var took []string
	for _, event := range events {
		at, err := w.at(ctx, event+"\nuntil_true docker version\nuntil_true plugin_pid\necho $at")
		if err != nil {
			return "", err
		}
		first, err := w.first.up(ctx, 1, at)
		if err != nil {
			return "", err
		}
		took = append(took, fmt.Sprintf("%.1f s", first.Seconds()))
	}
	b, err := w.settled(ctx, pluginSocket)
	return fmt.Sprintf("scraping again after %s; %d samples appended, all of them at the receiver", strings.Join(took, ", "), b.Appended), err
}

func crashes(ctx context.Context, w *world) (string, error) {
	const crash = `old=$(plugin_pid)
kill -9 $old
at=$(now)
another $old`
	return survives(ctx, w, crash, crash, crash)
}

const restartEngine = "reset; systemctl restart docker; at=$(now)"

func restart(ctx context.Context, w *world) (string, error) {
	return survives(ctx, w, restartEngine)
}

// killEngine is an engine that dies and that systemd starts again.
const killEngine = `reset; engine=$(pidof dockerd)
kill -9 $engine
at=$(now)
until p=$(pidof dockerd) && [ "$p" != "$engine" ]; do sleep 0.2; done`

func killed(ctx context.Context, w *world) (string, error) {
	return survives(ctx, w, killEngine)
}

// live has the engine keep the plugin running over its own end. The process that is there
// afterwards must be another one: the first has the mount of a socket that is gone.
func live(ctx context.Context, w *world) (says string, err error) {
	if _, err := w.sh(ctx, `daemon '{"live-restore": true}'`); err != nil {
		return "", err
	}
	defer func() {
		_, e := w.sh(ctx, "daemon '{}'")
		err = errors.Join(err, e)
	}()
	var events []string
	for _, event := range []string{restartEngine, killEngine, restartEngine} {
		events = append(events, "old=$(plugin_pid)\n"+event+"\nuntil_true docker version\nanother $old")
	}
	return survives(ctx, w, events...)
}

func reboot(ctx context.Context, w *world) (string, error) {
	if err := w.install(ctx, "plugin"); err != nil {
		return "", err
	}
	at, err := w.at(ctx, "at=$(now); systemd-run --quiet --on-active=1 systemctl reboot >/dev/null 2>&1; echo $at")
	if err != nil {
		return "", err
	}
	if _, err := w.first.up(ctx, 0, at); err != nil { // before it goes, the engine's end is told
		return "", err
	}
	if err := w.Off(ctx); err != nil {
		return "", err
	}
	began := time.Now()
	if err := w.boot(ctx); err != nil {
		return "", err
	}
	at, err = w.at(ctx, "date -d \"$(uptime -s)\" +%s000")
	if err != nil {
		return "", err
	}
	first, err := w.first.up(ctx, 1, at)
	if err != nil {
		return "", err
	}
	b, err := w.settled(ctx, pluginSocket)
	return fmt.Sprintf("up 0 arrived with the shutdown; the first scrape %.0f s after power on, the engine answered after %.0f s; %d samples, all at the receiver",
		first.Seconds(), time.Since(began).Seconds(), b.Appended), err
}
