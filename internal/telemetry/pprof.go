// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"bytes"
	"fmt"
	"net/http"
	"runtime"
	"runtime/pprof"
	"runtime/trace"
	"strconv"
	"time"
)

// maxProfile bounds how long a CPU profile or a trace may run.
const maxProfile = 5 * time.Minute

// profile serves what `go tool pprof` and `go tool trace` read. It speaks the
// paths and parameters of net/http/pprof, which is not linked: that package
// brings html/template and registers itself on the default mux.
func profile(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("profile")
	debug, _ := strconv.Atoi(r.FormValue("debug"))
	var b bytes.Buffer
	var err error
	switch name {
	case "":
		for _, p := range pprof.Profiles() {
			fmt.Fprintf(&b, "%s\t%d\n", p.Name(), p.Count())
		}
		b.WriteString("profile\ntrace\n")
		reply(w, http.StatusOK, plainText, b.Bytes())
		return
	case "profile":
		if err = pprof.StartCPUProfile(&b); err == nil {
			wait(r, 30*time.Second)
			pprof.StopCPUProfile()
		}
	case "trace":
		if err = trace.Start(&b); err == nil {
			wait(r, time.Second)
			trace.Stop()
		}
	default:
		p := pprof.Lookup(name)
		if p == nil {
			http.Error(w, "unknown profile; "+PathPprof+" lists them", http.StatusNotFound)
			return
		}
		if name == "heap" && r.FormValue("gc") != "" {
			runtime.GC()
		}
		err = p.WriteTo(&b, debug)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	contentType := "application/octet-stream"
	if debug > 0 {
		contentType = plainText
	}
	reply(w, http.StatusOK, contentType, b.Bytes())
}

// wait lasts for the request's ?seconds=, or for the default, or until the client
// has gone.
func wait(r *http.Request, d time.Duration) {
	if s, err := strconv.Atoi(r.FormValue("seconds")); err == nil && s > 0 {
		d = min(time.Duration(s)*time.Second, maxProfile)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
	}
}
