// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
	"github.com/docker-remote-write/docker-remote-write/internal/spool"
)

// wire is a server that answers with whatever status line the test wants, also
// with those that net/http would not write.
func wire(t *testing.T, answer func(n int, g *got) string) (url string, seen func() []*got) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all []*got
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			in := bufio.NewReader(c)
			for {
				req, err := http.ReadRequest(in)
				if err != nil {
					break
				}
				body, _ := io.ReadAll(req.Body)
				g, err := decode(req.Header.Get("Content-Type"), body)
				if err != nil {
					break
				}
				a := answer(len(all), g)
				all = append(all, g)
				if _, err := io.WriteString(c, a); err != nil || a == "" || a[9] == '1' {
					break
				}
			}
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return "http://" + l.Addr().String() + "/write", func() []*got { l.Close(); <-done; return all }
}

func statusLine(status int, header string) string {
	return fmt.Sprintf("HTTP/1.1 %03d Whatever\r\nContent-Length: 0\r\n%s\r\n", status, header)
}

// TestEveryStatus sends one scrape and answers it with each status there is, in
// both protocols and pinned, so that nothing but the status decides.
func TestEveryStatus(t *testing.T) {
	kept := func(status int) bool {
		return status < 200 || status >= 500 || status == 408 || status == 421 || status == 425 || status == 429
	}
	auth := func(status int) bool {
		return status >= 300 && status <= 399 || status == 401 || status == 402 || status == 403 || status == 404
	}
	statuses := []int{600, 700, 999}
	for n := 100; n <= 599; n++ {
		statuses = append(statuses, n)
	}
	for _, p := range []Protocol{V2, V1} {
		for _, status := range statuses {
			header := ""
			if p == V2 && status/100 == 2 {
				header = "X-Prometheus-Remote-Write-Samples-Written: 4\r\n"
			}
			target, seen := wire(t, func(int, *got) string { return statusLine(status, header) })
			q := newQueue(t, 4)
			o := fast(t, target)
			o.Protocol = p
			s := sender(t, o, q)
			q.fill(t, 1)
			s.step(t.Context())
			s.client.close()

			tally, st := q.c.Tally(), s.Status()
			var want series.Tally
			state, waits := StateOK, uint64(0)
			switch {
			case status/100 == 2:
				want.Delivered = 4
			case status == 407:
				state, waits = StateRefusing, 4
			case kept(status):
				state, waits = StateBackingOff, 4
			case auth(status):
				state, want.Lost[series.Refused] = StateRefusing, 4
			case status == 413:
				want.Lost[series.TooLarge] = 4
			default:
				want.Lost[series.Refused] = 4
			}
			if tally != want || st.State != state || q.c.Backlog().Samples != waits {
				t.Errorf("%s %d: tally %+v, %s, %d wait; want %+v, %s, %d", p, status, tally, st.State, q.c.Backlog().Samples, want, state, waits)
			}
			if n := len(seen()); n != 1 {
				t.Errorf("%s %d: %d requests", p, status, n)
			}
			code := status
			if status < 200 && status != 101 {
				code = 0 // net/http takes it for the announcement of an answer that never came
			}
			if r := st.Requests(); len(r) != 1 || r[0] != (Requests{p, code, 1}) {
				t.Errorf("%s %d: counted as %+v", p, status, r)
			}
			if status/100 != 2 && st.LastError == "" {
				t.Errorf("%s %d: no error in the status", p, status)
			}
		}
	}
}

const writtenHeader = "X-Prometheus-Remote-Write-Samples-Written"

// TestCells goes through the table of answers, a row for each cell that depends
// on more than the status. The queue has 4 series; the rows say how many scrapes
// the requests have, in which protocol, and what became of the samples.
func TestCells(t *testing.T) {
	type step struct {
		proto   Protocol
		scrapes int
		status  int
		written string // value of the Written header, "-" for none
	}
	refused := func(n uint64) (t series.Tally) { t.Lost[series.Refused] = n; return t }
	delivered := func(n uint64) series.Tally { return series.Tally{Delivered: n} }
	both := func(d, r uint64) series.Tally { t := refused(r); t.Delivered = d; return t }

	for _, c := range []struct {
		name    string
		pin     Protocol
		known   spool.Learned
		scrapes int
		hold    bool
		drop429 bool
		steps   []step
		want    series.Tally
		state   State
		check   func(*testing.T, *Sender)
	}{
		{name: "2xx with Written is delivered", scrapes: 1,
			steps: []step{{V2, 1, 200, "4"}}, want: delivered(4)},
		{name: "fewer written than sent is unconfirmed", scrapes: 1,
			steps: []step{{V2, 1, 204, "1"}}, want: delivered(4), check: unconfirmed(3)},
		{name: "written 0 is delivered", scrapes: 1,
			steps: []step{{V2, 1, 204, "0"}}, want: delivered(4), check: unconfirmed(4)},
		{name: "written that cannot be read is delivered", scrapes: 1,
			steps: []step{{V2, 1, 204, "four"}}, want: delivered(4), check: unconfirmed(4)},
		{name: "written that is negative is delivered", scrapes: 1,
			steps: []step{{V2, 1, 204, "-4"}}, want: delivered(4), check: unconfirmed(4)},
		{name: "written beyond all bounds is delivered", scrapes: 1,
			steps: []step{{V2, 1, 204, "99999999999999999999"}}, want: delivered(4), check: unconfirmed(4)},
		{name: "written more than sent is delivered", scrapes: 1,
			steps: []step{{V2, 1, 204, "400"}}, want: delivered(4), check: unconfirmed(0)},
		{name: "written empty is delivered", scrapes: 1,
			steps: []step{{V2, 1, 204, ""}}, want: delivered(4), check: unconfirmed(4)},
		{name: "2xx without Written is resent in 1.0, alone", known: spool.Learned{V2: true}, scrapes: 3,
			steps: []step{{V2, 3, 204, "-"}, {V1, 1, 204, "-"}, {V1, 2, 204, "-"}}, want: delivered(12), check: fellBack},
		{name: "2xx without Written, 2.0 pinned", pin: V2, scrapes: 1,
			steps: []step{{V2, 1, 200, "-"}}, want: refused(4)},
		{name: "2xx in 1.0 needs no Written", pin: V1, scrapes: 1,
			steps: []step{{V1, 1, 200, "-"}}, want: delivered(4)},
		{name: "415 is resent in 1.0", scrapes: 1,
			steps: []step{{V2, 1, 415, "-"}, {V1, 1, 200, "-"}}, want: delivered(4), check: fellBack},
		{name: "415 to a proven 2.0 is resent in 1.0, alone", known: spool.Learned{V2: true}, scrapes: 2,
			steps: []step{{V2, 2, 415, "-"}, {V1, 1, 200, "-"}, {V1, 1, 200, "-"}}, want: delivered(8), check: fellBack},
		{name: "415 twice", scrapes: 1,
			steps: []step{{V2, 1, 415, "-"}, {V1, 1, 415, "-"}}, want: refused(4)},
		{name: "415 to 1.0 is resent in 2.0", known: spool.Learned{V1: true, FellBack: time.Now().Unix()}, scrapes: 2,
			steps: []step{{V1, 2, 415, "-"}, {V2, 1, 200, "4"}, {V2, 1, 200, "4"}}, want: delivered(8), check: notFellBack},
		{name: "415 to 1.0 and then to 2.0", known: spool.Learned{V1: true, FellBack: time.Now().Unix()}, scrapes: 1,
			steps: []step{{V1, 1, 415, "-"}, {V2, 1, 415, "-"}}, want: refused(4)},
		{name: "415, 2.0 pinned", pin: V2, scrapes: 1, steps: []step{{V2, 1, 415, "-"}}, want: refused(4)},
		{name: "415, 1.0 pinned", pin: V1, scrapes: 1, steps: []step{{V1, 1, 415, "-"}}, want: refused(4)},
		{name: "415 to 2.0, 400 to 1.0", scrapes: 1,
			steps: []step{{V2, 1, 415, "-"}, {V1, 1, 400, "-"}}, want: refused(4), check: fellBack},

		{name: "400 to 2.0 with Written says how much", known: spool.Learned{V2: true}, scrapes: 2,
			steps: []step{{V2, 2, 400, "5"}}, want: both(5, 3)},
		{name: "409 likewise", known: spool.Learned{V2: true}, scrapes: 2,
			steps: []step{{V2, 2, 409, "1"}}, want: both(1, 7)},
		{name: "422 likewise, more written than sent", known: spool.Learned{V2: true}, scrapes: 1,
			steps: []step{{V2, 1, 422, "100"}}, want: delivered(4)},
		{name: "400 with Written 0", scrapes: 1,
			steps: []step{{V2, 1, 400, "0"}}, want: refused(4), check: notFellBack},
		{name: "400 with Written that cannot be read", known: spool.Learned{V2: true}, scrapes: 1,
			steps: []step{{V2, 1, 400, "x"}}, want: refused(4)},
		{name: "400 with Written proves 2.0", scrapes: 3,
			steps: []step{{V2, 1, 400, "1"}, {V2, 2, 200, "8"}}, want: both(9, 3)},
		{name: "400 to an unproven 2.0, accepted in 1.0", scrapes: 3,
			steps: []step{{V2, 1, 400, "-"}, {V1, 1, 204, "-"}, {V1, 2, 204, "-"}}, want: delivered(12), check: fellBack},
		{name: "409 to an unproven 2.0, refused in 1.0", scrapes: 2,
			steps: []step{{V2, 1, 409, "-"}, {V1, 1, 400, "-"}, {V2, 1, 200, "4"}}, want: both(4, 4), check: notFellBack},
		{name: "422 to an unproven 2.0, 1.0 not understood", scrapes: 1,
			steps: []step{{V2, 1, 422, "-"}, {V1, 1, 415, "-"}}, want: refused(4), check: notFellBack},
		{name: "400 to an unproven 2.0, 503 to 1.0 is asked again", scrapes: 1,
			steps: []step{{V2, 1, 400, "-"}, {V1, 1, 503, "-"}, {V1, 1, 204, "-"}}, want: delivered(4), check: fellBack},
		{name: "400 to a single scrape over a proven 2.0 without Written", known: spool.Learned{V2: true}, scrapes: 1,
			steps: []step{{V2, 1, 400, "-"}}, want: refused(4)},
		{name: "400 to a merged 2.0 request with Written 0 goes scrape by scrape", known: spool.Learned{V2: true}, scrapes: 4,
			steps: []step{{V2, 4, 400, "0"}, {V2, 1, 204, "4"}, {V2, 1, 400, "0"}, {V2, 1, 204, "4"}, {V2, 1, 204, "4"}}, want: both(12, 4)},
		{name: "409 without Written likewise", known: spool.Learned{V2: true}, scrapes: 3,
			steps: []step{{V2, 3, 409, "-"}, {V2, 1, 204, "4"}, {V2, 1, 409, "-"}, {V2, 1, 204, "4"}}, want: both(8, 4)},
		{name: "422 to a pinned 2.0 likewise", pin: V2, known: spool.Learned{V2: true}, scrapes: 2,
			steps: []step{{V2, 2, 422, "0"}, {V2, 1, 422, "0"}, {V2, 1, 204, "4"}}, want: both(4, 4)},
		{name: "400 with Written that cannot be read, merged, likewise", known: spool.Learned{V2: true}, scrapes: 2,
			steps: []step{{V2, 2, 400, "x"}, {V2, 1, 204, "4"}, {V2, 1, 400, "1"}}, want: both(5, 3)},
		{name: "400 to merged 2.0, then 415 to a scrape of it, goes on scrape by scrape in 1.0", known: spool.Learned{V2: true, V1: true}, scrapes: 3,
			steps: []step{{V2, 3, 400, "-"}, {V2, 1, 415, "-"}, {V1, 1, 204, "-"}, {V1, 1, 400, "-"}, {V1, 1, 204, "-"}}, want: both(8, 4)},
		{name: "after four refusals 2, 4, 8, over 2.0 as well", known: spool.Learned{V2: true}, scrapes: 20,
			steps: []step{{V2, 20, 400, "0"}, {V2, 1, 400, "0"}, {V2, 1, 400, "0"}, {V2, 1, 400, "0"}, {V2, 1, 400, "0"},
				{V2, 2, 400, "0"}, {V2, 4, 400, "0"}, {V2, 8, 204, "32"}, {V2, 1, 400, "0"}, {V2, 1, 204, "4"}}, want: both(9*4, 11*4)},
		{name: "409 to a pinned 2.0 without Written", pin: V2, scrapes: 1,
			steps: []step{{V2, 1, 409, "-"}}, want: refused(4)},

		{name: "400 to a merged 1.0 request goes scrape by scrape", pin: V1, known: spool.Learned{V1: true}, scrapes: 4,
			steps: []step{{V1, 4, 400, "-"}, {V1, 1, 200, "-"}, {V1, 1, 400, "-"}, {V1, 1, 200, "-"}, {V1, 1, 200, "-"}}, want: both(12, 4)},
		{name: "409 likewise", pin: V1, known: spool.Learned{V1: true}, scrapes: 2,
			steps: []step{{V1, 2, 409, "-"}, {V1, 1, 409, "-"}, {V1, 1, 200, "-"}}, want: both(4, 4)},
		{name: "400 to a merged 1.0 request with counts likewise", pin: V1, known: spool.Learned{V1: true}, scrapes: 2,
			steps: []step{{V1, 2, 400, "5"}, {V1, 1, 200, "-"}, {V1, 1, 400, "2"}}, want: both(4, 4)},
		{name: "422 likewise", pin: V1, known: spool.Learned{V1: true}, scrapes: 2,
			steps: []step{{V1, 2, 422, "-"}, {V1, 1, 200, "-"}, {V1, 1, 422, "-"}}, want: both(4, 4)},
		{name: "after four refusals 2, 4, 8, after an acceptance one", pin: V1, known: spool.Learned{V1: true}, scrapes: 24,
			steps: []step{{V1, 24, 400, "-"}, {V1, 1, 400, "-"}, {V1, 1, 400, "-"}, {V1, 1, 400, "-"}, {V1, 1, 400, "-"},
				{V1, 2, 400, "-"}, {V1, 4, 400, "-"}, {V1, 8, 200, "-"}, {V1, 1, 400, "-"}, {V1, 1, 200, "-"},
				{V1, 1, 200, "-"}, {V1, 1, 200, "-"}, {V1, 1, 200, "-"}, {V1, 1, 200, "-"}}, want: both(13*4, 11*4)},
		{name: "400 to a single 1.0 scrape", pin: V1, known: spool.Learned{V1: true}, scrapes: 1,
			steps: []step{{V1, 1, 400, "-"}}, want: refused(4)},

		{name: "401 drops one scrape, then narrows", known: spool.Learned{V2: true}, scrapes: 3,
			steps: []step{{V2, 3, 401, "-"}, {V2, 1, 401, "-"}, {V2, 1, 200, "4"}, {V2, 1, 200, "4"}}, want: both(8, 4)},
		{name: "404 is a state", known: spool.Learned{V2: true}, scrapes: 1,
			steps: []step{{V2, 1, 404, "-"}}, want: refused(4), state: StateRefusing},
		{name: "403 and hold", hold: true, known: spool.Learned{V2: true}, scrapes: 2,
			steps: []step{{V2, 2, 403, "-"}, {V2, 1, 403, "-"}, {V2, 1, 403, "-"}, {V2, 1, 200, "4"}, {V2, 1, 200, "4"}}, want: delivered(8)},
		{name: "402 in 1.0", pin: V1, known: spool.Learned{V1: true}, scrapes: 2,
			steps: []step{{V1, 2, 402, "-"}, {V1, 1, 200, "-"}, {V1, 1, 200, "-"}}, want: delivered(8)},
		{name: "407 is a proxy's and costs nothing", pin: V1, known: spool.Learned{V1: true}, scrapes: 2,
			steps: []step{{V1, 2, 407, "-"}, {V1, 1, 407, "-"}, {V1, 1, 407, "-"}, {V1, 1, 200, "-"}, {V1, 1, 200, "-"}}, want: delivered(8)},
		{name: "429 that is not to be tried again", drop429: true, known: spool.Learned{V2: true}, scrapes: 3,
			steps: []step{{V2, 3, 429, "-"}}, want: refused(12)},
		{name: "refusing survives a 503", known: spool.Learned{V2: true}, scrapes: 3,
			steps: []step{{V2, 3, 403, "-"}, {V2, 1, 503, "-"}, {V2, 1, 200, "4"}, {V2, 2, 200, "8"}}, want: delivered(12)},

		{name: "500 is sent again with the same bounds, after three in turn with halves", known: spool.Learned{V2: true}, scrapes: 4,
			steps: []step{{V2, 4, 500, "-"}, {V2, 4, 502, "-"}, {V2, 4, 503, "-"}, {V2, 2, 504, "-"}, {V2, 4, 429, "-"}, {V2, 1, 500, "-"}, {V2, 1, 408, "-"},
				{V2, 1, 200, "4"}, {V2, 3, 200, "12"}}, want: delivered(16)},
		{name: "and where the rest fails again, size is proven to matter", known: spool.Learned{V2: true}, scrapes: 8,
			steps: []step{{V2, 8, 504, "-"}, {V2, 8, 504, "-"}, {V2, 8, 504, "-"}, {V2, 4, 504, "-"}, {V2, 8, 504, "-"}, {V2, 2, 200, "8"},
				{V2, 6, 504, "-"}, {V2, 2, 200, "8"}, {V2, 4, 504, "-"}, {V2, 2, 200, "8"}, {V2, 2, 200, "8"}}, want: delivered(32)},
		{name: "408, 421 and 425 are sent again", pin: V1, known: spool.Learned{V1: true}, scrapes: 2,
			steps: []step{{V1, 2, 408, "-"}, {V1, 2, 421, "-"}, {V1, 2, 425, "-"}, {V1, 1, 408, "-"}, {V1, 1, 200, "-"}, {V1, 1, 200, "-"}}, want: delivered(8)},
		{name: "500 three times to an unproven 2.0 tries 1.0", scrapes: 2,
			steps: []step{{V2, 1, 500, "-"}, {V2, 1, 500, "-"}, {V2, 1, 500, "-"}, {V1, 1, 204, "-"}, {V1, 1, 204, "-"}}, want: delivered(8), check: fellBack},
		{name: "and 2.0 again where 1.0 does no better", scrapes: 1,
			steps: []step{{V2, 1, 500, "-"}, {V2, 1, 500, "-"}, {V2, 1, 500, "-"}, {V1, 1, 500, "-"}, {V2, 1, 500, "-"}, {V2, 1, 204, "4"}}, want: delivered(4), check: notFellBack},
		{name: "503 never does", scrapes: 1,
			steps: []step{{V2, 1, 503, "-"}, {V2, 1, 503, "-"}, {V2, 1, 503, "-"}, {V2, 1, 503, "-"}, {V2, 1, 204, "4"}}, want: delivered(4), check: notFellBack},
		{name: "other 4xx drops all of the request", known: spool.Learned{V2: true}, scrapes: 3,
			steps: []step{{V2, 3, 410, "-"}}, want: refused(12)},
		{name: "405 to 2.0 is resent in 1.0", scrapes: 3,
			steps: []step{{V2, 1, 405, "-"}, {V1, 1, 204, "-"}, {V1, 2, 204, "-"}}, want: delivered(12), check: fellBack},
		{name: "406 to a proven 2.0 is resent in 1.0, alone", known: spool.Learned{V2: true}, scrapes: 3,
			steps: []step{{V2, 3, 406, "-"}, {V1, 1, 204, "-"}, {V1, 2, 204, "-"}}, want: delivered(12), check: fellBack},
		{name: "405 twice", scrapes: 1,
			steps: []step{{V2, 1, 405, "-"}, {V1, 1, 405, "-"}}, want: refused(4), check: fellBack},
		{name: "405, 2.0 pinned", pin: V2, known: spool.Learned{V2: true}, scrapes: 2,
			steps: []step{{V2, 2, 405, "-"}}, want: refused(8)},
		{name: "the choice of 1.0 is reconsidered after hours", known: spool.Learned{V1: true, FellBack: time.Now().Add(-7 * time.Hour).Unix()}, scrapes: 3,
			steps: []step{{V2, 1, 204, "4"}, {V2, 2, 204, "8"}}, want: delivered(12), check: notFellBack},
		{name: "and kept when 2.0 is still not understood", known: spool.Learned{V1: true, V2: true, FellBack: time.Now().Add(-7 * time.Hour).Unix()}, scrapes: 3,
			steps: []step{{V2, 1, 204, "-"}, {V1, 3, 204, "-"}}, want: delivered(12), check: fellBack},
		{name: "a choice of 1.0 made in the future holds", known: spool.Learned{V1: true, FellBack: time.Now().Add(7 * time.Hour).Unix()}, scrapes: 3,
			steps: []step{{V1, 3, 204, "-"}}, want: delivered(12), check: fellBack},
	} {
		t.Run(c.name, func(t *testing.T) {
			target, seen := wire(t, func(n int, g *got) string {
				if n >= len(c.steps) {
					return statusLine(500, "")
				}
				st := c.steps[n]
				if st.written == "-" {
					return statusLine(st.status, "")
				}
				return statusLine(st.status, writtenHeader+": "+st.written+"\r\n")
			})
			q := newQueue(t, 4)
			o := fast(t, target)
			o.Protocol, o.HoldOnAuthError, o.DropOn429 = c.pin, c.hold, c.drop429
			q.learn(t, c.known)
			s := sender(t, o, q)
			q.fill(t, c.scrapes)
			for range c.steps {
				s.step(t.Context())
			}
			s.client.close()
			for n, g := range seen() {
				if want := c.steps[n]; g.Proto != want.proto || g.Scrapes != want.scrapes {
					t.Errorf("request %d: %d scrapes in %s, want %d in %s", n, g.Scrapes, g.Proto, want.scrapes, want.proto)
				}
			}
			if n := len(seen()); n != len(c.steps) {
				t.Errorf("%d requests, want %d", n, len(c.steps))
			}
			if got := q.c.Tally(); got != c.want {
				t.Errorf("tally %+v, want %+v", got, c.want)
			}
			if st := s.Status().State; st != c.state {
				t.Errorf("state %q, want %q", st, c.state)
			}
			if q.c.Backlog().Samples != 0 {
				t.Errorf("there still waits %+v", q.c.Backlog())
			}
			if c.check != nil {
				c.check(t, s)
			}
		})
	}
}

func unconfirmed(want uint64) func(*testing.T, *Sender) {
	return func(t *testing.T, s *Sender) {
		if got := s.Status().Unconfirmed; got != want {
			t.Errorf("%d unconfirmed, want %d", got, want)
		}
	}
}

func fellBack(t *testing.T, s *Sender) {
	if l := s.state.note.Learned; l.FellBack == 0 {
		t.Errorf("1.0 is not the choice: %+v", l)
	}
}

func notFellBack(t *testing.T, s *Sender) {
	if l := s.state.note.Learned; l.FellBack != 0 {
		t.Errorf("1.0 is the choice: %+v", l)
	}
}
