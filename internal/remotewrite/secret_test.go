// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	promconfig "github.com/prometheus/common/config"
)

// marker is what every secret of the tests has in it.
const marker = "s3cr3t+M/rk=er"

// TestSecretsStayInside sets a credential of each kind to a marker, against
// receivers that send back all they were sent, in every place and spelling they
// have, and that redirect to another port. The marker may get into nothing that is
// shown, and to no other server.
func TestSecretsStayInside(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(marker+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// It must never hear of us.
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("another server got a request: %s %v", r.URL, r.Header)
	}))
	defer elsewhere.Close()
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"access_token": "token-%s", "token_type": "Bearer", "expires_in": 3600}`, marker)
	}))
	defer tokens.Close()
	refusingTokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.ParseForm()
		user, password, _ := r.BasicAuth()
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, user, password, r.Form)
	}))
	defer refusingTokens.Close()

	creds := map[string]func(o *Options){
		"password":      func(o *Options) { o.Client.BasicAuth = &promconfig.BasicAuth{Username: "u", Password: marker} },
		"password file": func(o *Options) { o.Client.BasicAuth = &promconfig.BasicAuth{Username: "u", PasswordFile: file} },
		"user name":     func(o *Options) { o.Client.BasicAuth = &promconfig.BasicAuth{Username: marker, Password: "pppppppp"} },
		"bearer": func(o *Options) {
			o.Client.Authorization = &promconfig.Authorization{Type: "Bearer", Credentials: marker}
		},
		"bearer file": func(o *Options) {
			o.Client.Authorization = &promconfig.Authorization{Type: "Bearer", CredentialsFile: file}
		},
		"url":    func(o *Options) { o.URL.User = url.UserPassword("u", marker) },
		"header": func(o *Options) { o.Headers = map[string]string{"X-Api-Key": marker} },
		"config header": func(o *Options) {
			o.Client.HTTPHeaders = &promconfig.Headers{Headers: map[string]promconfig.Header{"X-Key": {Secrets: []promconfig.Secret{marker}}}}
		},
		"oauth2": func(o *Options) {
			o.Client.OAuth2 = &promconfig.OAuth2{ClientID: "id", ClientSecret: marker, TokenURL: tokens.URL}
		},
		"oauth2 refused": func(o *Options) {
			o.Client.OAuth2 = &promconfig.OAuth2{ClientID: "id", ClientSecret: marker, TokenURL: refusingTokens.URL}
		},
	}
	echo := func(r *http.Request) string {
		var b strings.Builder
		fmt.Fprintln(&b, r.Header)
		r.Header.Write(&b)
		for _, vs := range r.Header {
			for _, v := range vs {
				_, token, _ := strings.Cut(v, " ")
				plain, _ := base64.StdEncoding.DecodeString(token)
				for _, x := range []string{v, token, string(plain)} {
					j, _ := json.Marshal(x)
					fmt.Fprintln(&b, x, url.QueryEscape(x), url.PathEscape(x), string(j), fmt.Sprintf("%q", x))
				}
			}
		}
		return b.String()
	}
	pad := strings.Repeat("x", shownBytes-20)
	answers := map[string]http.HandlerFunc{
		"body": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(403); io.WriteString(w, echo(r)) },
		"body at the cut": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(500)
			io.WriteString(w, pad+echo(r))
		},
		"marker at the cut": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(400)
			io.WriteString(w, pad+"ab "+marker)
		},
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", elsewhere.URL+"/"+url.PathEscape(marker)+"?key="+url.QueryEscape(marker))
			w.WriteHeader(307)
			io.WriteString(w, echo(r))
		},
		"redirect 301": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", elsewhere.URL)
			w.WriteHeader(301)
		},
		"status line": func(w http.ResponseWriter, r *http.Request) {
			c, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			fmt.Fprintf(c, "HTTP/1.1 418 no %s\r\nContent-Length: 0\r\n\r\n", marker)
			c.Close()
		},
		"broken header": func(w http.ResponseWriter, r *http.Request) {
			c, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			fmt.Fprintf(c, "HTTP/1.1 %s\r\n\r\n", marker)
			c.Close()
		},
	}
	for kind, set := range creds {
		for name, answer := range answers {
			t.Run(kind+"/"+name, func(t *testing.T) {
				srv := httptest.NewServer(answer)
				defer srv.Close()
				q := newQueue(t, 2)
				o := fast(t, srv.URL+"/write?token="+url.QueryEscape(marker))
				set(&o)
				l, log := logged()
				o.Log = l
				o.Secrets = func() []string { return []string{marker} }
				s := sender(t, o, q)
				q.fill(t, 6)
				for range 6 {
					s.step(t.Context())
				}
				s.client.close()
				st := s.Status()
				shown := fmt.Sprintf("%+v\n%s", st, log)
				if st.LastError == "" {
					t.Error("nothing was refused")
				}
				for _, spelling := range []string{marker, url.QueryEscape(marker), url.PathEscape(marker),
					base64.StdEncoding.EncodeToString([]byte(marker)), base64.StdEncoding.EncodeToString([]byte("u:" + marker)),
					marker[:9], base64.StdEncoding.EncodeToString([]byte(marker))[:12], base64.StdEncoding.EncodeToString([]byte("u:" + marker))[:12]} {
					if strings.Contains(shown, spelling) {
						t.Errorf("%q is shown in %s", spelling, shown)
					}
				}
			})
		}
	}
}

// TestErrorsAreFitToBeShown: a body is cut at 1 KiB and has no control characters.
func TestErrorsAreFitToBeShown(t *testing.T) {
	for _, body := range []string{
		"bad\x1b[31mred\r\nfaked log line level=info\x00", strings.Repeat("long ", 10_000), "\xff\xfe\xfd", "ok: größer ✓", "\u202egnp.exe", "",
	} {
		r := newReceiver(t, func(int, *got) reply { return reply{Status: 500, Body: body} })
		q := newQueue(t, 2)
		s := sender(t, fast(t, r.URL), q)
		q.fill(t, 1)
		s.step(t.Context())
		got := s.Status().LastError
		if strings.ContainsFunc(got, func(c rune) bool { return c < ' ' || c == 0x7f || c == '\u202e' || c == '\ufffd' }) {
			t.Errorf("control characters in %q", got)
		}
		if len(got) > 4*shownBytes {
			t.Errorf("%d bytes are shown", len(got))
		}
		if !strings.HasPrefix(got, "500 Internal Server Error") {
			t.Errorf("%q does not begin with the status", got)
		}
		if strings.Contains(body, "✓") && !strings.HasSuffix(got, body) {
			t.Errorf("%q is not shown as it is", got)
		}
	}
}
