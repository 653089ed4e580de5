// SPDX-License-Identifier: Apache-2.0

package promtest

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/rules"
)

// startRules loads the rule files and evaluates them until Close. Without files
// there is no manager.
func (s *Server) startRules(ctx context.Context) error {
	if len(s.opts.RuleFiles) == 0 {
		return nil
	}
	interval := s.opts.EvaluationInterval
	if interval == 0 {
		interval = time.Second
	}
	m := rules.NewManager(&rules.ManagerOptions{
		Appendable:  s.db,
		Queryable:   s.db,
		QueryFunc:   rules.EngineQueryFunc(s.engine, s.db),
		NotifyFunc:  func(context.Context, string, ...*rules.Alert) {},
		Context:     ctx,
		ExternalURL: &url.URL{Scheme: "http", Host: "promtest"},
		Logger:      s.log,
		Parser:      s.parser,
		// With a restart on the same directory alerts go on where they were.
		OutageTolerance:      time.Hour,
		ForGracePeriod:       interval,
		ResendDelay:          time.Minute,
		RestoreNewRuleGroups: true,
	})
	s.rules = m
	s.running.Go(m.Run)
	if _, errs := m.LoadGroups(interval, labels.EmptyLabels(), "", nil, false, s.opts.RuleFiles...); len(errs) > 0 {
		return fmt.Errorf("load rules: %w", errs[0])
	}
	if err := m.Update(interval, s.opts.RuleFiles, labels.EmptyLabels(), "", nil); err != nil {
		return fmt.Errorf("load rules: %w", err)
	}
	return nil
}

// Alerts are the pending and firing alerts of the last evaluation, by rule name.
func (s *Server) Alerts() map[string][]*rules.Alert {
	out := map[string][]*rules.Alert{}
	if s.rules == nil {
		return out
	}
	for _, r := range s.rules.AlertingRules() {
		if a := r.ActiveAlerts(); len(a) > 0 {
			out[r.Name()] = a
		}
	}
	return out
}
