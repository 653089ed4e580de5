// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"

	"github.com/docker-remote-write/docker-remote-write/internal/config"
	"github.com/docker-remote-write/docker-remote-write/internal/series"
	"github.com/docker-remote-write/docker-remote-write/internal/spool"
)

// unended are the series of one target that a process has left without stale markers at
// its end, as Prometheus does, since the next one goes on with them. That one ends them
// if it is not to scrape the target any more.
type unended struct {
	Job      string          `json:"job"`
	Instance string          `json:"instance"`
	Last     int64           `json:"last"` // milliseconds
	Series   []unendedSeries `json:"series"`
}

type unendedSeries struct {
	Labels labels.Labels    `json:"labels"`
	Type   model.MetricType `json:"type,omitempty"`
	Help   string           `json:"help,omitempty"`
	Unit   string           `json:"unit,omitempty"`
	Family string           `json:"family,omitempty"`
}

func unendedFile(dir string) string { return filepath.Join(dir, "targets.json") }

// leave writes down which series have not ended, for the next process; the own ones
// among them where they travel with other targets.
func (p *pipeline) leave() error {
	if len(p.targets) < 2 {
		return nil
	}
	var all []unended
	if p.carrier.mu.TryLock() { // else a scrape hangs with them
		own := unended{Job: p.cfg.Job, Instance: p.cfg.Instance, Last: p.carrier.last.UnixMilli()}
		own.add(p.self.Own().Series)
		all = append(all, own)
		p.carrier.mu.Unlock()
	}
	for _, t := range p.targets[1:] {
		if t.running.Load() { // it hangs
			continue
		}
		u := unended{Job: t.Job, Instance: t.Instance}
		var sent []*series.Series
		sent, u.Last = t.scraper.Unended()
		u.add(slices.DeleteFunc(sent, func(s *series.Series) bool { return s.Labels.Get(model.JobLabel) != t.Job }))
		all = append(all, u)
	}
	b, err := json.Marshal(all)
	if err == nil {
		err = os.WriteFile(unendedFile(p.cfg.DataDir), b, 0o600)
	}
	if err != nil {
		return fmt.Errorf("write down the targets for the next start: %w", err)
	}
	return nil
}

func (u *unended) add(all []*series.Series) {
	for _, s := range all {
		u.Series = append(u.Series, unendedSeries{s.Labels, s.Type, s.Help, s.Unit, s.Family})
	}
}

// endRemoved appends stale markers for the series of the targets that are no longer in
// the configuration.
func (p *pipeline) endRemoved(ctx context.Context, numbers *series.Registry) error {
	b, err := os.ReadFile(unendedFile(p.cfg.DataDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var all []unended
	if err == nil {
		err = json.Unmarshal(b, &all)
	}
	// Once it has been read it says nothing more: a crash leaves none.
	if err = errors.Join(err, os.Remove(unendedFile(p.cfg.DataDir))); err != nil {
		return fmt.Errorf("end what removed targets have left: %w", err)
	}
	sc := &series.Scrape{Target: uint8(min(len(p.targets), spool.MaxTargets-1)), Time: time.Now().UnixMilli()}
	for _, u := range all {
		same := func(t config.ScrapeTarget) bool { return t.Job == u.Job && t.Instance == u.Instance }
		if slices.ContainsFunc(p.cfg.Targets(), same) {
			continue
		}
		sc.Time = max(sc.Time, u.Last+1)
		for _, s := range u.Series {
			sc.Series = append(sc.Series, numbers.Number(&series.Series{Labels: s.Labels, Type: s.Type, Help: s.Help, Unit: s.Unit, Family: s.Family}))
			sc.Values = append(sc.Values, math.Float64frombits(value.StaleNaN))
		}
		p.log.WithField("target", u.Job+" "+u.Instance).Info("the target is no longer configured: its series end")
	}
	if len(sc.Series) == 0 {
		return nil
	}
	defer numbers.Release(sc.Series)
	return p.append(ctx, sc)
}
