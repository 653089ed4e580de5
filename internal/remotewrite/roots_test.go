// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"crypto/x509"
	"net/url"
	"testing"

	promconfig "github.com/prometheus/common/config"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

func TestBundledRootsAreComplete(t *testing.T) {
	want := x509.NewCertPool()
	n := 0
	for root := range bundle.Roots() {
		cert, err := x509.ParseCertificate(root.Certificate)
		if err != nil {
			t.Fatal(err)
		}
		want.AddCert(cert)
		n++
	}
	if n < 100 || !bundledRoots().Equal(want) {
		t.Errorf("the roots are not the %d of the bundle", n)
	}
}

func TestNeedsRoots(t *testing.T) {
	proxy := promconfig.HTTPClientConfig{}
	proxy.ProxyURL.URL = &url.URL{Scheme: "https", Host: "proxy.example.org"}
	for _, tc := range []struct {
		name, scheme string
		config       promconfig.HTTPClientConfig
		want         bool
	}{
		{"http", "http", promconfig.HTTPClientConfig{}, false},
		{"https", "https", promconfig.HTTPClientConfig{}, true},
		{"a CA of its own", "https", promconfig.HTTPClientConfig{TLSConfig: promconfig.TLSConfig{CAFile: "ca.pem"}}, false},
		{"the token's server", "http", promconfig.HTTPClientConfig{TLSConfig: promconfig.TLSConfig{CA: "x"}, OAuth2: &promconfig.OAuth2{}}, true},
		{"a proxy", "http", proxy, true},
	} {
		if got := needsRoots(tc.scheme, &tc.config); got != tc.want {
			t.Errorf("%s: %t", tc.name, got)
		}
	}
}
