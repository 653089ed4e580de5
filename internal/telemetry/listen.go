// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
)

// TCPHandler serves the status page, metrics, health and status for
// STATUS_LISTEN_ADDRESS. A port can be reached by more than root: by every user
// and container of the host and, through a name that resolves to it, by every web
// page that someone opens there. So it reads only, and it answers only to names
// that are its own.
func (t *Telemetry) TCPHandler(address string) http.Handler {
	mux := http.NewServeMux()
	t.routes(mux)
	mux.HandleFunc("GET "+PathPage+"{$}", t.page)
	own := ownNames(address)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !own(r.Host):
			http.Error(w, "the Host header names another host; use the address in STATUS_LISTEN_ADDRESS", http.StatusMisdirectedRequest)
		case r.Method != http.MethodGet:
			w.Header().Set("Allow", http.MethodGet)
			http.Error(w, "only GET is served here", http.StatusMethodNotAllowed)
		default:
			mux.ServeHTTP(w, r)
		}
	})
}

// ownNames returns whether a Host header names this host: by a loopback name or
// address, or as address does. Where address leaves the interface open, every
// address literal and the host name pass as well; rebinding needs a name.
func ownNames(address string) func(string) bool {
	configured := hostPart(address)
	ip, err := netip.ParseAddr(configured)
	open := configured == "" || err == nil && ip.IsUnspecified()
	hostname, _ := os.Hostname()
	hostname = strings.ToLower(hostname)
	return func(header string) bool {
		h := hostPart(header)
		if ip, err := netip.ParseAddr(h); err == nil {
			return ip.IsLoopback() || h == configured || open
		}
		return h == "localhost" || h != "" && (h == configured || open && h == hostname)
	}
}

// hostPart is the lower-case host of "host:port", "[v6]:port", or either without
// a port.
func hostPart(s string) string {
	if h, _, err := net.SplitHostPort(s); err == nil {
		s = h
	}
	s = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
	return strings.ToLower(strings.TrimSuffix(s, "."))
}
