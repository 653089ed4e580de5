// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"time"

	"golang.org/x/oauth2"

	"github.com/docker-remote-write/docker-remote-write/internal/cloudauth"
)

// localError wraps an error that has its cause on this side.
type localError struct{ err error }

func (e *localError) Error() string { return e.err.Error() }
func (e *localError) Unwrap() error { return e.err }

// fromHere reports whether an error comes from a file, from the server of OAuth2 or from
// an identity service, and not from the network to the receiver.
func fromHere(err error) bool {
	var (
		own   *localError
		file  *fs.PathError
		token *oauth2.RetrieveError
	)
	return aboutIdentity(err) || errors.As(err, &own) || errors.As(err, &file) || errors.As(err, &token)
}

// isLocal reports whether an error before there was a connection comes from
// credentials or certificates rather than from the network.
func isLocal(err error) bool {
	var (
		cert    *tls.CertificateVerificationError
		unknown x509.UnknownAuthorityError
		invalid x509.CertificateInvalidError
		host    x509.HostnameError
		record  tls.RecordHeaderError
	)
	return fromHere(err) || aboutCertificate(err) || errors.As(err, &cert) ||
		errors.As(err, &unknown) || errors.As(err, &invalid) || errors.As(err, &host) ||
		errors.As(err, &record)
}

// describe says what an error means for whoever has to act on it.
func describe(ctx context.Context, err error, timeout time.Duration) error {
	var (
		unknown x509.UnknownAuthorityError
		invalid x509.CertificateInvalidError
		host    x509.HostnameError
		record  tls.RecordHeaderError
		op      *net.OpError
	)
	who := "the receiver"
	if errors.As(err, &op) && op.Op == "proxyconnect" {
		who = "the proxy"
	}
	switch {
	case aboutIdentity(err):
		return err // it says what was asked, and what came
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("no answer within %s: %w", timeout, err)
	case errors.As(err, &unknown):
		return fmt.Errorf("%s's certificate is signed by an unknown authority, a CA of your own must be set: %w", who, err)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Errorf("%s's certificate has expired or is not valid yet: %w", who, err)
	case errors.As(err, &host):
		return fmt.Errorf("%s's certificate is for another name: %w", who, err)
	case remoteAlert(err) == alertCertificateRequired:
		return fmt.Errorf("%s demands a client certificate: %w", who, err)
	case aboutCertificate(err):
		return fmt.Errorf("%s does not accept our client certificate: %w", who, err)
	case errors.As(err, &record):
		return fmt.Errorf("%s does not speak TLS on this port: %w", who, err)
	}
	return err
}

// Alerts that speak of certificates (RFC 8446, section 6).
const (
	alertBadCertificate      tls.AlertError = 42
	alertUnsupportedCert     tls.AlertError = 43
	alertRevoked             tls.AlertError = 44
	alertExpired             tls.AlertError = 45
	alertUnknownCertificate  tls.AlertError = 46
	alertUnknownCA           tls.AlertError = 48
	alertAccessDenied        tls.AlertError = 49
	alertCertificateRequired tls.AlertError = 116
)

// remoteAlert is the TLS alert that the other side ended the connection with, 0 if
// it was none of the above. crypto/tls keeps the number to itself; its text is the
// same as that of the exported type.
func remoteAlert(err error) tls.AlertError {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" || op.Err == nil {
		return 0
	}
	for _, a := range []tls.AlertError{
		alertCertificateRequired, alertBadCertificate, alertUnsupportedCert, alertRevoked,
		alertExpired, alertUnknownCertificate, alertUnknownCA, alertAccessDenied,
	} {
		if op.Err.Error() == a.Error() {
			return a
		}
	}
	return 0
}

// aboutIdentity reports whether there were no credentials of a cloud that could be used.
func aboutIdentity(err error) bool {
	var identity *cloudauth.Error
	return errors.As(err, &identity)
}

// aboutCertificate reports whether the other side did not like our certificate.
// With TLS 1.3 it says so only after the request has left; it has not read it.
func aboutCertificate(err error) bool { return remoteAlert(err) != 0 }
