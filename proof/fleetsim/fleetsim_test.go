// SPDX-License-Identifier: Apache-2.0

package fleetsim

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/docker-remote-write/docker-remote-write/internal/config"
)

const (
	fleet  = 10_000
	series = 450
)

// The defaults that are simulated are the program's.
func TestDefaults(t *testing.T) {
	c, _, err := config.Load(config.Run, []string{"REMOTE_WRITE_URL=http://receiver.example/", "DATA_DIR=" + t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	e := c.Endpoints[0]
	want := Settings{
		ScrapeInterval: c.Interval, BatchSendDeadline: e.Deadline, MaxSamplesPerSend: e.MaxSamples, MaxSamplesPerSecond: float64(e.RateLimit),
		MinBackoff: e.MinBackoff, MaxBackoff: e.MaxBackoff,
	}
	if got := Defaults(); got != want {
		t.Errorf("simulated with %+v, the program has %+v", got, want)
	}
}

func scenario(t *testing.T, file string, hosts int) Named {
	t.Helper()
	for _, n := range Scenarios(hosts, series) {
		if n.File == file {
			n.UntilRecovered = true
			return n
		}
	}
	t.Fatalf("no scenario %s", file)
	return Named{}
}

// The promise to who runs the receiver of a fleet.
func TestTheReturnOfAReceiver(t *testing.T) {
	inStep := Defaults()
	inStep.InStep = true
	for _, tc := range []struct {
		name              string
		hosts             int
		settings          Settings
		requests, samples float64 // the most, as multiples of the mean; 0 for no promise
		least             float64 // requests, so that the test is seen to be able to fail
	}{
		{"defaults", fleet, Defaults(), 3, 0, 1},
		{"fleet settings", fleet, Fleet(series), 3, 3, 1},
		{"no phase, no stretch", fleet / 10, inStep, 0, 0, 10},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sc := scenario(t, "outage", tc.hosts)
			r := Run(tc.settings, sc.Scenario)
			if r.Recovered == 0 {
				t.Fatal("the backlog is not gone at the end")
			}
			s := r.Summarize(sc.Settled(), sc.Disturbed(), sc.Returns(), r.Recovered)
			requests, samples := float64(s.PeakRequests)/s.MeanRequests, float64(s.PeakSamples)/s.MeanSamples
			t.Logf("requests %.2f times the mean, samples %.2f, last backlog gone %s after the return", requests, samples, r.Recovered-sc.Returns())
			if tc.requests > 0 && requests > tc.requests {
				t.Errorf("%d requests in one second, mean %.0f", s.PeakRequests, s.MeanRequests)
			}
			if tc.samples > 0 && samples > tc.samples {
				t.Errorf("%d samples in one second, mean %.0f", s.PeakSamples, s.MeanSamples)
			}
			if requests < tc.least {
				t.Errorf("no more than %.2f times the mean: the measure is broken", requests)
			}
			live := float64(tc.hosts*series) / tc.settings.ScrapeInterval.Seconds()
			if math.Abs(s.MeanSamples-live) > live/100 {
				t.Errorf("mean of %.0f samples a second, %.0f are scraped", s.MeanSamples, live)
			}
		})
	}
}

// A receiver that says 429 above its capacity gets everything in the end.
func TestAReceiverAtItsCapacity(t *testing.T) {
	sc := scenario(t, "capacity", fleet/10)
	for _, v := range Variants(series)[:2] {
		t.Run(v.Name, func(t *testing.T) {
			if r := Run(v.Settings, sc.Scenario); r.Recovered == 0 {
				last := r.Seconds[len(r.Seconds)-1]
				t.Errorf("%d samples still wait after %s", last.Backlog, sc.Length)
			}
		})
	}
}

// Whatever the settings, no sample is made or lost.
func TestConservation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 50).Draw(t, "series")
		set := Defaults()
		set.BatchSendDeadline = time.Duration(rapid.IntRange(0, 90).Draw(t, "deadline")) * time.Second
		set.MaxSamplesPerSend = rapid.IntRange(1, 10*n).Draw(t, "samples a request")
		set.MaxSamplesPerSecond = float64(rapid.IntRange(0, 100).Draw(t, "rate"))
		set.InStep = rapid.Bool().Draw(t, "in step")
		sc := Scenario{Hosts: 20, Series: n, Length: 10 * time.Minute, Latency: 50 * time.Millisecond, Seed: 7,
			DownFrom: time.Minute, Down: time.Duration(rapid.IntRange(0, 300).Draw(t, "down")) * time.Second,
			RestartFrom: 2 * time.Minute, Restarts: time.Duration(rapid.IntRange(0, 60).Draw(t, "restarts")) * time.Second,
			Capacity: float64(rapid.SampledFrom([]int{0, 20 * n}).Draw(t, "capacity")),
		}
		r := Run(set, sc)
		accepted := 0
		for i, s := range r.Seconds {
			accepted += s.Accepted
			if s.Accepted > s.Samples || s.Backlog < 0 {
				t.Fatalf("second %d: %+v", i, s)
			}
		}
		if last := r.Seconds[len(r.Seconds)-1].Backlog; r.Delivered+last != r.Appended {
			t.Errorf("%d delivered and %d waiting of %d", r.Delivered, last, r.Appended)
		}
		if accepted < r.Delivered {
			t.Errorf("%d delivered of %d accepted", r.Delivered, accepted)
		}
	})
}

func TestQueueIsInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q queue
		for i, at := range rapid.SliceOf(rapid.Int64Range(0, 20)).Draw(t, "times") {
			q.push(event{at: at, host: int32(i)})
		}
		for last := (event{at: -1}); len(q.e) > 0; {
			e := q.pop()
			if e.at < last.at || e.at == last.at && e.host < last.host {
				t.Fatalf("%+v after %+v", e, last)
			}
			last = e
		}
	})
}
