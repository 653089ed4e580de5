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
	"time"
	"unicode/utf8"

	"github.com/docker-remote-write/docker-remote-write/internal/weburl"
)

// accept asks for protobuf first, whether or not native histograms are wanted: it alone
// carries the start timestamps of an engine, for which Prometheus asks so as well, and
// it costs an engine half of what text costs to write.
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

// maxHeader limits an answer's header.
const maxHeader = 64 << 10

// target is what is scraped, and the buffer that bodies are read into. A proxy is
// never used; redirects are followed as in Prometheus, which is as net/http does it.
// Compression, which over a local socket
// only costs, is not asked for; an answer that is compressed all the same is
// unpacked here, where its size can be limited.
type target struct {
	name    string
	client  *http.Client
	request *http.Request
	timeout time.Duration
	room    *Room
	body    []byte
}

func newTarget(o *Options) (*target, error) {
	t := &target{name: weburl.ShowText(o.Target), timeout: o.Timeout, room: o.Room}
	transport := &http.Transport{
		DialContext: (&net.Dialer{}).DialContext, TLSClientConfig: o.TLS, DisableCompression: true, MaxResponseHeaderBytes: maxHeader,
	}
	rawURL := o.Target
	switch {
	case strings.HasPrefix(o.Target, "unix://"):
		path, httpPath := strings.TrimPrefix(o.Target, "unix://"), "/metrics"
		if i := strings.LastIndex(path, ":/"); i > 0 {
			path, httpPath = path[:i], path[i+1:]
		}
		if !strings.HasPrefix(path, "/") {
			return nil, fmt.Errorf("scrape target %q: want an absolute path, as in unix:///run/docker/metrics.sock", t.name)
		}
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}
		rawURL = "http://localhost" + httpPath
	case !strings.HasPrefix(o.Target, "http://") && !strings.HasPrefix(o.Target, "https://"):
		return nil, fmt.Errorf("scrape target %q: want unix:///path/to.sock or http://host:port/metrics", t.name)
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err // without the URL, which may hold a password
		}
		return nil, fmt.Errorf("scrape target: invalid URL: %w", err)
	}
	if u.User != nil {
		return nil, errors.New("scrape target: user info in the URL is not supported")
	}
	if u.Hostname() == "" {
		return nil, fmt.Errorf("scrape target %q: want a host, as in http://127.0.0.1:9323/metrics", t.name)
	}
	if u.Path == "" {
		u.Path = "/metrics"
	}
	h := http.Header{
		"Accept":                              {accept},
		"X-Prometheus-Scrape-Timeout-Seconds": {strconv.FormatFloat(o.Timeout.Seconds(), 'f', -1, 64)},
	}
	if o.UserAgent != "" {
		h["User-Agent"] = []string{o.UserAgent}
	}
	t.request = &http.Request{Method: http.MethodGet, URL: u, Host: u.Host, Header: h}
	t.client = &http.Client{Transport: transport}
	return t, nil
}

// fetch gets one answer whole. The body is valid until the next fetch and has
// room for one more byte behind its end, which the text parser wants to write.
func (t *target) fetch(ctx context.Context) (body []byte, f format, err error) {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	resp, err := t.client.Do(t.request.WithContext(ctx))
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err // t.name says which
		}
		return nil, 0, connError("scrape", t.name, err)
	}
	defer resp.Body.Close()
	return t.answer(resp)
}

func (t *target) answer(resp *http.Response) (body []byte, f format, err error) {
	if resp.StatusCode != http.StatusOK {
		return nil, 0, failed(Status, "scrape %s: answered %d, want 200", t.name, resp.StatusCode)
	}
	if body, err = t.unpack(resp); err != nil {
		return nil, 0, err
	}
	// As in Prometheus an empty body needs no type.
	if f, err = formatOf(t.name, resp.Header.Get("Content-Type")); err != nil && len(body) > 0 {
		return nil, 0, err
	}
	// Rather this than what a parser makes of a body that is compressed otherwise.
	if enc := resp.Header.Get("Content-Encoding"); enc != "" && enc != "gzip" && f != formatProtobuf && !utf8.Valid(body) {
		return nil, 0, failed(ContentType, "scrape %s: content encoding %.40q over what is no text, want gzip or none", t.name, enc)
	}
	return body, f, nil
}

// unpack reads the body of an answer and takes its compression off. As in Prometheus
// any other Content-Encoding than gzip says nothing of the body.
func (t *target) unpack(resp *http.Response) (body []byte, err error) {
	if resp.Header.Get("Content-Encoding") != "gzip" {
		return t.read(resp.Body, resp.ContentLength)
	}
	gz, err := gzip.NewReader(resp.Body)
	if err != nil {
		return nil, readError(t.name, err)
	}
	if body, err = t.read(gz, -1); err != nil {
		return nil, err
	}
	// The packed body may go on behind its end; only its own end frees the connection.
	var rest [1]byte
	if _, err := io.ReadFull(resp.Body, rest[:]); err != io.EOF {
		return nil, failed(Parse, "scrape %s: the body goes on behind its compressed part", t.name)
	}
	return body, nil
}

const (
	// firstBody is the size of the buffer for a body of unknown length. A buffer
	// doubles until doubleBelow, and then grows by half.
	firstBody   = 64 << 10
	doubleBelow = 1 << 20
)

// roomFor is the size of a buffer for bodies of about n bytes.
func roomFor(n int64) int64 { return n + n/16 + 2 }

// read reads a body to its end; length is what was announced, -1 if nothing was.
func (t *target) read(r io.Reader, length int64) ([]byte, error) {
	// A buffer that a single huge body left behind is not kept for ever.
	if cap(t.body) > doubleBelow && len(t.body) < cap(t.body)/8 {
		t.body = nil
	}
	t.body = t.body[:0]
	want := int64(0)
	switch {
	case length > 0 && length <= t.room.most && int64(cap(t.body)) < length+2:
		want = roomFor(length)
	case t.body == nil:
		want = firstBody
	}
	for {
		// One byte of room always remains behind what was read.
		n := len(t.body)
		if want == 0 && cap(t.body)-n < 2 {
			want = int64(2 * n)
			if n >= doubleBelow {
				want = int64(n + n/2)
			}
		}
		if want > 0 && !t.grow(min(want, t.room.most+2)) {
			return nil, failed(TooLarge, "scrape %s: the bodies of all targets exceed SCRAPE_MAX_BYTES together; this one has more than %d bytes", t.name, n)
		}
		want = 0
		got, err := r.Read(t.body[n : cap(t.body)-1])
		t.body = t.body[:n+got]
		if int64(len(t.body)) > t.room.most {
			return nil, failed(TooLarge, "scrape %s: the body exceeds the limit of %d bytes that SCRAPE_MAX_BYTES sets", t.name, t.room.most)
		}
		if err == io.EOF {
			return t.body, nil
		}
		if err != nil {
			return nil, readError(t.name, err)
		}
	}
}

// grow gives the buffer room for n bytes, or for those of the target's share if there
// is no more. It reports false if it has those already.
func (t *target) grow(n int64) bool {
	had := int64(cap(t.body))
	if !t.room.take(t.room.beyond(n) - t.room.beyond(had)) {
		if n = t.room.share + 2; had >= n {
			return false
		}
	}
	t.body = append(make([]byte, 0, n), t.body...)
	return true
}

// done gives back what the buffer has beyond the target's share.
func (t *target) done() {
	if over := t.room.beyond(int64(cap(t.body))); over > 0 {
		t.body = nil
		t.room.take(-over)
	}
}

func readError(name string, err error) *Error {
	if errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) {
		return failed(Parse, "read answer of %s: %w", name, err)
	}
	return connError("read answer of", name, err)
}

// formatOf understands a Content-Type as Prometheus does: parameters do not matter,
// but for OpenMetrics 2.0, which is refused.
func formatOf(name, contentType string) (format, error) {
	media, params, err := mime.ParseMediaType(contentType)
	if err == nil {
		switch media {
		case "text/plain":
			return formatText, nil
		case "application/openmetrics-text":
			if params["version"] != "2.0.0" {
				return formatOpenMetrics, nil
			}
		case "application/vnd.google.protobuf":
			return formatProtobuf, nil
		}
	}
	return 0, failed(ContentType, "scrape %s: content type %.100q, want text/plain, delimited protobuf or OpenMetrics 1.0", name, contentType)
}

// close drops the idle connection.
func (t *target) close() { t.client.CloseIdleConnections() }
