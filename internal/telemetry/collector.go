// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"bytes"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// collector shows the table to client_golang. Its metrics are built from a
// snapshot at each gathering, so nothing is counted twice or kept twice.
type collector struct{ t *Telemetry }

func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range descs {
		ch <- d
	}
}

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := c.t.snapshot()
	walk(&s, func(m *Metric, lv values, v float64) {
		typ := prometheus.GaugeValue
		if m.Type == model.MetricTypeCounter {
			typ = prometheus.CounterValue
		}
		metric, err := prometheus.NewConstMetric(descs[m.Name], typ, v, lv[:len(m.Labels)]...)
		if err != nil {
			metric = prometheus.NewInvalidMetric(descs[m.Name], err)
		}
		ch <- metric
	})
}

var descs = func() map[string]*prometheus.Desc {
	d := make(map[string]*prometheus.Desc, len(table))
	for _, m := range table {
		d[m.Name] = prometheus.NewDesc(m.Name, m.Help, m.Labels, nil)
	}
	return d
}()

// Gatherer is the private registry with the own metrics.
func (t *Telemetry) Gatherer() prometheus.Gatherer { return t.registry }

// exposition is /metrics in the text format. client_golang's own handler would
// link a second set of compressors for what is read by hand on a unix socket.
func (t *Telemetry) exposition() ([]byte, error) {
	families, err := t.registry.Gather()
	if err != nil {
		return nil, fmt.Errorf("gather the own metrics: %w", err)
	}
	var b bytes.Buffer
	enc := expfmt.NewEncoder(&b, textFormat)
	for _, f := range families {
		if err := enc.Encode(f); err != nil {
			return nil, fmt.Errorf("write %s: %w", f.GetName(), err)
		}
	}
	return b.Bytes(), nil
}

var textFormat = expfmt.NewFormat(expfmt.TypeTextPlain)
