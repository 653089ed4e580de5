// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"pgregory.net/rapid"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// Whatever happens, a receiver can tell from the scrapes alone which series live:
// each that was there is there again or has a marker, and no marker comes without.
func TestStaleness(t *testing.T) {
	names := []string{"a", "b", "c{x=\"1\"}", "d", "own_1", "up"}
	rapid.Check(t, func(rt *rapid.T) {
		var own []*series.Series
		s := newScraper(t, Options{Target: "unix:///m.sock", HoldBack: time.Hour, SampleLimit: 4})
		all := []*series.Series{mine(s, "own_1"), mine(s, "own_2")}
		live := map[labels.Labels]bool{}
		now, last := epoch, int64(0)
		check := func(sc *series.Scrape, what string) {
			if sc.Time <= last {
				rt.Fatalf("%s: time %d after %d", what, sc.Time, last)
			}
			last = sc.Time
			there := map[labels.Labels]bool{}
			for i, sr := range sc.Series {
				if there[sr.Labels] {
					rt.Fatalf("%s: %s stands twice", what, sr.Labels)
				}
				there[sr.Labels] = true
				stale := value.IsStaleNaN(sc.Values[i])
				if stale && !live[sr.Labels] {
					rt.Fatalf("%s: a marker for %s, which was not there", what, sr.Labels)
				}
				live[sr.Labels] = !stale
			}
			for ls, l := range live {
				if l && !there[ls] {
					rt.Fatalf("%s: %s is gone without a marker", what, ls)
				}
			}
		}
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			now = now.Add(time.Second)
			switch what := rapid.SampledFrom([]string{"same", "same", "body", "body", "own", "fail", "hold", "cancel", "end", "down"}).Draw(rt, "step"); what {
			case "end", "down":
				if sc := s.End(now, what == "down", false); sc != nil {
					check(sc, what)
					for ls, l := range live {
						if l && (what == "end" || ls.Get("__name__") != "up") {
							rt.Fatalf("%s lives on", ls)
						}
					}
				}
			case "own":
				own = all[:rapid.IntRange(0, 2).Draw(rt, "own")]
			default:
				ctx, cancel := context.WithCancel(context.Background())
				body, ct := "", typeText
				if what == "same" {
					body = "a 1\nb 2\n"
				} else {
					for _, n := range rapid.SliceOfN(rapid.SampledFrom(names), 0, 6).Draw(rt, "series") {
						body += fmt.Sprintf("%s %d\n", n, rapid.IntRange(0, 9).Draw(rt, "value"))
					}
				}
				switch what {
				case "fail":
					body += "x{\n"
				case "hold":
					body += "engine_daemon_engine_cpus_cpus 0\n"
				case "cancel":
					cancel()
				}
				s.target.client.Transport = &static{header: http.Header{"Content-Type": {ct}}, body: []byte(body)}
				sc, err := s.Scrape(ctx, now, ownScrape(own...))
				cancel()
				var failure *Error
				switch {
				case errors.Is(err, ErrHeldBack) && what == "hold", errors.Is(err, context.Canceled) && what == "cancel":
					if sc != nil {
						rt.Fatalf("%s: a scrape", what)
					}
					continue
				case err != nil && (!errors.As(err, &failure) || what == "same"):
					rt.Fatalf("%s: %v", what, err)
				}
				check(sc, what)
			}
		}
	})
}
