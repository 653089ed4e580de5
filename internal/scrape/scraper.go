// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"context"
	"errors"
	"math"
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

var reportMeta = [reports]struct{ name, help string }{
	{"up", "1 if the target was scraped successfully, 0 if not."},
	{"scrape_duration_seconds", "How long the scrape took."},
	{"scrape_samples_scraped", "Samples that the target exposed."},
	{"scrape_samples_post_metric_relabeling", "Samples that remained after METRICS_KEEP and METRICS_DROP."},
	{"scrape_series_added", "Series that the scrape before did not have."},
}

var staleMarker = math.Float64frombits(value.StaleNaN)

// Scraper scrapes one target. Its methods are for one goroutine, except Stats.
type Scraper struct {
	o      Options
	wall   bool // Loop goes by the system's clock
	target *target
	cache  *cache
	parse  parse
	out    series.Scrape
	starts []int64

	exemplars exemplarFilter

	// own are the series that Self appended to the last scrape handed out; liveRound
	// is the cache's round in which its live entries were read.
	liveRound uint64
	own       []*series.Series
	report    [reports]*series.Series
	handed    bool // up and the scrape_* series are not stale
	settled   bool
	last      int64

	heldSince time.Time
	heldOut   bool // HoldBack has passed without the engine becoming ready

	mu    sync.Mutex
	stats Stats
	work  Stats // counters of the attempt under way, added to stats at its end
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
	s := &Scraper{o: o, target: t, wall: o.Now == nil}
	if s.wall {
		s.o.Now = time.Now
	}
	s.cache = newCache(&s.o)
	s.parse = parse{cache: s.cache, out: &s.out, st: &s.work}
	s.exemplars.resumed = o.Resumed
	for i, m := range reportMeta {
		ls := TargetLabels(m.name, o.Job, o.Instance, o.External)
		s.report[i] = &series.Series{Labels: ls, Type: model.MetricTypeGauge, Help: m.help}
		s.cache.reserved[ls] = struct{}{}
	}
	return s, nil
}

// Scrape makes one attempt and stamps it with now. The scrape returned is to be
// appended whether or not err is nil: that of a failed attempt has up 0 and stale
// markers, and err, an *Error, is for the log. It is valid until the next call.
// There is none, and nothing to append, when err is ErrHeldBack or ctx was cancelled.
func (s *Scraper) Scrape(ctx context.Context, now time.Time) (*series.Scrape, error) {
	began := time.Now()
	s.work = Stats{}
	s.settled = false
	s.out.Reset()
	s.cache.begin()
	s.parse.begin(now.UnixMilli())
	f, err := s.read(ctx)
	if ctx.Err() == context.Canceled {
		s.undo()
		return nil, ctx.Err()
	}
	outcome := OK
	var failure *Error
	switch {
	case errors.As(err, &failure):
		outcome = failure.Outcome
	case err == nil && s.holdBack(now):
		s.undo()
		s.count(HeldBack, now, time.Since(began), f, nil)
		return nil, ErrHeldBack
	}
	s.last = now.UnixMilli()
	prev := s.cache.live
	switch {
	case err != nil:
		s.undo()
		s.cache.shrink()
		s.parse.shape = nil
	case s.parse.replayed:
		s.commit()
		if s.cache.rest() {
			s.parse.rest()
			s.target.rest()
			s.settled = true
		}
		prev = nil
	default:
		s.commit()
		s.cache.sweep(s.parse.raws, s.parse.entries, s.parse.families)
		s.liveRound = s.cache.round
	}
	s.out.Time = s.last
	took := time.Since(began)
	s.appendReport(err == nil, took)
	s.appendOwn(err == nil)
	for _, e := range prev {
		if (err != nil || e.seen != s.cache.round) && !s.cache.ours(e) {
			s.add(e.series, staleMarker)
		}
	}
	switch {
	case err != nil:
		s.cache.end()
	case !s.parse.replayed:
		// The two lists swap places: what was just read becomes what is live.
		s.cache.live, s.parse.live = s.parse.live, prev
	}
	s.finish()
	s.count(outcome, now, took, f, err)
	return &s.out, err
}

// Settled reports whether the target had kept its shape for some scrapes when the
// last one was made: it is true for one scrape, and for a large target for one each
// time it settles again. What reading a new shape took is garbage by then.
func (s *Scraper) Settled() bool { return s.settled }

// read gets and parses one body.
func (s *Scraper) read(ctx context.Context) (format, error) {
	body, f, err := s.target.fetch(ctx)
	if err != nil {
		return f, err
	}
	return f, s.parse.body(body, f)
}

// commit accepts what the attempt has read.
func (s *Scraper) commit() {
	s.starts = s.starts[:0]
	for _, st := range s.parse.starts {
		s.starts = append(s.starts, s.parse.notLater(st))
	}
	for _, e := range s.parse.live {
		e.fresh = false
	}
	s.exemplars.filter(&s.out)
}

// undo leaves things as they were before the attempt.
func (s *Scraper) undo() {
	s.out.Reset()
	s.starts = s.starts[:0]
	// A shape stands for what live has, and that stays what it was.
	if !s.parse.replayed {
		s.parse.shape = nil
	}
}

// holdBack reports whether what was read comes from an engine that is still
// booting and is not to be believed yet.
func (s *Scraper) holdBack(now time.Time) bool {
	if s.o.HoldBack <= 0 {
		return false
	}
	if !s.parse.cpusZero || s.parse.engineInfo {
		s.heldSince, s.heldOut = time.Time{}, false
		return false
	}
	if s.heldOut {
		return false
	}
	// The reading of now may be without a monotonic part or step; time.Now has one.
	if s.heldSince.IsZero() {
		s.heldSince = time.Now()
		s.o.Log.WithField("at_most", s.o.HoldBack.String()).Info("the engine is still starting: scrapes are held back")
	} else if time.Since(s.heldSince) >= s.o.HoldBack {
		s.heldOut = true
		s.o.Log.WithField("after", s.o.HoldBack.String()).Warn("the engine does not report itself as ready: scrapes are no longer held back")
		return false
	}
	return true
}

func (s *Scraper) add(sr *series.Series, v float64) {
	s.out.Series = append(s.out.Series, sr)
	s.out.Values = append(s.out.Values, v)
}

func (s *Scraper) appendReport(up bool, took time.Duration) {
	v := [reports]float64{
		reportDuration: took.Seconds(),
		reportScraped:  float64(s.parse.scraped),
		reportKept:     float64(s.parse.kept),
		reportAdded:    float64(s.parse.added),
	}
	if up {
		v[reportUp] = 1
	}
	for i, sr := range s.report {
		s.add(sr, v[i])
	}
	s.handed = true
}

// appendOwn lets the program append its own metrics. A label set that is also in
// the exposition is the program's from then on.
func (s *Scraper) appendOwn(good bool) {
	if s.o.Self == nil {
		return
	}
	first := len(s.out.Series)
	s.out.Starts = nil
	s.o.Self(&s.out)
	if len(s.out.Values) != len(s.out.Series) {
		s.out.Series, s.out.Values = s.out.Series[:first], s.out.Values[:first]
		s.out.Starts = nil
		s.o.Log.Error("own metrics left out: the columns differ in length")
		return
	}
	own := s.out.Series[first:]
	if st := s.out.Starts; len(st) == len(own) && len(st) > 0 {
		s.padStarts(first)
		s.starts = append(s.starts, st...)
	}
	s.out.Starts = nil
	same := len(own) == len(s.own)
	for i := 0; same && i < len(own); i++ {
		same = own[i] == s.own[i]
	}
	if same {
		return
	}
	s.dropTaken(first, good)
	s.own = append(s.own[:0], s.out.Series[first:]...)
}

// dropTaken reserves the label sets of the program's series from index first on.
// One that the exposition has in this very scrape is left out this time; from the
// next scrape on it is the exposition's that is left out.
func (s *Scraper) dropTaken(first int, good bool) {
	n := first
	for i := first; i < len(s.out.Series); i++ {
		sr := s.out.Series[i]
		if _, known := s.cache.reserved[sr.Labels]; !known {
			s.cache.wake()
			s.cache.reserved[sr.Labels] = struct{}{}
			if e := s.cache.entries[sr.Labels]; e != nil {
				s.cache.take(e)
				s.parse.shape = nil
				s.work.Clashes++
				if good && e.seen == s.liveRound {
					continue
				}
			}
		}
		s.out.Series[n], s.out.Values[n] = sr, s.out.Values[i]
		if len(s.starts) > i {
			s.starts[n] = s.starts[i]
		}
		n++
	}
	s.out.Series, s.out.Values = s.out.Series[:n], s.out.Values[:n]
	s.starts = s.starts[:min(len(s.starts), n)]
}

func (s *Scraper) padStarts(n int) {
	for len(s.starts) < n {
		s.starts = append(s.starts, 0)
	}
}

// finish brings the columns into their final form.
func (s *Scraper) finish() {
	if len(s.starts) > 0 {
		s.padStarts(len(s.out.Series))
		s.out.Starts = s.starts
	} else {
		s.out.Starts = nil
	}
	for i := range s.out.Exemplars {
		if e := &s.out.Exemplars[i]; e.Index < 0 {
			e.Index = len(s.out.Series) - 1 - e.Index
		}
	}
}

// count books an attempt.
func (s *Scraper) count(o Outcome, now time.Time, took time.Duration, f format, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := &s.stats
	st.Outcomes[o]++
	st.Duration, st.LastScrape, st.Up, st.Waiting = took, now, err == nil, ""
	if o == HeldBack {
		st.Waiting = "the engine is still starting"
	}
	st.TimestampsIgnored += s.work.TimestampsIgnored
	st.Renamed += s.work.Renamed
	st.Duplicates += s.work.Duplicates
	st.Clashes += s.work.Clashes
	if err == nil {
		st.LastSuccess = now
	}
	switch {
	case err != nil:
		st.LastError, st.LastErrorTime = err.Error(), now
	case o == OK:
		st.Format = f.String()
		st.LastSamples = s.parse.entries
		st.Samples += uint64(s.parse.entries)
	}
}

// Stats is a copy of the counters; it may be called from any goroutine.
func (s *Scraper) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

func (s *Scraper) bump(f func(*Stats)) {
	s.mu.Lock()
	f(&s.stats)
	s.mu.Unlock()
}

// End ends every series of the last scrape with a stale marker, at now or a
// millisecond after the last scrape, whichever is later. If the engine is going
// down, up is 0 instead. It returns nil if there is nothing to end. What it
// returns is valid until the next call; scraping may go on afterwards.
func (s *Scraper) End(now time.Time, down bool) *series.Scrape {
	s.settled = false
	if !s.handed {
		return nil
	}
	s.out.Reset()
	s.starts = s.starts[:0]
	s.last = max(now.UnixMilli(), s.last+1)
	s.out.Time = s.last
	for _, e := range s.cache.live {
		if !s.cache.ours(e) {
			s.add(e.series, staleMarker)
		}
	}
	for i, sr := range s.report {
		if i == reportUp && down {
			s.add(sr, 0)
		} else {
			s.add(sr, staleMarker)
		}
	}
	for _, sr := range s.own {
		s.add(sr, staleMarker)
	}
	s.cache.end()
	s.parse.shape = nil
	s.own, s.handed = s.own[:0], false
	s.finish()
	return &s.out
}

// Close drops the idle connection to the target.
func (s *Scraper) Close() { s.target.close() }
