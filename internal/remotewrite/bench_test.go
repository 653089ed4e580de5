// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"fmt"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// BenchmarkEncode builds and compresses requests of 400 series like an engine's:
// most of them stand still.
func BenchmarkEncode(b *testing.B) {
	for _, scrapes := range []int{1, 4, 24} {
		reg := series.NewRegistry()
		var batch series.Batch
		for i := range scrapes {
			batch.Times = append(batch.Times, 1_767_000_000_000+int64(i)*15_000)
		}
		for i := range 400 {
			row := series.Row{Series: reg.Number(&series.Series{
				Labels: labels.FromStrings("__name__", fmt.Sprintf("engine_daemon_metric_%d_bucket", i/12), "action", "start", "instance", "host.example", "job", "docker", "le", fmt.Sprint(i%12)),
				Type:   "histogram", Help: fmt.Sprintf("What metric %d says.", i/12),
			})}
			for k, at := range batch.Times {
				v := float64(i / 3)
				if i%12 == 0 {
					v += float64(k) * 1.1
				}
				row.Samples = append(row.Samples, series.Sample{T: at, V: v})
			}
			batch.Rows = append(batch.Rows, row)
			batch.Samples += scrapes
		}
		for _, p := range []Protocol{V2, V1} {
			b.Run(fmt.Sprintf("%s/scrapes=%d", p, scrapes), func(b *testing.B) {
				e := newEncoder(nil)
				var r request
				e.encode(&r, &batch, p, 1)
				e.accepted(1)
				b.ReportAllocs()
				for b.Loop() {
					e.encode(&r, &batch, p, 1)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(batch.Samples), "ns/sample")
				b.ReportMetric(float64(len(r.body))/float64(batch.Samples), "B/sample")
			})
		}
	}
}
