// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
)

// remove takes away all that was made, in the order in which it depends on each
// other, and says what it was. What cannot be removed does not keep the rest.
func (d *demo) remove() (removed []string, err error) {
	var errs []error
	note := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("remove %s: %w", what, err))
			return
		}
		removed = append(removed, what)
	}
	if d.engine != nil {
		if ok, err := d.removePlugin(); ok || err != nil {
			note("the plugin "+d.name, err)
		}
		if d.viewed > 0 { // the plugin's last words have arrived
			var err error
			if d.received, err = d.queries.count(context.Background()); err != nil {
				errs = append(errs, err)
			}
		}
		if n, err := d.removeEach([]string{"ps", "-aq", "--filter", "label=" + label + "=" + d.name}, "rm", "-f", "-v"); n > 0 || err != nil {
			note(fmt.Sprintf("%d containers", n), err)
		}
		if n, err := d.removeImages(); n > 0 || err != nil {
			note("their image", err)
		}
	}
	if d.receiver != nil {
		note("the receiver with its content", d.receiver.Close())
	}
	if d.exporter != nil {
		note("the node exporter", d.exporter.Close())
	}
	if d.engine != nil && d.engine.Private() {
		note("the private engine", d.engine.Close())
	}
	note("the temporary directory "+d.dir, os.RemoveAll(d.dir))
	return removed, errors.Join(errs...)
}

// removePlugin disables the plugin first, so that it sends what it has while the
// receiver is there. A plugin that was never created is no error.
func (d *demo) removePlugin() (bool, error) {
	if _, err := d.docker("plugin", "inspect", "-f", "{{.Id}}", d.name); err != nil {
		if strings.Contains(err.Error(), "not found") || strings.Contains(err.Error(), "No such plugin") {
			return false, nil
		}
		return false, err
	}
	_, _ = d.docker("plugin", "disable", d.name) // not enabled: all the better
	_, err := d.docker("plugin", "rm", "-f", d.name)
	return true, err
}

// removeEach lists ids and gives them to a docker command, until none is left.
func (d *demo) removeEach(list []string, command ...string) (int, error) {
	removed := 0
	for attempt := 0; ; attempt++ {
		out, err := d.docker(list...)
		ids := strings.Fields(out)
		if err != nil || len(ids) == 0 {
			return removed, err
		}
		if attempt == 5 {
			return removed, fmt.Errorf("%d are still there after %d attempts", len(ids), attempt)
		}
		if _, err = d.docker(append(command, ids...)...); err == nil {
			removed += len(ids)
		}
	}
}

// removeImages removes the image by its name, which takes its parents along, and
// then what an incomplete build has left.
func (d *demo) removeImages() (int, error) {
	n := 0
	if _, err := d.docker("image", "rm", "-f", d.name); err == nil {
		n++
	}
	left, err := d.removeEach([]string{"images", "-aq", "--no-trunc", "--filter", "label=" + label + "=" + d.name}, "image", "rm", "-f")
	return n + left, err
}

// summary says what was seen, what was removed and what stays.
func (d *demo) summary(removed []string) {
	say := d.screen.say
	r := d.received
	say("")
	say("%s watched: %s scrapes, %s series, %s samples received by remote write %s", seconds(d.viewed), number(float64(r.Scrapes)), number(float64(r.Series)), number(float64(r.Samples)), text(d.last.Protocol))
	say("sent: %s in %s requests, %s a sample; %s samples lost", size(d.last.Bytes), number(d.last.Requests), perSample(d.last), number(d.last.Lost))
	for _, what := range removed {
		say("removed: %s", what)
	}
	for what := range strings.SplitSeq(d.stays, "; ") {
		say("stays:   %s", what)
	}
}
