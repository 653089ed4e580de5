// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"testing"

	"github.com/docker-remote-write/docker-remote-write/internal/config"
	"github.com/docker-remote-write/docker-remote-write/internal/logging"
	"github.com/docker-remote-write/docker-remote-write/internal/remotewrite"
)

// TestOmitReachesTheSender: what CONFIG_FILE or the environment leave out is left out.
func TestOmitReachesTheSender(t *testing.T) {
	log, err := logging.New(logging.Options{Stdout: io.Discard, Stderr: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close(t.Context()) }()
	for _, tc := range []struct {
		endpoint config.Endpoint
		want     remotewrite.Omit
	}{
		{config.Endpoint{}, remotewrite.Omit{}},
		{config.Endpoint{OmitMetadata: true}, remotewrite.Omit{Metadata: true}},
		{config.Endpoint{OmitExemplars: true}, remotewrite.Omit{Exemplars: true}},
		{config.Endpoint{OmitNativeHistograms: true}, remotewrite.Omit{NativeHistograms: true}},
	} {
		tc.endpoint.Protocol = "auto"
		o, err := senderOptions(tc.endpoint, log)
		if err != nil || o.Omit != tc.want {
			t.Errorf("%+v, %v; want %+v", o.Omit, err, tc.want)
		}
	}
	for _, drop := range []bool{false, true} {
		if o, err := senderOptions(config.Endpoint{Protocol: "auto", DropOn429: drop}, log); err != nil || o.DropOn429 != drop {
			t.Errorf("429 is final: %v, %v; want %v", o.DropOn429, err, drop)
		}
	}
}
