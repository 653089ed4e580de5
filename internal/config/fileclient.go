// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"

	promconfig "github.com/prometheus/common/config"
	"go.yaml.in/yaml/v2"
)

// client fills in e.Client from the entry.
func (r *remoteWrite) client(e *Endpoint, dir string, base promconfig.HTTPClientConfig) []error {
	var errs []error
	c := r.HTTP
	if err := c.Validate(); err != nil {
		errs = append(errs, plainError(err))
	}
	if e.URL != nil && e.URL.User != nil {
		if c.BasicAuth != nil || c.Authorization != nil || c.OAuth2 != nil {
			errs = append(errs, errors.New("the URL holds a user name beside basic_auth, authorization or oauth2; keep one of them"))
		}
		e.Client = c
		e.takeUser()
		c = e.Client
	}
	errs = append(errs, r.cloud(e, &c, dir)...)
	c.SetDirectory(dir)
	if c.OAuth2 != nil {
		c.OAuth2.ClientCertificateKeyFile = promconfig.JoinDir(dir, c.OAuth2.ClientCertificateKeyFile)
	}
	errs = append(errs, checkClient(&c)...)
	if c.ProxyURL.URL == nil && !c.ProxyFromEnvironment {
		c.ProxyFromEnvironment = base.ProxyFromEnvironment
	}
	c.FollowRedirects = false
	e.Client = c
	return errs
}

// checkClient looks for what would fail at the first request only: files that
// are not there, certificates that do not parse, references to a secret manager.
func checkClient(c *promconfig.HTTPClientConfig) []error {
	var errs []error
	tls := []struct {
		key string
		c   *promconfig.TLSConfig
	}{{"tls_config", &c.TLSConfig}}
	refs := []string{c.TLSConfig.CARef, c.TLSConfig.CertRef, c.TLSConfig.KeyRef}
	type file struct {
		key  string
		path *string
	}
	var files []file
	if b := c.BasicAuth; b != nil {
		refs = append(refs, b.UsernameRef, b.PasswordRef)
		files = append(files, file{"basic_auth.username_file", &b.UsernameFile}, file{"basic_auth.password_file", &b.PasswordFile})
		if strings.Contains(b.Username, ":") {
			errs = append(errs, errors.New("basic_auth.username has a colon, which basic authentication cannot carry"))
		}
	}
	if a := c.Authorization; a != nil {
		refs = append(refs, a.CredentialsRef)
		files = append(files, file{"authorization.credentials_file", &a.CredentialsFile})
	}
	if o := c.OAuth2; o != nil {
		refs = append(refs, o.ClientSecretRef, o.ClientCertificateKeyRef, o.TLSConfig.CARef, o.TLSConfig.CertRef, o.TLSConfig.KeyRef)
		files = append(files, file{"oauth2.client_secret_file", &o.ClientSecretFile}, file{"oauth2.client_certificate_key_file", &o.ClientCertificateKeyFile})
		tls = append(tls, struct {
			key string
			c   *promconfig.TLSConfig
		}{"oauth2.tls_config", &o.TLSConfig})
		if err := tokenURL(o.TokenURL); err != nil && o.TokenURL != "" {
			errs = append(errs, err)
		}
	}
	if c.HTTPHeaders != nil {
		for _, name := range slices.Sorted(maps.Keys(c.HTTPHeaders.Headers)) {
			h := c.HTTPHeaders.Headers[name]
			for i := range h.Files {
				files = append(files, file{"http_headers." + name, &h.Files[i]})
			}
			for _, v := range append(secretStrings(h.Secrets), h.Values...) {
				if err := checkHeader(name, v); err != nil {
					errs = append(errs, fmt.Errorf("http_headers: %w", err))
				}
			}
		}
	}
	for _, ref := range refs {
		if ref != "" {
			errs = append(errs, errors.New("a key that ends in _ref needs a secret manager, which there is none of; use the key itself or its _file form"))
			break
		}
	}
	for _, t := range tls {
		files = append(files, file{t.key + ".ca_file", &t.c.CAFile}, file{t.key + ".cert_file", &t.c.CertFile}, file{t.key + ".key_file", &t.c.KeyFile})
	}
	for _, f := range files {
		if *f.path == "" {
			continue
		}
		content, err := readFile(f.path)
		if err == nil && strings.TrimSpace(content) == "" {
			err = errors.New("the file is empty")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s %s: %w", f.key, quote(*f.path), err))
		}
	}
	if len(errs) > 0 {
		return errs
	}
	for _, t := range tls {
		if _, err := promconfig.NewTLSConfig(t.c); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", t.key, plainError(err)))
		}
	}
	return errs
}

func secretStrings(secrets []promconfig.Secret) []string {
	var s []string
	for _, secret := range secrets {
		s = append(s, string(secret))
	}
	return s
}

// checkTopLevel explains files that are not quite a remote_write list.
func checkTopLevel(text []byte) error {
	var top any
	if err := yaml.Unmarshal(text, &top); err != nil {
		return yamlError(err)
	}
	switch top := top.(type) {
	case nil:
		return errors.New("is empty; give Prometheus' remote_write list")
	case []any:
		return errors.New("begins with a list; put remote_write: above it")
	case map[any]any:
		for key := range top {
			if key == "global" || key == "scrape_configs" {
				return errors.New("is a whole prometheus.yml; give a file with its remote_write list alone, and set external labels with EXTERNAL_LABELS")
			}
		}
		return nil
	default:
		return errors.New("is no YAML with a remote_write list")
	}
}

var (
	unknownKey = regexp.MustCompile(`field (.+) not found in type \S+$`)
	typeName   = regexp.MustCompile(` (in|into) (type )?(config|promconfig|cloudauth|model|relabel|struct|map)\S*.*$`)
	anyValue   = regexp.MustCompile("(?s)`.*`|'.*' referenced")
	lineNumber = regexp.MustCompile(`^(yaml: )?(line \d+: )?`)
)

// yamlError rewrites what the YAML library says: one problem a line, in the
// words of the file, and without the values, which the library quotes.
func yamlError(err error) error {
	var t *yaml.TypeError
	if !errors.As(err, &t) {
		return plainError(err)
	}
	var errs []error
	for _, e := range t.Errors {
		line := strings.TrimPrefix(lineNumber.FindString(e), "yaml: ")
		rest := strings.TrimPrefix(e, lineNumber.FindString(e))
		switch m := unknownKey.FindStringSubmatch(rest); {
		case m != nil:
			rest = fmt.Sprintf("unknown key %s", quote(m[1]))
		case strings.Contains(rest, " already set in "):
			rest, _, _ = strings.Cut(rest, " already set in ")
			rest += " stands there twice"
		default:
			rest = hideValues(rest)
		}
		errs = append(errs, errors.New(line+rest))
	}
	return errors.Join(errs...)
}

// plainError makes an error of a library fit to be shown: a URL or a value in
// it may hold a secret.
func plainError(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return errors.New("a URL cannot be parsed; special characters in user name and password must be percent-encoded")
	}
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
		return err
	}
	return errors.New(hideValues(strings.TrimPrefix(err.Error(), "yaml: ")))
}

func hideValues(s string) string {
	s = anyValue.ReplaceAllString(s, "(a value)")
	return typeName.ReplaceAllString(s, "")
}
