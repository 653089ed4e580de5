// SPDX-License-Identifier: Apache-2.0

// Package replay is a scrape target with a known content: the recorded scrapes
// of a real engine in a loop, or synthetic series. Each answer carries one more
// series, SequenceName, whose value counts the answers: whoever receives it
// knows which scrapes arrived.
package replay

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"sync"
	"time"
)

// SequenceName is the series that numbers the answers, from 1. Its name, and those of
// synthetic series, begin with Prefix.
const (
	Prefix       = "bench_"
	SequenceName = Prefix + "sequence"
)

// Frames yields the exposition of the n-th answer, from 0, in the text format
// and without the sequence number, appended to b.
type Frames struct {
	// Series is the number of series in each answer, the sequence number included.
	Series int
	append func(b []byte, n int) []byte
}

// Append appends the whole exposition of the n-th answer, from 0.
func (f *Frames) Append(b []byte, n int) []byte {
	b = f.append(b, n)
	b = append(b, "# HELP "+SequenceName+" Number of this answer.\n# TYPE "+SequenceName+" counter\n"+SequenceName+" "...)
	b = strconv.AppendInt(b, int64(n)+1, 10)
	return append(b, '\n')
}

// Recorded reads a tar.xz of text expositions, in the order of the archive; the
// answers take every stride-th of them, in a loop. It needs the xz program.
func Recorded(archive string, stride int) (*Frames, error) {
	raw, err := exec.Command("xz", "-dc", archive).Output()
	if err != nil {
		return nil, fmt.Errorf("unpack %s with xz: %w", archive, err)
	}
	var bodies [][]byte
	for r := tar.NewReader(bytes.NewReader(raw)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", archive, err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		body, err := io.ReadAll(r)
		if err != nil {
			return nil, fmt.Errorf("read %s of %s: %w", h.Name, archive, err)
		}
		bodies = append(bodies, body)
	}
	if len(bodies) == 0 {
		return nil, fmt.Errorf("read %s: no scrapes in it", archive)
	}
	n := 1
	for line := range bytes.Lines(bodies[0]) {
		if line[0] != '#' && len(line) > 1 {
			n++
		}
	}
	return &Frames{Series: n, append: func(b []byte, i int) []byte {
		return append(b, bodies[i*stride%len(bodies)]...)
	}}, nil
}

// Synthetic makes answers of that many series, the sequence number included:
// families of a hundred series with four labels, each a counter. In each answer a
// tenth of them moves, which is about what a busy engine's series do.
func Synthetic(n int) *Frames {
	const family = 100
	heads := make([][]byte, n-1)
	for i := range heads {
		var h []byte
		name := fmt.Sprintf(Prefix+"family_%03d_operations_total", i/family)
		if i%family == 0 {
			h = fmt.Appendf(h, "# HELP %s Operations of one kind, by what they were done to.\n# TYPE %s counter\n", name, name)
		}
		heads[i] = fmt.Appendf(h, "%s{action=\"act%02d\",driver=\"overlay2\",object=\"object-%05d\",status=\"ok\"} ", name, i%17, i)
	}
	return &Frames{Series: n, append: func(b []byte, k int) []byte {
		for i, h := range heads {
			b = append(b, h...)
			b = strconv.AppendInt(b, int64(i)*31+int64((k+i%10)/10)*7, 10)
			b = append(b, '\n')
		}
		return b
	}}
}

// Target serves Frames over HTTP, plain text and uncompressed to everyone, each
// request the next frame.
type Target struct {
	// Addr is "127.0.0.1:port".
	Addr string

	frames *Frames
	srv    *http.Server
	mu     sync.Mutex
	shape  string
	buf    []byte
	served []time.Time
}

// Serve starts a target on a free loopback port.
func Serve(f *Frames) (*Target, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for scrapes: %w", err)
	}
	t := &Target{Addr: l.Addr().String(), frames: f}
	t.srv = &http.Server{Handler: http.HandlerFunc(t.serve), ReadHeaderTimeout: 10 * time.Second}
	go t.srv.Serve(l)
	return t, nil
}

func (t *Target) serve(w http.ResponseWriter, _ *http.Request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = t.frames.Append(t.buf[:0], len(t.served))
	if t.shape != "" {
		t.buf = reshaped(t.buf, t.shape)
	}
	t.served = append(t.served, time.Now())
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(t.buf)))
	w.Write(t.buf)
}

// Reshape gives each series the label shape with that value, from the next answer on, so
// that all of them are others than before; without one they are what they were.
func (t *Target) Reshape(value string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.shape = value
}

func reshaped(body []byte, value string) []byte {
	label := []byte(`shape="` + value + `"`)
	out := make([]byte, 0, len(body)*3/2)
	for line := range bytes.Lines(body) {
		i := bytes.IndexAny(line, "{ ")
		switch {
		case line[0] == '#' || i < 0:
			out = append(out, line...)
		case line[i] == '{':
			out = append(append(append(append(out, line[:i+1]...), label...), ','), line[i+1:]...)
		default:
			out = append(append(append(append(append(out, line[:i]...), '{'), label...), '}'), line[i:]...)
		}
	}
	return out
}

// Served is the number of answers so far, which is also the newest sequence number.
func (t *Target) Served() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.served)
}

// At is when the answer with that sequence number was served, the zero time if it was not.
func (t *Target) At(sequence int) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	if sequence < 1 || sequence > len(t.served) {
		return time.Time{}
	}
	return t.served[sequence-1]
}

// Close stops the target.
func (t *Target) Close() error { return t.srv.Close() }
