// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"

	"github.com/docker-remote-write/docker-remote-write/proof/bench/sink"
)

// judge compares what a receiver holds of a target with what it served, to the bit.
type judge struct {
	feed
	sink *sink.Sink
	keys map[string]uint64 // of series, by how they are spelt
	seen map[int64]bool    // times of scrapes that were served
	cut  []int             // numbers of scrapes that need not have come to be one

	compared, samples int
	missing           int // which must have failed: an answer may be late on a busy machine
}

// whole reports whether the scrape with that number is there with all its series.
func (j *judge) whole(n int) bool {
	a, ok := j.sink.Arrived(j.Job, n)
	return ok && j.sink.At(j.Job, a.Time).Samples >= j.Frames.Series
}

// compare looks at all scrapes up to that number which it has not compared, and that
// there is nothing else up to the time of that one but the ends of all series.
func (j *judge) compare(to int) error {
	var body []byte
	var newest int64
	for n := j.compared + 1; n <= to; n++ {
		a, ok := j.sink.Arrived(j.Job, n)
		if !ok {
			if slices.Contains(j.cut, n) {
				continue
			}
			if j.missing++; j.missing > j.sink.Failed(j.Job) {
				return fmt.Errorf("%s: scrape %d of %d has not arrived, and did not fail", j.Job, n, to)
			}
			continue
		}
		body = j.Frames.Append(body[:0], n-1)
		want, err := j.content(body)
		if err != nil {
			return err
		}
		if got := j.sink.At(j.Job, a.Time); got != want {
			return fmt.Errorf("%s: of scrape %d there is %+v, what was served is %+v", j.Job, n, got, want)
		}
		j.seen[a.Time], newest = true, a.Time
		j.samples += want.Samples
	}
	j.compared = to
	for at, c := range j.sink.Content(j.Job) {
		if end := (sink.Content{Stale: j.Frames.Series}); at < newest && !j.seen[at] && c != end {
			return fmt.Errorf("%s: at %d there is %+v, of which nothing was served", j.Job, at, c)
		}
	}
	return nil
}

// content is what the receiver is to have of an answer.
func (j *judge) content(body []byte) (c sink.Content, err error) {
	p := textparse.NewPromParser(body, labels.NewSymbolTable(), false)
	for {
		e, err := p.Next()
		if errors.Is(err, io.EOF) {
			return c, nil
		}
		if err != nil {
			return c, fmt.Errorf("parse what was served: %w", err)
		}
		if e != textparse.EntrySeries {
			continue
		}
		raw, _, v := p.Series()
		key, ok := j.keys[string(raw)]
		if !ok {
			var l labels.Labels
			p.Labels(&l)
			key = j.sink.Key(labels.NewBuilder(l).Set("job", j.Job).Set("instance", instance).Labels())
			j.keys[string(raw)] = key
		}
		c.Add(key, v)
	}
}
