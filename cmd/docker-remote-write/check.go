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
	"github.com/docker-remote-write/docker-remote-write/internal/scrape"
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

// checkPush scrapes once and sends that scrape to each endpoint, through a queue
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

	o := scrapeOptions(cfg, log)
	o.Series = numbers
	scraper, err := scrape.New(o)
	if err != nil {
		return err
	}
	defer scraper.Close()
	ctx, cancel := context.WithTimeout(c.ctx, cfg.Timeout)
	defer cancel()
	sc, scrapeErr := scraper.Scrape(ctx, time.Now(), nil)
	if scrapeErr != nil {
		scrapeErr = fmt.Errorf("SCRAPE_TARGET=%s: %w", weburl.ShowText(cfg.Target), scrapeErr)
		fmt.Fprintln(c.stdout, "\nthe scrape failed; up 0 is sent")
	} else {
		fmt.Fprintf(c.stdout, "\nscraped %d samples from %s\n", sc.Len(), weburl.ShowText(cfg.Target))
	}
	if sc != nil {
		if _, err := queue.Append(ctx, sc); err != nil {
			return errors.Join(scrapeErr, err)
		}
	}
	errs := []error{scrapeErr}
	for i, e := range cfg.Endpoints {
		errs = append(errs, pushOnce(c, e, cursors[i], log))
	}
	return errors.Join(errs...)
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
