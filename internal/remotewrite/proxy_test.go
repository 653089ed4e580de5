// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	promconfig "github.com/prometheus/common/config"
)

// forwardProxy is an http proxy: it connects, or hands on, unless it has a status line to
// answer with; "cut" hangs up.
type forwardProxy struct {
	t    *testing.T
	url  *url.URL
	mu   sync.Mutex
	says string
}

func newForwardProxy(t *testing.T, secure *tls.Config) *forwardProxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &forwardProxy{t: t, url: &url.URL{Scheme: "http", Host: l.Addr().String(), User: url.UserPassword("user", marker)}}
	if secure != nil {
		p.url.Scheme, l = "https", tls.NewListener(l, secure)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { defer c.Close(); p.serve(c) })
		}
	})
	t.Cleanup(func() { l.Close(); conns.Wait() })
	return p
}

func (p *forwardProxy) set(says string) {
	p.mu.Lock()
	p.says = says
	p.mu.Unlock()
}

func (p *forwardProxy) serve(c net.Conn) {
	in := bufio.NewReader(c)
	req, err := http.ReadRequest(in)
	if err != nil {
		return
	}
	p.mu.Lock()
	says := p.says
	p.mu.Unlock()
	switch says {
	case "cut":
		return
	case "":
	default:
		fmt.Fprintf(c, "HTTP/1.1 %s\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n", says)
		io.Copy(io.Discard, in)
		return
	}
	to, err := net.Dial("tcp", req.URL.Host)
	if err != nil {
		return
	}
	defer to.Close()
	if req.Method == http.MethodConnect {
		io.WriteString(c, "HTTP/1.1 200 Connection established\r\n\r\n")
	} else if req.Write(to) != nil {
		return
	}
	done := make(chan struct{})
	go func() { defer close(done); io.Copy(c, to); c.Close() }()
	io.Copy(to, in)
	to.Close()
	<-done
}

// TestProxyAnswers: what a proxy answers names the proxy, costs no scrape that the receiver
// has not seen, and is no answer of the receiver.
func TestProxyAnswers(t *testing.T) {
	ours, theirs := newAuthority(t, "ours"), newAuthority(t, "theirs")
	soon := time.Now().Add(time.Hour)
	cert, key := ours.issue(t, "", soon)
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	strange, strangeKey := theirs.issue(t, "", soon)
	stranger, err := tls.X509KeyPair([]byte(strange), []byte(strangeKey))
	if err != nil {
		t.Fatal(err)
	}
	overTLS := func() *receiver { return secure(t, always(cert, key), nil) }
	plain := func() *receiver { return newReceiver(t, func(_ int, g *got) reply { return ok(g) }) }
	withToken := func(o *Options, p *forwardProxy) {
		o.Client.ProxyURL = promconfig.URL{}
		o.Client.OAuth2 = &promconfig.OAuth2{ClientID: "id", ClientSecret: "secret", TokenURL: "https://127.0.0.1:1/token?q=" + marker}
		o.Client.OAuth2.ProxyURL = promconfig.URL{URL: p.url}
		o.Client.OAuth2.TLSConfig.CA = ours.pem
	}
	for _, c := range []struct {
		name   string
		r      func() *receiver
		secure *tls.Config
		says   string
		more   func(*Options, *forwardProxy)
		status int
		want   string // with PROXY for the proxy's URL
		heals  bool
	}{
		{"CONNECT 403", overTLS, nil, "403 Forbidden", nil, 0, "the proxy PROXY answers CONNECT with 403 Forbidden", true},
		{"CONNECT 407", overTLS, nil, "407 Proxy Authentication Required", nil, 0, "the proxy PROXY answers CONNECT with 407 Proxy Authentication Required", true},
		{"CONNECT 502", overTLS, nil, "502 Bad Gateway", nil, 0, "the proxy PROXY answers CONNECT with 502 Bad Gateway", true},
		{"CONNECT 404", overTLS, nil, "404 Not Found", nil, 0, "the proxy PROXY answers CONNECT with 404 Not Found", true},
		{"CONNECT in other words", overTLS, nil, "403 Blocked by policy", nil, 0, "by way of the proxy PROXY: Blocked by policy", true},
		{"CONNECT cut", overTLS, nil, "cut", nil, 0, "by way of the proxy PROXY: ", true},
		{"CONNECT over TLS 403", overTLS, &tls.Config{Certificates: []tls.Certificate{pair}}, "403 Forbidden", nil, 0, "the proxy PROXY answers CONNECT with 403 Forbidden", true},
		{"a proxy with another certificate", overTLS, &tls.Config{Certificates: []tls.Certificate{stranger}}, "", nil, 0, "the proxy's certificate is signed by an unknown authority", false},
		{"CONNECT for a token 403", plain, nil, "403 Forbidden", withToken, 0, "the proxy PROXY answers CONNECT with 403 Forbidden", false},
		{"a file on this side", overTLS, nil, "", func(o *Options, _ *forwardProxy) {
			o.Client.Authorization = &promconfig.Authorization{Type: "Bearer", CredentialsFile: os.DevNull + "/none"}
		}, 0, "unable to read authorization credentials", false},
		{"407 to a request", plain, nil, "407 Proxy Authentication Required", nil, 407, "the proxy PROXY answers 407 Proxy Authentication Required", true},
		{"503 to a request", plain, nil, "503 Service Unavailable", nil, 503, "by way of the proxy PROXY: 503 Service Unavailable", true},
		{"a request cut", plain, nil, "cut", nil, 0, "by way of the proxy PROXY: ", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, p := c.r(), newForwardProxy(t, c.secure)
			p.set(c.says)
			q := newQueue(t, 4)
			o := fast(t, r.URL)
			o.Client.TLSConfig.CA = ours.pem
			o.Client.ProxyURL = promconfig.URL{URL: p.url}
			if c.more != nil {
				c.more(&o, p)
			}
			s := sender(t, o, q)
			q.fill(t, 1)
			for range 3 {
				s.step(t.Context())
			}
			st := s.Status()
			want := strings.ReplaceAll(c.want, "PROXY", p.url.Scheme+"://"+p.url.Host)
			if !strings.Contains(st.LastError, want) || strings.Contains(st.LastError, marker) {
				t.Errorf("the error is %q, want %q in it", st.LastError, want)
			}
			if strings.HasPrefix(c.want, "unable") && strings.Contains(st.LastError, "proxy") {
				t.Errorf("the proxy is blamed: %q", st.LastError)
			}
			if n := st.Requests(); len(n) != 1 || n[0].Code != c.status {
				t.Errorf("counted as %+v, want %d", n, c.status)
			}
			if tally, waits := q.c.Tally(), q.c.Backlog().Samples; tally.Sum() != 0 || waits != 4 {
				t.Errorf("%d wait: %+v", waits, tally)
			}
			if len(r.requests()) > 0 {
				t.Errorf("the receiver saw %d requests", len(r.requests()))
			}
			if p.set(""); c.heals {
				drainAll(t, s, q, 3)
				q.complete(t, r, nil)
			}
		})
	}
}

// TestAnswerThroughATunnel: what the receiver itself answers by way of a proxy that has
// connected is not said to be the proxy's.
func TestAnswerThroughATunnel(t *testing.T) {
	ours := newAuthority(t, "ours")
	cert, key := ours.issue(t, "", time.Now().Add(time.Hour))
	r := secure(t, always(cert, key), nil)
	r.answer = func(int, *got) reply { return reply{Status: 403} }
	p := newForwardProxy(t, nil)
	q := newQueue(t, 4)
	o := fast(t, r.URL)
	o.Client.TLSConfig.CA = ours.pem
	o.Client.ProxyURL = promconfig.URL{URL: p.url}
	s := sender(t, o, q)
	q.fill(t, 1)
	s.step(t.Context())
	if st := s.Status(); st.State != StateRefusing || strings.Contains(st.LastError, "proxy") || !strings.HasPrefix(st.LastError, "403 ") {
		t.Errorf("%s: %q", st.State, st.LastError)
	}
}
