// SPDX-License-Identifier: Apache-2.0

// Package scrape reads a metrics target, the engine's unix socket above all, and
// turns each answer into a series.Scrape: labels as Prometheus would attach them,
// up and the scrape_* series, stale markers, one timestamp. Scraper makes one
// attempt; Loop says when, on a grid, and looks after the clock.
package scrape

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/sirupsen/logrus"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// Defaults of the limits, used where an option is zero.
const (
	DefaultInterval    = 15 * time.Second
	DefaultTimeout     = 10 * time.Second
	DefaultMaxBytes    = 16 << 20
	DefaultSampleLimit = 50_000
)

// MaxSeriesBytes limits what one series may take: the bytes of its name and
// labels as the target spells them, and the bytes of its help text. No real
// series comes near it; receivers refuse label values of a few KiB.
const MaxSeriesBytes = 64 << 10

// Options of a Scraper. Job and Instance are required, the rest has a default.
type Options struct {
	// Target is unix:///path/to.sock, optionally with the HTTP path behind a colon
	// (unix:///path/to.sock:/metrics), or http://host:port/path, or https, for which TLS
	// says whom to trust, behind a redirect too; nil: nobody.
	Target string
	TLS    *tls.Config
	// Interval between two scrapes and Timeout of one, reading its body included.
	// A Timeout of zero is 10 s or the interval if that is shorter.
	Interval, Timeout time.Duration
	// Room bounds the body after decompression, together with those of other targets;
	// nil: one of its own of 16 MiB. SampleLimit is for the samples of one scrape after
	// Keep and Drop. Beyond either the scrape fails as a whole.
	Room        *Room
	SampleLimit int
	// NativeHistograms are read in place of their classic buckets, or with
	// ClassicHistograms beside them. Else the buckets are, as in Prometheus.
	NativeHistograms, ClassicHistograms bool
	// Number is that of the target in scrapes, 0 the engine's.
	Number uint8
	// Job and Instance are set on every series; labels of these names in the
	// exposition are renamed to exported_job and exported_instance, as Prometheus
	// does with honor_labels: false. External labels are added where the series
	// has no label of that name, as Prometheus does with external_labels.
	Job, Instance string
	External      labels.Labels
	// Keep and Drop are matched against the metric name: what Keep does not match
	// goes, then what Drop matches. The zero Regexp is unset. Neither touches up,
	// scrape_* or the program's own metrics.
	Keep, Drop relabel.Regexp
	// HoldBack is for how long scrapes of an engine that is still booting are held
	// back; 0 for not at all.
	HoldBack time.Duration
	// Resumed says that the receivers may hold exemplars of an earlier process. Of a
	// series that is new to this one only the newest is taken then: they refuse older
	// ones.
	Resumed bool
	// Series numbers the series; nil: a registry of the scraper's own.
	Series *series.Registry
	// UserAgent names the program to the target.
	UserAgent string
	Log       logrus.FieldLogger
}

func (o *Options) setDefaults() error {
	if o.Job == "" || o.Instance == "" {
		return errors.New("scrape: job and instance must not be empty")
	}
	if o.Interval == 0 {
		o.Interval = DefaultInterval
	}
	if o.Interval < time.Millisecond {
		return fmt.Errorf("scrape: interval %s is shorter than a millisecond", o.Interval)
	}
	if o.Timeout == 0 {
		o.Timeout = min(DefaultTimeout, o.Interval)
	}
	if o.TLS == nil {
		o.TLS = &tls.Config{RootCAs: x509.NewCertPool()}
	}
	if o.Room == nil {
		o.Room = NewRoom(DefaultMaxBytes, 1)
	}
	if o.SampleLimit <= 0 {
		o.SampleLimit = DefaultSampleLimit
	}
	if o.Series == nil {
		o.Series = series.NewRegistry()
	}
	if o.Log == nil {
		l := logrus.New()
		l.SetLevel(logrus.PanicLevel)
		o.Log = l
	}
	return nil
}
