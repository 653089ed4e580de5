// SPDX-License-Identifier: Apache-2.0

package faultproxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// backend is a receiver that counts what it could read whole.
type backend struct {
	*httptest.Server
	stored atomic.Int64
	broken atomic.Int64
}

func newBackend(t *testing.T) *backend {
	b := &backend{}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			b.broken.Add(1)
			return
		}
		b.stored.Add(1)
		w.Header().Set("X-Length", r.Header.Get("X-Name"))
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write(bytes.ToUpper(body))
	}))
	t.Cleanup(b.Close)
	return b
}

func start(t *testing.T) (*Proxy, *backend, *http.Client) {
	t.Helper()
	b := newBackend(t)
	p, err := New(b.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return p, b, &http.Client{Transport: tr}
}

func post(ctx context.Context, c *http.Client, url, body string) (*http.Response, string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/write?x=1", strings.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	r.Header.Set("X-Name", "name")
	// A body that cannot be read again: the transport must not resend it by itself.
	r.GetBody = nil
	res, err := c.Do(r)
	if err != nil {
		return nil, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res, string(b), err
}

func TestFates(t *testing.T) {
	p, b, c := start(t)
	for _, tc := range []struct {
		name           string
		fault          Fault
		status         int // 0: no answer
		body           string
		stored, broken int64
	}{
		{"pass", Fault{}, 202, "HELLO", 1, 0},
		{"delay", Fault{Delay: 10 * time.Millisecond}, 202, "HELLO", 1, 0},
		{"throttle", Fault{Rate: 200}, 202, "HELLO", 1, 0},
		{"cut within the request", Fault{Kind: CutRequest, Bytes: 3}, 0, "", 0, 1},
		{"cut before the body", Fault{Kind: CutRequest}, 0, "", 0, 1},
		{"the answer is lost", Fault{Kind: CutAnswer}, 0, "", 1, 0},
		{"cut within the answer's head", Fault{Kind: CutAnswer, Bytes: 20}, 0, "", 1, 0},
		{"too many requests", Status(429, "7"), 429, "Too Many Requests\n", 0, 0},
		{"failure without a body", Fault{Kind: Answer, Status: 500}, 500, "", 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b.stored.Store(0)
			b.broken.Store(0)
			p.Next(tc.fault)
			res, body, err := post(t.Context(), c, p.URL(), "hello")
			if (err == nil) != (tc.status != 0) {
				t.Fatal(res, err)
			}
			if err == nil && (res.StatusCode != tc.status || body != tc.body) {
				t.Errorf("%s %q", res.Status, body)
			}
			if tc.status == 202 && res.Header.Get("X-Length") != "name" {
				t.Error("headers are lost:", res.Header)
			}
			if tc.status == 429 && res.Header.Get("Retry-After") != "7" {
				t.Error("Retry-After is lost:", res.Header)
			}
			for limit := time.Now().Add(5 * time.Second); b.broken.Load() < tc.broken && time.Now().Before(limit); {
				time.Sleep(time.Millisecond)
			}
			if b.stored.Load() != tc.stored || b.broken.Load() != tc.broken {
				t.Errorf("stored %d, broken off %d", b.stored.Load(), b.broken.Load())
			}
			if p.Pending() != 0 {
				t.Error("the fault is still to come")
			}
		})
	}
	if p.Count(CutAnswer) != 2 || p.Count(Pass) != 3 {
		t.Error(p.Count(CutAnswer), p.Count(Pass))
	}
}

func TestCutWithinTheAnswersBody(t *testing.T) {
	p, b, c := start(t)
	p.Next(Fault{Kind: CutAnswer, Bytes: 1000})
	res, body, err := post(t.Context(), c, p.URL(), strings.Repeat("x", 2000))
	if !errors.Is(err, io.ErrUnexpectedEOF) || res == nil || res.StatusCode != 202 || len(body) == 0 || b.stored.Load() != 1 {
		t.Error(res, len(body), err)
	}
}

func TestHangEndsWhenLifted(t *testing.T) {
	p, b, c := start(t)
	p.Set(Fault{Kind: Hang})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := post(ctx, c, p.URL(), "a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Error("an answer came from a proxy that hangs:", err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, _, err := post(context.Background(), c, p.URL(), "b"); err == nil {
			t.Error("a request that hung was answered")
		}
	})
	for p.Count(Hang) < 2 {
		time.Sleep(time.Millisecond)
	}
	p.Set(Fault{})
	wg.Wait()
	if res, _, err := post(t.Context(), c, p.URL(), "c"); err != nil || res.StatusCode != 202 {
		t.Error(res, err)
	}
	if b.stored.Load() != 1 {
		t.Error(b.stored.Load(), "requests were stored")
	}
}

func TestDownAndUp(t *testing.T) {
	p, b, c := start(t)
	url := p.URL()
	if _, _, err := post(t.Context(), c, url, "a"); err != nil {
		t.Fatal(err)
	}
	p.Down()
	p.Down()
	if _, _, err := post(t.Context(), c, url, "b"); err == nil {
		t.Error("it answers while it is down")
	}
	if err := p.Up(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := post(t.Context(), c, url, "c"); err != nil || p.URL() != url {
		t.Error(err, p.URL())
	}
	if b.stored.Load() != 2 {
		t.Error(b.stored.Load(), "requests were stored")
	}
	p.Close()
	if err := p.Up(); err == nil {
		t.Error("a closed proxy comes up")
	}
}

func TestReceiverGone(t *testing.T) {
	p, b, c := start(t)
	b.Close()
	if res, _, err := post(t.Context(), c, p.URL(), "a"); err == nil {
		t.Error("an answer without a receiver:", res.Status)
	}
	p.Next(Fault{Kind: CutRequest})
	if _, _, err := post(t.Context(), c, p.URL(), "a"); err == nil {
		t.Error("an answer without a receiver")
	}
}

func TestDecide(t *testing.T) {
	p, _, c := start(t)
	n := 0
	p.Decide(func(r *http.Request) Fault {
		if n++; n%2 == 0 {
			return Status(503, "")
		}
		return Fault{}
	})
	for i, want := range []int{202, 503, 202, 503} {
		res, _, err := post(t.Context(), c, p.URL(), "a")
		if err != nil || res.StatusCode != want {
			t.Error(i, res, err)
		}
	}
}

func TestTargets(t *testing.T) {
	for _, target := range []string{"", "127.0.0.1:1", "https://127.0.0.1:1", "http://", "http://%"} {
		if p, err := New(target); err == nil {
			p.Close()
			t.Errorf("%q is taken", target)
		}
	}
	if got := Kind(42).String() + ", " + Hang.String(); got != "kind 42, hang" {
		t.Error(got)
	}
}
