// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"bytes"
	"fmt"
	"os"

	promconfig "github.com/prometheus/common/config"
)

// emptied reports, as an error, that a file with a credential is empty: it may be about to
// be written anew, and a request with an empty credential is refused. One that cannot be
// read is reported by who reads it for the request.
func emptied(c *promconfig.HTTPClientConfig) error {
	var files []string
	if b := c.BasicAuth; b != nil {
		files = append(files, b.UsernameFile, b.PasswordFile)
	}
	if a := c.Authorization; a != nil {
		files = append(files, a.CredentialsFile)
	}
	if o := c.OAuth2; o != nil {
		files = append(files, o.ClientSecretFile)
	}
	for _, f := range files {
		if f == "" {
			continue
		}
		if text, err := os.ReadFile(f); err == nil && len(bytes.TrimSpace(text)) == 0 {
			return &localError{fmt.Errorf("the file %s, which should hold a credential, is empty", f)}
		}
	}
	return nil
}
