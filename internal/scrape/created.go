// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"bytes"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/textparse"
)

const suffixCreated = "_created"

// created gives the samples of an OpenMetrics body the start timestamps that stand
// behind them, as textparse does: a line c_created{a="1"} speaks of what its family
// has of the metric c{a="1"} since the _created line before. textparse reads ahead
// for each sample, which takes quadratic time where such lines are missing; here
// the samples wait for the line.
type created struct {
	any     bool // the body has such lines
	typ     model.MetricType
	waiting []waiting
	// metric is the one of the current sample. told is the last one that got a start
	// timestamp: what directly follows of it has the same.
	metric, told metric
	start        int64
	buf          []byte
}

// metric is what the series of one histogram, summary or counter have in common;
// one without a name has no start timestamp.
type metric struct {
	name   string
	labels uint64
}

type waiting struct {
	metric metric
	column int
}

func (c *created) begin(b []byte) {
	c.family()
	c.any, c.typ, c.told = bytes.Contains(b, []byte(suffixCreated)), model.MetricTypeUnknown, metric{}
}

// family says that what waits waits in vain: another family begins, or none.
func (c *created) family() {
	if len(c.waiting) > 0 {
		clear(c.waiting)
		c.waiting, c.told = c.waiting[:0], metric{}
	}
}

// line looks at the series of value v that tp is at and reports whether it is a
// _created line.
func (c *created) line(p *parse, tp textparse.Parser, v float64) bool {
	c.metric = metric{}
	if !c.any {
		return false
	}
	without := ""
	switch c.typ {
	case model.MetricTypeCounter:
	case model.MetricTypeHistogram:
		without = model.BucketLabel
	case model.MetricTypeSummary:
		without = model.QuantileLabel
	default:
		c.told = metric{}
		return false
	}
	tp.Labels(&p.ls)
	var m metric
	m.labels, c.buf = p.ls.HashWithoutLabels(c.buf, without)
	name := p.ls.Get(model.MetricNameLabel)
	base, found := strings.CutSuffix(name, suffixCreated)
	if !found {
		if n := len(p.meta.name); len(name) >= n {
			m.name = name[:n]
		}
		c.metric = m
		return false
	}
	m.name = base
	st := int64(v * 1000)
	for _, w := range c.waiting {
		c.told = metric{}
		if w.metric == m && st > 0 {
			p.addStart(w.column, st)
			c.told, c.start = m, st
		}
	}
	clear(c.waiting)
	c.waiting = c.waiting[:0]
	return true
}

// sample gives the current sample its start timestamp, now or later.
func (c *created) sample(p *parse, column int) {
	switch {
	case c.metric.name == "":
	case len(c.waiting) == 0 && c.metric == c.told:
		p.addStart(column, c.start)
	default:
		c.waiting = append(c.waiting, waiting{c.metric, column})
	}
}
