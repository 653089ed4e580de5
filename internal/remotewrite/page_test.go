// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"net/http"
	"strings"
	"testing"
)

// TestPage: a 200 with a page of HTML to 2.0 and to 1.0, as a login page answers, is
// warned of once and shown for as long as it goes on; one that counts what it has written,
// or brings anything else, is not.
func TestPage(t *testing.T) {
	page := func(status int, kind, written string) reply {
		h := http.Header{"Content-Type": {kind}}
		if written != "" {
			h.Set(writtenHeader, written)
		}
		return reply{Status: status, Header: h, Body: "<html><form>Password</form></html>"}
	}
	const shown = "200 OK with a page of HTML"
	for _, c := range []struct {
		name  string
		pin   Protocol
		reply reply
		shown string
		lost  bool
	}{
		{"to both", Auto, page(200, "text/html", ""), shown, false},
		{"with a charset", Auto, page(200, "Text/HTML; charset=utf-8", ""), shown, false},
		{"with half a charset", V1, page(200, "text/html; charset", ""), shown, false},
		{"XHTML, pinned", V1, page(200, "application/xhtml+xml", ""), shown, false},
		{"202", V1, page(202, "text/html", ""), "202 Accepted with a page of HTML", false},
		{"to a pinned 2.0", V2, page(200, "text/html", ""), "", true},
		{"of a receiver that counts", V2, page(200, "text/html", "4"), "", false},
		{"plain text", Auto, page(200, "text/plain", ""), "", false},
		{"nothing", V1, reply{Status: 204}, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			well := false
			r := newReceiver(t, func(_ int, g *got) reply {
				if well {
					return ok(g)
				}
				return c.reply
			})
			q := newQueue(t, 4)
			o := fast(t, r.URL)
			o.Protocol = c.pin
			l, log := logged()
			o.Log = l
			s := sender(t, o, q)
			for range 3 {
				q.fill(t, 1)
				drainAll(t, s, q, 5)
			}
			st := s.Status()
			if st.AcceptedWith != c.shown {
				t.Errorf("shown as %q, want %q", st.AcceptedWith, c.shown)
			}
			times := 0
			if c.shown != "" {
				times = 1
			}
			if n := strings.Count(log.String(), "accepts with a page of HTML"); n != times {
				t.Errorf("warned of %d times, want %d: %s", n, times, log)
			}
			if lost := q.c.Tally().Delivered == 0; lost != c.lost {
				t.Errorf("%+v", q.c.Tally())
			}
			if c.lost && !strings.Contains(st.LastError, "a page of HTML") {
				t.Errorf("the error is %q", st.LastError)
			}
			well = true
			q.fill(t, 1)
			drainAll(t, s, q, 5)
			if st := s.Status(); st.AcceptedWith != "" {
				t.Errorf("all is well, and shown is %q", st.AcceptedWith)
			}
		})
	}
}
