// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
	"github.com/docker-remote-write/docker-remote-write/proof/chaos/load"
	"github.com/docker-remote-write/docker-remote-write/proof/faultproxy"
	"github.com/docker-remote-write/docker-remote-write/proof/promtest"
)

// at is one sample of one series.
type at struct {
	series string
	t      int64
}

// refusals are a receiver that refuses some requests for good and stores nothing
// of them. It remembers what was in them: nothing else may be missing in the end.
type refusals struct {
	mu    sync.Mutex
	rnd   *rand.Rand
	share float64
	named map[at]bool
	count map[int]int
	err   error
}

func (f *refusals) middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.rnd.Float64() >= f.share {
			next.ServeHTTP(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler) // cut on its way: nothing was answered
		}
		codes := []int{400, 400, 409, 422, 405, 406, 410, 413, 415, 418, 451, 499, 401, 402, 403, 404, 407, 302}
		code := codes[f.rnd.IntN(len(codes))]
		f.count[code]++
		if err := f.name(&promtest.Request{Header: r.Header, Body: body}); err != nil {
			f.err = err
		}
		w.WriteHeader(code)
	})
}

// name notes what is in the request.
func (f *refusals) name(r *promtest.Request) error {
	b := labels.NewScratchBuilder(8)
	if r.Proto() == "2.0" {
		m, err := r.V2()
		if err != nil {
			return err
		}
		for _, ts := range m.Timeseries {
			ls, err := ts.ToLabels(&b, m.Symbols)
			if err != nil {
				return err
			}
			for _, s := range ts.Samples {
				f.named[at{ls.String(), s.Timestamp}] = true
			}
		}
		return nil
	}
	m, err := r.V1()
	if err != nil {
		return err
	}
	for _, ts := range m.Timeseries {
		name := ts.ToLabels(&b, nil).String()
		for _, s := range ts.Samples {
			f.named[at{name, s.Timestamp}] = true
		}
	}
	return nil
}

// TestRefusals adds answers that are final to the storm: what was in a refused
// request may be missing, nothing else, and the books say how much it is.
func TestRefusals(t *testing.T) {
	rnd := random(t)
	for i, tc := range []struct {
		name, protocol string
		all            bool // cuts, lost answers, restarts and SIGKILL too
	}{
		{"refusals over 2.0", "2.0", false},
		{"refusals over 1.0", "1.0", false},
		{"all together", "auto", true},
		{"all together over 1.0", "1.0", true},
	} {
		rnd := rand.New(rand.NewPCG(rnd.Uint64(), uint64(i)))
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := &refusals{rnd: rand.New(rand.NewPCG(rnd.Uint64(), 1)), share: 0.15, named: map[at]bool{}, count: map[int]int{}}
			prom, err := promtest.Start(promtest.Options{Middleware: f.middleware})
			if err != nil {
				t.Fatal(err)
			}
			defer prom.Close()
			proxy, err := faultproxy.New(prom.URL())
			if err != nil {
				t.Fatal(err)
			}
			defer proxy.Close()
			scrapes := 500 * min(loops(), 20)
			d := newDrive(t, proxy.URL()+"/api/v1/write", 40, "-protocol", tc.protocol, "-timeout", "300ms", "-pause", "1ms", "-most", "400", "-several")
			if tc.all {
				// What the proxy answers must be no refusal: it does not name what it was.
				d.args = append(d.args, "-hold")
				s := &storm{rnd: rand.New(rand.NewPCG(rnd.Uint64(), 2)), past: map[string]int{}, understood: true}
				proxy.Decide(s.fault)
				for range 6 * min(loops(), 20) {
					d.weather(proxy, rnd)
					l := d.start(scrapes)
					select {
					case <-l.exited:
					case <-time.After(time.Duration(rnd.Int64N(int64(500 * time.Millisecond)))):
					}
					l.signal([]syscall.Signal{syscall.SIGKILL, syscall.SIGTERM}[rnd.IntN(2)])
				}
				if err := proxy.Up(); err != nil {
					t.Fatal(err)
				}
			}
			d.start(scrapes).finish(5 * time.Minute)

			got, err := prom.Samples(t.Context(), `{__name__=~"load_.+"}`, time.Time{}, time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			has := map[at]bool{}
			for name, samples := range got {
				for _, s := range samples {
					has[at{name, s.T}] = true
				}
			}
			missing := uint64(0)
			without := func(name string, t int64) bool {
				if has[at{name, t}] || !f.named[at{name, t}] {
					return false
				}
				missing++
				return true
			}
			if diff := differences(d.content(got, without), got); diff != "" {
				t.Error(diff)
			}
			if f.err != nil {
				t.Error(f.err)
			}
			lost := uint64(0)
			for _, n := range d.books.Lost {
				lost += n
			}
			// On a machine that is busy an answer may come too late: what is refused then may
			// have been stored before.
			stored := d.books.Lost[series.RefusedAfterResend.String()]
			if missing > lost || !tc.all && missing < lost-stored {
				t.Errorf("%d samples are missing, %d counted as lost: %s", missing, lost, d.books)
			}
			t.Logf("%d scrapes, %d SIGKILLs; refused with %v; %d samples missing, all of them refused; %s", scrapes, d.kills, f.count, missing, d.books)
		})
	}
}

// TestBrokenSender shows that the comparison sees what it is there to see: between
// the sender and the receiver something skips a scrape, swaps two, repeats one with
// another value, and says that all is well.
func TestBrokenSender(t *testing.T) {
	const broken, scrapes = 33, 60
	moment := load.Load{Base: base}.At(broken)
	for _, protocol := range []string{"2.0", "1.0"} {
		for name, alter := range map[string]func(s []promtest.Sample) []promtest.Sample{
			"as it is": func(s []promtest.Sample) []promtest.Sample { return s },
			"skips a scrape": func(s []promtest.Sample) (out []promtest.Sample) {
				for _, x := range s {
					if x.T != moment {
						out = append(out, x)
					}
				}
				return out
			},
			"swaps two": func(s []promtest.Sample) []promtest.Sample {
				for i := 1; i < len(s); i++ {
					if s[i].T == moment {
						s[i-1].V, s[i].V = s[i].V, s[i-1].V
					}
				}
				return s
			},
			"swaps two, times and all": func(s []promtest.Sample) []promtest.Sample {
				for i := 1; i < len(s); i++ {
					if s[i].T == moment {
						s[i-1], s[i] = s[i], s[i-1]
					}
				}
				return s
			},
			"repeats one with another value": func(s []promtest.Sample) (out []promtest.Sample) {
				for _, x := range s {
					out = append(out, x)
					if x.T == moment {
						out = append(out, promtest.Sample{T: x.T + 1, V: x.V + 1})
					}
				}
				return out
			},
			"sends another value": func(s []promtest.Sample) []promtest.Sample {
				for i := range s {
					if s[i].T == moment {
						s[i].V = -s[i].V
					}
				}
				return s
			},
		} {
			t.Run(protocol+" "+name, func(t *testing.T) {
				prom, err := promtest.Start(promtest.Options{Middleware: func(next http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						rewrite(w, r, next, alter)
					})
				}})
				if err != nil {
					t.Fatal(err)
				}
				defer prom.Close()
				d := newDrive(t, prom.WriteURL(), 5, "-protocol", protocol, "-first", "-most", "50")
				d.start(scrapes).finish(time.Minute)
				if d.books.Delivered != 5*scrapes {
					t.Errorf("the sender was to notice nothing: %s", d.books)
				}
				got, err := prom.Samples(t.Context(), `{__name__=~"load_.+"}`, time.Time{}, time.Time{})
				if err != nil {
					t.Fatal(err)
				}
				want := d.content(got, nil)
				for _, samples := range want {
					for i := range samples {
						if samples[i].V == 0 {
							samples[i].V = 0 // the generated code that encodes what is altered drops -0
						}
					}
				}
				if diff := differences(want, got); (diff == "") != (name == "as it is") {
					t.Errorf("the comparison says %q", diff)
				}
			})
		}
	}
}

// rewrite hands on a request with each series' samples altered, and answers as if
// it had not.
func rewrite(w http.ResponseWriter, r *http.Request, next http.Handler, alter func([]promtest.Sample) []promtest.Sample) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	req := promtest.Request{Header: r.Header, Body: body}
	n, err := req.Samples()
	if err == nil {
		body, err = altered(&req, alter)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusTeapot)
		return
	}
	in := r.Clone(r.Context())
	in.Body, in.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	next.ServeHTTP(nowhere{http.Header{}}, in)
	if req.Proto() == "2.0" {
		w.Header().Set("X-Prometheus-Remote-Write-Samples-Written", strconv.Itoa(n))
	}
	w.WriteHeader(http.StatusNoContent)
}

// altered encodes the request anew.
func altered(r *promtest.Request, alter func([]promtest.Sample) []promtest.Sample) ([]byte, error) {
	var in []promtest.Sample
	if r.Proto() == "2.0" {
		m, err := r.V2()
		if err != nil {
			return nil, err
		}
		for i, ts := range m.Timeseries {
			in = in[:0]
			for _, s := range ts.Samples {
				in = append(in, promtest.Sample{T: s.Timestamp, V: s.Value})
			}
			m.Timeseries[i].Samples = nil
			for _, s := range alter(in) {
				m.Timeseries[i].Samples = append(m.Timeseries[i].Samples, writev2.Sample{Timestamp: s.T, Value: s.V})
			}
		}
		raw, err := m.Marshal()
		return snappy.Encode(nil, raw), err
	}
	m, err := r.V1()
	if err != nil {
		return nil, err
	}
	for i, ts := range m.Timeseries {
		in = in[:0]
		for _, s := range ts.Samples {
			in = append(in, promtest.Sample{T: s.Timestamp, V: s.Value})
		}
		m.Timeseries[i].Samples = nil
		for _, s := range alter(in) {
			m.Timeseries[i].Samples = append(m.Timeseries[i].Samples, prompb.Sample{Timestamp: s.T, Value: s.V})
		}
	}
	raw, err := m.Marshal()
	return snappy.Encode(nil, raw), err
}
