// SPDX-License-Identifier: Apache-2.0

package fleetsim

import "time"

// Variant is a named choice of settings.
type Variant struct {
	Name string
	Settings
}

// Variants are the settings that are compared, for hosts of that many series.
func Variants(series int) []Variant {
	inStep := Defaults()
	inStep.InStep = true
	return []Variant{
		{"defaults", Defaults()},
		{"fleet settings", Fleet(series)},
		{"no phase, no stretch", inStep},
	}
}

// Named is a scenario with its name, in a table and in a file's name.
type Named struct {
	Name, File string
	Scenario
}

// Settled is when a run's mean begins to be taken.
func (n Named) Settled() time.Duration { return 2 * time.Minute }

// Disturbed is when what the scenario does to the fleet begins; for the steady
// state, its end.
func (n Named) Disturbed() time.Duration {
	switch {
	case n.Down > 0:
		return n.DownFrom
	case n.Restarts > 0:
		return n.RestartFrom
	}
	return n.Length
}

// Returns is when the peak begins to be looked for.
func (n Named) Returns() time.Duration {
	switch {
	case n.Down > 0:
		return n.DownFrom + n.Down
	case n.Restarts > 0:
		return n.RestartFrom
	}
	return n.Settled()
}

// Scenarios are those that a fleet has to get through.
func Scenarios(hosts, series int) []Named {
	base := Scenario{Hosts: hosts, Series: series, Latency: 50 * time.Millisecond, Seed: 1}
	live := float64(hosts*series) / Defaults().ScrapeInterval.Seconds()

	steady := base
	steady.Length = 10 * time.Minute

	outage := base
	outage.Length, outage.DownFrom, outage.Down = 45*time.Minute, 6*time.Minute, 10*time.Minute

	restart := base
	restart.Length, restart.RestartFrom, restart.Restarts = 20*time.Minute, 6*time.Minute, 10*time.Minute

	limited := outage
	limited.Length, limited.Capacity = time.Hour, 1.5*live

	return []Named{
		{"steady state", "steady", steady},
		{"ten-minute outage", "outage", outage},
		{"rolling restart of all engines in ten minutes", "restart", restart},
		{"the outage, and 429 above 1.5 times the mean", "capacity", limited},
	}
}
