// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"
)

// endless is a body that never ends, in pieces; it says how much of it was read.
type endless struct{ read int64 }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '#'
	}
	e.read += int64(len(p))
	return len(p), nil
}

func (*endless) Close() error { return nil }

type floods struct{ body *endless }

func (f floods) RoundTrip(*http.Request) (*http.Response, error) {
	f.body.read = 0
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {typeText}}, Body: f.body, ContentLength: -1}, nil
}

// However many targets flood, their bodies have no more than the limit together, and
// none of them takes the share of another.
func TestRoomIsShared(t *testing.T) {
	const limit, targets = 8 << 20, 4
	room := NewRoom(limit, targets)
	var flooding []*target
	for range targets - 1 {
		s := newScraper(t, Options{Target: "unix:///m.sock", Room: room})
		s.target.client.Transport = floods{&endless{}}
		flooding = append(flooding, s.target)
	}
	held := int64(0)
	for _, f := range flooding { // none gives back before all have taken what they can
		_, _, err := f.fetch(t.Context())
		var failure *Error
		if !errors.As(err, &failure) || failure.Outcome != TooLarge || !strings.Contains(err.Error(), "SCRAPE_MAX_BYTES") {
			t.Errorf("%v", err)
		}
		held += int64(cap(f.body))
	}
	if held > limit+2*targets {
		t.Errorf("%d bytes are held, the limit is %d", held, limit)
	}
	s := newScraper(t, Options{Target: "unix:///m.sock", Room: room})
	body := append(bytes.Repeat([]byte("#"), limit/2/targets-5), "\na 1\n"...)
	s.target.client.Transport = &static{header: http.Header{"Content-Type": {typeText}}, body: body}
	if sc, err := s.Scrape(t.Context(), epoch, nil); err != nil || !strings.HasPrefix(dump(sc), "a 1\nup 1\n") {
		t.Errorf("a body of the target's share, %d bytes: %v", len(body), err)
	}
	for _, f := range flooding {
		f.done()
		if got := int64(cap(f.body)); got > room.share+2 {
			t.Errorf("%d bytes stay, the share is %d", got, room.share)
		}
	}
	if free := room.free.Load(); free != limit/2 {
		t.Errorf("%d bytes are free again, want %d", free, limit/2)
	}
	if one := NewRoom(limit, 1); one.most != limit || room.most != limit/2+limit/2/targets {
		t.Errorf("a target may have %d alone, and %d of %d", one.most, room.most, targets)
	}
}
