// SPDX-License-Identifier: Apache-2.0

// Package faultproxy stands between a remote write client and a receiver, and
// makes happen what networks and overloaded receivers do: it delays, throttles,
// cuts a request or an answer in the middle, loses an answer whose request was
// stored, falls silent, answers in the receiver's stead, or is not there at all.
package faultproxy

import (
	"fmt"
	"net/http"
	"time"
)

// Kind is what becomes of a request.
type Kind int

const (
	// Pass hands the request on and the answer back.
	Pass Kind = iota
	// CutRequest hands on the first Bytes of the body, then cuts both connections.
	// The receiver stores nothing.
	CutRequest
	// CutAnswer hands the request on, then the first Bytes of the answer, its
	// head included, and cuts the connection. The receiver has stored the request;
	// with 0 Bytes the client knows nothing of it.
	CutAnswer
	// Hang takes the request and never answers: a half-open connection. It ends
	// with another Set, with Close, or when the client gives up.
	Hang
	// Answer answers Status, Header and Body without the receiver.
	Answer

	kinds int = iota
)

var kindNames = [kinds]string{"pass", "cut request", "cut answer", "hang", "answer"}

// String is the kind's name.
func (k Kind) String() string {
	if k >= 0 && int(k) < kinds {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", int(k))
}

// Fault says what becomes of one request. The zero Fault hands it on untouched.
type Fault struct {
	Kind Kind
	// Delay comes before anything else.
	Delay time.Duration
	// Rate is how many bytes of the body are read in a second, 0 for all there are.
	Rate int
	// Bytes is where CutRequest and CutAnswer cut.
	Bytes int
	// Status, Header and Body are the Answer's.
	Status int
	Header http.Header
	Body   string
}

// Status is the answer of a receiver that has a bad day: 429, 503, 401. A
// Retry-After that is not empty goes with it.
func Status(code int, retryAfter string) Fault {
	f := Fault{Kind: Answer, Status: code, Header: http.Header{}, Body: http.StatusText(code) + "\n"}
	if retryAfter != "" {
		f.Header.Set("Retry-After", retryAfter)
	}
	return f
}
