// SPDX-License-Identifier: Apache-2.0

// Command fleet simulates a fleet of hosts on a virtual clock and plots what their
// receiver is offered: with the defaults, with the settings recommended to fleets,
// and with what keeps hosts apart switched off.
package main

import (
	"flag"
	"fmt"
	"log"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/docker-remote-write/docker-remote-write/internal/fleetsim"
)

func main() {
	hosts := flag.Int("hosts", 10_000, "hosts in the fleet")
	series := flag.Int("series", 450, "series a scrape")
	out := flag.String("o", ".", "`directory` for the plots")
	flag.Parse()
	if err := run(*hosts, *series, *out); err != nil {
		log.Fatal(err)
	}
}

func run(hosts, series int, out string) error {
	settings := fleetsim.Variants(series)
	scenarios := fleetsim.Scenarios(hosts, series)
	fmt.Printf("%d hosts, %d series each, one scrape every 15 s. Mean and peak in a second.\n\n", hosts, series)
	fmt.Println("| scenario | settings | requests: mean | peak | ratio | samples: mean | peak | ratio | 429 answers' samples | last backlog gone |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|---|")
	for _, sc := range scenarios {
		results := make([]fleetsim.Result, len(settings))
		var g errgroup.Group
		for i, v := range settings {
			g.Go(func() error {
				results[i] = fleetsim.Run(v.Settings, sc.Scenario)
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		for i, v := range settings {
			r := results[i]
			to := r.Recovered
			gone := "-"
			if to == 0 {
				to = sc.Length
				if sc.Down > 0 {
					gone = "never"
				}
			} else {
				gone = fmt.Sprintf("%s after the return", (to - sc.Returns()).Round(time.Second))
			}
			s := r.Summarize(sc.Settled(), sc.Disturbed(), sc.Returns(), to)
			refused := 0
			for _, x := range r.Seconds {
				refused += x.Samples - x.Accepted
			}
			fmt.Printf("| %s | %s | %.0f | %d | %.2f | %.0f | %d | %.2f | %d | %s |\n", sc.Name, v.Name, s.MeanRequests, s.PeakRequests,
				float64(s.PeakRequests)/s.MeanRequests, s.MeanSamples, s.PeakSamples, float64(s.PeakSamples)/s.MeanSamples, refused, gone)
		}
		if err := plotScenario(filepath.Join(out, "fleet-"+sc.File+".png"), sc, settings, results); err != nil {
			return err
		}
	}
	return nil
}
