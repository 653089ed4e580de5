// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"slices"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"go.uber.org/goleak"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var now = time.Date(2026, 11, 22, 14, 0, 0, 0, time.UTC)

// fresh is a forwarder that has just started well, with one endpoint.
func fresh() State {
	return State{
		Version: "1.2.3", GoVersion: "go1.26", Mode: "plugin", Started: now.Add(-10 * time.Minute),
		Config:    ConfigState{Loaded: now.Add(-10 * time.Minute)},
		Targets:   []TargetState{{URL: "unix:///run/docker/metrics.sock", Job: "docker", Instance: "host-1", Running: true, Interval: 15, Last: now.Add(-5 * time.Second), LastSuccess: now.Add(-5 * time.Second), Duration: 0.004, Samples: 409}},
		Spool:     SpoolState{Dir: "/data", Bytes: 1 << 20, MaxBytes: 64 << 20},
		Endpoints: []EndpointState{{Name: "prod", URL: "https://metrics.example/api/v1/write", Protocol: "2.0", Phase: Idle}},
	}
}

// outage is the same while its receiver has been answering 503 for 12 minutes.
func outage() State {
	s := fresh()
	s.Targets[0].Successes, s.Targets[0].Scraped = 40, 40*409
	e := &s.Endpoints[0]
	e.Phase, e.Failures = Waiting, 19
	e.LastError, e.LastErrorTime = `503 Service Unavailable: no <healthy> "ingester" found`, now.Add(-20*time.Second)
	e.NextAttempt = now.Add(31 * time.Second)
	e.LastSuccess, e.NewestSent = now.Add(-12*time.Minute), now.Add(-12*time.Minute)
	e.Backlog = Backlog{Scrapes: 48, Samples: 19632, Bytes: 61440, Oldest: now.Add(-12*time.Minute + 15*time.Second)}
	e.Appended, e.Delivered, e.Retried = 24540, 4908, 7771
	e.Requests.Add("2.0", 204, 12)
	e.Requests.Add("2.0", 503, 19)
	e.RequestTime, e.SentBytes = 1.25, 123456
	return s
}

func newTelemetry(state func() State) *Telemetry {
	return New(Options{
		// Each snapshot has endpoints of its own, as Options asks for.
		State: func() State {
			s := state()
			s.Endpoints = slices.Clone(s.Endpoints)
			return s
		},
		Job: "docker", Instance: "host-1", Self: true, Now: func() time.Time { return now },
		External: labels.FromStrings("region", "north", "endpoint", "theirs", "instance", "theirs"),
	})
}

func lost(n map[series.Loss]uint64) (l Lost) {
	for r, v := range n {
		l[r] = v
	}
	return l
}
