// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"net/http"
	"strconv"
	"strings"
)

// written are the X-Prometheus-Remote-Write-*-Written headers of an answer.
type written struct {
	// any: at least one of them was there, whatever it said.
	any bool
	// samples counts what was stored, floats and native histograms; what cannot
	// be read counts as 0.
	samples int
}

const (
	writtenPrefix = "X-Prometheus-Remote-Write-"
	writtenSuffix = "-Written"
)

func parseWritten(h http.Header) (w written) {
	for name, values := range h {
		if !strings.HasPrefix(name, writtenPrefix) || !strings.HasSuffix(name, writtenSuffix) || len(values) == 0 {
			continue
		}
		w.any = true
		switch name {
		case writtenPrefix + "Samples" + writtenSuffix, writtenPrefix + "Histograms" + writtenSuffix:
			n, err := strconv.ParseUint(strings.TrimSpace(values[0]), 10, 31)
			if err == nil {
				w.samples += int(n)
			}
		}
	}
	return w
}
