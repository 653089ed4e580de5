// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// scripted is a server that answers the connections it accepts one after the other,
// each with one function.
func scripted(t *testing.T, conns ...func(c net.Conn, r *bufio.Reader)) (url string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, f := range conns {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			f(c, bufio.NewReader(c))
			c.Close()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return "http://" + ln.Addr().String() + "/metrics"
}

const okAnswer = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\na 1\n"

// serve answers n requests and returns.
func serve(n int, answer string) func(net.Conn, *bufio.Reader) {
	return func(c net.Conn, r *bufio.Reader) {
		for range n {
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			io.WriteString(c, answer)
		}
	}
}

func TestConnection(t *testing.T) {
	forever := func(c net.Conn, r *bufio.Reader) { io.Copy(io.Discard, r) }
	tests := []struct {
		name  string
		conns []func(net.Conn, *bufio.Reader)
		want  string // the outcomes
	}{
		{"kept alive", []func(net.Conn, *bufio.Reader){serve(3, okAnswer)}, "ok ok ok"},
		{"closed while idle", []func(net.Conn, *bufio.Reader){serve(1, okAnswer), serve(2, okAnswer)}, "ok ok ok"},
		{"closed after each", []func(net.Conn, *bufio.Reader){
			serve(1, strings.Replace(okAnswer, "\r\n", "\r\nConnection: close\r\n", 1)), serve(1, okAnswer), serve(1, okAnswer)}, "ok ok ok"},
		{"HTTP/1.0", []func(net.Conn, *bufio.Reader){
			serve(1, "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\na 1\n"), serve(2, okAnswer)}, "ok ok ok"},
		{"early hints", []func(net.Conn, *bufio.Reader){serve(3, "HTTP/1.1 103 Early Hints\r\n\r\n"+okAnswer)}, "ok ok ok"},
		{"hints without end", []func(net.Conn, *bufio.Reader){serve(1, strings.Repeat("HTTP/1.1 103 Early Hints\r\nA: "+strings.Repeat("b", 1000)+"\r\n\r\n", 99)+okAnswer), serve(2, okAnswer)}, "network ok ok"},
		{"more than was asked for", []func(net.Conn, *bufio.Reader){serve(1, okAnswer+okAnswer), serve(2, okAnswer)}, "ok ok ok"},
		{"closed within an answer", []func(net.Conn, *bufio.Reader){serve(1, okAnswer[:60]), serve(2, okAnswer)}, "network ok ok"},
		{"closed within a kept answer", []func(net.Conn, *bufio.Reader){
			func(c net.Conn, r *bufio.Reader) { serve(1, okAnswer)(c, r); serve(1, okAnswer[:60])(c, r) }, serve(1, okAnswer)}, "ok network ok"},
		{"a new connection that is closed", []func(net.Conn, *bufio.Reader){serve(0, ""), serve(2, okAnswer)}, "network ok ok"},
		{"silence", []func(net.Conn, *bufio.Reader){forever, serve(2, okAnswer)}, "timeout ok ok"},
		{"silence on a kept connection", []func(net.Conn, *bufio.Reader){
			func(c net.Conn, r *bufio.Reader) { serve(1, okAnswer)(c, r); forever(c, r) }, serve(1, okAnswer)}, "ok timeout ok"},
		{"an error is not kept", []func(net.Conn, *bufio.Reader){
			serve(1, "HTTP/1.1 503 No\r\nContent-Length: 5\r\n\r\nnono\n"), serve(2, okAnswer)}, "status ok ok"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newScraper(t, Options{Target: scripted(t, tt.conns...), Timeout: 200 * time.Millisecond})
			defer s.Close()
			var got []string
			for range 3 {
				o := OK
				if _, err := s.Scrape(t.Context(), epoch, nil); err != nil {
					var failure *Error
					if !errors.As(err, &failure) {
						t.Fatal(err)
					}
					o = failure.Outcome
				}
				got = append(got, o.String())
			}
			if g := strings.Join(got, " "); g != tt.want {
				t.Errorf("%s, want %s", g, tt.want)
			}
		})
	}
}

// Cancelling ends a scrape at once and leaves nothing to append.
func TestCancel(t *testing.T) {
	asked := make(chan struct{})
	s := newScraper(t, Options{Timeout: time.Hour, Interval: time.Hour, Target: scripted(t,
		func(c net.Conn, r *bufio.Reader) { http.ReadRequest(r); close(asked); io.Copy(io.Discard, r) }, serve(1, okAnswer))})
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	if sc, err := s.Scrape(ctx, epoch, nil); sc != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("%v %s", err, dump(sc))
	}
	ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if sc, err := s.Scrape(ctx, epoch, nil); err != nil || !strings.HasPrefix(dump(sc), "a 1\nup 1\n") {
		t.Errorf("afterwards: %v %s", err, dump(sc))
	}
	if st := s.Stats(); st.Outcomes[OK] != 1 || st.Failed() != 0 {
		t.Errorf("outcomes %v", st.Outcomes)
	}
}

// A target is trusted by what TLS says and by nothing else, the system's roots included,
// also behind a redirect.
func TestRedirectToTLS(t *testing.T) {
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", typeText)
		io.WriteString(w, "a 1\n")
	}))
	defer secure.Close()
	plain := httptest.NewServer(http.RedirectHandler(secure.URL, http.StatusFound))
	defer plain.Close()
	trusted := &tls.Config{RootCAs: secure.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}
	for _, trust := range []*tls.Config{trusted, nil} {
		s := newScraper(t, Options{Target: plain.URL, TLS: trust})
		if pool := s.target.client.Transport.(*http.Transport).TLSClientConfig.RootCAs; pool == nil {
			t.Error("the system's roots are trusted")
		}
		sc, err := s.Scrape(t.Context(), epoch, nil)
		if up := strings.HasPrefix(dump(sc), "a 1\nup 1\n"); up != (trust != nil) {
			t.Errorf("%v\n%s", err, dump(sc))
		}
	}
}
