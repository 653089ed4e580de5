// SPDX-License-Identifier: Apache-2.0

// Package cloudauth gives requests the credentials that the managed receivers of the
// clouds ask for: a signature by Amazon's SigV4, or a token of Azure AD or of Google.
//
// A Source holds the credentials of one endpoint. It asks an identity service when a
// request is to leave and not before, in the time that the request has, and once: when to
// try again is for the sender to say.
package cloudauth

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"

	promconfig "github.com/prometheus/common/config"
)

// Config says whose credentials requests carry. At most one is not nil.
type Config struct {
	SigV4     *SigV4
	AzureAD   *AzureAD
	GoogleIAM *GoogleIAM
}

// SigV4 has the keys of sigv4 in Prometheus' remote_write list.
type SigV4 struct {
	Region      string            `yaml:"region"`
	AccessKey   string            `yaml:"access_key"`
	SecretKey   promconfig.Secret `yaml:"secret_key"`
	Profile     string            `yaml:"profile"`
	RoleARN     string            `yaml:"role_arn"`
	ExternalID  string            `yaml:"external_id"`
	SessionName string            `yaml:"session_name"`
	Tags        map[string]string `yaml:"tags"`
	FIPS        bool              `yaml:"use_fips_sts_endpoint"`
	ServiceName string            `yaml:"service_name"`
}

// AzureAD has the keys of azuread.
type AzureAD struct {
	ManagedIdentity  *ManagedIdentity  `yaml:"managed_identity"`
	WorkloadIdentity *WorkloadIdentity `yaml:"workload_identity"`
	OAuth            *OAuth            `yaml:"oauth"`
	SDK              any               `yaml:"sdk"`
	Certificate      any               `yaml:"certificate"`
	Cloud            string            `yaml:"cloud"`
	Scope            string            `yaml:"scope"`
}

// ManagedIdentity is that of the host; without an ID the one that it has as a system.
type ManagedIdentity struct {
	ClientID string `yaml:"client_id"`
}

// WorkloadIdentity is an application that a token in a file speaks for.
type WorkloadIdentity struct {
	ClientID      string `yaml:"client_id"`
	TenantID      string `yaml:"tenant_id"`
	TokenFilePath string `yaml:"token_file_path"`
}

// OAuth is an application with a secret.
type OAuth struct {
	ClientID     string            `yaml:"client_id"`
	ClientSecret promconfig.Secret `yaml:"client_secret"`
	TenantID     string            `yaml:"tenant_id"`
}

// GoogleIAM has the keys of google_iam. Without a file it is the account of the instance.
type GoogleIAM struct {
	CredentialsFile string `yaml:"credentials_file"`
}

// Set reports whether there are credentials of a cloud.
func (c Config) Set() bool { return c.SigV4 != nil || c.AzureAD != nil || c.GoogleIAM != nil }

// Complete fills in what has a default, for the receiver at u, and reports all that is
// wrong. It reads no file.
func (c Config) Complete(u *url.URL) []error {
	kinds := 0
	for _, set := range []bool{c.SigV4 != nil, c.AzureAD != nil, c.GoogleIAM != nil} {
		if set {
			kinds++
		}
	}
	if kinds > 1 {
		return []error{errors.New("more than one of sigv4, azuread and google_iam; keep one of them")}
	}
	switch {
	case c.SigV4 != nil:
		return c.SigV4.complete(u)
	case c.AzureAD != nil:
		return c.AzureAD.complete()
	}
	return nil
}

// String is the identity as people are told of it, without secrets.
func (c Config) String() string {
	switch {
	case c.SigV4 != nil:
		_, whose := c.SigV4.base()
		if c.SigV4.RoleARN != "" {
			whose += ", as " + c.SigV4.RoleARN
		}
		return fmt.Sprintf("sigv4 for %s in %s, %s", c.SigV4.ServiceName, c.SigV4.Region, whose)
	case c.AzureAD != nil:
		return "azuread, " + c.AzureAD.whose()
	case c.GoogleIAM != nil:
		return "google_iam, " + c.GoogleIAM.whose()
	}
	return "none"
}

// Secrets are those of the configuration and of the files and variables that it uses.
func (c Config) Secrets() []string {
	switch {
	case c.SigV4 != nil:
		return []string{string(c.SigV4.SecretKey), os.Getenv(envSecretKey), os.Getenv(envSessionToken), os.Getenv(envContainerToken)}
	case c.AzureAD != nil && c.AzureAD.OAuth != nil:
		return []string{string(c.AzureAD.OAuth.ClientSecret)}
	case c.AzureAD != nil && c.AzureAD.WorkloadIdentity != nil:
		text, _ := os.ReadFile(c.AzureAD.WorkloadIdentity.TokenFilePath)
		return []string{string(text)}
	case c.GoogleIAM != nil && c.GoogleIAM.CredentialsFile != "":
		return c.GoogleIAM.secrets()
	}
	return nil
}

// Patterns, which only who has such a setting compiles.
const (
	sessionName = `^[\w+=,.@-]{2,64}$`
	regionName  = `^[a-z0-9]+(-[a-z0-9]+)*$`
	// A workspace's host names its region.
	workspaceHost = `^aps-workspaces(?:-fips)?\.([a-z0-9-]+)\.(?:amazonaws\.com(?:\.cn)?|api\.aws)$`
	uuid          = `^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`
	// A tenant stands in a URL's path.
	tenant = `^[0-9a-zA-Z.-]+$`
	scope  = `^[\w\s:/.-]+$`
)

func match(pattern, s string) bool { return regexp.MustCompile(pattern).MatchString(s) }

func (c *SigV4) complete(u *url.URL) []error {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	of := ""
	if u != nil {
		if m := regexp.MustCompile(workspaceHost).FindStringSubmatch(strings.ToLower(u.Hostname())); m != nil {
			of = m[1]
		}
	}
	for _, region := range []string{os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION"), of} {
		if c.Region == "" {
			c.Region = region
		}
	}
	switch {
	case c.Region == "":
		bad("sigv4.region is missing; give the receiver's region, such as eu-west-1")
	case !match(regionName, c.Region):
		bad("sigv4.region is %q; give one such as eu-west-1", c.Region)
	case of != "" && of != c.Region:
		bad("sigv4.region is %s, but the URL's receiver is in %s; give that region", c.Region, of)
	}
	if c.ServiceName == "" {
		c.ServiceName = "aps"
	}
	if (c.AccessKey == "") != (c.SecretKey == "") {
		bad("sigv4.access_key and sigv4.secret_key go together; give both, or none for the instance's role")
	}
	if c.Profile != "" {
		bad("sigv4.profile is not supported, since no shared configuration file is read; give access_key and secret_key, role_arn, or none for the instance's role")
	}
	if c.RoleARN == "" {
		if c.ExternalID != "" || c.SessionName != "" || len(c.Tags) > 0 {
			bad("sigv4.external_id, session_name and tags belong to a role; give role_arn")
		}
		return errs
	}
	if !strings.HasPrefix(c.RoleARN, "arn:") || !strings.Contains(c.RoleARN, ":role/") {
		bad("sigv4.role_arn is %q; give one such as arn:aws:iam::123456789012:role/name", c.RoleARN)
	}
	if c.SessionName != "" && !match(sessionName, c.SessionName) {
		bad("sigv4.session_name is %q; give 2 to 64 letters, digits and _+=,.@-", c.SessionName)
	}
	for k, v := range c.Tags {
		if k == "" || len(k) > 128 || len(v) > 256 {
			bad("sigv4.tags: the tag %q is empty or too long; give a key of 1 to 128 characters and a value of at most 256", k)
		}
	}
	return errs
}

func (c *AzureAD) complete() []error {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf("azuread."+format, a...)) }
	if c.Cloud == "" {
		c.Cloud = "AzurePublic"
	}
	if _, ok := azureClouds[c.Cloud]; !ok {
		bad("cloud is %q; give AzurePublic, AzureGovernment or AzureChina", c.Cloud)
	}
	if c.Scope != "" && !match(scope, c.Scope) {
		bad("scope has characters that no scope has; give one such as https://monitor.azure.com//.default")
	}
	if c.SDK != nil {
		bad("sdk is not supported, since it tries one identity after the other; name yours: managed_identity, workload_identity or oauth")
	}
	if c.Certificate != nil {
		bad("certificate is not supported; give managed_identity, workload_identity or oauth with a client secret")
	}
	id := func(key, v string) {
		if !match(uuid, v) {
			bad("%s is %q; give one such as 00000000-0000-0000-0000-000000000000", key, v)
		}
	}
	kinds := 0
	if m := c.ManagedIdentity; m != nil {
		kinds++
		if m.ClientID != "" {
			id("managed_identity.client_id", m.ClientID)
		}
	}
	if w := c.WorkloadIdentity; w != nil {
		kinds++
		id("workload_identity.client_id", w.ClientID)
		if !match(tenant, w.TenantID) {
			bad("workload_identity.tenant_id is %q; give the tenant's ID or domain", w.TenantID)
		}
		if w.TokenFilePath == "" {
			w.TokenFilePath = envOr("AZURE_FEDERATED_TOKEN_FILE", "/var/run/secrets/azure/tokens/azure-identity-token")
		}
	}
	if o := c.OAuth; o != nil {
		kinds++
		id("oauth.client_id", o.ClientID)
		if !match(tenant, o.TenantID) {
			bad("oauth.tenant_id is %q; give the tenant's ID or domain", o.TenantID)
		}
		if o.ClientSecret == "" {
			bad("oauth.client_secret is missing; give the application's secret")
		}
	}
	if kinds != 1 && c.SDK == nil && c.Certificate == nil {
		errs = append(errs, errors.New("azuread needs one identity; give one of managed_identity, workload_identity and oauth ({} under managed_identity is the host's own)"))
	}
	return errs
}

func envOr(name, fallback string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return fallback
}
