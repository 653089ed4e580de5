// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
)

// Paths that both the plugin's own socket and STATUS_LISTEN_ADDRESS serve.
const (
	PathMetrics = "/metrics"
	PathHealthy = "/-/healthy"
	PathReady   = "/-/ready"
	PathStatus  = "/status"
	// PathPprof is served on the socket only, PathPage over TCP only.
	PathPprof = "/debug/pprof/"
	PathPage  = "/"
)

// Handler serves metrics, health, status and profiles: what belongs on a socket
// that only root can open. The plugin protocol is served beside it on the same
// socket, with POST on paths of its own.
func (t *Telemetry) Handler() http.Handler {
	mux := http.NewServeMux()
	t.routes(mux)
	mux.HandleFunc("GET "+PathPprof+"{profile...}", profile)
	return mux
}

// routes are the paths that are safe for whoever may read figures.
func (t *Telemetry) routes(mux *http.ServeMux) {
	mux.HandleFunc("GET "+PathMetrics, t.metrics)
	mux.HandleFunc("GET "+PathHealthy, t.healthy)
	mux.HandleFunc("GET "+PathReady, t.ready)
	mux.HandleFunc("GET "+PathStatus, t.status)
}

func (t *Telemetry) metrics(w http.ResponseWriter, _ *http.Request) {
	b, err := t.exposition()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	reply(w, http.StatusOK, string(textFormat), b)
}

// healthy answers 200 for as long as the process can answer at all: whoever
// restarts on a failing liveness probe would gain nothing from an outage of the
// receiver. /status says how it goes.
func (t *Telemetry) healthy(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, plainText, []byte("alive\n"))
}

// ready answers 503 with one reason a line while scrapes are not read or not
// safely on disk.
func (t *Telemetry) ready(w http.ResponseWriter, _ *http.Request) {
	s := t.State()
	if s.Ready {
		reply(w, http.StatusOK, plainText, []byte("ready\n"))
		return
	}
	var b bytes.Buffer
	for _, p := range s.Problems {
		if p.NotReady {
			b.WriteString(p.Subject + ": " + p.Text + "\n")
		}
	}
	reply(w, http.StatusServiceUnavailable, plainText, b.Bytes())
}

func (t *Telemetry) status(w http.ResponseWriter, _ *http.Request) {
	b, err := json.MarshalIndent(t.State(), "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	reply(w, http.StatusOK, "application/json", append(b, '\n'))
}

const plainText = "text/plain; charset=utf-8"

func reply(w http.ResponseWriter, code int, contentType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = io.Copy(w, bytes.NewReader(body))
}
