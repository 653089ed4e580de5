// SPDX-License-Identifier: Apache-2.0

// Package cloudtest stands in for the clouds: identity services that behave as Amazon,
// Microsoft and Google document theirs, and receivers that check what they gave. It shares
// no code with the vendors' packages.
package cloudtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Names that the identity services know.
const (
	Region   = "eu-west-1"
	Role     = "web"
	RoleARN  = "arn:aws:iam::123456789012:role/metrics"
	ClientID = "11111111-2222-3333-4444-555555555555"
	Tenant   = "contoso.example"
	// Secret is in every secret that is configured or issued.
	Secret = "s3cr3t+M/rk=er"
	// Header is what IDENTITY_HEADER and AWS_CONTAINER_AUTHORIZATION_TOKEN are to be.
	Header = "header-" + Secret
)

// Cloud is all of the identity services, at their paths. The zero value gives what has
// expired: see SetLife.
type Cloud struct {
	key serviceKey // what WriteKeyFile has written

	mu      sync.Mutex
	life    time.Duration
	issued  map[string]issued // by access key ID, or token
	gone    map[string]bool   // revoked before their time
	sticky  map[string]issued // by service, while Keep
	keep    bool
	session string // the metadata service's token
	asked   []string
	fault   func(http.ResponseWriter, *http.Request) bool
	checked []Checked
}

type issued struct {
	id, secret, session string
	until               time.Time
}

// Checked is a request that a receiver has checked.
type Checked struct {
	ID     string
	Status int
	Why    string
}

// SetLife says how long credentials are good from now on, in whole seconds.
func (c *Cloud) SetLife(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.life = d
}

// SetFault has requests to the identity services go to f first; true says that it
// answered. Nil ends it.
func (c *Cloud) SetFault(f func(http.ResponseWriter, *http.Request) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fault = f
}

// Revoke makes receivers refuse all that was issued so far.
func (c *Cloud) Revoke() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = map[string]bool{}
	for id := range c.issued {
		c.gone[id] = true
	}
}

// Keep has the services give what they gave last, as those do that have a cache.
func (c *Cloud) Keep(keep bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keep = keep
}

// Asked are the requests to the identity services, as "METHOD /path".
func (c *Cloud) Asked() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.asked...)
}

// Checked are the requests to receivers.
func (c *Cloud) Checked() []Checked {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Checked(nil), c.checked...)
}

// issue makes credentials for a service.
func (c *Cloud) issue(service string) issued {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i, ok := c.sticky[service]; ok && c.keep {
		return i
	}
	if c.issued == nil {
		c.issued, c.sticky = map[string]issued{}, map[string]issued{}
	}
	n := len(c.issued)
	i := issued{
		id: fmt.Sprintf("ASIA%s%d", strings.ToUpper(service), n), secret: fmt.Sprintf("secret-%d-%s", n, Secret),
		session: fmt.Sprintf("session-%d-%s", n, Secret), until: time.Now().Add(c.life),
	}
	if service != "imds" && service != "ecs" && service != "sts" {
		i.id = fmt.Sprintf("token-%s-%d-%s", service, n, Secret)
	}
	c.issued[i.id], c.sticky[service] = i, i
	return i
}

// secretOf is that of an access key that a receiver takes.
func (c *Cloud) find(id string) (issued, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i, ok := c.issued[id]
	switch {
	case !ok || c.gone[id]:
		return issued{}, refusal("The security token included in the request is invalid.")
	case !time.Now().Before(i.until):
		return issued{}, refusal("The security token included in the request is expired")
	}
	return i, nil
}

// Give makes an access key that is configured, not looked up.
func (c *Cloud) Give() (id, secret string) {
	i := c.issue("sts")
	c.mu.Lock()
	defer c.mu.Unlock()
	i.session, i.until = "", time.Now().Add(time.Hour)
	c.issued[i.id] = i
	return i.id, i.secret
}

// Receiver passes on what carries credentials that the cloud gave and that are good yet.
func (c *Cloud) Receiver(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !c.Refuses(w, r) {
			next.ServeHTTP(w, r)
		}
	})
}

// Refuses answers a request whose credentials are not good, as the managed receivers do.
// Signatures are to be for aps in Region.
func (c *Cloud) Refuses(w http.ResponseWriter, r *http.Request) bool {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return true
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	id, status := "", http.StatusForbidden
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		id, status = token, http.StatusUnauthorized
		_, err = c.find(token)
	} else {
		id, err = c.verify(r, body, "aps")
	}
	seen := Checked{ID: id, Status: http.StatusOK}
	if err != nil {
		seen.Status, seen.Why = status, err.Error()
	}
	c.mu.Lock()
	c.checked = append(c.checked, seen)
	c.mu.Unlock()
	if err == nil {
		return false
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": err.Error()})
	return true
}

// verify checks a signature and what it was made with.
func (c *Cloud) verify(r *http.Request, body []byte, service string) (string, error) {
	var why error
	id, err := Verify(r, body, Region, service, time.Now(), func(id string) string {
		i, err := c.find(id)
		switch {
		case err != nil:
			why = err
		case r.Header.Get("X-Amz-Security-Token") != i.session:
			why = refusal("The security token included in the request is invalid.")
		}
		if why != nil {
			return ""
		}
		return i.secret
	})
	if why != nil {
		return id, why
	}
	return id, err
}
