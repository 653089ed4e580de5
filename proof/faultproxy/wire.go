// SPDX-License-Identifier: Apache-2.0

package faultproxy

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"time"
)

// sleep waits unless the client goes away or the fault is lifted; then it is false.
func sleep(r *http.Request, lifted <-chan struct{}, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-lifted:
		return false
	case <-r.Context().Done():
		return false
	}
}

// readBody reads up to limit bytes of the body, at that rate. Reading less leaves
// the client in the middle of its request. It is false for a body that the client
// has not sent to its end.
func readBody(r *http.Request, lifted <-chan struct{}, limit int64, rate int) ([]byte, bool) {
	var b bytes.Buffer
	in := io.LimitReader(r.Body, limit)
	if rate <= 0 {
		_, err := b.ReadFrom(in)
		return b.Bytes(), err == nil
	}
	// Twenty pieces a second.
	piece := int64(max(rate/20, 1))
	for {
		n, err := io.CopyN(&b, in, piece)
		if err == io.EOF {
			return b.Bytes(), true
		}
		if err != nil || !sleep(r, lifted, time.Duration(n)*time.Second/time.Duration(rate)) {
			return nil, false
		}
	}
}

// cut writes the beginning of an answer, if any, and resets the connection.
func cut(w http.ResponseWriter, beginning ...byte) {
	c, buf, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer c.Close()
	if len(beginning) > 0 {
		_, _ = buf.Write(beginning)
		_ = buf.Flush()
		return // a reset could overtake what was written
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
}
