// SPDX-License-Identifier: Apache-2.0

package cloudauth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	signer "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
)

// Variables that the vendor's own programs take credentials from.
const (
	envAccessKey         = "AWS_ACCESS_KEY_ID"
	envSecretKey         = "AWS_SECRET_ACCESS_KEY"
	envSessionToken      = "AWS_SESSION_TOKEN"
	envContainerFull     = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
	envContainerRelative = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
	envContainerToken    = "AWS_CONTAINER_AUTHORIZATION_TOKEN"
	envContainerFile     = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"
)

// containerHost is where relative URIs of containers lead.
const containerHost = "http://169.254.170.2"

// awsBase makes the provider that requests, or the one who assumes a role, have their
// credentials from.
type awsBase func(*http.Client) aws.CredentialsProvider

// base chooses in the vendor's order: the keys, the environment, the container, the
// instance.
func (c *SigV4) base() (awsBase, string) {
	static := func(id, key, session string) awsBase {
		return func(*http.Client) aws.CredentialsProvider {
			return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
				return aws.Credentials{AccessKeyID: id, SecretAccessKey: key, SessionToken: session}, nil
			})
		}
	}
	if c.AccessKey != "" {
		return static(c.AccessKey, string(c.SecretKey), ""), "access_key " + c.AccessKey
	}
	if id, key := os.Getenv(envAccessKey), os.Getenv(envSecretKey); id != "" && key != "" {
		return static(id, key, os.Getenv(envSessionToken)), envAccessKey + " " + id
	}
	uri := os.Getenv(envContainerFull)
	if relative := os.Getenv(envContainerRelative); relative != "" {
		uri = containerHost + relative
	}
	if uri != "" {
		return func(hc *http.Client) aws.CredentialsProvider {
			return endpointcreds.New(uri, func(o *endpointcreds.Options) {
				o.HTTPClient, o.Retryer = hc, aws.NopRetryer{}
				o.AuthorizationToken = os.Getenv(envContainerToken)
				if file := os.Getenv(envContainerFile); file != "" {
					o.AuthorizationTokenProvider = endpointcreds.TokenProviderFunc(func() (string, error) {
						text, err := os.ReadFile(file)
						return strings.TrimSpace(string(text)), err
					})
				}
			})
		}, "the container's role"
	}
	return func(hc *http.Client) aws.CredentialsProvider {
		return ec2rolecreds.New(func(o *ec2rolecreds.Options) {
			// Without the fallback to its first version, which has no token.
			o.Client = imds.New(imds.Options{HTTPClient: hc, Retryer: aws.NopRetryer{}, EnableFallback: aws.FalseTernary})
		})
	}, "the instance's role"
}

func (c *SigV4) lookup(ctx context.Context, x *exchange) (credential, string, error) {
	base, whose := c.base()
	hc := x.client()
	got, err := base(hc).Retrieve(ctx)
	if err == nil && c.RoleARN != "" {
		whose = c.RoleARN
		got, err = c.assume(ctx, hc, got)
	}
	cred := credential{aws: got}
	if got.CanExpire {
		cred.expires = got.Expires
	}
	return cred, whose, err
}

// sign signs the request as it is, with its body and the time.
func (c *SigV4) sign(ctx context.Context, req *http.Request, body []byte, with aws.Credentials) error {
	req.URL = req.URL.JoinPath() // Amazon signs a path without // and ..
	sum := sha256.Sum256(body)
	return signer.NewSigner().SignHTTP(ctx, with, req, hex.EncodeToString(sum[:]), c.ServiceName, c.Region, time.Now())
}

// signatureOf is the signature in the header of a signed request.
func signatureOf(header string) []string {
	_, signature, ok := strings.Cut(header, "Signature=")
	if !ok {
		return nil
	}
	return []string{signature}
}
