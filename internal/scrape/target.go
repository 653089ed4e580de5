// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// accept asks for protobuf first: it alone carries start timestamps, exemplars and
// native histograms, it costs an engine half of what text costs to write, and its
// values need no decimal conversion here.
const accept = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;escaping=allow-utf-8;q=0.9," +
	"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.7," +
	"text/plain;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1"

type format uint8

const (
	formatNone format = iota
	formatText
	formatProtobuf
	formatOpenMetrics
)

func (f format) String() string {
	return [...]string{"", "text", "protobuf", "openmetrics"}[f]
}

// target is one HTTP connection, kept alive, and the buffer that bodies are read
// into. A proxy is never used and a redirect never followed.
type target struct {
	name      string
	transport http.RoundTripper
	request   *http.Request
	closeIdle func()
	maxBytes  int64

	body        []byte
	gz          *gzip.Reader
	contentType string
	format      format
}

func newTarget(o *Options) (*target, error) {
	t := &target{name: o.Target, maxBytes: o.MaxBytes}
	var d net.Dialer
	dial := d.DialContext
	var u *url.URL
	switch {
	case strings.HasPrefix(o.Target, "unix://"):
		path, httpPath := strings.TrimPrefix(o.Target, "unix://"), "/metrics"
		if i := strings.LastIndex(path, ":/"); i > 0 {
			path, httpPath = path[:i], path[i+1:]
		}
		if !strings.HasPrefix(path, "/") {
			return nil, fmt.Errorf("scrape target %q: want an absolute path, as in unix:///run/docker/metrics.sock", o.Target)
		}
		dial = func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", path) }
		var err error
		if u, err = url.Parse("http://localhost" + httpPath); err != nil {
			return nil, fmt.Errorf("scrape target %q: %w", o.Target, err)
		}
	case strings.HasPrefix(o.Target, "http://"):
		var err error
		if u, err = url.Parse(o.Target); err != nil {
			return nil, fmt.Errorf("scrape target: %w", err)
		}
		if u.User != nil {
			return nil, errors.New("scrape target: user info in the URL is not supported")
		}
		if u.Host == "" {
			return nil, fmt.Errorf("scrape target %q: want a host, as in http://127.0.0.1:9323/metrics", o.Target)
		}
		if u.Path == "" {
			u.Path = "/metrics"
		}
	default:
		return nil, fmt.Errorf("scrape target %q: want unix:///path/to.sock or http://host:port/metrics", o.Target)
	}
	transport := &http.Transport{
		DialContext: dial,
		// Over a local socket compression only costs; an answer that is compressed
		// all the same is unpacked below, where its size can be limited.
		DisableCompression:     true,
		MaxResponseHeaderBytes: 64 << 10,
		ReadBufferSize:         16 << 10,
	}
	t.transport, t.closeIdle = transport, transport.CloseIdleConnections
	h := http.Header{
		"Accept":                              {accept},
		"X-Prometheus-Scrape-Timeout-Seconds": {strconv.FormatFloat(o.Timeout.Seconds(), 'f', -1, 64)},
	}
	if o.UserAgent != "" {
		h["User-Agent"] = []string{o.UserAgent}
	}
	t.request = &http.Request{Method: http.MethodGet, URL: u, Host: u.Host, Header: h, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	return t, nil
}

// fetch gets one answer whole. The body is valid until the next fetch and has
// room for one more byte behind its end, which the text parser wants to write.
func (t *target) fetch(ctx context.Context) (body []byte, f format, err error) {
	resp, err := t.transport.RoundTrip(t.request.WithContext(ctx))
	if err != nil {
		return nil, 0, connError("scrape", t.name, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, 0, failed(Status, "scrape %s: answered %d, want 200", t.name, resp.StatusCode)
	}
	if f, err = t.formatOf(resp.Header.Get("Content-Type")); err != nil {
		return nil, 0, err
	}
	var r io.Reader = resp.Body
	switch enc := resp.Header.Get("Content-Encoding"); enc {
	case "", "identity":
	case "gzip":
		if t.gz == nil {
			t.gz = new(gzip.Reader)
		}
		if err := t.gz.Reset(resp.Body); err != nil {
			return nil, 0, readError(t.name, err)
		}
		r = t.gz
	default:
		return nil, 0, failed(ContentType, "scrape %s: content encoding %.40q, want gzip or none", t.name, enc)
	}
	body, err = t.read(r)
	return body, f, err
}

func (t *target) read(r io.Reader) ([]byte, error) {
	// A buffer that a single huge body left behind is not kept for ever.
	if cap(t.body) > 1<<20 && len(t.body) < cap(t.body)/8 {
		t.body = nil
	}
	if t.body == nil {
		t.body = make([]byte, 0, 64<<10)
	}
	b := t.body[:0]
	for {
		// One byte of room always remains behind what was read.
		if cap(b)-len(b) < 2 {
			b = append(b, make([]byte, len(b))...)[:len(b)]
		}
		n, err := r.Read(b[len(b) : cap(b)-1])
		b = b[:len(b)+n]
		t.body = b
		if int64(len(b)) > t.maxBytes {
			return nil, failed(TooLarge, "scrape %s: the body exceeds the limit of %d bytes", t.name, t.maxBytes)
		}
		if err == io.EOF {
			return b, nil
		}
		if err != nil {
			return nil, readError(t.name, err)
		}
	}
}

func readError(name string, err error) *Error {
	if errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) {
		return failed(Parse, "read answer of %s: %w", name, err)
	}
	return connError("read answer of", name, err)
}

// formatOf understands a Content-Type; the last one is remembered, since it hardly
// ever changes.
func (t *target) formatOf(contentType string) (format, error) {
	if contentType != "" && contentType == t.contentType {
		return t.format, nil
	}
	media, params, err := mime.ParseMediaType(contentType)
	f := formatNone
	if err == nil {
		switch media {
		case "text/plain":
			f = formatText
		case "application/openmetrics-text":
			if params["version"] != "2.0.0" {
				f = formatOpenMetrics
			}
		case "application/vnd.google.protobuf":
			enc, proto := params["encoding"], params["proto"]
			if (enc == "" || enc == "delimited") && (proto == "" || proto == "io.prometheus.client.MetricFamily") {
				f = formatProtobuf
			}
		}
	}
	if f == formatNone {
		return 0, failed(ContentType, "scrape %s: content type %.100q, want text/plain, delimited protobuf or OpenMetrics 1.0", t.name, contentType)
	}
	t.contentType, t.format = strings.Clone(contentType), f
	return f, nil
}

// close drops the idle connection.
func (t *target) close() { t.closeIdle() }
