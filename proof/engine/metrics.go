// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
)

// Metrics reads the engine's metrics as its socket serves them, in text.
func (e *Engine) Metrics(ctx context.Context) (string, error) {
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", e.MetricsSocket())
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://engine/metrics", nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	_, err = b.ReadFrom(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("metrics socket: %s", resp.Status)
	}
	return b.String(), err
}
