// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/docker-remote-write/docker-remote-write/proof/faultproxy"
	"github.com/docker-remote-write/docker-remote-write/proof/promtest"
)

// storm decides what becomes of each request: any answer that keeps the samples,
// cuts in any place, silence, in changing weather.
type storm struct {
	rnd  *rand.Rand
	left int     // requests until the weather changes
	bad  float64 // share of the requests that something happens to
	past map[string]int
	// understood: 2.0 is not answered like by a receiver that does not know it.
	understood bool
}

func (s *storm) fault(r *http.Request) faultproxy.Fault {
	if s.left--; s.left < 0 {
		s.left, s.bad = s.rnd.IntN(60), []float64{0, 0.2, 0.5, 0.95}[s.rnd.IntN(4)]
	}
	if s.rnd.Float64() >= s.bad || strings.Contains(r.URL.RawQuery, "followed") {
		return faultproxy.Fault{}
	}
	two := strings.Contains(r.Header.Get("Content-Type"), "v2")
	what, f := "", faultproxy.Fault{}
	switch s.rnd.IntN(20) {
	case 0, 1:
		what, f = "request cut", faultproxy.Fault{Kind: faultproxy.CutRequest, Bytes: s.rnd.IntN(4000)}
	case 2, 3, 4, 5:
		what, f = "answer cut", faultproxy.Fault{Kind: faultproxy.CutAnswer, Bytes: s.rnd.IntN(2) * s.rnd.IntN(120)}
	case 6:
		if s.rnd.IntN(4) == 0 {
			what, f = "silence", faultproxy.Fault{Kind: faultproxy.Hang}
		}
	case 7:
		what, f = "slow", faultproxy.Fault{Delay: time.Duration(s.rnd.Int64N(int64(30 * time.Millisecond)))}
	case 8, 9:
		what, f = "kept", faultproxy.Status([]int{408, 421, 425, 429, 503}[s.rnd.IntN(5)], []string{"", "0", "-1", "soon", "Thu, 01 Jan 1970 00:00:00 GMT"}[s.rnd.IntN(5)])
	case 10, 11, 12, 13:
		what, f = "kept", faultproxy.Status([]int{500, 501, 502, 503, 504, 507, 530, 599, 600, 777, 999}[s.rnd.IntN(11)], "")
	case 14:
		what, f = "refusing", faultproxy.Status([]int{401, 402, 403, 404, 407}[s.rnd.IntN(5)], "")
	case 15:
		what, f = "redirected elsewhere", faultproxy.Status([]int{300, 301, 302, 303, 304, 305, 307, 308}[s.rnd.IntN(8)], "")
		f.Header.Set("Location", "https://elsewhere.invalid/api/v1/write")
	case 16:
		what, f = "redirected", faultproxy.Status([]int{307, 308}[s.rnd.IntN(2)], "")
		f.Header.Set("Location", "/api/v1/write?followed")
	case 17:
		if two && !s.understood {
			what, f = "not understood", faultproxy.Status([]int{415, 415, 200, 204}[s.rnd.IntN(4)], "")
		}
	default:
		// The size on the wire is below that before compression: this is no final 413.
		if r.ContentLength >= 70<<10 {
			what, f = "too large", faultproxy.Status(413, "")
		}
	}
	if what != "" {
		s.past[what]++
	}
	return f
}

// behind is a gateway's doing: one request in ten is stored, and the answer says that
// something went wrong. The request of a process that was killed may overlap with
// one of its successor.
func behind(rnd *rand.Rand, past *int) func(http.Handler) http.Handler {
	var mu sync.Mutex
	deny := func() (status int) {
		mu.Lock()
		defer mu.Unlock()
		if rnd.IntN(10) != 0 {
			return 0
		}
		*past++
		return []int{500, 502, 504}[*past%3]
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if status := deny(); status != 0 {
				next.ServeHTTP(nowhere{http.Header{}}, r)
				http.Error(w, "stored, but who knows", status)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// nowhere is an answer that does not leave.
type nowhere struct{ h http.Header }

func (n nowhere) Header() http.Header         { return n.h }
func (n nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (n nowhere) WriteHeader(int)             {}

// TestStorm drives a spool and its sender through hours of scrapes, in compressed
// time, with all that may befall a request short of a refusal, with restarts and
// SIGKILL in between. The scrapes are those of three targets. The receiver, a Prometheus
// without an out-of-order window, but where the clock is set back, must hold exactly what
// was appended.
func TestStorm(t *testing.T) {
	rnd := random(t)
	for i, protocol := range []string{
		"auto", "1.0", "auto behind a gateway", "1.0 behind a gateway", "auto with a clock", "1.0 with a clock",
		"auto with a clock, one target wide", "1.0, one target wide",
	} {
		rnd := rand.New(rand.NewPCG(rnd.Uint64(), uint64(i)))
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			protocol, wide := strings.CutSuffix(protocol, ", one target wide")
			protocol, gateway := strings.CutSuffix(protocol, " behind a gateway")
			protocol, setBack := strings.CutSuffix(protocol, " with a clock")
			scrapes, restarts := 1000*min(loops(), 20), 10*min(loops(), 20)
			timeout, most := "300ms", []string{"60", "400", "2000", "10000"}
			if wide {
				scrapes, restarts = 200*min(loops(), 5), 10*min(loops(), 5)
				timeout, most = "2s", []string{"2000", "30000", "30000", "10000"}
			}
			late, options := 0, promtest.Options{}
			if gateway {
				options.Middleware = behind(rand.New(rand.NewPCG(rnd.Uint64(), 1)), &late)
			}
			if setBack {
				options.OutOfOrderWindow = 24 * time.Hour
			}
			prom, err := promtest.Start(options)
			if err != nil {
				t.Fatal(err)
			}
			defer prom.Close()
			proxy, err := faultproxy.New(prom.URL())
			if err != nil {
				t.Fatal(err)
			}
			defer proxy.Close()
			s := &storm{rnd: rand.New(rand.NewPCG(rnd.Uint64(), 2)), past: map[string]int{}}
			proxy.Decide(s.fault)
			args := []string{"-protocol", protocol, "-hold", "-timeout", timeout, "-pause", "1ms", "-several"}
			if wide {
				args = append(args, "-wide")
			}
			if setBack {
				args = append(args, "-set-back")
			}
			d := newDrive(t, proxy.URL()+"/api/v1/write", 40, args...)

			for range restarts {
				d.weather(proxy, rnd)
				l := d.start(scrapes, "-most", most[rnd.IntN(4)])
				select {
				case <-l.exited:
				case <-time.After(time.Duration(rnd.Int64N(int64(600 * time.Millisecond)))):
				}
				l.signal([]syscall.Signal{syscall.SIGKILL, syscall.SIGKILL, syscall.SIGTERM}[rnd.IntN(3)])
			}
			if err := proxy.Up(); err != nil {
				t.Fatal(err)
			}
			d.start(scrapes, "-most", most[1]).finish(5 * time.Minute)

			if diff := d.compare(prom, nil); diff != "" {
				t.Error(diff)
			}
			for reason, n := range d.books.Lost {
				// What a gateway denied and the receiver had stored is refused like any other.
				if n > 0 && reason != "refused_after_resend" && (reason != "refused" || !gateway) {
					t.Errorf("%d samples counted as lost, %s", n, reason)
				}
			}
			t.Logf("%d scrapes, %s of them, %d restarts, %d by SIGKILL, %d scrapes torn; %v, stored and answered 5xx: %d; %s",
				scrapes, time.Duration(scrapes)*15*time.Second, restarts, d.kills, len(d.torn), s.past, late, d.books)
		})
	}
}

// weather is what a life begins with: a receiver that is there or gone, and that
// is known or new.
func (d *drive) weather(proxy *faultproxy.Proxy, rnd *rand.Rand) {
	d.t.Helper()
	if rnd.IntN(3) == 0 {
		proxy.Down()
	} else if err := proxy.Up(); err != nil {
		d.t.Fatal(err)
	}
	if rnd.IntN(3) == 0 {
		d.receiver++
	}
}
