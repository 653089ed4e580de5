// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"time"

	"github.com/sirupsen/logrus"
)

// notices are what a sender logs: each failure, since it is the log that holds
// repeats back, and the end of failing.
type notices struct {
	failing time.Time // since when nothing was accepted, zero if all is well
}

func (s *Sender) log() logrus.FieldLogger {
	return s.o.Log.WithFields(logrus.Fields{"endpoint": s.o.Name, "url": s.status.URL})
}

// said is a receiver's answer. Its words may be others each time; to the log all
// with the same status and verdict are one kind.
type said string

func (s said) Error() string { return string(s) }
func (s said) Kind() string  { return "" }

func (n *notices) attempt(s *Sender, r *request, a *answer, v verdict, now time.Time) {
	if v == delivered {
		if !n.failing.IsZero() {
			s.log().WithField("after", now.Sub(n.failing).Round(time.Second).String()).Info("remote write works again")
			n.failing = time.Time{}
		}
		return
	}
	l := s.log().WithFields(logrus.Fields{
		"protocol": r.proto.String(), "status": a.status, "samples": r.samples, "error": a.text, "verdict": v.String(),
	})
	if v == otherProtocol || v == tryV1 {
		l.Debug("remote write is tried in the other protocol")
		return
	}
	if n.failing.IsZero() {
		n.failing = now
	}
	if a.status != 0 {
		l = l.WithError(said(a.text))
	}
	l.Warn("remote write failed")
}

func (n *notices) page(s *Sender, a *answer) {
	s.log().WithField("answer", a.text).
		Warn("the receiver accepts with a page of HTML, as a login page or a proxy does that stores nothing; what it takes counts as delivered")
}

func (n *notices) fellBack(s *Sender) {
	s.log().Info("the receiver does not understand remote write 2.0, 1.0 is used")
}

func (n *notices) local(s *Sender, what string, err error) {
	s.log().WithError(err).Error(what)
}

func (n *notices) future(s *Sender, samples uint64, stamped time.Time) {
	s.log().WithFields(logrus.Fields{"samples": samples, "stamped": stamped.UTC().Format(time.RFC3339)}).
		Warn("samples are stamped more than two minutes ahead of the clock and are dropped")
}

func (n *notices) clock(s *Sender, now time.Time) {
	s.log().WithField("clock", now.UTC().Format(time.RFC3339)).
		Warn("the clock is not set, samples with a later time wait for it")
}

func (n *notices) poison(s *Sender, samples uint64) {
	s.log().WithField("samples", samples).
		Error("samples got nothing but 5xx for hours while what follows them is accepted, they are dropped")
}

// offset warns when the receiver's clock and ours are too far apart. It never holds
// anything back.
func (n *notices) offset(s *Sender, d time.Duration) {
	if d > maxAhead || d < -maxAhead {
		s.log().WithField("offset", d.String()).Warn("the receiver's clock and this host's are more than two minutes apart")
	}
}
