// SPDX-License-Identifier: Apache-2.0

package cloudauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"cloud.google.com/go/compute/metadata"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/jwt"
)

const googleScope = "https://www.googleapis.com/auth/monitoring.write"

// tokenURL is where a key that names no other place is turned into tokens.
const tokenURL = "https://oauth2.googleapis.com/token"

// keyFile is the key of a service account.
type keyFile struct {
	Type         string `json:"type"`
	ClientEmail  string `json:"client_email"`
	PrivateKeyID string `json:"private_key_id"`
	PrivateKey   string `json:"private_key"`
	TokenURI     string `json:"token_uri"`
}

// CheckKeyFile checks what is to be the key file of a service account. The error shows
// nothing of it.
func CheckKeyFile(text []byte) error {
	_, err := parseKey(text)
	return err
}

func parseKey(text []byte) (key keyFile, err error) {
	problem := ""
	switch err := json.Unmarshal(text, &key); {
	case err != nil:
		problem = "is no JSON"
	case key.Type != "service_account":
		problem = `has another type than "service_account"`
	case key.ClientEmail == "" || key.PrivateKey == "":
		problem = "lacks client_email or private_key"
	default:
		return key, nil
	}
	return key, errors.New("the file " + problem + "; give the key file of a service account")
}

func (c *GoogleIAM) whose() string {
	if c.CredentialsFile != "" {
		return "the service account of " + c.CredentialsFile
	}
	return "the instance's service account"
}

func (c *GoogleIAM) secrets() []string {
	text, err := os.ReadFile(c.CredentialsFile)
	if err != nil {
		return nil
	}
	key, _ := parseKey(text)
	return []string{key.PrivateKey}
}

func (c *GoogleIAM) lookup(ctx context.Context, x *exchange) (credential, string, error) {
	whose := c.whose()
	if c.CredentialsFile == "" {
		got, err := instanceToken(ctx, x)
		return got, whose, err
	}
	text, err := os.ReadFile(c.CredentialsFile) // it may have been rotated
	if err != nil {
		return credential{}, whose, fmt.Errorf("credentials_file: %w", err)
	}
	key, err := parseKey(text)
	if err != nil {
		return credential{}, whose, fmt.Errorf("credentials_file: %w", err)
	}
	if key.TokenURI == "" {
		key.TokenURI = tokenURL
	}
	grant := jwt.Config{
		Email: key.ClientEmail, PrivateKey: []byte(key.PrivateKey), PrivateKeyID: key.PrivateKeyID,
		Scopes: []string{googleScope}, TokenURL: key.TokenURI,
	}
	got, err := bearer(grant.TokenSource(context.WithValue(ctx, oauth2.HTTPClient, x.client())).Token())
	return got, whose, err
}

// instanceToken asks the metadata server.
func instanceToken(ctx context.Context, x *exchange) (credential, error) {
	text, err := metadata.NewClient(x.client()).GetWithContext(ctx, "instance/service-accounts/default/token?scopes="+googleScope)
	if err != nil {
		return credential{}, err
	}
	var token struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
	}
	if err := json.Unmarshal([]byte(text), &token); err != nil {
		return credential{}, err
	}
	if token.AccessToken == "" || token.ExpiresIn <= 0 {
		return credential{}, errNoToken
	}
	return credential{token: token.AccessToken, expires: time.Now().Add(time.Duration(token.ExpiresIn) * time.Second)}, nil
}
