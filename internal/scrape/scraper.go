// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/value"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// The series that every scrape adds, in the order in which they stand in it.
const (
	reportUp = iota
	reportDuration
	reportScraped
	reportKept
	reportAdded
	reports
)

// reportMeta has the units that Prometheus gives these, and words of ours.
var reportMeta = [reports]struct{ name, unit, help string }{
	{"up", "targets", "1 if the target was scraped successfully, 0 if not."},
	{"scrape_duration_seconds", "seconds", "How long the scrape took."},
	{"scrape_samples_scraped", "samples", "Samples that the target exposed."},
	{"scrape_samples_post_metric_relabeling", "samples", "Samples that remained after METRICS_KEEP and METRICS_DROP."},
	{"scrape_series_added", "series", "Series that the scrape before did not have."},
}

var staleMarker = math.Float64frombits(value.StaleNaN)

// Scraper scrapes one target. Its methods are for one goroutine, except Stats.
type Scraper struct {
	o      Options
	target *target
	report []*series.Series // up and scrape_*

	known *known
	// live are the series that the target had in the last good scrape, in its order; shape
	// is that scrape's, and nil where the last one handed out was none or had none.
	live  []*series.Series
	shape *shape
	// out is the scrape of the attempt under way, or the last one handed out. sent are the
	// series that this one had, and had not ended: live, if it was good, report, and the
	// program's.
	out       series.Scrape
	sent      []*series.Series
	exemplars exemplarFilter
	// booting is since when the engine has been starting, by a clock that nobody sets.
	booting time.Time

	mu    sync.Mutex
	stats Stats
}

// New makes a Scraper. Nothing is dialled before the first scrape.
func New(o Options) (*Scraper, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	t, err := newTarget(&o)
	if err != nil {
		return nil, err
	}
	s := &Scraper{o: o, target: t}
	s.known = newKnown(&s.o)
	s.exemplars.resumed = o.Resumed
	for _, m := range reportMeta {
		ls := TargetLabels(m.name, o.Job, o.Instance, o.External)
		s.report = append(s.report, s.o.Series.Number(&series.Series{Labels: ls, Type: model.MetricTypeGauge, Help: m.help, Unit: m.unit}))
	}
	return s, nil
}

// Scrape makes one attempt and stamps it with now. own are the program's own series of
// the moment and their values, of which it takes Series and Values; nil is none. A label
// set that the target has as well is the program's. The scrape returned is to be
// appended whether or not err is nil: that of a failed attempt has up 0 and stale
// markers, and err, an *Error, is for the log. It is valid until the next call.
// There is none, and nothing to append, when err is ErrHeldBack or ctx was cancelled.
func (s *Scraper) Scrape(ctx context.Context, now time.Time, own *series.Scrape) (*series.Scrape, error) {
	began := time.Now()
	if own == nil {
		own = &series.Scrape{}
	}
	s.begin(own.Series)
	r, err := s.read(ctx, now)
	if ctx.Err() == context.Canceled {
		s.undo()
		return nil, ctx.Err()
	}
	outcome := OK
	var failure *Error
	switch {
	case errors.As(err, &failure):
		outcome = failure.Outcome
	case err == nil && s.holdBack(r):
		s.undo()
		s.count(HeldBack, now, time.Since(began), r, nil)
		return nil, ErrHeldBack
	}
	if err != nil {
		s.undo()
	} else {
		s.commit(r, now)
	}
	s.out.Target, s.out.Time = s.o.Number, now.UnixMilli()
	took := time.Since(began)
	s.appendReport(r, err == nil, took)
	s.out.Series = append(s.out.Series, own.Series...)
	s.out.Values = append(s.out.Values, own.Values...)
	if !r.replayed {
		s.endMissing(err == nil, own.Series)
	}
	s.finish()
	s.count(outcome, now, took, r, err)
	return &s.out, err
}

// begin starts an attempt with these series of the program's.
func (s *Scraper) begin(own []*series.Series) {
	s.empty()
	s.known.begin()
	s.known.takeOwn(s.report)
	s.known.takeOwn(own)
	if s.shape != nil && !slices.Equal(own, s.sent[len(s.live)+len(s.report):]) {
		s.shape = nil // which of the target's series are left out may change
	}
}

// empty empties the scrape, but for the time of the last one.
func (s *Scraper) empty() {
	last := s.out.Time
	s.out.Reset()
	s.out.Time = last
}

// read gets and parses one body.
func (s *Scraper) read(ctx context.Context, now time.Time) (*reading, error) {
	r := &reading{}
	defer s.target.done()
	body, f, err := s.target.fetch(ctx)
	if err != nil {
		return r, err
	}
	s.o.Room.parsing.Lock()
	defer s.o.Room.parsing.Unlock()
	return r, s.body(body, f, now.UnixMilli(), r)
}

// commit accepts what the attempt has read.
func (s *Scraper) commit(r *reading, now time.Time) {
	starts := s.out.Starts[:0]
	for _, st := range r.starts {
		// A host whose clock was set back would have some that are later than their samples.
		starts = append(starts, min(st, now.UnixMilli()))
	}
	s.out.Starts = starts
	if !r.replayed {
		s.known.replace(s.live, r)
		s.live, s.shape = r.live, r.shape
	}
	s.exemplars.filter(&s.out, s.known.attempt, s.o.Series)
}

// undo leaves things as they were before the attempt, but for what had been learned:
// the next body is read anew.
func (s *Scraper) undo() {
	s.empty()
	s.known.forget()
	s.shape = nil
}

func (s *Scraper) add(sr *series.Series, v float64) {
	s.out.Series = append(s.out.Series, sr)
	s.out.Values = append(s.out.Values, v)
}

func (s *Scraper) appendReport(r *reading, up bool, took time.Duration) {
	v := [reports]float64{
		reportDuration: took.Seconds(),
		reportScraped:  float64(r.scraped),
		reportKept:     float64(r.kept),
		reportAdded:    float64(r.added),
	}
	if up {
		v[reportUp] = 1
	}
	for i, sr := range s.report {
		s.add(sr, v[i])
	}
}

// endMissing ends what was sent and is not in this scrape, whoever had it, and
// remembers what this one has in its place.
func (s *Scraper) endMissing(good bool, own []*series.Series) {
	for _, sr := range s.sent {
		l := s.known.line(sr)
		there := l.own == s.known.attempt || good && l.seen == s.known.attempt
		if elsewhere := own == nil && l.own > l.seen; !there && !elsewhere {
			s.add(sr, staleMarker)
		}
	}
	var live []*series.Series
	if good {
		live = s.live
	}
	s.setSent(slices.Concat(live, s.report, own))
}

func (s *Scraper) setSent(sent []*series.Series) {
	s.o.Series.Hold(sent)
	s.known.gone = append(s.known.gone, s.sent...)
	s.sent = sent
}

// finish brings the columns into their final form.
func (s *Scraper) finish() {
	if len(s.out.Starts) == 0 {
		s.out.Starts = nil
	} else {
		for len(s.out.Starts) < len(s.out.Series) {
			s.out.Starts = append(s.out.Starts, 0)
		}
	}
	for i := range s.out.Exemplars {
		if e := &s.out.Exemplars[i]; e.Index < 0 {
			e.Index = len(s.out.Series) - 1 - e.Index
		}
	}
}

// End ends every series of the last scrape with a stale marker, at now or a
// millisecond after the last scrape, whichever is later. If the engine is going
// down, up is 0 instead. elsewhere says that the program's own series go on with another
// target's scrapes. It returns nil if there is nothing to end. What it
// returns is valid until the next call; scraping may go on afterwards.
func (s *Scraper) End(now time.Time, down, elsewhere bool) *series.Scrape {
	s.known.begin()
	if len(s.sent) == 0 {
		return nil
	}
	s.empty()
	s.out.Time = max(now.UnixMilli(), s.out.Time+1)
	s.out.Target = s.o.Number
	for _, sr := range s.sent {
		l := s.known.line(sr)
		switch {
		case down && sr == s.report[reportUp]:
			s.add(sr, 0)
		case elsewhere && l.own > l.seen && !slices.Contains(s.report, sr):
		default:
			s.add(sr, staleMarker)
		}
	}
	s.setSent(nil)
	s.shape = nil
	s.finish()
	return &s.out
}

// Unended are the series that have been handed out and not ended, and the time of the
// last scrape, in milliseconds.
func (s *Scraper) Unended() ([]*series.Series, int64) { return slices.Clone(s.sent), s.out.Time }

// Close drops the idle connection to the target and releases all series. Nothing can
// be scraped afterwards, and what was returned last is not valid any more.
func (s *Scraper) Close() {
	s.target.close()
	s.undo()
	s.setSent(nil)
	s.known.gone = append(append(s.known.gone, s.live...), s.report...)
	s.live, s.report = nil, nil
	s.exemplars.forgetAll(s.o.Series)
	s.known.release()
}
