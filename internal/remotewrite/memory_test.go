// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMemoryKey(t *testing.T) {
	key := func(s string) string {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return memoryKey(u)
	}
	if key("https://a:b@host/x?y=1") != key("https://c@host/x?y=1") {
		t.Error("the user info makes a difference")
	}
	for _, other := range []string{"http://host/x?y=1", "https://host:444/x?y=1", "https://host/z?y=1", "https://host/x?y=2"} {
		if key("https://host/x?y=1") == key(other) {
			t.Errorf("%s is taken for another URL", other)
		}
	}
}

// TestMemorySurvives: what was learned is there after a restart, and nothing of
// the URL is in the file.
func TestMemorySurvives(t *testing.T) {
	path := filepath.Join(t.TempDir(), "receivers.json")
	r := newReceiver(t, func(n int, g *got) reply {
		if g.Proto == V2 {
			return reply{Status: 415}
		}
		return ok(g)
	})
	for restart := range 2 {
		m, err := OpenMemory(path)
		if err != nil {
			t.Fatal(err)
		}
		q := newQueue(t, 4)
		o := fast(t, r.URL+"/secret-path")
		o.Memory = m
		s := sender(t, o, q)
		q.fill(t, 5)
		drainAll(t, s, q, 5)
		s.client.close()
		if n := len(r.requests()); restart == 1 && n != 4 {
			t.Errorf("%d requests; after the restart one of five scrapes in 1.0 was to be the fourth", n)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), "secret-path") || strings.Contains(string(data), "127.0.0.1") {
		t.Errorf("the file tells the URL: %s", data)
	}
	left, err := filepath.Glob(path + "*")
	if err != nil || len(left) != 1 {
		t.Errorf("files %v, %v", left, err)
	}
}

// TestMemoryDamaged: a damaged file is reported, and replaced with the next thing
// that is learned.
func TestMemoryDamaged(t *testing.T) {
	for name, content := range map[string]string{
		"empty": "", "cut": `{"00112233445566778899aabbccddeeff": {"v2": tr`, "other": `[1, 2]`, "zeros": strings.Repeat("\x00", 100),
		"huge": "{" + strings.Repeat(" ", maxMemoryBytes) + "}", "wrong type": `{"00112233445566778899aabbccddeeff": {"max_bytes": "a"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "m")
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			m, err := OpenMemory(path)
			if err == nil || m == nil {
				t.Fatalf("%v, %v: want an error and a Memory that works", m, err)
			}
			key := strings.Repeat("ab", 16)
			if err := m.put(key, learned{V2: true}); err != nil {
				t.Fatal(err)
			}
			m, err = OpenMemory(path)
			if err != nil || !m.get(key).V2 {
				t.Errorf("after it was replaced: %+v, %v", m.get(key), err)
			}
		})
	}
	// What can be read of a file with odd entries is read.
	path := filepath.Join(t.TempDir(), "m")
	key := strings.Repeat("cd", 16)
	if err := os.WriteFile(path, []byte(`{"`+key+`": {"v1": true, "max_bytes": 5, "new": 1}, "nonsense": {"v1": true}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := OpenMemory(path)
	if err != nil || len(m.receivers) != 1 || m.get(key).MaxBytes != minLearnedSize {
		t.Errorf("%+v, %v", m, err)
	}
}

// TestMemoryIsBounded keeps the newest receivers.
func TestMemoryIsBounded(t *testing.T) {
	m, err := OpenMemory(filepath.Join(t.TempDir(), "m"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 * maxReceivers {
		if err := m.put(fmt.Sprintf("%032x", i), learned{V2: true, Changed: int64(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if len(m.receivers) != maxReceivers || !m.get(fmt.Sprintf("%032x", 3*maxReceivers-1)).V2 {
		t.Errorf("%d receivers are kept", len(m.receivers))
	}
}

// TestMemoryUnwritable: a directory that cannot be written costs what is learned
// at the next restart, and nothing else.
func TestMemoryUnwritable(t *testing.T) {
	r := newReceiver(t, func(n int, g *got) reply { return ok(g) })
	m, err := OpenMemory(filepath.Join(t.TempDir(), "none", "m"))
	if err != nil {
		t.Fatal(err)
	}
	q := newQueue(t, 4)
	o := fast(t, r.URL)
	l, log := logged()
	o.Memory, o.Log = m, l
	s := sender(t, o, q)
	q.fill(t, 5)
	drainAll(t, s, q, 3)
	q.complete(t, r, nil)
	if !strings.Contains(log.String(), "cannot keep what was learned") {
		t.Errorf("log: %s", log)
	}
	if m.get(s.key).Changed < time.Now().Add(-time.Minute).Unix() {
		t.Error("not even kept in memory")
	}
}
