// SPDX-License-Identifier: Apache-2.0

// Package conntrack stands in for github.com/mwitkow/go-conntrack, by a replace
// directive in the project's go.mod. It has what prometheus/common/config calls
// and tracks nothing.
//
// The original counts connections in client_golang's default registry, which
// nobody reads here, and shows them on golang.org/x/net/trace's pages. Those bring
// html/template, whose look-up of methods by name makes the linker keep every
// exported method of the program: 2.6 MB of 16.4, and 2 MB of resident memory.
package conntrack

import (
	"context"
	"net"
)

// DialFunc is net.Dialer's DialContext.
type DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// Option of NewDialContextFunc.
type Option func(*DialFunc)

// DialWithTracing does nothing.
func DialWithTracing() Option { return func(*DialFunc) {} }

// DialWithName does nothing.
func DialWithName(string) Option { return func(*DialFunc) {} }

// DialWithDialContextFunc dials with f.
func DialWithDialContextFunc(f DialFunc) Option { return func(d *DialFunc) { *d = f } }

// NewDialContextFunc returns the dialling function that the options choose.
func NewDialContextFunc(options ...Option) DialFunc {
	dial := new(net.Dialer).DialContext
	for _, o := range options {
		o(&dial)
	}
	return dial
}
