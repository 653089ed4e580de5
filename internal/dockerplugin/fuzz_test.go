// SPDX-License-Identifier: Apache-2.0

package dockerplugin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	logtest "github.com/sirupsen/logrus/hooks/test"
)

// FuzzRequest sends a plugin whatever may come over its socket. It answers each
// request at once, and a call of the protocol the way engines read it.
func FuzzRequest(f *testing.F) {
	for _, seed := range []string{
		"POST /Plugin.Activate HTTP/1.1\r\nHost: \r\nAccept: application/vnd.docker.plugins.v1.2+json\r\nContent-Length: 0\r\n\r\n",
		"POST /MetricsCollector.StartMetrics HTTP/1.1\r\nHost: plugin.moby.localhost\r\nContent-Length: 5\r\n\r\nnull\n",
		"POST /MetricsCollector.StopMetrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
		"GET /MetricsCollector.StartMetrics HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST //MetricsCollector.StartMetrics/../Plugin.Activate HTTP/1.0\r\n\r\n",
		"POST http://elsewhere/Plugin.Activate HTTP/1.1\r\nHost: y\r\nExpect: 100-continue\r\nContent-Length: 9999999\r\n\r\n{",
		"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
		"POST /MetricsCollector.%53topMetrics HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		f.Add([]byte(seed), false)
		f.Add([]byte(seed), true)
	}
	f.Fuzz(func(t *testing.T, wire []byte, invalid bool) {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(wire)))
		if err != nil {
			return
		}
		o := Options{Open: func(context.Context) (Pipeline, error) { return Pipeline{}, errors.New("not in this test") }}
		o.Log, _ = logtest.NewNullLogger()
		if invalid {
			o.Invalid = errors.New(`SCRAPE_INTERVAL "1": no unit`)
		}
		p := New(o)
		close(p.life.ended) // nobody acts on the calls: StopMetrics need not wait for it
		w := httptest.NewRecorder()
		p.mux.ServeHTTP(w, r)

		calls := len(p.life.calls)
		_, pattern := p.mux.Handler(r)
		if w.Code == http.StatusTemporaryRedirect && calls == 0 {
			return // to the path without its dots and double slashes
		}
		switch pattern {
		case "POST /Plugin.Activate":
			var a struct{ Implements []string }
			if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || w.Code != 200 || len(a.Implements) != 1 || a.Implements[0] != "MetricsCollector" || calls != 0 {
				t.Errorf("%s: %d %s, %d calls", pattern, w.Code, w.Body, calls)
			}
		case "POST /MetricsCollector.StartMetrics", "POST /MetricsCollector.StopMetrics":
			start := pattern == "POST /MetricsCollector.StartMetrics"
			var a struct{ Err string }
			err := json.Unmarshal(w.Body.Bytes(), &a)
			if err != nil || (w.Code != 200) != (start && invalid) || (a.Err != "") != (start && invalid) || invalid && calls != 0 || start && !invalid && calls != 1 {
				t.Errorf("%s: %d %s, %d calls, %v", pattern, w.Code, w.Body, calls, err)
			}
		default:
			if w.Code < 300 || w.Code >= 500 || calls != 0 {
				t.Errorf("%q: %d %s, %d calls", r.RequestURI, w.Code, w.Body, calls)
			}
			return
		}
		if r.Method != http.MethodPost || w.Header().Get("Content-Type") != contentType {
			t.Errorf("%s %s: content type %q", r.Method, r.RequestURI, w.Header().Get("Content-Type"))
		}
	})
}
