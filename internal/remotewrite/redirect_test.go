// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	promconfig "github.com/prometheus/common/config"
)

// TestRedirect: a request and its credentials follow a 307 or 308 once, within
// scheme, host and port. No other redirect is followed at all; the error names
// where it leads, without the query.
func TestRedirect(t *testing.T) {
	var strangers atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { strangers.Add(1) }))
	defer elsewhere.Close()
	type seen struct{ path, auth, body string }
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, c := range []struct {
			name, location string // "HOME" is the receiver's own scheme, host and port
			followed       bool
		}{
			{"another port", elsewhere.URL + "/write?token=marker", false},
			{"another name for the host", "http://localhost:PORT/other?token=marker", false},
			{"another scheme", "https://127.0.0.1:PORT/other?token=marker", false},
			{"no location", "", false},
			{"another path", "HOME/other", true},
			{"a path alone", "/other", true},
			{"itself", "HOME/write", true},
		} {
			t.Run(fmt.Sprintf("%d to %s", status, c.name), func(t *testing.T) {
				var got []seen
				var home *httptest.Server
				home = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					b, _ := io.ReadAll(r.Body)
					got = append(got, seen{r.URL.Path, r.Header.Get("Authorization"), r.Method + " " + string(b)})
					if r.URL.Path == "/other" {
						w.WriteHeader(http.StatusNoContent)
						return
					}
					_, port, _ := strings.Cut(strings.TrimPrefix(home.URL, "http://"), ":")
					if c.location != "" {
						w.Header().Set("Location", strings.NewReplacer("HOME", home.URL, "PORT", port).Replace(c.location))
					}
					w.WriteHeader(status)
				}))
				defer home.Close()
				o := fast(t, home.URL+"/write")
				o.Client.BasicAuth = &promconfig.BasicAuth{Username: "user", Password: "secret"}
				if err := o.complete(); err != nil {
					t.Fatal(err)
				}
				client := newClient(&o)
				defer client.close()
				a := client.attempt(t.Context(), V1, []byte("body"))

				follows := c.followed && status >= 307
				want, code := 1, status
				if follows {
					want = 2
					if c.name != "itself" {
						code = http.StatusNoContent
					}
				}
				if len(got) != want || a.status != code {
					t.Errorf("%d requests and status %d, want %d and %d: %+v", len(got), a.status, want, code, got)
				}
				for _, g := range got {
					if !strings.HasPrefix(g.auth, "Basic ") || g.body != "POST body" {
						t.Errorf("%+v", g)
					}
				}
				if !c.followed && c.location != "" && (!strings.Contains(a.text, "redirects to") || strings.Contains(a.text, "marker")) {
					t.Errorf("the error says %q", a.text)
				}
			})
		}
	}
	if n := strangers.Load(); n != 0 {
		t.Errorf("%d requests went to another port", n)
	}
}
