// SPDX-License-Identifier: Apache-2.0

package cloudauth

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/docker-remote-write/docker-remote-write/internal/words"
)

const (
	// early is how long before its end a credential is exchanged, if it lives long
	// enough for that: a fifth of its life at most.
	early = 5 * time.Minute
	// earlyFor bounds a lookup that is made for the sake of the next requests.
	earlyFor = 5 * time.Second
	// settled is the age from which a refusal may be a credential's fault; no lookup is
	// repeated sooner, either, while there is a credential that is good.
	settled = time.Minute
	// renewEvery is how often a refusal may lead to a lookup.
	renewEvery = 5 * time.Minute
	// maxSkew is how far a signature's time may be off.
	maxSkew = 5 * time.Minute
)

// Options are how a Source reaches identity services.
type Options struct {
	// Dial opens connections.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Proxy is asked for services that are not the host's own, and may be nil.
	Proxy func(*http.Request) (*url.URL, error)
}

// Source gives credentials to requests, one at a time.
type Source struct {
	config Config
	o      Options

	held    credential
	before  credential // what it has replaced; an answer may still quote it
	tried   time.Time  // the last lookup
	renewed time.Time  // the last one that a refusal led to
	header  string     // the last Authorization
}

// credential is a key to sign with, or a token.
type credential struct {
	aws     aws.Credentials
	token   string
	got     time.Time
	expires time.Time // zero for never
	from    string    // what gave it
}

// New makes a Source, nil if the configuration asks for none. It looks nothing up.
func New(c Config, o Options) *Source {
	if !c.Set() {
		return nil
	}
	return &Source{config: c, o: o}
}

// Authorize puts the credentials into a request that is about to leave with that body. An
// error is an *Error.
func (s *Source) Authorize(ctx context.Context, req *http.Request, body []byte) error {
	now := time.Now()
	switch {
	case s.held.got.IsZero(), s.held.expired(now):
		if err := s.lookup(ctx); err != nil {
			return err
		}
	case s.held.due(now) && now.Sub(s.tried) >= settled:
		ctx, cancel := context.WithTimeout(ctx, earlyFor)
		_ = s.lookup(ctx) // what is held is good for this request
		cancel()
	}
	if s.config.SigV4 == nil {
		s.header = "Bearer " + s.held.token
		req.Header.Set("Authorization", s.header)
		return nil
	}
	if err := s.config.SigV4.sign(ctx, req, body, s.held.aws); err != nil {
		return &Error{"cannot sign the request: " + err.Error()}
	}
	s.header = req.Header.Get("Authorization")
	return nil
}

// Refused is told that a request was answered 401 or 403, at the receiver's date if that
// is known, and reports whether the same request is worth sending once more. An error says
// that the answer is about nothing but time: the samples are not to suffer for it.
func (s *Source) Refused(ctx context.Context, date time.Time) (again bool, err error) {
	now := time.Now()
	if s.config.SigV4 != nil && !date.IsZero() {
		if skew := now.Sub(date); skew.Abs() > maxSkew {
			return false, &Error{"this host's clock is " + direction(skew) + " the receiver's, which takes signatures of the last 5 minutes alone; set the clock"}
		}
	}
	c, age := s.held, now.Sub(s.held.got)
	switch {
	case c.expired(now):
		if age < settled && now.Sub(c.expires) > age {
			// It had been over when it was given.
			return false, s.over()
		}
	case age < settled && !c.soon(now), !s.renewed.IsZero() && now.Sub(s.renewed) < renewEvery:
		return false, nil
	default:
		s.renewed = now
	}
	if err := s.lookup(ctx); err != nil {
		return false, err
	}
	if s.held.expired(time.Now()) {
		return false, s.over()
	}
	return !s.held.same(&c), nil
}

func (s *Source) over() error {
	return &Error{fmt.Sprintf("the credentials of %s were over at %s; is this host's clock right?", s.held.from, s.held.expires.UTC().Format(time.RFC3339))}
}

func direction(d time.Duration) string {
	if d > 0 {
		return words.Span(d) + " ahead of"
	}
	return words.Span(d) + " behind"
}

// lookup asks the identity service.
func (s *Source) lookup(ctx context.Context) error {
	s.tried = time.Now()
	ctx = quiet{ctx}
	x := s.o.exchange()
	var (
		c     credential
		whose string
		err   error
	)
	switch {
	case s.config.SigV4 != nil:
		c, whose, err = s.config.SigV4.lookup(ctx, x)
	case s.config.AzureAD != nil:
		c, whose, err = s.config.AzureAD.lookup(ctx, x)
	default:
		c, whose, err = s.config.GoogleIAM.lookup(ctx, x)
	}
	if err != nil {
		return x.explain(ctx, whose, err)
	}
	c.got, c.from = time.Now(), whose
	if x.asked != "" {
		c.from += " (" + x.asked + ")"
	}
	if !s.held.got.IsZero() && !s.held.same(&c) {
		s.before = s.held
	}
	s.held = c
	return nil
}

// Held says whose credentials requests carry by now, where they came from and until when
// they hold; empty before there are any.
func (s *Source) Held() string {
	switch {
	case s.held.got.IsZero():
		return ""
	case s.held.expires.IsZero():
		return s.held.from
	}
	return s.held.from + ", until " + s.held.expires.UTC().Format(time.RFC3339)
}

// Secrets are what an answer or an error may quote and nobody is to see.
func (s *Source) Secrets() []string {
	list := []string{s.header}
	for _, c := range []*credential{&s.held, &s.before} {
		list = append(list, c.token, c.aws.SecretAccessKey, c.aws.SessionToken)
	}
	return append(list, signatureOf(s.header)...)
}

func (c *credential) expired(now time.Time) bool {
	return !c.expires.IsZero() && !now.Before(c.expires)
}

// soon: it will be over before long.
func (c *credential) soon(now time.Time) bool {
	return !c.expires.IsZero() && c.expires.Sub(now) < early
}

// due: it is time to have the next one.
func (c *credential) due(now time.Time) bool {
	return !c.expires.IsZero() && c.expires.Sub(now) < min(early, c.expires.Sub(c.got)/5)
}

func (c *credential) same(o *credential) bool {
	return c.token == o.token && c.aws.AccessKeyID == o.aws.AccessKeyID && c.aws.SecretAccessKey == o.aws.SecretAccessKey &&
		c.aws.SessionToken == o.aws.SessionToken
}

// quiet is a context without its values: what traces the connection of a request must
// not take an identity service's for it.
type quiet struct{ context.Context }

func (quiet) Value(any) any { return nil }
