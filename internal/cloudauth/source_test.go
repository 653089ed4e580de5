// SPDX-License-Identifier: Apache-2.0

package cloudauth

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	promconfig "github.com/prometheus/common/config"
	"go.uber.org/goleak"

	"github.com/docker-remote-write/docker-remote-write/internal/redact"
	"github.com/docker-remote-write/docker-remote-write/proof/cloudtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is the clouds, a receiver and a source, on a virtual clock.
type world struct {
	*Source
	cloud cloudtest.Cloud
	net   cloudtest.Net
	skew  time.Duration // of the receiver's Date
	sent  *http.Request
}

// services is where the vendors' own variables say the identity services are.
const services = "identity.example"

// inWorld runs f for that identity. It has the credentials' life in its Cloud.
func inWorld(t *testing.T, c Config, f func(t *testing.T, w *world)) {
	t.Helper()
	for name, v := range map[string]string{
		"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://" + services, "AWS_ENDPOINT_URL_STS": "http://" + services,
		"AZURE_AUTHORITY_HOST": "http://" + services, "GCE_METADATA_HOST": services,
		"AWS_REGION": "", "AWS_DEFAULT_REGION": "", "AWS_ACCESS_KEY_ID": "", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI": os.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI"), "HTTP_PROXY": "http://proxy.example",
	} {
		t.Setenv(name, v)
	}
	if errs := c.Complete(nil); len(errs) > 0 {
		t.Fatal(errs)
	}
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		w.cloud.SetLife(time.Hour)
		defer w.net.Serve(services+":80", &w.cloud)()
		defer w.net.Serve("169.254.169.254:80", &w.cloud)()
		w.Source = New(c, Options{Dial: w.net.Dial})
		f(t, w)
	})
}

// request sends a body to the receiver as a sender does, and returns its answer.
func (w *world) request(t *testing.T, body string) (status int, text string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	send := func() (*http.Response, error) {
		req, _ := http.NewRequestWithContext(ctx, http.MethodPost, "http://receiver.example//api/./v1/a%20b?x=1&a=b", strings.NewReader(body))
		req.Header.Set("Content-Encoding", "snappy")
		if err := w.Authorize(ctx, req, []byte(body)); err != nil {
			return nil, err
		}
		w.sent = req
		return w.receive(req)
	}
	res, err := send()
	if err == nil && (res.StatusCode == 401 || res.StatusCode == 403) {
		var again bool
		date, _ := http.ParseTime(res.Header.Get("Date"))
		if again, err = w.Refused(ctx, date); again {
			res, err = send()
		}
	}
	if err != nil {
		return 0, "", err
	}
	b, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(b), nil
}

// receive is the receiver, behind a connection.
func (w *world) receive(req *http.Request) (*http.Response, error) {
	stop := w.net.Serve("receiver.example:80", w.cloud.Receiver(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) })))
	defer stop()
	rt := &http.Transport{DialContext: w.net.Dial, DisableKeepAlives: true}
	res, err := rt.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	b, _ := io.ReadAll(res.Body)
	res.Body.Close()
	res.Body = io.NopCloser(bytes.NewReader(b))
	res.Header.Set("Date", time.Now().Add(w.skew).UTC().Format(http.TimeFormat))
	return res, nil
}

func (w *world) ok(t *testing.T, when string) {
	t.Helper()
	if status, text, err := w.request(t, "body"); status != 204 {
		t.Fatalf("%s: %d %s %v", when, status, text, err)
	}
}

// lookups is how often credentials were asked for.
func (w *world) lookups() (n int) {
	for _, a := range w.cloud.Asked() {
		if !strings.HasSuffix(a, "/api/token") && !strings.HasSuffix(a, "/security-credentials/") {
			n++
		}
	}
	return n
}

var identities = map[string]Config{
	"instance role": {SigV4: &SigV4{Region: cloudtest.Region}},
	"assumed role":  {SigV4: &SigV4{Region: cloudtest.Region, RoleARN: cloudtest.RoleARN, ExternalID: "e", Tags: map[string]string{"b": "2", "a": "1"}}},
	"managed":       {AzureAD: &AzureAD{ManagedIdentity: &ManagedIdentity{}}},
	"managed, user": {AzureAD: &AzureAD{ManagedIdentity: &ManagedIdentity{ClientID: cloudtest.ClientID}}},
	"application":   {AzureAD: &AzureAD{OAuth: &OAuth{ClientID: cloudtest.ClientID, TenantID: cloudtest.Tenant, ClientSecret: cloudtest.Secret}}},
	"instance":      {GoogleIAM: &GoogleIAM{}},
}

// TestIdentities: each gives what the receiver takes, asks what its vendor documents, and
// asks once as long as it holds. Nothing is dialed before the first request.
func TestIdentities(t *testing.T) {
	for name, want := range map[string]struct {
		asked []string
		from  string
	}{
		"instance role": {[]string{"PUT /latest/api/token", "GET /latest/meta-data/iam/security-credentials/", "GET /latest/meta-data/iam/security-credentials/web"},
			"the instance's role (GET http://identity.example/latest/meta-data/iam/security-credentials/web), until 2000-01-01T01:00:00Z"},
		"assumed role": {[]string{"PUT /latest/api/token", "GET /latest/meta-data/iam/security-credentials/", "GET /latest/meta-data/iam/security-credentials/web", "POST /"},
			"arn:aws:iam::123456789012:role/metrics (POST http://identity.example/), until 2000-01-01T01:00:00Z"},
		"managed": {[]string{"GET /metadata/identity/oauth2/token"},
			"the host's own managed identity (GET http://169.254.169.254/metadata/identity/oauth2/token), until 2000-01-01T01:00:00Z"},
		"managed, user": {[]string{"GET /metadata/identity/oauth2/token"},
			"the managed identity 11111111-2222-3333-4444-555555555555 (GET http://169.254.169.254/metadata/identity/oauth2/token), until 2000-01-01T01:00:00Z"},
		"application": {[]string{"POST /contoso.example/oauth2/v2.0/token"},
			"the application 11111111-2222-3333-4444-555555555555 (POST http://identity.example/contoso.example/oauth2/v2.0/token), until 2000-01-01T01:00:00Z"},
		"instance": {[]string{"GET /computeMetadata/v1/instance/service-accounts/default/token"},
			"the instance's service account (GET http://identity.example/computeMetadata/v1/instance/service-accounts/default/token), until 2000-01-01T01:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, identities[name], func(t *testing.T, w *world) {
				if d := w.net.Dialed(); len(d) > 0 || w.Held() != "" {
					t.Errorf("before a request %q was dialed, %q held", d, w.Held())
				}
				w.ok(t, "first")
				w.ok(t, "second")
				if got := w.cloud.Asked(); !slices.Equal(got, want.asked) {
					t.Errorf("asked %q, want %q", got, want.asked)
				}
				if got := w.Held(); got != want.from {
					t.Errorf("held\n%s, want\n%s", got, want.from)
				}
			})
		})
	}
}

// TestOtherIdentities: those of containers, of files and of keys.
func TestOtherIdentities(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(cloudtest.Secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Run("workload identity", func(t *testing.T) {
		c := Config{AzureAD: &AzureAD{WorkloadIdentity: &WorkloadIdentity{ClientID: cloudtest.ClientID, TenantID: cloudtest.Tenant, TokenFilePath: token}}}
		inWorld(t, c, func(t *testing.T, w *world) { w.ok(t, "first") })
	})
	t.Run("container", func(t *testing.T) {
		t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://"+services+"/ecs")
		t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", cloudtest.Header)
		inWorld(t, identities["instance role"], func(t *testing.T, w *world) { w.ok(t, "first") })
	})
	t.Run("app service", func(t *testing.T) {
		t.Setenv("IDENTITY_ENDPOINT", "http://"+services+"/msi/token")
		t.Setenv("IDENTITY_HEADER", cloudtest.Header)
		inWorld(t, identities["managed"], func(t *testing.T, w *world) { w.ok(t, "first") })
	})
	t.Run("service account", func(t *testing.T) {
		var made cloudtest.Cloud
		file := made.WriteKeyFile(t, "http://"+services)
		inWorld(t, Config{GoogleIAM: &GoogleIAM{CredentialsFile: file}}, func(t *testing.T, w *world) {
			w.cloud.Takes(&made)
			w.ok(t, "first")
			for _, s := range (Config{GoogleIAM: &GoogleIAM{CredentialsFile: file}}).Secrets() {
				if !strings.Contains(s, "BEGIN PRIVATE KEY") {
					t.Errorf("%q is among the secrets", s)
				}
			}
		})
	})
	t.Run("keys", func(t *testing.T) {
		c := Config{SigV4: &SigV4{Region: cloudtest.Region, AccessKey: "x", SecretKey: "x"}}
		inWorld(t, c, func(t *testing.T, w *world) {
			id, secret := w.cloud.Give()
			c.SigV4.AccessKey, c.SigV4.SecretKey = id, "wrong"
			for range 3 {
				if status, _, err := w.request(t, "body"); status != 403 || err != nil {
					t.Fatalf("a wrong key: %d %v", status, err)
				}
				time.Sleep(10 * time.Minute)
			}
			if n := len(w.cloud.Checked()); n != 3 {
				t.Errorf("%d requests were made for 3: a key that is given does not change", n)
			}
			c.SigV4.SecretKey = promconfig.Secret(secret)
			w.Source = New(c, Options{Dial: w.net.Dial})
			w.ok(t, "the right key")
			if len(w.cloud.Asked()) > 0 {
				t.Errorf("asked %q", w.cloud.Asked())
			}
		})
	})
}

// TestRotation: a credential is exchanged before its end, while the service is down the
// one that is held is used to its end, and afterwards the error says what is wrong.
func TestRotation(t *testing.T) {
	for name, c := range identities {
		t.Run(name, func(t *testing.T) {
			inWorld(t, c, func(t *testing.T, w *world) {
				w.cloud.SetLife(30 * time.Minute)
				w.ok(t, "first")
				time.Sleep(24 * time.Minute)
				w.ok(t, "while it is good")
				first := w.lookups()
				time.Sleep(2 * time.Minute)
				w.ok(t, "before its end")
				if n := w.lookups(); n <= first {
					t.Error("nothing was asked for before the end")
				}
				w.cloud.SetFault(func(rw http.ResponseWriter, r *http.Request) bool {
					http.Error(rw, "try later", http.StatusServiceUnavailable)
					return true
				})
				time.Sleep(29 * time.Minute)
				before := len(w.cloud.Asked())
				for range 5 {
					w.ok(t, "service down")
				}
				if n := len(w.cloud.Asked()) - before; n != 1 {
					t.Errorf("a service that is down was asked %d times within a moment for what is not needed yet", n)
				}
				time.Sleep(2 * time.Minute)
				status, _, err := w.request(t, "body")
				if err == nil || !strings.Contains(err.Error(), "503 Service Unavailable: try later") || !strings.Contains(err.Error(), "http://") {
					t.Errorf("%d, %v", status, err)
				}
				w.cloud.SetFault(nil)
				w.ok(t, "service back")
				for _, seen := range w.cloud.Checked() {
					if seen.Status != 200 {
						t.Errorf("the receiver refused: %+v", seen)
					}
				}
			})
		})
	}
}

// TestRenewal: a refusal of what is not young leads to one lookup in five minutes, and
// the request is sent once more if that gave something else.
func TestRenewal(t *testing.T) {
	for name, c := range identities {
		t.Run(name, func(t *testing.T) {
			inWorld(t, c, func(t *testing.T, w *world) {
				w.ok(t, "first")
				time.Sleep(30 * time.Second)
				w.cloud.Revoke()
				if status, _, _ := w.request(t, "body"); status/100 != 4 {
					t.Errorf("what is younger than a minute was renewed: %d", status)
				}
				time.Sleep(time.Minute)
				w.ok(t, "revoked, a minute old")
				before := len(w.cloud.Checked())
				time.Sleep(2 * time.Minute)
				w.cloud.Revoke()
				for range 2 {
					if status, _, _ := w.request(t, "body"); status/100 != 4 {
						t.Errorf("renewed twice in five minutes: %d", status)
					}
				}
				if n := len(w.cloud.Checked()) - before; n != 2 {
					t.Errorf("two requests were sent %d times", n)
				}
				time.Sleep(4 * time.Minute)
				w.ok(t, "revoked, five minutes later")

				if c.SigV4 != nil && c.SigV4.RoleARN != "" {
					return // whose own credentials are revoked with it
				}
				// The service has nothing else to give: no second request.
				w.cloud.Keep(true)
				w.cloud.Revoke()
				time.Sleep(10 * time.Minute)
				before = len(w.cloud.Checked())
				if status, _, err := w.request(t, "body"); status/100 != 4 || err != nil {
					t.Errorf("%d %v", status, err)
				}
				if n := len(w.cloud.Checked()) - before; n != 1 {
					t.Errorf("the same credentials were sent %d times", n)
				}
				// It is down when a refusal leads to it: that answer does not count.
				time.Sleep(10 * time.Minute)
				w.cloud.SetFault(func(rw http.ResponseWriter, r *http.Request) bool { rw.WriteHeader(500); return true })
				if _, _, err := w.request(t, "body"); err == nil || !strings.Contains(err.Error(), "500 Internal Server Error") {
					t.Errorf("%v", err)
				}
			})
		})
	}
}

// TestOver: what is over although it was just given is no reason to lose a sample.
func TestOver(t *testing.T) {
	inWorld(t, identities["instance role"], func(t *testing.T, w *world) {
		w.cloud.SetLife(-time.Hour)
		_, _, err := w.request(t, "body")
		if err == nil || !strings.Contains(err.Error(), "were over at 1999-12-31T23:00:00Z; is this host's clock right?") {
			t.Errorf("%v", err)
		}
		// One that ends on the way is exchanged, however young it is.
		w.cloud.SetLife(3 * time.Second)
		for range 20 {
			w.ok(t, "short lives")
			time.Sleep(700 * time.Millisecond)
		}
	})
}

// TestClock: a clock that is off is named, and only where signatures have a time.
func TestClock(t *testing.T) {
	for name, c := range identities {
		t.Run(name, func(t *testing.T) {
			inWorld(t, c, func(t *testing.T, w *world) {
				w.ok(t, "first")
				w.skew = -7 * time.Minute
				w.cloud.Revoke()
				status, _, err := w.request(t, "body")
				if c.SigV4 == nil {
					if status != 401 || err != nil {
						t.Errorf("%d %v", status, err)
					}
					return
				}
				if err == nil || !strings.Contains(err.Error(), "this host's clock is 7 min ahead of the receiver's") {
					t.Errorf("%v", err)
				}
				w.skew = 2 * time.Hour
				if _, _, err = w.request(t, "body"); err == nil || !strings.Contains(err.Error(), "this host's clock is 2 h behind the receiver's") {
					t.Errorf("%v", err)
				}
			})
		})
	}
}

// TestSignature is of the body that is sent, and new each time.
func TestSignature(t *testing.T) {
	inWorld(t, identities["instance role"], func(t *testing.T, w *world) {
		seen := map[string]bool{}
		for _, body := range []string{"one", "two", "two"} {
			if status, text, err := w.request(t, body); status != 204 {
				t.Fatalf("%d %s %v", status, text, err)
			}
			seen[w.sent.Header.Get("Authorization")] = true
			time.Sleep(time.Second)
		}
		if len(seen) != 3 {
			t.Errorf("three requests have %d signatures", len(seen))
		}
		req, _ := http.NewRequest(http.MethodPost, "http://receiver.example/w", strings.NewReader("another"))
		if err := w.Authorize(context.Background(), req, []byte("body")); err != nil {
			t.Fatal(err)
		}
		if res, err := w.receive(req); err != nil || res.StatusCode != 403 {
			t.Errorf("another body than was signed: %v %v", res, err)
		}
	})
}

// TestErrorsNameTheMistake: what was asked and what came, in one line without secrets,
// and asked once.
func TestErrorsNameTheMistake(t *testing.T) {
	status := func(code int, body string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			w.WriteHeader(code)
			fmt.Fprint(w, body)
			return true
		}
	}
	only := func(suffix string, f func(http.ResponseWriter, *http.Request) bool) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			return strings.HasSuffix(r.URL.Path, suffix) && f(w, r)
		}
	}
	hang := func(w http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true }
	for name, tc := range map[string]struct {
		identity string
		config   *Config
		fault    func(http.ResponseWriter, *http.Request) bool
		want     string
	}{
		"no role": {"instance role", nil, only("/security-credentials/", status(404, "<xml>\n none")),
			"no credentials of the instance's role: GET http://identity.example/latest/meta-data/iam/security-credentials/: 404 Not Found: <xml> none; the instance has no role, attach one to it"},
		"a role that may not": {"instance role", nil, only("/web", status(200, `{"Code": "AssumeRoleUnauthorizedAccess", "Message": "EC2 cannot assume the role web."}`)),
			"no credentials of the instance's role: GET http://identity.example/latest/meta-data/iam/security-credentials/web: 200 OK: AssumeRoleUnauthorizedAccess: EC2 cannot assume the role web."},
		"metadata off": {"instance role", nil, status(403, ""),
			"no credentials of the instance's role: PUT http://identity.example/latest/api/token: 403 Forbidden"},
		"not trusted": {"", &Config{SigV4: &SigV4{Region: cloudtest.Region, RoleARN: "arn:aws:iam::1:role/other"}}, nil,
			"no credentials of arn:aws:iam::1:role/other: POST http://identity.example/: 403 Forbidden: AccessDenied: User: arn:aws:sts::1:assumed-role/web is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::1:role/other"},
		"wrong region": {"", &Config{SigV4: &SigV4{Region: "us-east-1", RoleARN: cloudtest.RoleARN}}, nil, "Credential should be scoped to a valid region"},
		"not assigned": {"", &Config{AzureAD: &AzureAD{ManagedIdentity: &ManagedIdentity{ClientID: "22222222-2222-3333-4444-555555555555"}}}, nil,
			`400 Bad Request: {"error": "invalid_request", "error_description": "Identity not found"}; is that managed identity assigned to this host?`},
		"wrong secret": {"", &Config{AzureAD: &AzureAD{OAuth: &OAuth{ClientID: cloudtest.ClientID, TenantID: cloudtest.Tenant, ClientSecret: "another s3cr3t"}}}, nil,
			`401 Unauthorized: {"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret provided: <secret>"}`},
		"no account":        {"instance", nil, status(404, ""), "404 Not Found; the instance has no service account, attach one to it"},
		"no token":          {"instance", nil, status(200, `{"expires_in": 5}`), "token: 200 OK, but no credentials in it"},
		"garbage":           {"managed", nil, status(200, cloudtest.Secret), "token: 200 OK, but no credentials in it"},
		"throttled":         {"managed", nil, status(429, "slow down"), "429 Too Many Requests: slow down"},
		"throttled, Google": {"instance", nil, status(429, "slow down"), "429 Too Many Requests: slow down"},
		"throttled, Amazon": {"instance role", nil, status(429, "slow down"), "429 Too Many Requests: slow down"},
		"redirected": {"application", nil, func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, "http://elsewhere.example/", http.StatusTemporaryRedirect)
			return true
		}, "307 Temporary Redirect"},
		"slow":         {"managed", nil, hang, "GET http://169.254.169.254/metadata/identity/oauth2/token: no answer in time; is this host in that cloud"},
		"slow, Amazon": {"instance role", nil, hang, "no credentials of the instance's role: PUT http://identity.example/latest/api/token: "},
		"no file":      {"", &Config{GoogleIAM: &GoogleIAM{CredentialsFile: "/none.json"}}, nil, "no credentials of the service account of /none.json: credentials_file: open /none.json: no such file or directory"},
	} {
		t.Run(name, func(t *testing.T) {
			c := identities[tc.identity]
			if tc.config != nil {
				c = *tc.config
			}
			inWorld(t, c, func(t *testing.T, w *world) {
				w.cloud.SetFault(tc.fault)
				_, _, err := w.request(t, "body")
				if err == nil {
					t.Fatal("no error")
				}
				text := redact.New(c.Secrets()).Hide(err.Error())
				if !strings.Contains(text, tc.want) {
					t.Errorf("\n%s\nwant\n%s", text, tc.want)
				}
				if strings.Contains(text, "s3cr3t") || strings.ContainsAny(text, "\n\r") {
					t.Errorf("not fit to be shown: %s", text)
				}
				if n := w.lookups(); n > 1 && tc.config == nil {
					t.Errorf("asked %q", w.cloud.Asked())
				}
				if slices.Contains(w.net.Dialed(), "elsewhere.example:80") {
					t.Error("a redirect was followed")
				}
			})
		})
	}
}

// TestUnreachable: nobody at the address.
func TestUnreachable(t *testing.T) {
	inWorld(t, identities["managed"], func(t *testing.T, w *world) {
		w.Source.o.Dial = (&cloudtest.Net{}).Dial
		_, _, err := w.request(t, "body")
		want := "no credentials of the host's own managed identity: GET http://169.254.169.254/metadata/identity/oauth2/token: dial tcp 169.254.169.254:80: connection refused; is this host in that cloud, and is its metadata service enabled?"
		if err == nil || err.Error() != want {
			t.Errorf("%v, want\n%s", err, want)
		}
	})
}

// TestProxy: only what is not of the host itself is asked through a proxy.
func TestProxy(t *testing.T) {
	o := Options{Proxy: func(*http.Request) (*url.URL, error) { return url.Parse("http://proxy.example:3128") }}
	transport := o.exchange().rt.(*http.Transport)
	for at, want := range map[string]bool{"http://169.254.169.254/latest": false, "https://sts.eu-west-1.amazonaws.com/": true} {
		req, _ := http.NewRequest(http.MethodGet, at, nil)
		if u, err := transport.Proxy(req); err != nil || (u != nil) != want {
			t.Errorf("%s: %v %v", at, u, err)
		}
	}
}

// TestSTS: the endpoint is the region's own.
func TestSTS(t *testing.T) {
	t.Setenv("AWS_ENDPOINT_URL_STS", "")
	t.Setenv("AWS_ENDPOINT_URL", "")
	for want, c := range map[string]SigV4{
		"https://sts.eu-west-1.amazonaws.com/":      {Region: "eu-west-1"},
		"https://sts-fips.us-east-2.amazonaws.com/": {Region: "us-east-2", FIPS: true},
		"https://sts.us-gov-west-1.amazonaws.com/":  {Region: "us-gov-west-1", FIPS: true},
		"https://sts.cn-north-1.amazonaws.com.cn/":  {Region: "cn-north-1"},
	} {
		if got := c.stsURL(); got != want {
			t.Errorf("%+v: %s, want %s", c, got, want)
		}
	}
}
