// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	promconfig "github.com/prometheus/common/config"

	"github.com/docker-remote-write/docker-remote-write/internal/cloudauth"
)

// cloud is the identity of the instance, if the environment asks for it.
func (l *loader) cloud(u *url.URL) cloudauth.Config {
	c, cred := cloudauth.Config{}, &l.cred
	if cred.sigv4Region != "" {
		c.SigV4 = &cloudauth.SigV4{Region: cred.sigv4Region, RoleARN: cred.sigv4RoleARN}
	}
	if cred.azureClientID != "" {
		c.AzureAD = &cloudauth.AzureAD{ManagedIdentity: &cloudauth.ManagedIdentity{ClientID: cred.azureClientID}}
	}
	if cred.googleIAM {
		c.GoogleIAM = &cloudauth.GoogleIAM{}
	}
	names := l.clouds()
	if len(names) == 0 || l.bad[names[0]] {
		return c
	}
	byName := strings.NewReplacer("sigv4.region", "REMOTE_WRITE_SIGV4_REGION", "sigv4.role_arn", "REMOTE_WRITE_SIGV4_ROLE_ARN",
		"azuread.managed_identity.client_id", "REMOTE_WRITE_AZURE_CLIENT_ID", "sigv4,", "REMOTE_WRITE_SIGV4_REGION,",
		"azuread", "REMOTE_WRITE_AZURE_CLIENT_ID", "google_iam", "REMOTE_WRITE_GOOGLE_IAM")
	for _, err := range c.Complete(u) {
		l.bad[names[0]] = true
		l.errs = append(l.errs, errors.New(byName.Replace(err.Error())))
	}
	return c
}

// clouds are the settings that ask for an identity of a cloud.
func (l *loader) clouds() []string {
	names := l.among("REMOTE_WRITE_SIGV4_REGION", "REMOTE_WRITE_SIGV4_ROLE_ARN", "REMOTE_WRITE_AZURE_CLIENT_ID")
	if l.cred.googleIAM {
		names = append(names, "REMOTE_WRITE_GOOGLE_IAM")
	}
	return names
}

// cloudAlone refuses other credentials beside those of a cloud.
func (l *loader) cloudAlone() {
	if l.cred.sigv4RoleARN != "" && l.cred.sigv4Region == "" {
		l.contradict([]string{"REMOTE_WRITE_SIGV4_ROLE_ARN"}, "a role without a region; set REMOTE_WRITE_SIGV4_REGION")
	}
	others := l.among("REMOTE_WRITE_USERNAME", "REMOTE_WRITE_PASSWORD", "REMOTE_WRITE_PASSWORD_FILE",
		"REMOTE_WRITE_BEARER_TOKEN", "REMOTE_WRITE_BEARER_TOKEN_FILE")
	if names := l.clouds(); len(names) > 0 && len(others) > 0 {
		l.contradict(append(names, others...), "the identity of a cloud beside other credentials; keep one of them")
	}
}

// cloud fills in e.Cloud from the entry, whose other credentials are in c.
func (r *remoteWrite) cloud(e *Endpoint, c *promconfig.HTTPClientConfig, dir string) []error {
	e.Cloud = cloudauth.Config{SigV4: r.SigV4, AzureAD: r.AzureAD, GoogleIAM: r.GoogleIAM}
	if !e.Cloud.Set() {
		return nil
	}
	errs := e.Cloud.Complete(e.URL)
	if c.BasicAuth != nil || c.Authorization != nil || c.OAuth2 != nil {
		errs = append(errs, errors.New("sigv4, azuread or google_iam beside basic_auth, authorization, oauth2 or a user name in the URL; keep one of them"))
	}
	read := func(key string, path *string) (text string) {
		*path = promconfig.JoinDir(dir, *path)
		text, err := readFile(path)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s %s: %w", key, quote(*path), err))
		}
		return text
	}
	if a := r.AzureAD; a != nil && a.WorkloadIdentity != nil && len(errs) == 0 {
		read("azuread.workload_identity.token_file_path", &a.WorkloadIdentity.TokenFilePath)
	}
	if g := r.GoogleIAM; g != nil && g.CredentialsFile != "" {
		if text := read("google_iam.credentials_file", &g.CredentialsFile); text != "" {
			if err := cloudauth.CheckKeyFile([]byte(text)); err != nil {
				errs = append(errs, fmt.Errorf("google_iam.credentials_file %s: %w", quote(g.CredentialsFile), err))
			}
		}
	}
	return errs
}

// emptyClouds finds keys that stand there with nothing behind them: nobody means to send
// without credentials then.
func emptyClouds(entry any) (errs []error) {
	keys, _ := entry.(map[any]any)
	for _, key := range []string{"sigv4", "azuread", "google_iam"} {
		if v, ok := keys[key]; ok && v == nil {
			errs = append(errs, fmt.Errorf("%s has nothing under it; write %s: {} if its defaults are meant", key, key))
		}
	}
	return errs
}
