// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	promconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"golang.org/x/net/http/httpguts"
)

// pair is one name=value.
type pair struct{ name, value string }

// parsePairs reads name=value,name="a value, with a comma". In quotes a
// backslash makes the next character plain. Its errors show no value.
func parsePairs(v string) ([]pair, error) {
	var pairs []pair
	for rest := strings.TrimSpace(v); rest != ""; {
		name, after, ok := strings.Cut(rest, "=")
		name = strings.TrimSpace(name)
		if !ok || name == "" || strings.ContainsAny(name, ",\"") {
			return nil, fmt.Errorf("entry %d is not name=value; separate entries with commas and put values with commas in double quotes", len(pairs)+1)
		}
		after = strings.TrimLeft(after, " \t")
		var value string
		if strings.HasPrefix(after, `"`) {
			n := 0
			if value, n = unquote(after[1:]); n < 0 {
				return nil, fmt.Errorf("the value of %s has an opening double quote and no closing one", quote(name))
			}
			after = strings.TrimSpace(after[1+n:])
			if after != "" && after[0] != ',' {
				return nil, fmt.Errorf("after the quoted value of %s comes no comma", quote(name))
			}
			rest = strings.TrimPrefix(after, ",")
		} else {
			value, rest, _ = strings.Cut(after, ",")
			value = strings.TrimSpace(value)
		}
		rest = strings.TrimSpace(rest)
		pairs = append(pairs, pair{name, value})
	}
	return pairs, nil
}

// unquote reads up to the closing quote and returns how many bytes that took,
// -1 if there is none.
func unquote(s string) (string, int) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), i + 1
		case '\\':
			if i++; i < len(s) {
				b.WriteByte(s[i])
			}
		default:
			b.WriteByte(s[i])
		}
	}
	return "", -1
}

// external reads EXTERNAL_LABELS.
func (l *loader) external() {
	const name = "EXTERNAL_LABELS"
	v := l.cfg.values[name]
	pairs, err := parsePairs(v)
	if err != nil {
		l.fail(name, v, err)
		return
	}
	b := labels.NewBuilder(labels.EmptyLabels())
	seen := map[string]bool{}
	for _, p := range pairs {
		if err := checkLabel(p, seen[p.name]); err != nil {
			l.fail(name, v, err)
			return
		}
		seen[p.name] = true
		b.Set(p.name, p.value)
	}
	l.cfg.External = b.Labels()
}

func checkLabel(p pair, twice bool) error {
	switch {
	case !model.LegacyValidation.IsValidLabelName(p.name):
		return fmt.Errorf("%s is no label name; use letters, digits and underscores, and no digit first", quote(p.name))
	case strings.HasPrefix(p.name, "__"):
		return fmt.Errorf("%s begins with __, which is reserved", quote(p.name))
	case p.name == model.JobLabel:
		return errors.New("the label job is set with JOB")
	case p.name == model.InstanceLabel:
		return errors.New("the label instance is set with INSTANCE")
	case p.name == model.BucketLabel || p.name == model.QuantileLabel:
		return fmt.Errorf("the label %s tells buckets and quantiles apart and cannot be the same on all series", p.name)
	case twice:
		return fmt.Errorf("the label %s stands there twice", p.name)
	case p.value == "":
		return fmt.Errorf("the label %s has no value, which is the same as no label; leave it out", p.name)
	}
	if err := checkLabelValue(p.value); err != nil {
		return fmt.Errorf("the value of %s %w", p.name, err)
	}
	return nil
}

func checkLabelValue(v string) error {
	switch {
	case !utf8.ValidString(v) || strings.IndexFunc(v, unicode.IsControl) >= 0:
		return errors.New("has control characters or bytes that are not UTF-8; give plain text on one line")
	case len(v) > 1024:
		return fmt.Errorf("has %d bytes; give at most 1024", len(v))
	}
	return nil
}

// headers reads REMOTE_WRITE_HEADERS and REMOTE_WRITE_TENANT.
func (l *loader) headers() map[string]string {
	const name = "REMOTE_WRITE_HEADERS"
	pairs, err := parsePairs(l.cfg.values[name])
	if err != nil {
		l.fail(name, "", err)
		return nil
	}
	headers := map[string]string{}
	for _, p := range pairs {
		key := http.CanonicalHeaderKey(p.name)
		_, twice := headers[key]
		err := checkHeader(p.name, p.value)
		if err == nil && twice {
			err = fmt.Errorf("the header %s stands there twice", key)
		}
		if err != nil {
			l.fail(name, "", err)
			continue
		}
		headers[key] = p.value
	}
	const tenantHeader = "X-Scope-Orgid"
	if l.cred.tenant != "" {
		if _, ok := headers[tenantHeader]; ok {
			l.contradict([]string{"REMOTE_WRITE_TENANT", name}, "both set X-Scope-OrgID; keep one of them")
		}
		headers[tenantHeader] = l.cred.tenant
	}
	if len(headers) == 0 {
		return nil
	}
	return headers
}

// checkHeader checks a custom header. Its errors never show the value.
func checkHeader(name, value string) error {
	key := http.CanonicalHeaderKey(name)
	switch _, reserved := promconfig.ReservedHeaders[key]; {
	case !httpguts.ValidHeaderFieldName(name):
		return fmt.Errorf("%s is no header name", quote(name))
	case key == "Authorization":
		return errors.New("the header Authorization is made from user name and password or from the bearer token; set those")
	case reserved || key == "Transfer-Encoding" || key == "Te" || key == "Trailer" || key == "Upgrade" || key == "Expect" || key == "Retry-Attempt":
		return fmt.Errorf("the header %s belongs to the protocol and cannot be set", key)
	case !httpguts.ValidHeaderFieldValue(value):
		return fmt.Errorf("the value of the header %s has control characters", key)
	}
	return nil
}
