// SPDX-License-Identifier: Apache-2.0

package promtest

import (
	"fmt"
	"mime"
	"net/http"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

// Request is a remote write request as the handler got it, and what it answered.
type Request struct {
	Header http.Header
	// Body is as it came over the wire, compressed.
	Body []byte
	// Status and Answer are the handler's.
	Status int
	Answer http.Header
}

// Proto is "2.0" or "1.0" by the request's content type, as a receiver is to tell
// them apart, and "" for what is no remote write.
func (r *Request) Proto() string {
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/x-protobuf" {
		return ""
	}
	switch params["proto"] {
	case "io.prometheus.write.v2.Request":
		return "2.0"
	case "", "prometheus.WriteRequest":
		return "1.0"
	}
	return ""
}

// V1 decodes the body as a 1.0 request.
func (r *Request) V1() (*prompb.WriteRequest, error) {
	raw, err := snappy.Decode(nil, r.Body)
	if err != nil {
		return nil, fmt.Errorf("decompress a 1.0 request: %w", err)
	}
	m := new(prompb.WriteRequest)
	if err := m.Unmarshal(raw); err != nil {
		return nil, fmt.Errorf("decode a 1.0 request: %w", err)
	}
	return m, nil
}

// V2 decodes the body as a 2.0 request.
func (r *Request) V2() (*writev2.Request, error) {
	raw, err := snappy.Decode(nil, r.Body)
	if err != nil {
		return nil, fmt.Errorf("decompress a 2.0 request: %w", err)
	}
	m := new(writev2.Request)
	if err := m.Unmarshal(raw); err != nil {
		return nil, fmt.Errorf("decode a 2.0 request: %w", err)
	}
	return m, nil
}

// Samples counts the float and histogram samples in the request.
func (r *Request) Samples() (int, error) {
	n := 0
	if r.Proto() == "2.0" {
		m, err := r.V2()
		if err != nil {
			return 0, err
		}
		for _, ts := range m.Timeseries {
			n += len(ts.Samples) + len(ts.Histograms)
		}
		return n, nil
	}
	m, err := r.V1()
	if err != nil {
		return 0, err
	}
	for _, ts := range m.Timeseries {
		n += len(ts.Samples) + len(ts.Histograms)
	}
	return n, nil
}
