// SPDX-License-Identifier: Apache-2.0

package promtest

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/scrape"
)

// metadataStore keeps the type, help and unit that came with the requests, by
// metric name for 2.0 and by family name for 1.0, as each protocol has it. The TSDB
// keeps them too but shows them to no reader.
type metadataStore struct {
	target *scrape.Target

	mu     sync.Mutex
	byName map[string]metadata.Metadata
}

func newMetadataStore() *metadataStore {
	m := &metadataStore{byName: map[string]metadata.Metadata{}}
	m.target = scrape.NewTarget(labels.EmptyLabels(), &config.ScrapeConfig{}, model.LabelSet{}, model.LabelSet{})
	m.target.SetMetadataStore(m)
	return m
}

// learn takes the metadata of a request that was stored.
func (m *metadataStore) learn(r *Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.Proto() == "1.0" {
		req, err := r.V1()
		if err != nil {
			return
		}
		for _, md := range req.Metadata {
			m.byName[md.MetricFamilyName] = metadata.Metadata{
				Type: model.MetricType(strings.ToLower(md.Type.String())), Help: md.Help, Unit: md.Unit,
			}
		}
		return
	}
	req, err := r.V2()
	if err != nil {
		return
	}
	b := labels.NewScratchBuilder(0)
	for _, ts := range req.Timeseries {
		l, err := ts.ToLabels(&b, req.Symbols)
		if err != nil {
			continue
		}
		md, err := ts.ToMetadata(req.Symbols)
		if err != nil || md.IsEmpty() {
			continue
		}
		m.byName[l.Get(model.MetricNameLabel)] = md
	}
}

// Metadata is what came by remote write: by metric name over 2.0, by family name
// over 1.0.
func (s *Server) Metadata() map[string]metadata.Metadata {
	s.meta.mu.Lock()
	defer s.meta.mu.Unlock()
	return maps.Clone(s.meta.byName)
}

// ListMetadata, GetMetadata, SizeMetadata and LengthMetadata make it what a scrape
// target asks for its metadata.
func (m *metadataStore) ListMetadata() []scrape.MetricMetadata {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]scrape.MetricMetadata, 0, len(m.byName))
	for _, name := range slices.Sorted(maps.Keys(m.byName)) {
		out = append(out, familyMetadata(name, m.byName[name]))
	}
	return out
}

// GetMetadata is the metadata of one name.
func (m *metadataStore) GetMetadata(name string) (scrape.MetricMetadata, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	md, ok := m.byName[name]
	return familyMetadata(name, md), ok
}

// SizeMetadata is the number of bytes in it.
func (m *metadataStore) SizeMetadata() int {
	n := 0
	for _, md := range m.ListMetadata() {
		n += len(md.MetricFamily) + len(md.Type) + len(md.Help) + len(md.Unit)
	}
	return n
}

// LengthMetadata is the number of names in it.
func (m *metadataStore) LengthMetadata() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.byName)
}

func familyMetadata(name string, md metadata.Metadata) scrape.MetricMetadata {
	return scrape.MetricMetadata{MetricFamily: name, Type: md.Type, Help: md.Help, Unit: md.Unit}
}
