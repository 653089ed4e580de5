// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"

	promconfig "github.com/prometheus/common/config"

	"github.com/docker-remote-write/docker-remote-write/internal/weburl"
)

// byWayOf is the proxy that a request for u takes, nil for none.
func byWayOf(c *promconfig.ProxyConfig, u *url.URL) *url.URL {
	choose := c.Proxy()
	if choose == nil || u == nil {
		return nil
	}
	p, err := choose(&http.Request{URL: u})
	if err != nil {
		return nil
	}
	return p
}

// naming names the proxy in an error of the network. net/http reports no more of a
// proxy's answer to CONNECT than its reason phrase.
func (c *client) naming(err error) error {
	proxy := byWayOf(&c.config.ProxyConfig, c.url)
	// A request for an OAuth2 token has its own.
	if outer := (*url.Error)(nil); errors.As(err, &outer) {
		if c.config.OAuth2 != nil {
			u, _ := url.Parse(outer.URL)
			proxy = byWayOf(&c.config.OAuth2.ProxyConfig, u)
		}
		err = outer.Err // without its URL, which has a query
	}
	if proxy == nil || fromHere(err) {
		return err
	}
	for status := 300; status <= 599; status++ {
		if text := http.StatusText(status); text != "" && text == err.Error() {
			return fmt.Errorf("the proxy %s answers CONNECT with %d %s", weburl.Show(proxy), status, text)
		}
	}
	return fmt.Errorf("by way of the proxy %s: %w", weburl.Show(proxy), err)
}

// answered is the text of an answer. One to a request that an http proxy has read may be
// the proxy's; 407 is.
func (c *client) answered(status int, text string) string {
	proxy := byWayOf(&c.config.ProxyConfig, c.url)
	switch {
	case proxy == nil || c.url.Scheme != "http" || strings.HasPrefix(proxy.Scheme, "socks"):
		return text
	case status == http.StatusProxyAuthRequired:
		return fmt.Sprintf("the proxy %s answers %s", weburl.Show(proxy), text)
	}
	return fmt.Sprintf("by way of the proxy %s: %s", weburl.Show(proxy), text)
}

// isPage reports whether an answer brings a page for people: that of a login, a portal or
// a web server, of which none stores samples.
func isPage(h http.Header) bool {
	kind, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	return kind == "text/html" || kind == "application/xhtml+xml"
}
