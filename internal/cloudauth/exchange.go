// SPDX-License-Identifier: Apache-2.0

package cloudauth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/aws/smithy-go"

	"github.com/docker-remote-write/docker-remote-write/internal/redact"
	"github.com/docker-remote-write/docker-remote-write/internal/weburl"
)

// Error is why there are no credentials: what was asked, and what came. It is one line.
type Error struct{ text string }

func (e *Error) Error() string { return e.text }

// shownBytes is how much of what an identity service says is shown.
const shownBytes = 512

// exchange is the way to an identity service for the length of one lookup. It knows what
// was asked last and what came, and asks nothing more once the service is not well: the
// libraries' own repetitions would be at the cost of the request that waits for the token.
type exchange struct {
	rt http.RoundTripper

	asked  string // method and URL
	came   string // what is wrong with the answer, empty if nothing is
	status int    // 0 without an answer
	down   error
}

func (o *Options) exchange() *exchange {
	return &exchange{rt: &http.Transport{
		DialContext: o.Dial,
		Proxy: func(r *http.Request) (*url.URL, error) {
			// What speaks http is the host's own; only Amazon, Azure and Google
			// themselves may be behind a proxy.
			if r.URL.Scheme == "http" || o.Proxy == nil {
				return nil, nil
			}
			return o.Proxy(r)
		},
		DisableKeepAlives: true, // it is asked once an hour
	}}
}

func (x *exchange) client() *http.Client {
	return &http.Client{Transport: x, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// RoundTrip is called by the vendors' packages, never by two of them at a time.
func (x *exchange) RoundTrip(req *http.Request) (*http.Response, error) {
	if x.down != nil {
		return nil, x.down
	}
	x.asked, x.status = req.Method+" "+weburl.Show(req.URL), 0
	sent := sentSecrets(req)
	res, err := x.rt.RoundTrip(req)
	if err != nil {
		x.came, x.down = transportError(err), err
		return nil, err
	}
	if x.status = res.StatusCode; res.StatusCode < 300 {
		x.came = ""
		return res, nil
	}
	body, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	res.Body.Close()
	res.Body = io.NopCloser(bytes.NewReader(body))
	x.came = oneLine(res.Status, redact.New(sent).Hide(string(body)))
	if res.StatusCode == http.StatusTooManyRequests || res.StatusCode >= 500 {
		x.down = errors.New(x.came)
	}
	return res, nil
}

// explain makes the error of a lookup that failed. The libraries' errors are long, and
// may quote what was sent; what they say of an answer is shown if it is in so many words.
func (x *exchange) explain(ctx context.Context, whose string, err error) *Error {
	var api smithy.APIError
	said := x.came
	switch {
	case x.asked == "":
		said = err.Error() // nothing has left: a file or a setting
	case ctx.Err() != nil, errors.Is(x.down, context.DeadlineExceeded):
		said = "no answer in time"
	case errors.As(err, &api) && api.ErrorMessage() != "":
		said = oneLine(x.answer(), api.ErrorCode()+": "+api.ErrorMessage())
	case said == "":
		said = x.answer() + ", but no credentials in it"
	}
	if x.asked != "" {
		said = x.asked + ": " + said
	}
	return &Error{"no credentials of " + whose + ": " + said + x.hint()}
}

func (x *exchange) answer() string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", x.status, http.StatusText(x.status)))
}

// hint says what to do where that is known.
func (x *exchange) hint() string {
	_, where, _ := strings.Cut(x.asked, " ")
	u, err := url.Parse(where)
	if err != nil {
		return ""
	}
	switch {
	case u.Hostname() == "169.254.169.254" && x.status == 0:
		return "; is this host in that cloud, and is its metadata service enabled?"
	case x.status == http.StatusNotFound && strings.HasSuffix(u.Path, "/iam/security-credentials/"):
		return "; the instance has no role, attach one to it"
	case x.status == http.StatusNotFound && strings.HasPrefix(u.Path, "/computeMetadata/"):
		return "; the instance has no service account, attach one to it"
	case x.status == http.StatusBadRequest && strings.HasSuffix(u.Path, "/metadata/identity/oauth2/token"):
		return "; is that managed identity assigned to this host?"
	}
	return ""
}

// transportError is an error of net/http without the URL, whose query may be long.
func transportError(err error) string {
	var (
		outer *url.Error
		op    *net.OpError
	)
	if errors.As(err, &outer) {
		err = outer.Err
	}
	if errors.As(err, &op) {
		return op.Error()
	}
	return err.Error()
}

func oneLine(status, text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > shownBytes {
		text = strings.ToValidUTF8(text[:shownBytes], "") + " ..."
	}
	if text == "" {
		return status
	}
	return status + ": " + text
}

// sentSecrets are the secrets in a request, which an answer may repeat.
func sentSecrets(req *http.Request) []string {
	var list []string
	for _, name := range []string{"Authorization", "X-Aws-Ec2-Metadata-Token", "X-Amz-Security-Token", "X-Identity-Header", "Secret"} {
		for _, v := range req.Header.Values(name) {
			list = append(list, v)
			if _, token, ok := strings.Cut(v, " "); ok {
				list = append(list, token)
			}
		}
	}
	if req.GetBody == nil {
		return list
	}
	body, err := req.GetBody()
	if err != nil {
		return list
	}
	defer body.Close()
	text, _ := io.ReadAll(io.LimitReader(body, 64<<10))
	form, _ := url.ParseQuery(string(text))
	for _, key := range []string{"client_secret", "client_assertion", "assertion"} {
		list = append(list, form[key]...)
	}
	return list
}
