// SPDX-License-Identifier: Apache-2.0

package config

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"strings"

	"github.com/docker-remote-write/docker-remote-write/internal/weburl"
)

// nameEndpoints names those that have no name: by host and port; where two
// share them, by the path too; where they share that, by a hash of the URL. A
// name follows from the URLs alone and not from their order, since an
// endpoint's place in the queue is found by it.
func nameEndpoints(endpoints []Endpoint) {
	taken := map[string]int{}
	for i := range endpoints {
		if e := &endpoints[i]; e.Name != "" {
			taken[e.Name]++
		}
	}
	for _, derive := range []func(*url.URL) string{hostName, pathName, hashName} {
		count := map[string]int{}
		for i := range endpoints {
			if e := &endpoints[i]; e.Name == "" {
				count[derive(e.URL)]++
			}
		}
		named := map[int]string{}
		for i := range endpoints {
			e := &endpoints[i]
			if n := derive(e.URL); e.Name == "" && count[n] == 1 && taken[n] == 0 {
				named[i] = n
			}
		}
		for i, n := range named {
			endpoints[i].Name = n
			taken[n]++
		}
	}
}

// hostName is host:port; the scheme's own port is left out.
func hostName(u *url.URL) string {
	host := strings.ToLower(u.Host)
	switch {
	case u.Scheme == "http":
		host = strings.TrimSuffix(host, ":80")
	case u.Scheme == "https":
		host = strings.TrimSuffix(host, ":443")
	}
	return strings.TrimSuffix(host, ":")
}

func pathName(u *url.URL) string {
	return hostName(u) + strings.TrimRight(u.EscapedPath(), "/")
}

// hashName hides the query, which may hold a secret, behind enough of a hash
// to tell endpoints apart.
func hashName(u *url.URL) string {
	sum := sha256.Sum256([]byte(weburl.Requested(u).String()))
	return pathName(u) + "#" + hex.EncodeToString(sum[:4])
}
