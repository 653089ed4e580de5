// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/docker-remote-write/docker-remote-write/internal/config"
	"github.com/docker-remote-write/docker-remote-write/internal/logging"
	"github.com/docker-remote-write/docker-remote-write/internal/remotewrite"
	"github.com/docker-remote-write/docker-remote-write/internal/series"
	"github.com/docker-remote-write/docker-remote-write/internal/spool"
	"github.com/docker-remote-write/docker-remote-write/internal/weburl"
)

// runCheck prints the configuration and, if asked, tries it.
func runCheck(c call) error {
	push := false
	for _, a := range c.args {
		if a != "--push" && a != "-push" {
			return usageError{fmt.Sprintf("unexpected argument %q", a)}
		}
		push = true
	}
	cfg, warnings, err := config.Load(config.Run, c.env)
	for _, w := range warnings {
		fmt.Fprintf(c.stdout, "warning: %s\n", w)
	}
	if err != nil {
		return err
	}
	if err := cfg.Write(c.stdout); err != nil || !push {
		return err
	}
	return withLog(c, cfg, func(log *logging.Logger) error { return checkPush(c, cfg, log) })
}

// checkPush scrapes each target once and sends that to each endpoint, through a queue
// of its own in a temporary directory.
func checkPush(c call, cfg *config.Config, log *logging.Logger) (err error) {
	dir, err := os.MkdirTemp("", "docker-remote-write-check-")
	if err != nil {
		return fmt.Errorf("make a temporary directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	numbers := series.NewRegistry()
	queue, err := spool.Open(dir, spool.Options{RingBytes: ringBytes, Series: numbers, Log: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, queue.Close(context.Background())) }()
	claims := make([]spool.Endpoint, len(cfg.Endpoints))
	for i, e := range cfg.Endpoints {
		claims[i] = spool.Endpoint{Name: e.Name, URL: weburl.Requested(e.URL).String()}
	}
	cursors, err := queue.Claim(claims)
	if err != nil {
		return err
	}

	targets, err := newTargets(cfg, numbers, nil, false, log)
	if err != nil {
		return err
	}
	fmt.Fprintln(c.stdout)
	var errs []error
	for _, t := range targets {
		errs = append(errs, scrapeOnce(c, t, queue))
	}
	for i, e := range cfg.Endpoints {
		errs = append(errs, pushOnce(c, e, cursors[i], log))
	}
	return errors.Join(errs...)
}

// scrapeOnce scrapes the target and appends what comes of it.
func scrapeOnce(c call, t *target, queue *spool.Spool) error {
	defer t.scraper.Close()
	ctx, cancel := context.WithTimeout(c.ctx, t.Timeout)
	defer cancel()
	sc, err := t.scraper.Scrape(ctx, time.Now(), nil)
	setting, url := "SCRAPE_TARGET=", weburl.ShowText(t.URL)
	if t.Name != "" {
		setting = "EXTRA_TARGETS, " + t.Name + "="
	}
	if err != nil {
		err = fmt.Errorf("%s%s: %w", setting, url, err)
		fmt.Fprintf(c.stdout, "the scrape of %s failed; up 0 is sent\n", url)
	} else {
		fmt.Fprintf(c.stdout, "scraped %d samples from %s\n", sc.Len(), url)
	}
	if sc != nil {
		if _, e := queue.Append(ctx, sc); e != nil {
			return errors.Join(err, e)
		}
	}
	return err
}

// pushOnce sends what waits at the cursor and says what the receiver answered.
func pushOnce(c call, e config.Endpoint, cursor *spool.Cursor, log *logging.Logger) error {
	o, err := senderOptions(e, log)
	if err != nil {
		return err
	}
	sender, err := remotewrite.New(o, cursor)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.ctx, e.Timeout)
	defer cancel()
	err = sender.Flush(ctx)
	t, st := cursor.Tally(), sender.Status()
	if st.Identity != "" {
		fmt.Fprintf(c.stdout, "%s: credentials of %s\n", e.Name, st.Identity)
	}
	switch {
	case st.AcceptedWith != "":
		return fmt.Errorf("endpoint %s: %s: took %d samples with %s; a login page or a proxy answers so and stores nothing", e.Name, weburl.Show(e.URL), t.Delivered, st.AcceptedWith)
	case t.Delivered > 0 && t.Sum() == t.Delivered:
		fmt.Fprintf(c.stdout, "%s: %s took %d samples by remote write %s\n", e.Name, weburl.Show(e.URL), t.Delivered, st.Protocol)
		return nil
	case st.LastError != "":
		return fmt.Errorf("endpoint %s: %s: %s", e.Name, weburl.Show(e.URL), st.LastError)
	default:
		return fmt.Errorf("endpoint %s: %s: %w", e.Name, weburl.Show(e.URL), err)
	}
}
