// SPDX-License-Identifier: Apache-2.0

package faultproxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// maxBody bounds the body of a request and of an answer.
const maxBody = 64 << 20

// Proxy is an HTTP proxy in front of one receiver, on loopback. It begins with
// handing everything on. Its methods may be called concurrently.
type Proxy struct {
	target *url.URL
	addr   string
	client *http.Transport

	mu     sync.Mutex
	decide func(*http.Request) Fault
	queue  []Fault
	lifted chan struct{} // closed by the next Set
	counts [kinds]int
	server *http.Server // nil while down
	closed bool

	serving sync.WaitGroup // Serve and the requests
}

// New listens and hands on to target, as http://127.0.0.1:9090.
func New(target string) (*Proxy, error) {
	u, err := url.Parse(target)
	if err != nil {
		return nil, fmt.Errorf("parse the target: %w", err)
	}
	if u.Scheme != "http" || u.Host == "" {
		return nil, fmt.Errorf("target %q: http://host:port is wanted", target)
	}
	p := &Proxy{
		target: u, addr: "127.0.0.1:0", lifted: make(chan struct{}),
		// A connection for each request: what is cut harms no other.
		client: &http.Transport{DisableKeepAlives: true, DisableCompression: true},
	}
	p.Set(Fault{})
	if err := p.Up(); err != nil {
		return nil, err
	}
	return p, nil
}

// URL is the proxy's base URL, without a slash at its end. It does not change.
func (p *Proxy) URL() string { return "http://" + p.addr }

// Set says what becomes of the requests to come. Requests that hang are cut.
func (p *Proxy) Set(f Fault) { p.Decide(func(*http.Request) Fault { return f }) }

// Decide asks f what becomes of each request. Calls of f do not overlap.
func (p *Proxy) Decide(f func(*http.Request) Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.decide = f
	close(p.lifted)
	p.lifted = make(chan struct{})
}

// Next lets each of the faults befall one of the next requests, in that order;
// after them it is as set.
func (p *Proxy) Next(faults ...Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue = append(p.queue, faults...)
}

// Pending is how many of the faults given to Next have not befallen a request yet.
func (p *Proxy) Pending() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.queue)
}

// Count is how many requests met that kind of fate.
func (p *Proxy) Count(k Kind) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts[k]
}

// Down closes the listener and cuts all connections: connecting is refused, as by
// a host that is gone or a name that resolves no more.
func (p *Proxy) Down() {
	p.mu.Lock()
	s := p.server
	p.server = nil
	p.mu.Unlock()
	if s != nil {
		_ = s.Close()
	}
}

// Up listens again, on the same address. It does nothing while it listens.
func (p *Proxy) Up() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server != nil {
		return nil
	}
	if p.closed {
		return errors.New("the proxy is closed")
	}
	l, err := net.Listen("tcp", p.addr)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	p.addr = l.Addr().String()
	s := &http.Server{Handler: http.HandlerFunc(p.serve), ErrorLog: log.New(io.Discard, "", 0)}
	p.server = s
	p.serving.Go(func() { _ = s.Serve(l) })
	return nil
}

// Close ends it and waits for all that it started.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.Set(Fault{}) // lets go what hangs
	p.Down()
	p.serving.Wait()
	p.client.CloseIdleConnections()
}

func (p *Proxy) next(r *http.Request) (Fault, <-chan struct{}, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return Fault{}, nil, false
	}
	p.serving.Add(1)
	var f Fault
	if len(p.queue) > 0 {
		f, p.queue = p.queue[0], p.queue[1:]
	} else {
		f = p.decide(r)
	}
	p.counts[f.Kind]++
	return f, p.lifted, true
}

func (p *Proxy) serve(w http.ResponseWriter, r *http.Request) {
	f, lifted, ok := p.next(r)
	if !ok {
		panic(http.ErrAbortHandler)
	}
	defer p.serving.Done()
	if !sleep(r, lifted, f.Delay) {
		cut(w)
		return
	}
	limit := int64(maxBody)
	if f.Kind == CutRequest {
		limit = int64(f.Bytes)
	}
	body, ok := readBody(r, lifted, limit, f.Rate)
	if !ok {
		cut(w)
		return
	}
	switch f.Kind {
	case Pass, CutAnswer:
		answer, err := p.forward(r, body)
		if err != nil {
			cut(w) // the client sees what the proxy saw: no answer
			return
		}
		if f.Kind == Pass {
			maps.Copy(w.Header(), answer.Header)
			w.WriteHeader(answer.StatusCode)
			_, _ = io.Copy(w, answer.Body)
			return
		}
		var raw bytes.Buffer
		_ = answer.Write(&raw)
		cut(w, raw.Next(f.Bytes)...)
	case CutRequest:
		p.truncate(r, body)
		cut(w)
	case Hang:
		select {
		case <-lifted:
		case <-r.Context().Done():
		}
		cut(w)
	case Answer:
		maps.Copy(w.Header(), f.Header)
		w.WriteHeader(f.Status)
		_, _ = io.WriteString(w, f.Body)
	default:
		cut(w)
	}
}

// forward sends the request to the receiver and reads the whole answer. It is not
// given up when the client goes away: what arrived is stored.
func (p *Proxy) forward(r *http.Request, body []byte) (*http.Response, error) {
	out, err := http.NewRequest(r.Method, p.at(r).String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	out.Header = r.Header.Clone()
	res, err := p.client.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	if err != nil {
		return nil, err
	}
	res.Body = io.NopCloser(bytes.NewReader(b))
	return res, nil
}

// truncate sends the receiver the head of the request and the beginning of its
// body, and hangs up.
func (p *Proxy) truncate(r *http.Request, body []byte) {
	c, err := net.DialTimeout("tcp", p.target.Host, 5*time.Second)
	if err != nil {
		return
	}
	defer c.Close()
	out := r.Clone(r.Context())
	out.URL, out.Host = p.at(r), p.target.Host
	// The length is the whole body's: Write complains that something is missing, but
	// not before it has written what there is.
	out.ContentLength = max(r.ContentLength, int64(len(body))+1)
	out.Body = io.NopCloser(bytes.NewReader(body))
	var raw bytes.Buffer
	_ = out.Write(&raw)
	_, _ = c.Write(raw.Bytes())
}

// at is where the receiver has what was asked for.
func (p *Proxy) at(r *http.Request) *url.URL {
	u := *r.URL
	u.Scheme, u.Host = p.target.Scheme, p.target.Host
	return &u
}
