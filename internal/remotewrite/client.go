// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	promconfig "github.com/prometheus/common/config"

	"github.com/docker-remote-write/docker-remote-write/internal/cloudauth"
	"github.com/docker-remote-write/docker-remote-write/internal/weburl"
)

// client makes attempts: one POST each, over one connection that is kept.
type client struct {
	url     *url.URL
	headers [V1 + 1]http.Header // by protocol
	timeout time.Duration
	redact  *redactor

	config promconfig.HTTPClientConfig
	name   string
	conns  *conns
	rt     http.RoundTripper // nil until the files it needs can be read
	retry  int               // how many attempts at what is sent next have failed
	cloud  *cloudauth.Source // nil without credentials of a cloud
}

// reserved are the headers that a user cannot set: those of the protocol, and
// those of the connection.
var reserved = map[string]bool{
	"Content-Encoding": true, "Content-Type": true, "Content-Length": true, "User-Agent": true,
	"X-Prometheus-Remote-Write-Version": true, "Retry-Attempt": true, "Host": true, "Connection": true, "Transfer-Encoding": true,
}

func newClient(o *Options) *client {
	c := &client{url: weburl.Requested(o.URL), timeout: o.Timeout, config: o.Client, name: o.Name, conns: newConns(o.Timeout)}
	c.config.FollowRedirects, c.config.EnableHTTP2 = false, false
	for p, kind := range map[Protocol][2]string{
		V2: {"application/x-protobuf;proto=io.prometheus.write.v2.Request", "2.0.0"},
		V1: {"application/x-protobuf", "0.1.0"},
	} {
		h := make(http.Header)
		for name, v := range o.Headers {
			if name = http.CanonicalHeaderKey(name); !reserved[name] {
				h.Set(name, v)
			}
		}
		if user := o.URL.User; user != nil && h.Get("Authorization") == "" {
			password, _ := user.Password()
			r := http.Request{Header: h}
			r.SetBasicAuth(user.Username(), password)
		}
		h.Set("Content-Encoding", "snappy")
		h.Set("Content-Type", kind[0])
		h.Set("X-Prometheus-Remote-Write-Version", kind[1])
		h.Set("User-Agent", o.UserAgent)
		c.headers[p] = h
	}
	c.redact = newRedactor(o)
	if c.cloud = cloudauth.New(o.Cloud, cloudauth.Options{Dial: c.conns.dial, Proxy: c.config.Proxy()}); c.cloud != nil {
		c.redact.cloud = c.cloud.Secrets
	}
	return c
}

// roundTripper builds the transport when it is first needed, so that a file with a
// CA or a key that comes later needs no restart. Later changes of such files are
// seen by prometheus/common itself, with each request.
func (c *client) roundTripper() (http.RoundTripper, error) {
	if c.rt != nil {
		return c.rt, nil
	}
	if c.cloud != nil || needsRoots(c.url.Scheme, &c.config) {
		useBundledRoots()
	}
	rt, err := promconfig.NewRoundTripperFromConfig(c.config, c.name,
		promconfig.WithHTTP2Disabled(),
		promconfig.WithDialContextFunc(c.conns.dial),
	)
	if err != nil {
		return nil, &localError{err}
	}
	c.rt = rt
	return rt, nil
}

// close ends the kept connection.
func (c *client) close() {
	if i, ok := c.rt.(interface{ CloseIdleConnections() }); ok {
		i.CloseIdleConnections()
	}
	c.conns.abort()
}

// answer is what came of an attempt.
type answer struct {
	status  int // 0 when there was none
	written written
	retry   time.Duration // Retry-After
	date    time.Time     // of the Date header, zero without
	took    time.Duration

	// text is for the log and the status: the error, or the status and the
	// beginning of the body, without secrets.
	text string
	// sent: the request, or part of it, may have left. A network error then
	// leaves open whether the receiver has stored it.
	sent bool
	// local: the attempt failed for a certificate, a CA or a credential.
	local bool
	// page: it is a 2xx with a page of HTML, and nothing that tells of a receiver.
	page bool
	// identity is whose credentials of a cloud it carried.
	identity string
}

// lost reports whether the receiver may have stored the request although no answer
// arrived.
func (a *answer) lost() bool { return a.status == 0 && a.sent }

// attempt sends one request and reads the answer, within the timeout.
func (c *client) attempt(ctx context.Context, p Protocol, body []byte) (a answer) {
	began := time.Now()
	defer func() { a.took = time.Since(began) }()
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	c.conns.begin()
	aborted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(aborted)
		c.conns.abort()
	})
	defer func() {
		if !stop() {
			<-aborted // later it would hit the next attempt
		}
	}()

	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	})
	res, err := c.send(ctx, p, body)
	if err == nil && c.cloud != nil {
		res, err = c.renewed(ctx, p, body, res)
		a.identity = c.cloud.Held()
	}
	if err != nil {
		a.sent = connected.Load() && !aboutCertificate(err) && !aboutIdentity(err)
		a.local = !a.sent && isLocal(err)
		a.text = c.redact.error(describe(ctx, c.naming(err), c.timeout))
		return a
	}
	a.status = res.StatusCode
	a.written = parseWritten(res.Header)
	a.retry = RetryAfter(res.Header, time.Now())
	if t, err := http.ParseTime(res.Header.Get("Date")); err == nil {
		a.date = t
	}
	if a.status >= 200 && a.status <= 299 {
		a.text = res.Status
		if a.page = !a.written.any && isPage(res.Header); a.page {
			a.text += " with a page of HTML"
		}
		finish(res)
	} else {
		a.text = c.answered(a.status, c.refusal(res))
	}
	return a
}

// send posts the body, and once more where a redirect is followed.
func (c *client) send(ctx context.Context, p Protocol, body []byte) (*http.Response, error) {
	res, err := c.post(ctx, c.url, p, body)
	if err != nil {
		return nil, err
	}
	if target, ok := c.followable(res); ok {
		finish(res)
		return c.post(ctx, target, p, body)
	}
	return res, nil
}

// renewed sends the request once more where a refusal may be the fault of credentials
// that have become old.
func (c *client) renewed(ctx context.Context, p Protocol, body []byte, res *http.Response) (*http.Response, error) {
	if res.StatusCode != http.StatusUnauthorized && res.StatusCode != http.StatusForbidden {
		return res, nil
	}
	date, _ := http.ParseTime(res.Header.Get("Date"))
	again, err := c.cloud.Refused(ctx, date)
	if err == nil && !again {
		return res, nil
	}
	finish(res)
	if err != nil {
		return nil, err
	}
	return c.send(ctx, p, body)
}

func (c *client) post(ctx context.Context, u *url.URL, p Protocol, body []byte) (*http.Response, error) {
	rt, err := c.roundTripper()
	if err != nil {
		return nil, err
	}
	if err := emptied(&c.config); err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header = c.headers[p]
	if c.retry > 0 || c.cloud != nil {
		req.Header = req.Header.Clone()
	}
	if c.retry > 0 {
		req.Header.Set("Retry-Attempt", strconv.Itoa(c.retry))
	}
	if c.cloud != nil {
		if err := c.cloud.Authorize(ctx, req, body); err != nil {
			return nil, err
		}
	}
	return rt.RoundTrip(req)
}

// followable returns where a 307 or 308 leads if it is the same scheme, host and
// port. Any other redirect is an answer like any other.
func (c *client) followable(res *http.Response) (*url.URL, bool) {
	if res.StatusCode != http.StatusTemporaryRedirect && res.StatusCode != http.StatusPermanentRedirect {
		return nil, false
	}
	target, err := c.url.Parse(res.Header.Get("Location"))
	if err != nil || res.Header.Get("Location") == "" || weburl.Origin(target) != weburl.Origin(c.url) {
		return nil, false
	}
	return weburl.Requested(target), true
}

// moment is for how long the body of an answer is waited for. The answer is final
// with its header, so that a body is worth no more than a connection is.
const moment = 250 * time.Millisecond

// hurry ends a body after a moment; the end is called when it has been read. What
// has not come by then is dropped together with its connection.
func hurry(body io.Closer) (end func()) {
	t := time.AfterFunc(moment, func() { body.Close() })
	return func() {
		t.Stop()
		body.Close()
	}
}

// finish reads what is left of a body, so that the connection can be used again.
func finish(res *http.Response) {
	if res.Body != http.NoBody {
		defer hurry(res.Body)()
		io.CopyN(io.Discard, res.Body, maxRest)
	}
}

// maxRest is how much of a body is read for the sake of its connection.
const maxRest = 64 << 10

// refusal is the text of an answer other than 2xx, with the beginning of its body.
func (c *client) refusal(res *http.Response) string {
	defer hurry(res.Body)()
	text := c.redact.response(res, c.url)
	io.CopyN(io.Discard, res.Body, maxRest)
	return text
}
