// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	promconfig "github.com/prometheus/common/config"
)

// authority is a certificate authority made for a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func pemOf(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	c, err = x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{c, key, pemOf("CERTIFICATE", der)}
}

// issue makes a certificate for 127.0.0.1 or, if given, for a name.
func (a *authority) issue(t *testing.T, name string, until time.Time) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "leaf"},
		NotBefore: until.Add(-2 * time.Hour), NotAfter: until, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if name == "" {
		c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	} else {
		c.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, &k.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	kder, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pemOf("CERTIFICATE", der), pemOf("PRIVATE KEY", kder)
}

// secure is a receiver over TLS. pair is asked for with each handshake.
func secure(t *testing.T, pair func() (cert, key string), clients func() []*authority) *receiver {
	t.Helper()
	r := &receiver{answer: func(n int, g *got) reply { return ok(g) }, stored: map[point]int{}, newest: map[string]int64{}}
	r.Server = httptest.NewUnstartedServer(r)
	r.Config.ErrorLog = log.New(io.Discard, "", 0)
	r.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		cert, key := pair()
		p, err := tls.X509KeyPair([]byte(cert), []byte(key))
		if err != nil {
			return nil, err
		}
		c := &tls.Config{Certificates: []tls.Certificate{p}}
		if clients != nil {
			c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
			for _, a := range clients() {
				c.ClientCAs.AddCert(a.cert)
			}
		}
		return c, nil
	}}
	r.StartTLS()
	t.Cleanup(r.Close)
	return r
}

func always(cert, key string) func() (string, string) {
	return func() (string, string) { return cert, key }
}

// TestTLS: each failure keeps the samples and says what is wrong; each right
// setting delivers.
func TestTLS(t *testing.T) {
	ours, theirs := newAuthority(t, "ours"), newAuthority(t, "theirs")
	soon := time.Now().Add(time.Hour)
	good, goodKey := ours.issue(t, "", soon)
	named, namedKey := ours.issue(t, "receiver.example", soon)
	old, oldKey := ours.issue(t, "", time.Now().Add(-time.Minute))
	client, clientKey := theirs.issue(t, "host", soon)
	stranger, strangerKey := ours.issue(t, "host", soon)
	plain := newReceiver(t, func(n int, g *got) reply { return ok(g) })

	for _, c := range []struct {
		name string
		r    *receiver
		url  string
		tls  promconfig.TLSConfig
		want string // in the error; "" is delivered
	}{
		{"own CA", secure(t, always(good, goodKey), nil), "", promconfig.TLSConfig{CA: ours.pem}, ""},
		{"not verified", secure(t, always(good, goodKey), nil), "", promconfig.TLSConfig{InsecureSkipVerify: true}, ""},
		{"wrong CA", secure(t, always(good, goodKey), nil), "", promconfig.TLSConfig{CA: theirs.pem}, "signed by an unknown authority"},
		{"no CA", secure(t, always(good, goodKey), nil), "", promconfig.TLSConfig{}, "signed by an unknown authority"},
		{"expired", secure(t, always(old, oldKey), nil), "", promconfig.TLSConfig{CA: ours.pem}, "has expired"},
		{"wrong name", secure(t, always(named, namedKey), nil), "", promconfig.TLSConfig{CA: ours.pem}, "is for another name"},
		{"server name", secure(t, always(named, namedKey), nil), "", promconfig.TLSConfig{CA: ours.pem, ServerName: "receiver.example"}, ""},
		{"client certificate missing", secure(t, always(good, goodKey), func() []*authority { return []*authority{theirs} }), "", promconfig.TLSConfig{CA: ours.pem}, "demands a client certificate"},
		{"client certificate", secure(t, always(good, goodKey), func() []*authority { return []*authority{theirs} }), "", promconfig.TLSConfig{CA: ours.pem, Cert: client, Key: promconfig.Secret(clientKey)}, ""},
		{"client certificate of another CA", secure(t, always(good, goodKey), func() []*authority { return []*authority{theirs} }), "", promconfig.TLSConfig{CA: ours.pem, Cert: stranger, Key: promconfig.Secret(strangerKey)}, "client certificate"},
		{"CA file missing", secure(t, always(good, goodKey), nil), "", promconfig.TLSConfig{CAFile: "/nonexistent/ca.pem"}, "unable to read CA cert"},
		{"CA garbage", secure(t, always(good, goodKey), nil), "", promconfig.TLSConfig{CA: "garbage"}, "unable to use specified CA cert"},
		{"key of another certificate", secure(t, always(good, goodKey), func() []*authority { return []*authority{theirs} }), "", promconfig.TLSConfig{CA: ours.pem, Cert: client, Key: promconfig.Secret(strangerKey)}, "private key does not match"},
		{"no TLS there", plain, strings.Replace(plain.URL, "http:", "https:", 1), promconfig.TLSConfig{CA: ours.pem}, "does not speak TLS"},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := newQueue(t, 4)
			q.fill(t, 1)
			if c.url == "" {
				c.url = c.r.URL
			}
			o := fast(t, c.url)
			o.Client.TLSConfig = c.tls
			s := sender(t, o, q)
			s.step(t.Context())
			st := s.Status()
			if c.want == "" {
				q.complete(t, c.r, nil)
				if st.CredentialError != "" || st.LastError != "" {
					t.Errorf("error %q, credential error %q", st.LastError, st.CredentialError)
				}
				return
			}
			if !strings.Contains(st.LastError, c.want) {
				t.Errorf("error %q, want %q in it", st.LastError, c.want)
			}
			if q.c.Backlog().Samples != 4 || st.State != StateBackingOff {
				t.Errorf("state %q, %+v waits: a wrong certificate must not cost samples", st.State, q.c.Backlog())
			}
		})
	}
}

// TestRotation: CA, client certificate and key are replaced on disk while the
// sender runs; with the next connection that is what is used.
func TestRotation(t *testing.T) {
	first, second := newAuthority(t, "first"), newAuthority(t, "second")
	soon := time.Now().Add(time.Hour)
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	serverCert, serverKey := first.issue(t, "", soon)
	clientCert, clientKey := first.issue(t, "host", soon)
	r := secure(t, func() (string, string) { return serverCert, serverKey }, func() []*authority { return []*authority{first, second} })

	q := newQueue(t, 4)
	o := fast(t, r.URL)
	o.Client.TLSConfig = promconfig.TLSConfig{CAFile: filepath.Join(dir, "ca"), CertFile: filepath.Join(dir, "cert"), KeyFile: filepath.Join(dir, "key")}
	s := sender(t, o, q)
	q.fill(t, 1)
	s.step(t.Context())
	if st := s.Status(); !strings.Contains(st.CredentialError, "unable to read") {
		t.Errorf("with no file there: %q", st.CredentialError)
	}
	write("ca", first.pem)
	write("cert", clientCert)
	write("key", clientKey)
	drainAll(t, s, q, 1)

	// The server moves to a certificate of the second authority.
	r.CloseClientConnections()
	serverCert, serverKey = second.issue(t, "", soon)
	q.fill(t, 1)
	s.step(t.Context())
	for range 3 { // a connection that was closed is found out first
		if st := s.Status(); strings.Contains(st.LastError, "unknown authority") {
			break
		}
		s.step(t.Context())
	}
	if st := s.Status(); !strings.Contains(st.CredentialError, "unknown authority") {
		t.Errorf("after the server's CA changed: %+v", st)
	}
	write("ca", second.pem)
	clientCert, clientKey = second.issue(t, "host", soon)
	write("cert", clientCert)
	write("key", clientKey)
	drainAll(t, s, q, 3)
	q.complete(t, r, nil)
	if st := s.Status(); st.CredentialError != "" {
		t.Errorf("all is well, but the status says %q", st.CredentialError)
	}
}

// TestSecretFiles: a token file is read anew with each request.
func TestSecretFiles(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	r := newReceiver(t, nil)
	r.answer = func(n int, g *got) reply {
		if g.Header.Get("Authorization") != "Bearer right" {
			return reply{Status: http.StatusUnauthorized}
		}
		return ok(g)
	}
	q := newQueue(t, 4)
	o := fast(t, r.URL)
	o.HoldOnAuthError = true
	o.Client.Authorization = &promconfig.Authorization{Type: "Bearer", CredentialsFile: token}
	s := sender(t, o, q)
	q.fill(t, 1)
	s.step(t.Context())
	if st := s.Status(); !strings.Contains(st.CredentialError, "unable to read authorization credentials") {
		t.Errorf("without the file: %q", st.CredentialError)
	}
	for _, v := range []string{"wrong", "right\n"} {
		if err := os.WriteFile(token, []byte(v), 0o600); err != nil {
			t.Fatal(err)
		}
		s.step(t.Context())
	}
	q.complete(t, r, nil)
}

// TestEmptiedFile: while a file with a credential is empty nothing is sent and nothing is
// lost, and the status names it.
func TestEmptiedFile(t *testing.T) {
	for _, tt := range []struct {
		kind string
		set  func(c *promconfig.HTTPClientConfig, file string)
	}{
		{"token", func(c *promconfig.HTTPClientConfig, file string) {
			c.Authorization = &promconfig.Authorization{Type: "Bearer", CredentialsFile: file}
		}},
		{"bearer token", func(c *promconfig.HTTPClientConfig, file string) { c.BearerTokenFile = file }},
		{"password", func(c *promconfig.HTTPClientConfig, file string) {
			c.BasicAuth = &promconfig.BasicAuth{Username: "right", PasswordFile: file}
		}},
		{"user name", func(c *promconfig.HTTPClientConfig, file string) {
			c.BasicAuth = &promconfig.BasicAuth{UsernameFile: file, Password: "right"}
		}},
	} {
		t.Run(tt.kind, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "secret")
			write := func(text string) {
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			r := newReceiver(t, func(n int, g *got) reply {
				user, password, basic := (&http.Request{Header: g.Header}).BasicAuth()
				if basic && user == "right" && password == "right" || g.Header.Get("Authorization") == "Bearer right" {
					return ok(g)
				}
				return reply{Status: http.StatusUnauthorized}
			})
			q := newQueue(t, 4)
			o := fast(t, r.URL)
			tt.set(&o.Client, file)
			s := sender(t, o, q)
			write("right\n")
			q.fill(t, 1)
			s.step(t.Context())
			q.fill(t, 1)
			for _, text := range []string{"", " \n"} {
				write(text)
				s.step(t.Context())
				if st := s.Status(); !strings.Contains(st.CredentialError, file+", which should hold a credential, is empty") {
					t.Errorf("with %q in the file the status says %q", text, st.CredentialError)
				}
			}
			write("right\n")
			s.step(t.Context())
			q.complete(t, r, nil)
			if n := len(r.requests()); n != 2 {
				t.Errorf("%d requests, want the two with the credential", n)
			}
		})
	}
}
