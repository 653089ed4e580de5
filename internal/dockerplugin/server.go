// SPDX-License-Identifier: Apache-2.0

package dockerplugin

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const contentType = "application/vnd.docker.plugins.v1.2+json"

// listen makes the plugin's socket, for root only. The file of a process that
// crashed is still there.
func listen(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		// Linux gives the file the mode that the socket has when it is bound.
		var err error
		if e := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }); e != nil {
			return e
		}
		return err
	}}
	return lc.Listen(context.Background(), "unix", path)
}

// routes are the calls of the protocol. Their bodies are empty and the Host
// differs between engines: neither is looked at.
func (p *Plugin) routes() {
	p.mux.HandleFunc("POST /Plugin.Activate", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string][]string{"Implements": {"MetricsCollector"}})
	})
	p.mux.HandleFunc("POST /MetricsCollector.StartMetrics", func(w http.ResponseWriter, r *http.Request) {
		if p.o.Invalid != nil {
			refuse(w, p.o.Invalid)
			return
		}
		p.life.start()
		answer(w, http.StatusOK, struct{}{})
	})
	p.mux.HandleFunc("POST /MetricsCollector.StopMetrics", func(w http.ResponseWriter, r *http.Request) {
		if p.o.Invalid == nil {
			p.life.stop()
		}
		answer(w, http.StatusOK, struct{}{})
	})
}

// refuse reports an error. Engines log it only with a status that is not 200
// and a text in the body.
func refuse(w http.ResponseWriter, err error) {
	answer(w, http.StatusInternalServerError, map[string]string{"Err": err.Error()})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
