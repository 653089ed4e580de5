// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/docker-remote-write/docker-remote-write/internal/weburl"
)

// What a Memory may hold: one entry takes about 150 bytes.
const (
	maxReceivers   = 64
	maxMemoryBytes = 64 << 10
)

// retryV2After is how long a receiver that did not understand 2.0 is left alone
// with it.
const retryV2After = 6 * time.Hour

// minLearnedSize is what a learned request size never falls below: a request that
// is refused as too large below twice of it is dropped.
const minLearnedSize = tooSmallToSplit / 2

// Memory is what was learned of receivers, by the hash of their URL without user
// info: it belongs to the URL, not to the endpoint's place in the list. The zero
// value lives in the process alone. It is for several goroutines.
type Memory struct {
	mu        sync.Mutex
	path      string
	receivers map[string]learned
}

// learned is what is known of one receiver.
type learned struct {
	// FellBack is when it did not understand 2.0, in Unix seconds; 0 while 2.0 is
	// the choice.
	FellBack int64 `json:"fell_back,omitempty"`
	// V2 and V1 say which protocol it has accepted a request in.
	V2 bool `json:"v2,omitempty"`
	V1 bool `json:"v1,omitempty"`
	// MaxBytes is the learned size of an uncompressed request, 0 for no limit.
	MaxBytes int `json:"max_bytes,omitempty"`
	// Changed is when this was last written, in Unix seconds; the oldest goes first.
	Changed int64 `json:"changed"`
}

// proven reports whether the receiver has accepted a request in that protocol.
func (l *learned) proven(p Protocol) bool { return p == V2 && l.V2 || p == V1 && l.V1 }

// OpenMemory reads the file and keeps what is learned there from now on. A file
// that is missing is no error; one that is damaged is an error beside a Memory
// that works and will replace it.
func OpenMemory(path string) (*Memory, error) {
	m := &Memory{path: path}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return m, fmt.Errorf("read what was learned of receivers: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxMemoryBytes+1))
	if err == nil && len(data) > maxMemoryBytes {
		err = fmt.Errorf("larger than %d bytes", maxMemoryBytes)
	}
	var stored map[string]learned
	if err == nil {
		err = json.Unmarshal(data, &stored)
	}
	if err != nil {
		return m, fmt.Errorf("read what was learned of receivers: %s: %w", filepath.Base(path), err)
	}
	for k, l := range stored {
		if raw, err := hex.DecodeString(k); err != nil || len(raw) != 16 || len(m.receivers) >= maxReceivers {
			continue
		}
		if l.MaxBytes != 0 {
			l.MaxBytes = max(l.MaxBytes, minLearnedSize)
		}
		if m.receivers == nil {
			m.receivers = make(map[string]learned)
		}
		m.receivers[k] = l
	}
	return m, nil
}

// memoryKey names a receiver.
func memoryKey(u *url.URL) string {
	sum := sha256.Sum256([]byte(weburl.Requested(u).String()))
	return hex.EncodeToString(sum[:16])
}

func (m *Memory) get(key string) learned {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.receivers[key]
}

// put keeps l and, if there is a file, replaces it.
func (m *Memory) put(key string, l learned) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.receivers == nil {
		m.receivers = make(map[string]learned)
	}
	m.receivers[key] = l
	for len(m.receivers) > maxReceivers {
		oldest := ""
		for k, r := range m.receivers {
			if k != key && (oldest == "" || r.Changed < m.receivers[oldest].Changed) {
				oldest = k
			}
		}
		delete(m.receivers, oldest)
	}
	if m.path == "" {
		return nil
	}
	data, err := json.MarshalIndent(m.receivers, "", "\t")
	if err != nil {
		return fmt.Errorf("keep what was learned of receivers: %w", err)
	}
	if err := replaceFile(m.path, append(data, '\n')); err != nil {
		return fmt.Errorf("keep what was learned of receivers: %w", err)
	}
	return nil
}

// replaceFile puts a file in the place of path that holds data: at any moment
// path is either the old file or the new one. It is not synced: to lose it costs a
// request, and what a power cut leaves damaged is replaced.
func replaceFile(path string, data []byte) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
		return nil
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return nil
}
