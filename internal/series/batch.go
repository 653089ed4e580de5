// SPDX-License-Identifier: Apache-2.0

package series

import "fmt"

// Position is a place in the queue: before the sample with that ordinal of the
// scrape with that sequence number. Sequence numbers start at 1 and grow by one
// with each scrape, over restarts too.
type Position struct {
	Scrape  uint64
	Ordinal uint32
	// Count is the number of samples appended before that sample, over restarts:
	// between two positions lie as many samples as their counts differ by.
	Count uint64
}

// Before reports whether p comes before o.
func (p Position) Before(o Position) bool {
	return p.Scrape < o.Scrape || p.Scrape == o.Scrape && p.Ordinal < o.Ordinal
}

// String is "scrape/ordinal".
func (p Position) String() string { return fmt.Sprintf("%d/%d", p.Scrape, p.Ordinal) }

// Sample is one float sample; T and Start in milliseconds, Start 0 for none.
type Sample struct {
	T, Start int64
	V        float64
}

// Row is one series with its samples of all scrapes in a batch, oldest first.
type Row struct {
	Series     *Series
	Samples    []Sample
	Histograms []HistogramAt
	Exemplars  []Exemplar
}

// HistogramAt is a native histogram with the time of its scrape.
type HistogramAt struct {
	T int64
	Histogram
}

// Batch is a run of consecutive scrapes, merged by series: what becomes one
// request. Whoever fills it owns its memory and reuses it with the next fill.
type Batch struct {
	// From and To bound the batch: To is where the next one begins. They are
	// equal when there was nothing to read.
	From, To Position
	// Times are those of the scrapes in it, in the order of the log. The first and the last
	// scrape may be there in part.
	Times []int64
	// Rows stand in the order in which the series first appear, one for each. They were
	// held at one time: those with the same labels have the same Line.
	Rows []Row
	// Samples counts the samples in Rows, native histograms included.
	Samples int
	// Lost counts, by reason, the samples between From and To that are not in Rows:
	// their record is damaged, or they never reached the disk.
	Lost [Losses]uint64
}
