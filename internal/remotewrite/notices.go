// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"time"

	"github.com/sirupsen/logrus"
)

// repeatNotice is how often the same thing is logged again while it lasts.
const repeatNotice = 5 * time.Minute

// notices keeps the log of a sender short: the beginning and the end of what goes
// wrong, and a reminder in between.
type notices struct {
	failing time.Time // since when nothing was accepted, zero if all is well
	verdict verdict   // what was last logged
	status  int
	logged  time.Time
	last    map[string]time.Time
	fast    bool // the clocks were too far apart
}

func (s *Sender) log() logrus.FieldLogger {
	return s.o.Log.WithFields(logrus.Fields{"endpoint": s.o.Name, "url": s.status.URL})
}

// due limits one kind of message.
func (n *notices) due(kind string, now time.Time) bool {
	if n.last == nil {
		n.last = make(map[string]time.Time)
	}
	if t, ok := n.last[kind]; ok && now.Sub(t) < repeatNotice && !now.Before(t) {
		return false
	}
	n.last[kind] = now
	return true
}

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
	fresh := n.failing.IsZero() || v != n.verdict || a.status != n.status
	if n.failing.IsZero() {
		n.failing = now
	}
	if !fresh && now.Sub(n.logged) < repeatNotice {
		l.Debug("remote write failed")
		return
	}
	n.verdict, n.status, n.logged = v, a.status, now
	l.Warn("remote write failed")
}

func (n *notices) fellBack(s *Sender) {
	s.log().Info("the receiver does not understand remote write 2.0, 1.0 is used")
}

func (n *notices) local(s *Sender, what string, err error) {
	if n.due(what, time.Now()) {
		s.log().WithError(err).Error(what)
	}
}

func (n *notices) future(s *Sender, now time.Time, samples int, stamped time.Time) {
	if n.due("future", now) {
		s.log().WithFields(logrus.Fields{"samples": samples, "stamped": stamped.UTC().Format(time.RFC3339)}).
			Warn("samples are stamped more than two minutes ahead of the clock and are dropped")
	}
}

func (n *notices) clock(s *Sender, now time.Time) {
	if n.due("clock", now) {
		s.log().WithField("clock", now.UTC().Format(time.RFC3339)).
			Warn("the clock is not set, samples with a later time wait for it")
	}
}

func (n *notices) poison(s *Sender, now time.Time, samples int) {
	s.log().WithField("samples", samples).
		Error("a scrape was answered with 5xx for an hour while the next one is accepted, it is dropped")
}

// offset warns when the receiver's clock and ours are too far apart. It never holds
// anything back.
func (n *notices) offset(s *Sender, d time.Duration, now time.Time) {
	off := d > maxAhead || d < -maxAhead
	if off && (!n.fast || n.due("offset", now)) {
		n.due("offset", now)
		s.log().WithField("offset", d.String()).Warn("the receiver's clock and this host's are more than two minutes apart")
	}
	n.fast = off
}
