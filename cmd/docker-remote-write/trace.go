// SPDX-License-Identifier: Apache-2.0

//go:build appendtrace

package main

import (
	"fmt"
	"os"
	"strconv"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/value"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// A build with the tag appendtrace tells whoever started it which scrapes are on
// disk, so that a test can kill it and know what must arrive all the same. For
// each scrape that Append has returned for it writes one line to the file
// descriptor in TRACE_FD: the scrape's time in milliseconds, its job and the value
// of the series named TRACE_SERIES, or "-" where it has none, as one that failed; behind
// it the error of Append, if there was one.
func init() {
	fd, err := strconv.ParseUint(os.Getenv("TRACE_FD"), 10, 16)
	if err != nil {
		return
	}
	name := os.Getenv("TRACE_SERIES")
	out := os.NewFile(uintptr(fd), "trace")
	appended = func(sc *series.Scrape, err error) {
		job, number := "-", "-"
		for i, s := range sc.Series {
			job = s.Labels.Get(model.JobLabel)
			if s.Labels.Get(model.MetricNameLabel) == name && !value.IsStaleNaN(sc.Values[i]) {
				number = strconv.FormatFloat(sc.Values[i], 'f', -1, 64)
			}
		}
		line := fmt.Sprintf("%d %s %s", sc.Time, job, number)
		if err != nil {
			line += " " + err.Error()
		}
		// One write, so that a line is there whole or not at all.
		_, _ = fmt.Fprintln(out, line)
	}
}
