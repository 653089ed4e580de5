// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	promconfig "github.com/prometheus/common/config"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// TestHeaders: those of the protocols are as the specifications have them, and no
// setting overrides them.
func TestHeaders(t *testing.T) {
	for p, want := range map[Protocol]map[string]string{
		V2: {"Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request", "X-Prometheus-Remote-Write-Version": "2.0.0"},
		V1: {"Content-Type": "application/x-protobuf", "X-Prometheus-Remote-Write-Version": "0.1.0"},
	} {
		r := newReceiver(t, func(n int, g *got) reply { return ok(g) })
		q := newQueue(t, 2)
		o := fast(t, r.URL)
		o.Protocol = p
		o.Headers = map[string]string{
			"content-type": "text/html", "Content-Encoding": "gzip", "User-Agent": "mine", "x-prometheus-remote-write-version": "7",
			"Content-Length": "3", "X-Scope-OrgID": "tenant", "x-custom": "yes",
		}
		s := sender(t, o, q)
		q.fill(t, 1)
		s.step(t.Context())
		want["Content-Encoding"], want["User-Agent"], want["X-Custom"] = "snappy", "docker-remote-write/test", "yes"
		want["X-Scope-Orgid"] = "tenant"
		for name, v := range want {
			if got := r.requests()[0].Header.Values(name); len(got) != 1 || got[0] != v {
				t.Errorf("%s: %s is %q, want %q", p, name, got, v)
			}
		}
		q.complete(t, r, nil)
	}
}

// TestCredentials: each kind arrives.
func TestCredentials(t *testing.T) {
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"access_token": "given", "token_type": "Bearer", "expires_in": 3600}`)
	}))
	defer tokens.Close()
	for name, c := range map[string]struct {
		set  func(*Options)
		want string
	}{
		"basic":  {func(o *Options) { o.Client.BasicAuth = &promconfig.BasicAuth{Username: "u", Password: "p"} }, "Basic dTpw"},
		"url":    {func(o *Options) { o.URL.User = url.UserPassword("u", "p") }, "Basic dTpw"},
		"bearer": {func(o *Options) { o.Client.BearerToken = "t" }, "Bearer t"},
		"oauth2": {func(o *Options) {
			o.Client.OAuth2 = &promconfig.OAuth2{ClientID: "id", ClientSecret: "s", TokenURL: tokens.URL}
		}, "Bearer given"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t, func(n int, g *got) reply { return ok(g) })
			q := newQueue(t, 2)
			o := fast(t, r.URL)
			c.set(&o)
			s := sender(t, o, q)
			q.fill(t, 1)
			s.step(t.Context())
			if got := r.requests()[0].Header.Get("Authorization"); got != c.want {
				t.Errorf("Authorization %q, want %q", got, c.want)
			}
		})
	}
}

// TestRedirects: 307 and 308 to the same scheme, host and port are followed, once;
// everything else is a refusal that names the target without its query.
func TestRedirects(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("followed to another server: %s", r.URL)
	}))
	defer other.Close()
	for _, c := range []struct {
		status   int
		location string
		follow   bool
		shown    string
	}{
		{307, "/there", true, ""},
		{308, "there?x=1", true, ""},
		{307, "SELF/there", true, ""},
		{307, "/loop", false, "/loop"},
		{301, "/there", false, "/there"},
		{302, "/there", false, "/there"},
		{303, "/there", false, "/there"},
		{308, other.URL + "/x?secret=1", false, other.URL + "/x"},
		{307, "https://127.0.0.1:1/x", false, "https://127.0.0.1:1/x"},
		{307, "", false, "307"},
		{308, "http://[::1", false, "308"},
		{304, "", false, "304"},
		{399, "/there", false, "/there"},
	} {
		t.Run(fmt.Sprint(c.status, c.location), func(t *testing.T) {
			q := newQueue(t, 2)
			hops := 0
			r := &receiver{answer: func(n int, g *got) reply { return ok(g) }, stored: map[point]int{}, newest: map[string]int64{}}
			r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if strings.HasPrefix(req.URL.Path, "/there") {
					r.ServeHTTP(w, req)
					return
				}
				hops++
				if c.location != "" {
					w.Header()["Location"] = []string{strings.Replace(c.location, "SELF", "http://"+req.Host, 1)}
				}
				w.WriteHeader(c.status)
			}))
			defer r.Close()
			s := sender(t, fast(t, r.URL+"/write"), q)
			q.fill(t, 1)
			s.step(t.Context())
			st := s.Status()
			if c.follow {
				q.complete(t, r, nil)
				if hops != 1 {
					t.Errorf("%d hops", hops)
				}
				return
			}
			if st.State != StateRefusing || q.c.Tally().Lost[series.Refused] != 2 {
				t.Errorf("state %q, %+v", st.State, q.c.Tally())
			}
			if !strings.Contains(st.LastError, c.shown) || strings.Contains(st.LastError, "secret") {
				t.Errorf("error %q, want %q in it and no query", st.LastError, c.shown)
			}
			if hops > 2 {
				t.Errorf("%d hops", hops)
			}
		})
	}
}

// TestHostileReceivers: slow, endless, truncating and silent ones are bounded in
// time and in memory, and what they have accepted is accepted.
func TestHostileReceivers(t *testing.T) {
	head := "HTTP/1.1 200 OK\r\n" + writtenHeader + ": 2\r\n"
	for name, c := range map[string]struct {
		talk      func(net.Conn)
		delivered bool
		text      string
	}{
		"body never ends": {func(c net.Conn) {
			io.WriteString(c, head+"Transfer-Encoding: chunked\r\n\r\n")
			endless(c, "400\r\n"+strings.Repeat("x", 1024)+"\r\n")
		}, true, ""},
		"body never comes":    {func(c net.Conn) { io.WriteString(c, head+"Content-Length: 10\r\n\r\n"); io.Copy(io.Discard, c) }, true, ""},
		"body cut":            {func(c net.Conn) { io.WriteString(c, head+"Content-Length: 10\r\n\r\nabc") }, true, ""},
		"header never ends":   {func(c net.Conn) { io.WriteString(c, head); endless(c, "X-Y: "+strings.Repeat("x", 1024)+"\r\n") }, false, "larger than"},
		"header never comes":  {func(c net.Conn) { io.Copy(io.Discard, c) }, false, "no answer within"},
		"header drop by drop": {func(c net.Conn) { drip(c, head) }, false, "no answer within"},
		"closes":              {func(c net.Conn) {}, false, ""},
		"nonsense":            {func(c net.Conn) { io.WriteString(c, "SSH-2.0-OpenSSH_9.2\r\n\r\n") }, false, "malformed"},
		"error body never ends": {func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n")
			endless(c, "400\r\n"+strings.Repeat("x", 1024)+"\r\n")
		}, false, "500 No: xxx"},
		"error body never comes": {func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 500 No\r\nContent-Length: 10\r\n\r\n")
			io.Copy(io.Discard, c)
		}, false, "500 No"},
		"error body cut":        {func(c net.Conn) { io.WriteString(c, "HTTP/1.1 503 No\r\nContent-Length: 10\r\n\r\nabc") }, false, "503 No: abc"},
		"announces without end": {func(c net.Conn) { endless(c, "HTTP/1.1 103 Early Hints\r\n\r\n") }, false, ""},
		"switches protocols": {func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
			io.Copy(io.Discard, c)
		}, false, "101"},
	} {
		talk := c.talk
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				c, err := l.Accept()
				if err != nil {
					return
				}
				defer c.Close()
				c.Read(make([]byte, 64<<10))
				c.SetDeadline(time.Now().Add(10 * time.Second))
				c.(*net.TCPConn).SetLinger(0)
				talk(c)
			}()
			defer func() { l.Close(); <-done }()
			q := newQueue(t, 2)
			o := fast(t, "http://"+l.Addr().String())
			o.Timeout = 300 * time.Millisecond
			s := sender(t, o, q)
			q.fill(t, 1)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			began := time.Now()
			s.step(t.Context())
			took := time.Since(began)
			runtime.ReadMemStats(&after)
			s.client.close()
			if grown := after.TotalAlloc - before.TotalAlloc; grown > 8<<20 {
				t.Errorf("%d bytes were allocated", grown)
			}
			if took > 5*time.Second { // it protects the test, the timeout is 0.3 s
				t.Errorf("it took %s", took)
			}
			if got := q.c.Tally().Delivered == 2; got != c.delivered {
				t.Errorf("delivered %v, want %v: %s", got, c.delivered, s.Status().LastError)
			}
			if !strings.Contains(s.Status().LastError, c.text) {
				t.Errorf("error %q, want %q in it", s.Status().LastError, c.text)
			}
		})
	}
}

func endless(c net.Conn, s string) {
	for {
		if _, err := io.WriteString(c, s); err != nil {
			return
		}
	}
}

func drip(c net.Conn, s string) {
	for i := 0; ; i++ {
		if _, err := c.Write([]byte{s[i%len(s)]}); err != nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestHangingTokenServer: the library asks for a token without the request's
// context; it must not hang the endpoint all the same.
func TestHangingTokenServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.Copy(io.Discard, c)
			c.Close()
		}
	}()
	defer func() { l.Close(); <-done }()
	q := newQueue(t, 2)
	o := fast(t, "http://127.0.0.1:1/")
	o.Timeout = 200 * time.Millisecond
	o.Client.OAuth2 = &promconfig.OAuth2{ClientID: "id", ClientSecret: "s", TokenURL: "http://" + l.Addr().String()}
	s := sender(t, o, q)
	q.fill(t, 1)
	s.step(t.Context())
	s.client.close()
	if st := s.Status(); !strings.Contains(st.LastError, "no answer within 200ms") {
		t.Errorf("error %q", st.LastError)
	}
}

// TestOneConnection: many requests use one connection.
func TestOneConnection(t *testing.T) {
	from := map[string]bool{}
	r := newReceiver(t, func(n int, g *got) reply { from[g.From] = true; return ok(g) })
	q := newQueue(t, 2)
	s := sender(t, fast(t, r.URL), q)
	for range 20 {
		q.fill(t, 1)
		s.step(t.Context())
	}
	if len(from) != 1 {
		t.Errorf("%d connections: %v", len(from), from)
	}
}

// TestClockOffset: the receiver's Date is compared, and warned about beyond two
// minutes; it holds nothing back.
func TestClockOffset(t *testing.T) {
	for _, off := range []time.Duration{0, -10 * time.Minute, time.Hour} {
		r := newReceiver(t, func(n int, g *got) reply {
			a := ok(g)
			a.Header["Date"] = []string{time.Now().Add(off).UTC().Format(http.TimeFormat)}
			return a
		})
		q := newQueue(t, 2)
		o := fast(t, r.URL)
		l, log := logged()
		o.Log = l
		s := sender(t, o, q)
		q.fill(t, 1)
		s.step(t.Context())
		st := s.Status()
		if d := st.ClockOffset - off; !st.ClockKnown || d < -2*time.Second || d > 2*time.Second {
			t.Errorf("offset %s (known %v), want %s", st.ClockOffset, st.ClockKnown, off)
		}
		if warned := strings.Contains(log.String(), "two minutes apart"); warned != (off != 0) {
			t.Errorf("%s: warned %v", off, warned)
		}
		q.complete(t, r, nil)
	}
}

// TestRunEnds: the end of Run cuts a hanging attempt short, and what was in flight
// counts as sent before.
func TestRunEnds(t *testing.T) {
	arrived := make(chan struct{})
	hold := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		close(arrived)
		<-hold
	}))
	defer srv.Close()
	defer close(hold)
	q := newQueue(t, 2)
	o := fast(t, srv.URL)
	o.Timeout = time.Minute
	s := sender(t, o, q)
	q.fill(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	<-arrived
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if !s.cursor.Position().Before(s.state.note.Barrier) || !s.state.note.AnswerLost {
		t.Error("the request in flight is forgotten")
	}
	if tally := q.c.Tally(); tally.Sum() != 0 {
		t.Errorf("%+v", q.c.Tally())
	}
}
