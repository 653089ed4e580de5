// SPDX-License-Identifier: Apache-2.0

package remotewrite_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"

	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/docker-remote-write/docker-remote-write/internal/remotewrite"
	"github.com/docker-remote-write/docker-remote-write/internal/series"
	"github.com/docker-remote-write/docker-remote-write/proof/faultproxy"
	"github.com/docker-remote-write/docker-remote-write/proof/promtest"
)

// TestOneRefusedScrape: in a backlog of sixty scrapes one has a sample that a
// Prometheus without an out-of-order window refuses. Over 1.0 that costs the
// scrape, over 2.0 the sample.
func TestOneRefusedScrape(t *testing.T) {
	for _, p := range protocols {
		t.Run(p.String(), func(t *testing.T) {
			prom := prometheus(t, promtest.Options{})
			once := &series.Series{Labels: labels.FromStrings("__name__", "once", "instance", "a", "job", "docker")}

			// Another host was there before, with a later time.
			before := newHost(t, prom.WriteURL(), p)
			h := newHost(t, prom.WriteURL(), p)
			before.append(&series.Scrape{Time: h.at + 31*15_000 + 1, Series: []*series.Series{once}, Values: []float64{7}})
			before.run(nil)

			h.fill(1, nil)
			h.run(nil) // from here on requests are merged
			var bad int64
			h.fill(60, func(k int, sc *series.Scrape) {
				if k == 29 {
					bad = sc.Time
					sc.Series, sc.Values = append(sc.Series, once), append(sc.Values, 8)
				}
			})
			h.run(nil)
			lost := h.cursor.Tally().Lost[series.Refused]
			if p == remotewrite.V1 {
				h.check(prom, func(_ string, at int64) bool { return at == bad })
				if lost != 51 {
					t.Errorf("%d samples refused, want the 51 of one scrape", lost)
				}
			} else {
				h.check(prom, func(s string, at int64) bool { return at == bad && strings.Contains(s, "once") })
				if lost != 1 {
					t.Errorf("%d samples refused, want 1", lost)
				}
			}
		})
	}
}

// TestOneRefusedScrapeOfAllOrNothing: in front of a Prometheus stands what takes a request
// whole or not at all, as hosted receivers do, and says so with a count of 0 or none. One
// bad scrape in a backlog costs itself alone.
func TestOneRefusedScrapeOfAllOrNothing(t *testing.T) {
	for _, p := range protocols {
		for _, written := range []string{"0", ""} {
			t.Run(p.String()+" "+written, func(t *testing.T) {
				prom := prometheus(t, promtest.Options{})
				proxy, err := faultproxy.New(prom.URL())
				if err != nil {
					t.Fatal(err)
				}
				defer proxy.Close()
				no := faultproxy.Status(400, "")
				if written != "" {
					no.Header.Set("X-Prometheus-Remote-Write-Samples-Written", written)
				}
				proxy.Decide(func(r *http.Request) faultproxy.Fault { return containing(r, "not_wanted", no) })
				h := newHost(t, proxy.URL()+"/api/v1/write", p)
				h.fill(1, nil)
				h.run(nil) // from here on requests are merged
				bad := &series.Series{Labels: labels.FromStrings("__name__", "not_wanted", "instance", "a", "job", "docker")}
				var at int64
				h.fill(8, func(k int, sc *series.Scrape) {
					if k == 4 {
						at = sc.Time
						sc.Series, sc.Values = append(sc.Series, bad), append(sc.Values, 8)
					}
				})
				h.run(nil)
				h.check(prom, func(_ string, t int64) bool { return t == at })
				if tally := h.cursor.Tally(); tally.Lost[series.Refused] != 51 {
					t.Errorf("%+v, want the 51 of one scrape refused", tally)
				}
			})
		}
	}
}

// TestSeriesLimit: what stands in front of a Prometheus answers 429 for a limit on series
// that waiting does not lift. It blocks what is behind it, unless 429 is to be final.
func TestSeriesLimit(t *testing.T) {
	for _, p := range protocols {
		for _, drop := range []bool{false, true} {
			t.Run(fmt.Sprint(p, " ", drop), func(t *testing.T) {
				prom := prometheus(t, promtest.Options{})
				proxy, err := faultproxy.New(prom.URL())
				if err != nil {
					t.Fatal(err)
				}
				defer proxy.Close()
				proxy.Decide(func(r *http.Request) faultproxy.Fault {
					return containing(r, "one_too_many", faultproxy.Status(429, ""))
				})
				h := newHost(t, proxy.URL()+"/api/v1/write", p)
				h.drop = drop
				h.fill(1, nil)
				h.run(nil)
				more := &series.Series{Labels: labels.FromStrings("__name__", "one_too_many", "instance", "a", "job", "docker")}
				h.fill(1, func(_ int, sc *series.Scrape) {
					sc.Series, sc.Values = append(sc.Series, more), append(sc.Values, 8)
				})
				at := h.at
				if drop {
					h.run(nil)
					h.fill(5, nil)
					h.run(nil)
					h.check(prom, func(_ string, t int64) bool { return t == at })
					if tally := h.cursor.Tally(); tally.Lost[series.Refused] != 51 {
						t.Errorf("%+v, want the 51 of one scrape refused", tally)
					}
					return
				}
				h.fill(5, nil)
				h.run(func() bool { return proxy.Count(faultproxy.Answer) > 20 })
				if tally := h.cursor.Tally(); tally.Sum() != tally.Delivered || h.cursor.Backlog().Samples == 0 {
					t.Errorf("%+v, and there waits %+v", tally, h.cursor.Backlog())
				}
			})
		}
	}
}

// containing answers a request that has a series of that name, and lets others pass.
func containing(r *http.Request, name string, answer faultproxy.Fault) faultproxy.Fault {
	compressed, err := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(compressed))
	raw, snappyErr := snappy.Decode(nil, compressed)
	switch {
	case err != nil || snappyErr != nil:
		return faultproxy.Status(500, "")
	case bytes.Contains(raw, []byte(name)):
		return answer
	}
	return faultproxy.Fault{}
}

// TestLostAnswer: a merged request is stored and the connection cut before its
// answer arrives, with and without a restart of the sender after it. No sample is
// lost for it, and all that is refused is counted as sent before.
func TestLostAnswer(t *testing.T) {
	for _, p := range protocols {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s restart=%v", p, restart), func(t *testing.T) {
				prom := prometheus(t, promtest.Options{})
				proxy, err := faultproxy.New(prom.URL())
				if err != nil {
					t.Fatal(err)
				}
				defer proxy.Close()
				h := newHost(t, proxy.URL()+"/api/v1/write", p)
				h.fill(1, nil)
				h.run(nil)
				h.fill(40, nil)
				if restart {
					// The answer is lost, and nothing gets through until the sender ends.
					first := true
					proxy.Decide(func(*http.Request) faultproxy.Fault {
						if first {
							first = false
							return faultproxy.Fault{Kind: faultproxy.CutAnswer}
						}
						return faultproxy.Fault{Kind: faultproxy.CutRequest}
					})
					h.run(func() bool { return proxy.Count(faultproxy.CutRequest) > 0 })
					h.reopen()
					proxy.Set(faultproxy.Fault{})
				} else {
					proxy.Next(faultproxy.Fault{Kind: faultproxy.CutAnswer})
				}
				h.fill(20, nil)
				h.run(nil)
				h.check(prom, nil)
				tally := h.cursor.Tally()
				if tally.Lost[series.Refused] != 0 {
					t.Errorf("refused: %+v", tally)
				}
				if tally.Lost[series.RefusedAfterResend] == 0 {
					t.Errorf("nothing was refused for being stored before: the fault did not happen: %+v", tally)
				}
			})
		}
	}
}

// TestFaultsPass: latency, cut requests and answers, half-open connections and a
// receiver that is not there: every scrape arrives once they are gone.
func TestFaultsPass(t *testing.T) {
	for _, p := range protocols {
		t.Run(p.String(), func(t *testing.T) {
			prom := prometheus(t, promtest.Options{})
			proxy, err := faultproxy.New(prom.URL())
			if err != nil {
				t.Fatal(err)
			}
			defer proxy.Close()
			h := newHost(t, proxy.URL()+"/api/v1/write", p)
			h.fill(30, nil)
			proxy.Next(
				faultproxy.Fault{Kind: faultproxy.CutRequest, Bytes: 0},
				faultproxy.Fault{Kind: faultproxy.CutRequest, Bytes: 100},
				faultproxy.Fault{Delay: 50 * time.Millisecond},
				faultproxy.Fault{Kind: faultproxy.CutAnswer, Bytes: 0},
				faultproxy.Fault{Kind: faultproxy.CutAnswer, Bytes: 9},
				faultproxy.Fault{Kind: faultproxy.CutAnswer, Bytes: 40},
				faultproxy.Status(503, "0"),
				faultproxy.Status(429, ""),
				faultproxy.Status(500, ""),
			)
			h.run(nil)
			proxy.Down()
			h.fill(10, nil)
			s, err := remotewrite.New(h.options(), h.cursor)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Flush(t.Context()); !errors.Is(err, remotewrite.ErrBackingOff) {
				t.Errorf("flush to a receiver that is down: %v", err)
			}
			if err := proxy.Up(); err != nil {
				t.Fatal(err)
			}
			h.run(nil)
			h.check(prom, nil)
			if tally := h.cursor.Tally(); tally.Lost[series.Refused] != 0 {
				t.Errorf("refused: %+v", tally)
			}
		})
	}
}

// TestHangingReceiver: a receiver that takes the request and never answers is left
// after the timeout, and asked again.
func TestHangingReceiver(t *testing.T) {
	prom := prometheus(t, promtest.Options{})
	proxy, err := faultproxy.New(prom.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	h := newHost(t, proxy.URL()+"/api/v1/write", remotewrite.Auto)
	h.fill(3, nil)
	proxy.Next(faultproxy.Fault{Kind: faultproxy.Hang})
	o := h.options()
	o.Timeout = 100 * time.Millisecond
	s, err := remotewrite.New(o, h.cursor)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Flush(t.Context()); !errors.Is(err, remotewrite.ErrBackingOff) {
		t.Errorf("flush: %v", err)
	}
	if st := s.Status(); !strings.Contains(st.LastError, "no answer within 100ms") {
		t.Errorf("error %q", st.LastError)
	}
	h.run(nil)
	h.check(prom, nil)
}

// TestCapturesArrive: every series of every capture is found in a Prometheus of
// both protocols, in one of 1.0 only, and in one that takes 2.0 for an empty 1.0
// request, with what auto makes of it.
func TestCapturesArrive(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(captures, "*.pb"))
	if err != nil || len(files) == 0 {
		t.Fatal("no captures", err)
	}
	for _, c := range []struct {
		name   string
		accept promtest.Accept
		want   remotewrite.Protocol
	}{{"both", promtest.AcceptBoth, remotewrite.V2}, {"1.0", promtest.Accept1, remotewrite.V1}, {"any as 1.0", promtest.AcceptAnyAs1, remotewrite.V1}} {
		t.Run(c.name, func(t *testing.T) {
			prom := prometheus(t, promtest.Options{Accept: c.accept})
			h := newHost(t, prom.WriteURL(), remotewrite.Auto)
			for _, f := range files {
				h.at += 15_000
				h.append(scraped(t, filepath.Base(f), time.UnixMilli(h.at)))
			}
			h.run(nil)
			h.check(prom, nil)
			if got := h.last.Status().Protocol; got != c.want {
				t.Errorf("protocol %s, want %s", got, c.want)
			}
			if d := h.cursor.Tally(); d.Sum() != d.Delivered {
				t.Errorf("lost: %+v", d)
			}
		})
	}
}

// TestNativeHistogramsArrive queries native histograms and exemplars back.
func TestNativeHistogramsArrive(t *testing.T) {
	std := &histogram.Histogram{Schema: 1, Count: 6, Sum: 18.4, ZeroThreshold: 0.001, ZeroCount: 2,
		PositiveSpans: []histogram.Span{{Offset: 0, Length: 2}}, PositiveBuckets: []int64{1, 2}}
	custom := &histogram.Histogram{Schema: histogram.CustomBucketsSchema, Count: 3, Sum: 5,
		PositiveSpans: []histogram.Span{{Offset: 0, Length: 2}}, PositiveBuckets: []int64{1, 1}, CustomValues: []float64{1, 2}}
	name := func(n string) *series.Series {
		return &series.Series{Labels: labels.FromStrings("__name__", n, "job", "docker"), Type: model.MetricTypeHistogram}
	}
	a, b, f := name("standard"), name("custom"), name("floats")
	for _, p := range protocols {
		t.Run(p.String(), func(t *testing.T) {
			prom := prometheus(t, promtest.Options{})
			h := newHost(t, prom.WriteURL(), p)
			h.fill(3, func(k int, sc *series.Scrape) {
				sc.Histograms = append(sc.Histograms, series.Histogram{Series: a, Int: std}, series.Histogram{Series: b, Int: custom},
					series.Histogram{Series: f, Float: std.ToFloat(nil)})
				sc.Exemplars = append(sc.Exemplars, series.Exemplar{Index: len(sc.Series), Exemplar: exemplar.Exemplar{
					Labels: labels.FromStrings("trace_id", fmt.Sprint(k)), Value: 1.5, Ts: sc.Time, HasTs: true}})
			})
			h.run(nil)
			tally := h.cursor.Tally()
			if p == remotewrite.V1 {
				h.check(prom, func(s string, _ int64) bool { return strings.Contains(s, "custom") })
				if tally.Lost[series.Unsupported] != 3 {
					t.Errorf("%+v, want 3 unsupported", tally)
				}
			} else {
				h.check(prom, nil)
			}
			x, err := prom.Exemplars(t.Context(), `{__name__="standard"}`)
			if err != nil {
				t.Fatal(err)
			}
			// Over 1.0 Prometheus takes the exemplars of a request before its
			// histograms, and drops that of a series that is new.
			want := 3
			if p == remotewrite.V1 {
				want = 2
			}
			if len(x) != 1 || len(x[0].Exemplars) != want || x[0].Exemplars[want-1].Labels.Get("trace_id") != "2" {
				t.Errorf("exemplars: %+v", x)
			}
		})
	}
}

// TestTooOld: a backlog of which the first part lies behind what the receiver
// takes loses that part, and is not stuck on it.
func TestTooOld(t *testing.T) {
	for _, p := range protocols {
		t.Run(p.String(), func(t *testing.T) {
			prom := prometheus(t, promtest.Options{})
			other := newHost(t, prom.WriteURL(), p)
			other.at = time.Now().UnixMilli() - 15_000
			other.append(&series.Scrape{Time: other.at, Series: []*series.Series{{Labels: labels.FromStrings("__name__", "closes_the_window")}}, Values: []float64{math.Pi}})
			other.run(nil)

			h := newHost(t, prom.WriteURL(), p)
			h.at = time.Now().Add(-100 * time.Minute).UnixMilli()
			h.fill(300, nil)
			h.run(nil)
			edge := time.Now().Add(-55 * time.Minute).UnixMilli()
			h.check(prom, func(_ string, at int64) bool { return at < edge })
			if n := h.cursor.Tally().Lost[series.Refused]; n < 50*100 {
				t.Errorf("%d samples refused; the window did not close", n)
			}
		})
	}
}
