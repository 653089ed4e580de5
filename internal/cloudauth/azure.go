// SPDX-License-Identifier: Apache-2.0

package cloudauth

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/managedidentity"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// azureCloud is where tokens of a cloud come from, and what they are for.
type azureCloud struct{ authority, scope string }

// azureClouds are those that Prometheus knows. The two slashes are part of the audience.
var azureClouds = map[string]azureCloud{
	"AzurePublic":     {"https://login.microsoftonline.com/", "https://monitor.azure.com//.default"},
	"AzureGovernment": {"https://login.microsoftonline.us/", "https://monitor.azure.us//.default"},
	"AzureChina":      {"https://login.chinacloudapi.cn/", "https://monitor.azure.cn//.default"},
}

func (c *AzureAD) whose() string {
	switch {
	case c.OAuth != nil:
		return "the application " + c.OAuth.ClientID
	case c.WorkloadIdentity != nil:
		return "the workload identity " + c.WorkloadIdentity.ClientID
	case c.ManagedIdentity.ClientID != "":
		return "the managed identity " + c.ManagedIdentity.ClientID
	}
	return "the host's own managed identity"
}

func (c *AzureAD) lookup(ctx context.Context, x *exchange) (credential, string, error) {
	whose := c.whose()
	wanted := azureClouds[c.Cloud].scope
	if c.Scope != "" {
		wanted = c.Scope
	}
	switch {
	case c.OAuth != nil:
		got, err := c.grant(ctx, x, c.OAuth.TenantID, clientcredentials.Config{
			ClientID: c.OAuth.ClientID, ClientSecret: string(c.OAuth.ClientSecret), Scopes: []string{wanted},
		})
		return got, whose, err
	case c.WorkloadIdentity != nil:
		w := c.WorkloadIdentity
		token, err := os.ReadFile(w.TokenFilePath) // it is rotated
		if err != nil {
			return credential{}, whose, fmt.Errorf("token_file_path: %w", err)
		}
		got, err := c.grant(ctx, x, w.TenantID, clientcredentials.Config{
			ClientID: w.ClientID, Scopes: []string{wanted},
			EndpointParams: url.Values{
				"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
				"client_assertion":      {strings.TrimSpace(string(token))},
			},
		})
		return got, whose, err
	}
	got, err := managed(ctx, x, c.ManagedIdentity.ClientID, wanted)
	return got, whose, err
}

// grant asks Azure AD itself.
func (c *AzureAD) grant(ctx context.Context, x *exchange, tenant string, cc clientcredentials.Config) (credential, error) {
	authority := envOr("AZURE_AUTHORITY_HOST", azureClouds[c.Cloud].authority)
	cc.TokenURL = strings.TrimSuffix(authority, "/") + "/" + tenant + "/oauth2/v2.0/token"
	cc.AuthStyle = oauth2.AuthStyleInParams
	token, err := cc.Token(context.WithValue(ctx, oauth2.HTTPClient, x.client()))
	return bearer(token, err)
}

// managed asks the service of the host.
func managed(ctx context.Context, x *exchange, clientID, wanted string) (credential, error) {
	id := managedidentity.SystemAssigned()
	if clientID != "" {
		id = managedidentity.UserAssignedClientID(clientID)
	}
	client, err := managedidentity.New(id, managedidentity.WithHTTPClient(x.client()), managedidentity.WithRetryPolicyDisabled())
	if err != nil {
		return credential{}, err
	}
	// With claims the library does not answer from its cache, which does not know that a
	// token was refused.
	got, err := client.AcquireToken(ctx, wanted, managedidentity.WithClaims("{}"))
	if err == nil && got.AccessToken == "" {
		err = errNoToken
	}
	return credential{token: got.AccessToken, expires: got.ExpiresOn}, err
}

var errNoToken = errors.New("there is no token in the answer")

// bearer is what an OAuth2 server gave.
func bearer(token *oauth2.Token, err error) (credential, error) {
	switch {
	case err != nil:
		return credential{}, err
	case token.AccessToken == "":
		return credential{}, errNoToken
	}
	return credential{token: token.AccessToken, expires: token.Expiry}, nil
}
