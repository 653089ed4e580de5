// SPDX-License-Identifier: Apache-2.0

// Command fleet simulates a fleet of hosts on a virtual clock and plots what their
// receiver is offered: with the defaults, with the settings recommended to fleets,
// and with what keeps hosts apart switched off.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/docker-remote-write/docker-remote-write/proof/bench"
	"github.com/docker-remote-write/docker-remote-write/proof/fleetsim"
)

func main() {
	hosts := flag.Int("hosts", 10_000, "hosts in the fleet")
	series := flag.Int("series", 450, "series a scrape")
	out := flag.String("o", ".", "`directory` for the plots; the table goes to its fleet.md, if there is one")
	flag.Parse()
	var table bytes.Buffer
	if err := run(io.MultiWriter(os.Stdout, &table), *hosts, *series, *out); err != nil {
		log.Fatal(err)
	}
	doc := filepath.Join(*out, "fleet.md")
	if _, err := os.Stat(doc); err == nil {
		if err := bench.Insert(doc, "simulation", table.Bytes()); err != nil {
			log.Fatal(err)
		}
	}
}

// million writes a large count.
func million(n int) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f million", float64(n)/1e6)
}

func run(w io.Writer, hosts, series int, out string) error {
	settings := fleetsim.Variants(series)
	scenarios := fleetsim.Scenarios(hosts, series)
	fmt.Fprintf(w, "%d hosts, %d series each, one scrape every 15 s; means and peaks of one second.\n\n", hosts, series)
	fmt.Fprintln(w, "| scenario | settings | requests: mean | peak | ratio | samples: mean | peak | ratio | samples answered 429 | last backlog gone |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|---|---|")
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
			fmt.Fprintf(w, "| %s | %s | %.0f | %d | %.2f | %.0f | %d | %.2f | %s | %s |\n", sc.Name, v.Name, s.MeanRequests, s.PeakRequests,
				float64(s.PeakRequests)/s.MeanRequests, s.MeanSamples, s.PeakSamples, float64(s.PeakSamples)/s.MeanSamples, million(refused), gone)
		}
		if err := plotScenario(filepath.Join(out, "fleet-"+sc.File+".png"), sc, settings, results); err != nil {
			return err
		}
	}
	return nil
}
