// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"crypto/x509"
	"encoding/pem"
	"sync"

	promconfig "github.com/prometheus/common/config"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// useBundledRoots makes the CA roots in the program those of a system that has
// none, as the plugin's image. Package fallback does that whenever it is linked,
// for a megabyte of parsed certificates; most receivers are reached by http or
// have a CA of their own.
var useBundledRoots = sync.OnceFunc(func() { x509.SetFallbackRoots(bundledRoots()) })

// bundledRoots keeps the certificates as they come; each is parsed when it is
// looked at.
func bundledRoots() *x509.CertPool {
	pool := x509.NewCertPool()
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			pool.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}))
		} else if cert, err := x509.ParseCertificate(root.Certificate); err == nil {
			pool.AddCertWithConstraint(cert, root.Constraint)
		}
	}
	return pool
}

// needsRoots reports whether a client with that configuration may have to verify
// a certificate against the system's roots.
func needsRoots(scheme string, c *promconfig.HTTPClientConfig) bool {
	if c.OAuth2 != nil {
		return true // its token comes from another server
	}
	if c.TLSConfig.CA != "" || c.TLSConfig.CAFile != "" || c.TLSConfig.CARef != "" {
		return false
	}
	return scheme == "https" || c.ProxyURL.URL != nil || c.ProxyFromEnvironment
}
