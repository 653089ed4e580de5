// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"

	"github.com/docker-remote-write/docker-remote-write/proof/bench/agents"
)

// floorBody is about what a scrape of an engine takes on the wire, in bytes.
const floorBody = 6000

// Floor returns the processor time a scrape of the program in the directory source,
// which does the input and output of an agent and nothing else. It builds that with
// the go command.
func Floor(ctx context.Context, dir, source string, sc Scenario, p Plan) (time.Duration, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, err
	}
	bin, body := filepath.Join(dir, "program"), filepath.Join(dir, "body")
	if err := goBuild(ctx, bin, source); err != nil {
		return 0, err
	}
	// Random letters, that snappy leaves as long as they are.
	letters := make([]byte, floorBody/2)
	if _, err := rand.Read(letters); err != nil {
		return 0, err
	}
	raw, err := (&prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{
		Labels:  []prompb.Label{{Name: "__name__", Value: hex.EncodeToString(letters)}},
		Samples: []prompb.Sample{{Timestamp: time.Now().UnixMilli(), Value: 1}},
	}}}).Marshal()
	if err != nil {
		return 0, err
	}
	if err := os.WriteFile(body, snappy.Encode(nil, raw), 0o600); err != nil {
		return 0, err
	}
	r, err := Compare(ctx, filepath.Join(dir, "run"), agents.Floor(bin, body), sc, p)
	if err != nil {
		return 0, fmt.Errorf("input and output alone: %w", err)
	}
	return r.CPU, nil
}
