// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"bufio"
	"bytes"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/docker-remote-write/docker-remote-write/internal/weburl"
)

// FuzzAnswer reads what a receiver may send: Retry-After and Date bound the wait,
// the Written headers count, and every answer has a meaning that its body and
// headers do not change.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 204 No Content\r\nX-Prometheus-Remote-Write-Samples-Written: 4\r\n\r\n",
		"HTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.1 400 Bad Request\r\nx-prometheus-remote-write-samples-written: 1\r\nX-Prometheus-Remote-Write-Histograms-Written: 2147483647\r\n\r\nout of order",
		"HTTP/1.1 200 OK\r\nX-Prometheus-Remote-Write-Samples-Written: -1\r\nX-Prometheus-Remote-Write-Exemplars-Written: many\r\n\r\n",
		"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\n\r\n",
		"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 99999999999999999999999\r\n\r\n",
		"HTTP/1.1 429 Later\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: Sun, 06 Nov 1994 08:49:39 GMT\r\n\r\n",
		"HTTP/1.1 429 Later\r\nRetry-After: Sunday, 06-Nov-94 08:49:37 GMT\r\n\r\n",
		"HTTP/1.1 429 Later\r\nRetry-After: Fri, 31 Dec 9999 23:59:59 GMT\r\n\r\n",
		"HTTP/1.1 503 x\r\nRetry-After: -1\r\nRetry-After: 5\r\n\r\n",
		"HTTP/1.1 415 Unsupported Media Type\r\n\r\n", "HTTP/1.1 413 x\r\n\r\n", "HTTP/1.1 999 x\r\n\r\n",
		"HTTP/1.1 308 Elsewhere\r\nLocation: //\x7f\r\n\r\n", "HTTP/1.1 301 x\r\nLocation: ?x\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	c := newClient(&Options{URL: mustURL(f, "https://receiver.example:9090/api/v1/write?tenant=1"), Timeout: time.Second})
	f.Fuzz(func(t *testing.T, wire []byte) {
		res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(wire)), nil)
		if err != nil {
			return
		}
		defer res.Body.Close()
		if d := RetryAfter(res.Header, now); d < 0 || d > MaxRetryAfter {
			t.Errorf("Retry-After %q: waits %s", res.Header["Retry-After"], d)
		}
		w := parseWritten(res.Header)
		if w.samples < 0 || w.samples > 0 && !w.any {
			t.Errorf("%q: %+v", res.Header, w)
		}
		if to, ok := c.followable(res); ok && (weburl.Origin(to) != "https://receiver.example:9090" || to.User != nil) {
			t.Errorf("Location %q is followed to %s", res.Header["Location"], to)
		}
		for _, q := range []question{
			{proto: V2}, {proto: V2, v2Accepted: true}, {proto: V2, pinned: true}, {proto: V2, otherFailed: true},
			{proto: V1, mergeable: true}, {proto: V1}, {proto: V1, pinned: true}, {proto: V1, raw: 1 << 20, divisible: true},
		} {
			v := judge(q, res.StatusCode, w.any)
			good := res.StatusCode >= 200 && res.StatusCode <= 299
			if v.String() == "" || (v == delivered) != (good && (q.proto == V1 || w.any)) {
				t.Errorf("%d, Written %v, to %+v: %s", res.StatusCode, w.any, q, v)
			}
			if kept := v == again || v == split || v == otherProtocol || v == tryV1 || v == narrowed; res.StatusCode >= 500 && !kept {
				t.Errorf("%d to %+v: %s", res.StatusCode, q, v)
			}
		}
	})
}

func mustURL(t testing.TB, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
