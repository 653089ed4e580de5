// SPDX-License-Identifier: Apache-2.0

package cloudtest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Verify checks a request's signature as Amazon describes it, in
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html,
// for the service and the region, at a time. secretOf has the secret of an access key ID,
// empty for none. The error is what Amazon would answer, with 403.
func Verify(r *http.Request, body []byte, region, service string, at time.Time, secretOf func(id string) string) (id string, err error) {
	const algorithm = "AWS4-HMAC-SHA256"
	rest, ok := strings.CutPrefix(r.Header.Get("Authorization"), algorithm+" ")
	if !ok {
		return "", refusal("Missing Authentication Token")
	}
	parts := map[string]string{}
	for _, p := range strings.Split(rest, ",") {
		k, v, _ := strings.Cut(strings.TrimSpace(p), "=")
		parts[k] = v
	}
	id, scope, _ := strings.Cut(parts["Credential"], "/")
	secret := secretOf(id)
	if secret == "" {
		return id, refusal("The security token included in the request is invalid.")
	}
	stamp := r.Header.Get("X-Amz-Date")
	signed, err := time.Parse("20060102T150405Z", stamp)
	if err != nil {
		return id, refusal("Date must be in ISO-8601 'basic format'. Got '%s'.", stamp)
	}
	if want := signed.Format("20060102") + "/" + region + "/" + service + "/aws4_request"; scope != want {
		return id, refusal("Credential should be scoped to a valid region. Want %s, got %s.", want, scope)
	}
	if d := at.Sub(signed); d.Abs() > 5*time.Minute {
		return id, refusal("Signature expired: %s is now earlier than %s", stamp, at.Add(-5*time.Minute).UTC().Format("20060102T150405Z"))
	}
	names := strings.Split(parts["SignedHeaders"], ";")
	if !slices.IsSorted(names) || !slices.Contains(names, "host") || !slices.Contains(names, "x-amz-date") {
		return id, refusal("'Host' and 'X-Amz-Date' must be signed headers, in order: %q", names)
	}
	if r.Header.Get("X-Amz-Security-Token") != "" && !slices.Contains(names, "x-amz-security-token") {
		return id, refusal("the session token is not signed")
	}
	payload := sha256.Sum256(body)
	canonical := strings.Join([]string{
		r.Method, canonicalPath(r.URL), canonicalQuery(r.URL), canonicalHeaders(r, names), strings.Join(names, ";"), hex.EncodeToString(payload[:]),
	}, "\n")
	hash := sha256.Sum256([]byte(canonical))
	toSign := strings.Join([]string{algorithm, stamp, scope, hex.EncodeToString(hash[:])}, "\n")
	key := []byte("AWS4" + secret)
	for _, step := range strings.Split(scope, "/") {
		key = mac(key, step)
	}
	if want := hex.EncodeToString(mac(key, toSign)); want != parts["Signature"] {
		return id, refusal("The request signature we calculated does not match the signature you provided. The Canonical String for this request should have been '%s'", canonical)
	}
	return id, nil
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// canonicalPath is the path as it was sent, without . and .. and empty segments, each of
// the others encoded once more.
func canonicalPath(u *url.URL) string {
	var kept []string
	for s := range strings.SplitSeq(u.EscapedPath(), "/") {
		switch s {
		case "", ".":
		case "..":
			kept = kept[:max(0, len(kept)-1)]
		default:
			kept = append(kept, encode(s))
		}
	}
	path := "/" + strings.Join(kept, "/")
	if len(kept) > 0 && strings.HasSuffix(u.EscapedPath(), "/") {
		path += "/"
	}
	return path
}

func canonicalQuery(u *url.URL) string {
	var pairs []string
	for k, values := range u.Query() {
		for _, v := range values {
			pairs = append(pairs, encode(k)+"="+encode(v))
		}
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "&")
}

// canonicalHeaders are the signed ones, each on a line; the host and the length are not
// among a server's headers.
func canonicalHeaders(r *http.Request, names []string) string {
	var b strings.Builder
	for _, name := range names {
		values := slices.Clone(r.Header.Values(name))
		switch name {
		case "host":
			values = []string{r.Host}
		case "content-length":
			values = []string{fmt.Sprint(r.ContentLength)}
		}
		for i, v := range values {
			values[i] = strings.Join(strings.Fields(v), " ")
		}
		fmt.Fprintf(&b, "%s:%s\n", name, strings.Join(values, ","))
	}
	return b.String()
}

// encode leaves letters, digits and -._~ as they are.
func encode(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// words are what a receiver answers, in its own spelling.
type words string

func (w words) Error() string { return string(w) }

func refusal(format string, a ...any) error { return words(fmt.Sprintf(format, a...)) }
