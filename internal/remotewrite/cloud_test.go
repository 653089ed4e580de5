// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/docker-remote-write/docker-remote-write/internal/cloudauth"
	"github.com/docker-remote-write/docker-remote-write/internal/series"
	"github.com/docker-remote-write/docker-remote-write/proof/cloudtest"
)

var clouds = map[string]cloudauth.Config{
	"sigv4":      {SigV4: &cloudauth.SigV4{Region: cloudtest.Region, ServiceName: "aps"}},
	"sigv4 role": {SigV4: &cloudauth.SigV4{Region: cloudtest.Region, ServiceName: "aps", RoleARN: cloudtest.RoleARN}},
	"azuread":    {AzureAD: &cloudauth.AzureAD{Cloud: "AzurePublic", ManagedIdentity: &cloudauth.ManagedIdentity{ClientID: cloudtest.ClientID}}},
	"google_iam": {GoogleIAM: &cloudauth.GoogleIAM{}},
}

// sky is a cloud with a receiver in it, on a network of pipes.
type sky struct {
	cloudtest.Cloud
	cloudtest.Net
	receiver
	q *queue
	s *Sender
}

// inClouds runs f in each cloud, at a virtual clock.
func inClouds(t *testing.T, nseries int, change func(*Options), f func(t *testing.T, w *sky)) {
	for name, c := range clouds {
		t.Run(name, func(t *testing.T) {
			t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://identity.example")
			t.Setenv("AWS_ENDPOINT_URL_STS", "http://identity.example")
			t.Setenv("GCE_METADATA_HOST", "identity.example")
			at2026(t, func(t *testing.T) {
				w := &sky{receiver: receiver{stored: map[point]int{}, newest: map[string]int64{}}}
				w.answer = func(n int, g *got) reply { return ok(g) }
				w.SetLife(time.Hour)
				for _, at := range []string{"identity.example:80", "169.254.169.254:80"} {
					defer w.Net.Serve(at, &w.Cloud)()
				}
				w.q = newQueue(t, nseries)
				o := usual(t)
				o.Cloud = c
				if change != nil {
					change(&o)
				}
				var err error
				if w.s, err = New(o, w.q.c); err != nil {
					t.Fatal(err)
				}
				w.s.client.conns.connect = w.Net.Dial
				f(t, w)
			})
		})
	}
}

// up starts the receiver.
func (w *sky) up() (down func()) {
	return w.Net.Serve("receiver.example:80", w.Cloud.Receiver(&w.receiver))
}

// TestCloudRotation: with credentials that live for three seconds, an outage of the
// receiver, one of the identity service within it, and a drain of minutes, everything
// arrives once.
func TestCloudRotation(t *testing.T) {
	slow := func(o *Options) { o.MaxSamples, o.MaxBackoff = 100, 5*time.Second }
	inClouds(t, 50, slow, func(t *testing.T, w *sky) {
		w.SetLife(3 * time.Second)
		w.answer = func(n int, g *got) reply { time.Sleep(700 * time.Millisecond); return ok(g) }
		down := w.up()
		stop := running(t, w.s)
		defer stop()
		w.q.fill(t, 20)
		w.q.drained(t, time.Minute) // so that no answer is cut off
		down()
		for i := range 100 {
			w.q.fill(t, 3)
			time.Sleep(3 * time.Second)
			switch i {
			case 30:
				w.SetFault(func(rw http.ResponseWriter, r *http.Request) bool { rw.WriteHeader(503); return true })
			case 60:
				w.SetFault(nil)
			}
		}
		defer w.up()()
		w.q.drained(t, 10*time.Minute)
		w.q.complete(t, &w.receiver, nil)
		w.q.balanced(t)
		if l := w.q.c.Tally(); l.Sum() != l.Delivered {
			t.Errorf("lost: %+v", l)
		}
		ids := map[string]bool{}
		for _, c := range w.Checked() {
			ids[c.ID] = true
		}
		if len(ids) < 30 {
			t.Errorf("only %d credentials were used", len(ids))
		}
	})
}

// TestCloudRevoked: what is revoked before its time costs no sample, once in five minutes.
func TestCloudRevoked(t *testing.T) {
	inClouds(t, 10, nil, func(t *testing.T, w *sky) {
		defer w.up()()
		stop := running(t, w.s)
		defer stop()
		for i := range 40 {
			w.q.fill(t, 1)
			time.Sleep(time.Minute)
			if i%6 == 2 {
				w.Revoke()
			}
		}
		w.q.drained(t, time.Minute)
		w.q.complete(t, &w.receiver, nil)
		if st := w.s.Status(); st.Failures != 0 || st.Requests()[0].Code != 204 || len(st.Requests()) != 1 {
			t.Errorf("%+v %+v", st, st.Requests())
		}
	})
}

// TestCloudConstantRefusal costs no more samples than a wrong password does, and a request
// in five minutes more.
func TestCloudConstantRefusal(t *testing.T) {
	refused := map[bool]uint64{}
	requests := map[bool]int{}
	forbidden := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { rw.WriteHeader(403) })
	inClouds(t, 10, nil, func(t *testing.T, w *sky) {
		for _, cloud := range []bool{false, true} {
			var n int
			defer w.Net.Serve("receiver.example:80", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				n++
				forbidden.ServeHTTP(rw, r)
			}))()
			w.q = newQueue(t, 10)
			o := w.s.o
			if !cloud {
				o.Cloud = cloudauth.Config{}
			}
			s, err := New(o, w.q.c)
			if err != nil {
				t.Fatal(err)
			}
			s.client.conns.connect = w.Net.Dial
			w.q.fill(t, 100)
			stop := running(t, s)
			time.Sleep(30*time.Minute + 30*time.Second)
			stop()
			refused[cloud], requests[cloud] = w.q.c.Tally().Lost[series.Refused], n
		}
		if refused[true] != refused[false] || refused[true] == 0 {
			t.Errorf("%d samples were lost with credentials of a cloud, %d without", refused[true], refused[false])
		}
		if more := requests[true] - requests[false]; more < 5 || more > 7 {
			t.Errorf("%d requests with credentials of a cloud, %d without", requests[true], requests[false])
		}
	})
}

// TestIdentityServiceDown: nothing is lost, and the status says what was asked and what
// came until it is well again. A connection to it is none to the receiver.
func TestIdentityServiceDown(t *testing.T) {
	inClouds(t, 10, nil, func(t *testing.T, w *sky) {
		defer w.up()()
		w.SetFault(func(rw http.ResponseWriter, r *http.Request) bool {
			http.Error(rw, "out of order", http.StatusServiceUnavailable)
			return true
		})
		w.q.fill(t, 5)
		stop := running(t, w.s)
		defer stop()
		time.Sleep(10 * time.Minute)
		st := w.s.Status()
		if !strings.Contains(st.CredentialError, "http://") || !strings.Contains(st.CredentialError, "503 Service Unavailable: out of order") ||
			st.State != StateBackingOff || st.LastError != st.CredentialError || st.WireBytes != 0 {
			t.Errorf("%+v", st)
		}
		if len(w.Checked()) > 0 || w.q.c.Tally() != (series.Tally{}) {
			t.Errorf("the receiver got %+v, tally %+v", w.Checked(), w.q.c.Tally())
		}
		w.SetFault(nil)
		w.q.drained(t, 2*time.Minute)
		if st = w.s.Status(); st.CredentialError != "" || !strings.Contains(st.Identity, "until 20") {
			t.Errorf("%+v", st)
		}
		w.q.complete(t, &w.receiver, nil)
	})
}

// TestIdentityIsNoConnection to the receiver: a request that never left was not sent.
func TestIdentityIsNoConnection(t *testing.T) {
	inClouds(t, 10, nil, func(t *testing.T, w *sky) {
		w.q.fill(t, 5)
		stop := running(t, w.s)
		defer stop()
		time.Sleep(10 * time.Minute)
		if st := w.s.Status(); st.WireBytes != 0 || st.CredentialError != "" || !strings.Contains(st.LastError, "connection refused") || len(w.Asked()) == 0 {
			t.Errorf("%+v, asked %q", st, w.Asked())
		}
		defer w.up()()
		w.q.drained(t, 2*time.Minute)
		w.q.complete(t, &w.receiver, nil)
	})
}

// TestCloudClock: requests that are refused for this host's clock are kept.
func TestCloudClock(t *testing.T) {
	inClouds(t, 10, nil, func(t *testing.T, w *sky) {
		if w.s.o.Cloud.SigV4 == nil {
			return
		}
		down := w.Net.Serve("receiver.example:80", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
			http.Error(rw, `{"message": "Signature not yet current"}`, http.StatusForbidden)
		}))
		w.q.fill(t, 5)
		stop := running(t, w.s)
		defer stop()
		time.Sleep(30 * time.Minute)
		if st := w.s.Status(); !strings.HasPrefix(st.CredentialError, "this host's clock is 60 min ahead of the receiver's") || w.q.c.Tally() != (series.Tally{}) {
			t.Errorf("%+v %+v", st, w.q.c.Tally())
		}
		down()
		defer w.up()()
		w.q.drained(t, 3*time.Minute)
		w.q.complete(t, &w.receiver, nil)
	})
}

// TestCloudSecretsStayInside: receivers and identity services that repeat all they were
// sent, and what they gave, lead to nothing that shows it.
func TestCloudSecretsStayInside(t *testing.T) {
	echo := func(r *http.Request) string {
		var b strings.Builder
		r.Header.Write(&b)
		for _, v := range r.Header {
			fmt.Fprintf(&b, "%q %s\n", v, strings.Join(v, ""))
		}
		body, _ := io.ReadAll(r.Body)
		return b.String() + string(body)
	}
	inClouds(t, 10, nil, func(t *testing.T, w *sky) {
		var mu sync.Mutex
		var signatures []string
		defer w.Net.Serve("receiver.example:80", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			_, signature, ok := strings.Cut(r.Header.Get("Authorization"), "Signature=")
			if ok {
				mu.Lock()
				signatures = append(signatures, signature)
				mu.Unlock()
			}
			rw.WriteHeader(403)
			fmt.Fprint(rw, signature, " ", r.Header.Get("X-Amz-Security-Token"), echo(r))
		}))()
		l, log := logged()
		w.s.o.Log = l
		w.q.fill(t, 50)
		shown := ""
		stop := running(t, w.s)
		for i := range 30 {
			time.Sleep(time.Minute)
			shown += fmt.Sprintf("%+v\n", w.s.Status())
			if i == 15 {
				w.SetLife(-time.Minute)
				var asked atomic.Int32
				w.SetFault(func(rw http.ResponseWriter, r *http.Request) bool {
					if asked.Add(1)%2 == 0 {
						return false
					}
					rw.WriteHeader(400)
					fmt.Fprint(rw, echo(r))
					return true
				})
				time.Sleep(time.Hour)
			}
		}
		stop()
		shown += log.String()
		if !strings.Contains(shown, "403 Forbidden") || !strings.Contains(shown, "400 Bad Request") {
			t.Errorf("not all was tried: %s", shown)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, s := range append(signatures, cloudtest.Secret, "M/rk=er", "session-", "token-a", "token-g", "secret-") {
			if strings.Contains(shown, s) {
				at := strings.Index(shown, s)
				t.Errorf("%q is shown: %s", s, shown[max(0, at-200):at+len(s)])
			}
		}
	})
}

// TestNoCloud: who asks for none has none.
func TestNoCloud(t *testing.T) {
	s := sender(t, fast(t, "http://receiver.example/w"), newQueue(t, 1))
	if s.client.cloud != nil || s.client.redact.cloud != nil {
		t.Error("a source was made")
	}
}
