// SPDX-License-Identifier: Apache-2.0

package remotewrite_test

import (
	"maps"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/metadata"

	"github.com/docker-remote-write/docker-remote-write/internal/remotewrite"
	"github.com/docker-remote-write/docker-remote-write/proof/promtest"
)

// TestMetadataIsStable: in request after request, merged or not and over a restart, a
// Prometheus is told the same of each metric; and nothing at all by an endpoint that is
// to leave it out, in either protocol.
func TestMetadataIsStable(t *testing.T) {
	for _, p := range protocols {
		for _, omit := range []bool{false, true} {
			t.Run(map[bool]string{false: "sent ", true: "left out "}[omit]+p.String(), func(t *testing.T) {
				var prom *promtest.Server
				var told []map[string]metadata.Metadata
				prom = prometheus(t, promtest.Options{OnRequest: func(*promtest.Request) { told = append(told, prom.Metadata()) }})
				h := newHost(t, prom.WriteURL(), p)
				h.omit = remotewrite.Omit{Metadata: omit}
				var s *remotewrite.Sender
				for i, n := range []int{1, 1, 3, 1, 50, 1} {
					if i == 3 {
						h.reopen()
					}
					if i == 0 || i == 3 {
						var err error
						if s, err = remotewrite.New(h.options(), h.cursor); err != nil {
							t.Fatal(err)
						}
					}
					h.fill(n, nil)
					if err := s.Flush(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				h.check(prom, nil)
				if len(told) < 6 {
					t.Fatalf("%d requests", len(told))
				}
				for i, m := range told {
					switch want := (metadata.Metadata{Type: model.MetricTypeCounter, Help: "Counts 3."}); {
					case omit && len(m) != 0:
						t.Errorf("request %d: %v", i, m)
					case !omit && (m["metric_3_total"] != want || len(m) != 10):
						t.Errorf("request %d: %d names, metric_3_total %+v", i, len(m), m["metric_3_total"])
					case !maps.Equal(m, told[0]):
						t.Errorf("request %d says another thing than the first", i)
					}
				}
			})
		}
	}
}
