// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// kept reports whether Keep and Drop leave a metric of that name in.
func (o *Options) kept(name string) bool {
	if o.Keep.Regexp != nil && !o.Keep.MatchString(name) {
		return false
	}
	return o.Drop.Regexp == nil || !o.Drop.MatchString(name)
}

// attach attaches job, instance and the external labels to a series of the target
// and drops empty labels. It returns how many labels had to be renamed.
func (o *Options) attach(ls labels.Labels) (labels.Labels, int) {
	b := labels.NewBuilder(ls)
	var clashes []labels.Label
	for _, l := range [...]labels.Label{{Name: model.JobLabel, Value: o.Job}, {Name: model.InstanceLabel, Value: o.Instance}} {
		if v := ls.Get(l.Name); v != "" {
			clashes = append(clashes, labels.Label{Name: l.Name, Value: v})
		}
		b.Set(l.Name, l.Value)
	}
	slices.SortStableFunc(clashes, func(x, y labels.Label) int { return len(x.Name) - len(y.Name) })
	for _, l := range clashes {
		name := model.ExportedLabelPrefix + l.Name
		for b.Get(name) != "" {
			name = model.ExportedLabelPrefix + name
		}
		b.Set(name, l.Value)
	}
	o.External.Range(func(l labels.Label) {
		if b.Get(l.Name) == "" {
			b.Set(l.Name, l.Value)
		}
	})
	return b.Labels(), len(clashes)
}

// TargetLabels is the label set of a series that the program itself adds: name,
// the given labels, job, instance and the external labels.
func TargetLabels(name, job, instance string, external labels.Labels, ls ...labels.Label) labels.Labels {
	b := labels.NewBuilder(labels.EmptyLabels())
	external.Range(func(l labels.Label) { b.Set(l.Name, l.Value) })
	for _, l := range ls {
		b.Set(l.Name, l.Value)
	}
	b.Set(model.MetricNameLabel, name)
	b.Set(model.JobLabel, job)
	b.Set(model.InstanceLabel, instance)
	return b.Labels()
}
