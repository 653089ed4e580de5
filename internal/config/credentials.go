// SPDX-License-Identifier: Apache-2.0

package config

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	promconfig "github.com/prometheus/common/config"
	"golang.org/x/net/http/httpguts"
)

// credentials are the settings of that group, as they were set.
type credentials struct {
	username, password, passwordFile string
	token, tokenFile                 string
	tenant                           string
	ca, caFile                       string
	cert, certFile                   string
	key, keyFile                     string
	serverName                       string
	insecure                         bool
	sigv4Region, sigv4RoleARN        string
	azureClientID                    string
	googleIAM                        bool
}

// client turns the credentials into the configuration of an HTTP client.
func (l *loader) client(urls []*url.URL) promconfig.HTTPClientConfig {
	c := &l.cred
	l.exclusive("REMOTE_WRITE_PASSWORD", "REMOTE_WRITE_PASSWORD_FILE")
	l.exclusive("REMOTE_WRITE_BEARER_TOKEN", "REMOTE_WRITE_BEARER_TOKEN_FILE")
	l.exclusive("REMOTE_WRITE_CA", "REMOTE_WRITE_CA_FILE")
	l.exclusive("REMOTE_WRITE_CERT", "REMOTE_WRITE_CERT_FILE")
	l.exclusive("REMOTE_WRITE_KEY", "REMOTE_WRITE_KEY_FILE")

	client := l.base.Client
	client.EnableHTTP2, client.FollowRedirects = true, false
	basic := l.among("REMOTE_WRITE_USERNAME", "REMOTE_WRITE_PASSWORD", "REMOTE_WRITE_PASSWORD_FILE")
	bearer := l.among("REMOTE_WRITE_BEARER_TOKEN", "REMOTE_WRITE_BEARER_TOKEN_FILE")
	if len(basic) > 0 && len(bearer) > 0 {
		l.contradict(append(basic, bearer...), "both basic authentication and a bearer token; keep one of them")
	}
	if len(basic) > 0 {
		switch {
		case c.username == "":
			l.contradict(append(basic, "REMOTE_WRITE_USERNAME"), "a password without a user name; set REMOTE_WRITE_USERNAME")
		case len(basic) == 1:
			l.contradict(basic, "a user name without a password; set REMOTE_WRITE_PASSWORD or REMOTE_WRITE_PASSWORD_FILE")
		case strings.Contains(c.username, ":"):
			l.fail("REMOTE_WRITE_USERNAME", c.username, errors.New("has a colon, which basic authentication cannot carry"))
		}
		client.BasicAuth = &promconfig.BasicAuth{Username: c.username, Password: promconfig.Secret(c.password), PasswordFile: c.passwordFile}
		l.secretFile("REMOTE_WRITE_PASSWORD_FILE", &client.BasicAuth.PasswordFile)
	}
	if len(bearer) > 0 {
		if !httpguts.ValidHeaderFieldValue(c.token) {
			l.fail("REMOTE_WRITE_BEARER_TOKEN", "", errors.New("has characters that a header cannot carry; give the bare token"))
		}
		if t := strings.ToLower(c.token); strings.HasPrefix(t, "bearer ") || strings.HasPrefix(t, "basic ") {
			l.fail("REMOTE_WRITE_BEARER_TOKEN", "", errors.New("begins with the name of the scheme; give the bare token"))
		}
		client.Authorization = &promconfig.Authorization{Type: "Bearer", Credentials: promconfig.Secret(c.token), CredentialsFile: c.tokenFile}
		l.secretFile("REMOTE_WRITE_BEARER_TOKEN_FILE", &client.Authorization.CredentialsFile)
	}
	client.TLSConfig = l.tls(urls)
	return client
}

func (l *loader) tls(urls []*url.URL) promconfig.TLSConfig {
	c := &l.cred
	used := l.among("REMOTE_WRITE_CA", "REMOTE_WRITE_CA_FILE", "REMOTE_WRITE_CERT", "REMOTE_WRITE_CERT_FILE",
		"REMOTE_WRITE_KEY", "REMOTE_WRITE_KEY_FILE", "REMOTE_WRITE_SERVER_NAME")
	certs := l.among("REMOTE_WRITE_CERT", "REMOTE_WRITE_CERT_FILE")
	keys := l.among("REMOTE_WRITE_KEY", "REMOTE_WRITE_KEY_FILE")
	if (len(certs) > 0) != (len(keys) > 0) {
		l.contradict(append(certs, keys...), "client certificate and private key go together; set REMOTE_WRITE_CERT and REMOTE_WRITE_KEY, or their _FILE forms")
	}
	ca := l.pemFile("REMOTE_WRITE_CA", c.ca, &c.caFile)
	if ca != "" {
		if err := checkCA(ca); err != nil {
			l.fail(one(l, "REMOTE_WRITE_CA"), "", err)
		}
	}
	cert, key := l.pemFile("REMOTE_WRITE_CERT", c.cert, &c.certFile), l.pemFile("REMOTE_WRITE_KEY", c.key, &c.keyFile)
	if cert != "" && key != "" {
		if err := checkKeyPair(cert, key); err != nil {
			l.fail(one(l, "REMOTE_WRITE_CERT"), "", err)
		}
	}
	secure := false
	for _, u := range urls {
		secure = secure || u.Scheme == "https"
	}
	if len(used) > 0 && len(urls) > 0 && !secure {
		l.warn(used[0], "has no effect, since no URL in REMOTE_WRITE_URL begins with https://")
	}
	if c.insecure && len(l.among("REMOTE_WRITE_CA", "REMOTE_WRITE_CA_FILE", "REMOTE_WRITE_SERVER_NAME")) > 0 {
		l.warn("REMOTE_WRITE_INSECURE_SKIP_VERIFY", "makes the authorities and the server name that are set meaningless; unset one or the other")
	}
	return promconfig.TLSConfig{
		CA: c.ca, CAFile: c.caFile, Cert: c.cert, CertFile: c.certFile, Key: promconfig.Secret(c.key), KeyFile: c.keyFile,
		ServerName: c.serverName, InsecureSkipVerify: c.insecure,
	}
}

// one is that of the two forms of a setting which is set.
func one(l *loader, name string) string {
	if l.set(name) {
		return name
	}
	return name + "_FILE"
}

func (l *loader) exclusive(a, b string) {
	if l.set(a) && l.set(b) {
		l.contradict([]string{a, b}, "exclude each other; keep one of them")
	}
}

// secretFile checks that a secret can be read now, so that a typing error
// shows at once. It is read again when it is used.
func (l *loader) secretFile(name string, path *string) {
	if *path == "" || l.bad[name] {
		return
	}
	content, err := readFile(path)
	if err == nil && strings.TrimSpace(content) == "" {
		err = errors.New("the file is empty")
	}
	if err != nil {
		l.fail(name, *path, l.hint(err))
	}
	l.warnOddFile(name, content)
}

// pemFile is the content of an inline setting or of its _FILE form.
func (l *loader) pemFile(name, inline string, path *string) string {
	if inline != "" || *path == "" {
		return inline
	}
	content, err := readFile(path)
	if err != nil {
		l.fail(name+"_FILE", *path, l.hint(err))
	}
	l.warnOddFile(name+"_FILE", content)
	return content
}

// maxFile bounds what is read of any file: a bundle of all public authorities
// is a fifth of it.
const maxFile = 1 << 20

// readFile reads a regular file and makes its path absolute, so that a later
// reader does not depend on the working directory.
func readFile(path *string) (string, error) {
	abs, err := filepath.Abs(*path)
	if err != nil {
		return "", err
	}
	*path = abs
	// A pipe or a device could block or never end.
	switch info, err := os.Stat(abs); {
	case err != nil:
		return "", plainPathError(err)
	case !info.Mode().IsRegular():
		return "", errors.New("is not a file")
	case info.Size() > maxFile:
		return "", fmt.Errorf("the file has %d bytes; at most %d are read", info.Size(), maxFile)
	}
	b, err := os.ReadFile(abs)
	if err != nil {
		return "", plainPathError(err)
	}
	return string(b), nil
}

// plainPathError drops the path, which the error's setting shows already.
func plainPathError(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return fmt.Errorf("the file cannot be read: %w", p.Err)
	}
	return err
}

// hint says where a plugin finds files: it does not see the host's.
func (l *loader) hint(err error) error {
	if l.mode == Plugin && errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w; the plugin sees only files below /data, which is its propagated-mount directory on the host, "+
			"and in its config mount: docker plugin set NAME config.source=/directory/on/the/host makes that directory /config", err)
	}
	return err
}

// unescapePEM mends a PEM text whose line breaks were written as \n, as files
// with one setting a line need it.
func unescapePEM(v string) string {
	if strings.HasPrefix(v, "-----BEGIN") && !strings.Contains(v, "\n") {
		v = strings.ReplaceAll(strings.ReplaceAll(v, `\r`, ""), `\n`, "\n")
	}
	return v
}

func checkCA(text string) error {
	n := 0
	for rest := []byte(text); ; n++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return fmt.Errorf("block %d is a %s; give certificates in PEM form", n+1, quote(block.Type))
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return fmt.Errorf("certificate %d cannot be parsed: %w", n+1, err)
		}
	}
	if n == 0 {
		return errors.New("has no certificate in PEM form, -----BEGIN CERTIFICATE-----")
	}
	return nil
}

func checkKeyPair(cert, key string) error {
	if _, err := tls.X509KeyPair([]byte(cert), []byte(key)); err != nil {
		return fmt.Errorf("client certificate and private key cannot be used: %w", errors.New(strings.TrimPrefix(err.Error(), "tls: ")))
	}
	return nil
}
