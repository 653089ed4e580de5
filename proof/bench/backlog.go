// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/sirupsen/logrus"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
	"github.com/docker-remote-write/docker-remote-write/internal/spool"
	"github.com/docker-remote-write/docker-remote-write/proof/bench/replay"
)

// backlogJob is the job of the backlog's series, instance their host's name, and so that
// of the agent.
const (
	backlogJob = "docker"
	instance   = "bench"
)

// backlog writes that many scrapes, 15 s apart and the newest a minute old, into
// a new spool under dir with a cursor before them all. It returns the samples.
func backlog(dir, url string, f *replay.Frames, scrapes int) (int, error) {
	log := logrus.New()
	log.SetOutput(io.Discard)
	numbers := series.NewRegistry()
	sp, err := spool.Open(dir, spool.Options{Series: numbers, Log: log})
	if err != nil {
		return 0, err
	}
	if _, err := sp.Claim([]spool.Endpoint{{Name: "bench", URL: url}}); err != nil {
		return 0, err
	}
	const step = 15_000
	at := time.Now().Add(-time.Minute).UnixMilli() - int64(scrapes)*step
	known := map[string]*series.Series{}
	var body []byte
	var sc series.Scrape
	samples := 0
	for n := range scrapes {
		body = f.Append(body[:0], n)
		sc.Reset()
		sc.Time = at + int64(n)*step
		if err := parse(&sc, body, known); err != nil {
			return 0, err
		}
		samples += sc.Len()
		for i, s := range sc.Series {
			sc.Series[i] = numbers.Number(s)
		}
		if _, err := sp.Append(context.Background(), &sc); err != nil {
			return 0, fmt.Errorf("append scrape %d of the backlog: %w", n, err)
		}
	}
	return samples, sp.Close(context.Background())
}

// parse adds the samples of a text exposition to sc, with the same Series for the
// same series each time.
func parse(sc *series.Scrape, body []byte, known map[string]*series.Series) error {
	p := textparse.NewPromParser(body, labels.NewSymbolTable(), false)
	typ, help := model.MetricTypeUnknown, ""
	for {
		e, err := p.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("parse the replayed scrape: %w", err)
		}
		switch e {
		case textparse.EntryHelp:
			_, h := p.Help()
			help = string(h)
		case textparse.EntryType:
			_, typ = p.Type()
		case textparse.EntrySeries:
			raw, _, v := p.Series()
			s := known[string(raw)]
			if s == nil {
				var l labels.Labels
				p.Labels(&l)
				b := labels.NewBuilder(l)
				b.Set("job", backlogJob)
				b.Set("instance", instance)
				s = &series.Series{Labels: b.Labels(), Type: typ, Help: help}
				known[string(raw)] = s
			}
			sc.Series = append(sc.Series, s)
			sc.Values = append(sc.Values, v)
		}
	}
}
