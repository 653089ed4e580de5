// SPDX-License-Identifier: Apache-2.0

package cloudtest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// ServeHTTP answers as the service at that path.
func (c *Cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.asked = append(c.asked, r.Method+" "+r.URL.Path)
	fault := c.fault
	c.mu.Unlock()
	if fault != nil && fault(w, r) {
		return
	}
	switch path := r.URL.Path; {
	case strings.HasPrefix(path, "/latest/"):
		c.imds(w, r)
	case path == "/ecs":
		c.container(w, r)
	case path == "/" && r.Method == http.MethodPost:
		c.sts(w, r)
	case path == "/msi/token", path == "/metadata/identity/oauth2/token":
		c.managed(w, r)
	case path == "/"+Tenant+"/oauth2/v2.0/token":
		c.azure(w, r)
	case path == "/computeMetadata/v1/instance/service-accounts/default/token":
		c.gce(w, r)
	case path == "/google/token":
		c.google(w, r)
	default:
		http.NotFound(w, r)
	}
}

// imds is the second version of Amazon's instance metadata: a token first, 401 without it.
func (c *Cloud) imds(w http.ResponseWriter, r *http.Request) {
	const at = "/latest/meta-data/iam/security-credentials/"
	c.mu.Lock()
	session := c.session
	if r.URL.Path == "/latest/api/token" && r.Method == http.MethodPut {
		c.session = fmt.Sprintf("imds-%d-%s", len(c.asked), Secret)
		session = c.session
	}
	c.mu.Unlock()
	switch {
	case r.URL.Path == "/latest/api/token" && r.Method == http.MethodPut:
		if r.Header.Get("X-Aws-Ec2-Metadata-Token-Ttl-Seconds") == "" {
			http.Error(w, "Bad Request", http.StatusBadRequest)
			return
		}
		w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
		_, _ = io.WriteString(w, session)
	case session == "" || r.Header.Get("X-Aws-Ec2-Metadata-Token") != session:
		http.Error(w, "Unauthorized", http.StatusUnauthorized)
	case r.URL.Path == at:
		_, _ = io.WriteString(w, Role)
	case r.URL.Path == at+Role:
		c.awsJSON(w, c.issue("imds"))
	default:
		http.NotFound(w, r)
	}
}

func (c *Cloud) awsJSON(w http.ResponseWriter, i issued) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{
		"Code": "Success", "Type": "AWS-HMAC", "LastUpdated": time.Now().UTC().Format(time.RFC3339), "AccessKeyId": i.id, "SecretAccessKey": i.secret,
		"Token": i.session, "Expiration": i.until.UTC().Format(time.RFC3339Nano),
	})
}

func (c *Cloud) container(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != Header {
		http.Error(w, `{"code": "AccessDenied", "message": "`+r.Header.Get("Authorization")+`"}`, http.StatusForbidden)
		return
	}
	c.awsJSON(w, c.issue("ecs"))
}

// sts lets who signs assume RoleARN with the external ID.
func (c *Cloud) sts(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	form, _ := url.ParseQuery(string(body))
	refuse := func(code, message string) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error></ErrorResponse>", code, message)
	}
	if _, err := c.verify(r, body, "sts"); err != nil {
		refuse("InvalidClientTokenId", err.Error())
		return
	}
	if form.Get("Action") != "AssumeRole" || form.Get("Version") != "2011-06-15" || form.Get("RoleArn") != RoleARN ||
		form.Get("RoleSessionName") == "" || form.Get("ExternalId") == "wrong" || form.Get("DurationSeconds") != "900" {
		refuse("AccessDenied", "User: arn:aws:sts::1:assumed-role/web is not authorized to perform: sts:AssumeRole on resource: "+form.Get("RoleArn"))
		return
	}
	i := c.issue("sts")
	fmt.Fprintf(w, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><AssumedRoleUser><Arn>x</Arn></AssumedRoleUser>
<Credentials><AccessKeyId>%s</AccessKeyId><SecretAccessKey>%s</SecretAccessKey><SessionToken>%s</SessionToken><Expiration>%s</Expiration></Credentials>
</AssumeRoleResult></AssumeRoleResponse>`, i.id, i.secret, i.session, i.until.UTC().Format(time.RFC3339Nano))
}

// managed is the managed identity of an instance or of an app service.
func (c *Cloud) managed(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	app := r.URL.Path == "/msi/token"
	switch id := q.Get("client_id"); {
	case app && r.Header.Get("X-Identity-Header") != Header, !app && r.Header.Get("Metadata") != "true":
		http.Error(w, `{"error": "unauthorized_client", "error_description": "`+r.Header.Get("X-Identity-Header")+`"}`, http.StatusUnauthorized)
	case q.Get("resource") != "https://monitor.azure.com/", id != "" && id != ClientID:
		http.Error(w, `{"error": "invalid_request", "error_description": "Identity not found"}`, http.StatusBadRequest)
	default:
		i := c.issue("azure")
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"access_token": %q, "client_id": %q, "expires_in": "%d", "expires_on": "%d", "resource": "https://monitor.azure.com/", "token_type": "Bearer"}`,
			i.id, ClientID, int(time.Until(i.until).Round(time.Second).Seconds()), i.until.Unix())
	}
}

// azure is Azure AD, for a client's secret or an assertion.
func (c *Cloud) azure(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	good := r.PostForm.Get("client_secret") == Secret ||
		r.PostForm.Get("client_assertion") == Secret && r.PostForm.Get("client_assertion_type") == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	w.Header().Set("Content-Type", "application/json")
	if !good || r.PostForm.Get("grant_type") != "client_credentials" || r.PostForm.Get("client_id") != ClientID || r.PostForm.Get("scope") != "https://monitor.azure.com//.default" {
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprintf(w, `{"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret provided: %s%s"}`,
			r.PostForm.Get("client_secret"), r.PostForm.Get("client_assertion"))
		return
	}
	c.oauth(w, "azuread")
}

func (c *Cloud) oauth(w http.ResponseWriter, service string) {
	i := c.issue(service)
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"access_token": %q, "expires_in": %d, "token_type": "Bearer"}`, i.id, int(time.Until(i.until).Round(time.Second).Seconds()))
}

// gce is Google's metadata server.
func (c *Cloud) gce(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Metadata-Flavor") != "Google" {
		http.Error(w, "Missing Metadata-Flavor:Google header.", http.StatusForbidden)
		return
	}
	if r.URL.Query().Get("scopes") != "https://www.googleapis.com/auth/monitoring.write" {
		http.Error(w, "the scope is missing", http.StatusBadRequest)
		return
	}
	c.oauth(w, "gce")
}

// google takes an assertion that the key of WriteKeyFile has signed.
func (c *Cloud) google(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	parts := strings.Split(r.PostForm.Get("assertion"), ".")
	ok := len(parts) == 3 && r.PostForm.Get("grant_type") == "urn:ietf:params:oauth:grant-type:jwt-bearer"
	if ok {
		signature, _ := base64.RawURLEncoding.DecodeString(parts[2])
		claims, _ := base64.RawURLEncoding.DecodeString(parts[1])
		sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
		ok = rsa.VerifyPKCS1v15(&c.key.PublicKey, crypto.SHA256, sum[:], signature) == nil &&
			strings.Contains(string(claims), "monitoring.write") && strings.Contains(string(claims), "writer@project.example")
	}
	if !ok {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"error": "invalid_grant", "error_description": "Invalid JWT Signature: %s"}`, r.PostForm.Get("assertion"))
		return
	}
	c.oauth(w, "google")
}

// Takes has the cloud know the key that another one has made.
func (c *Cloud) Takes(o *Cloud) { c.key = o.key }

type serviceKey struct{ *rsa.PrivateKey }

// WriteKeyFile makes the key of a service account whose tokens come from base.
func (c *Cloud) WriteKeyFile(t testing.TB, base string) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	c.key = serviceKey{key}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "writer@project.example", "private_key_id": "k1",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), "token_uri": base + "/google/token",
	})
	file := filepath.Join(t.TempDir(), "key.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
