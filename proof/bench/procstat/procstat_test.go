// SPDX-License-Identifier: Apache-2.0

package procstat

import (
	"os"
	"path/filepath"
	"testing"
)

func TestOwnProcess(t *testing.T) {
	pid := os.Getpid()
	before, err := CPU(pid)
	if err != nil {
		t.Fatal(err)
	}
	x := 1
	for i := range 50_000_000 {
		x = x*i + 1
	}
	after, err := CPU(pid)
	if err != nil || after <= before {
		t.Errorf("processor time %v, before the work %v, %v (%d)", after, before, err, x&1)
	}
	m, err := ReadMemory(pid)
	if err != nil {
		t.Fatal(err)
	}
	if m.Anonymous <= 0 || m.Resident < m.Anonymous || m.Peak < m.Resident/2 {
		t.Errorf("memory %+v", m)
	}
	if n, err := VoluntarySwitches(pid); err != nil || n <= 0 {
		t.Errorf("%d switches, %v", n, err)
	}
	if n, err := Descriptors(pid); err != nil || n < 3 {
		t.Errorf("%d descriptors, %v", n, err)
	}
}

func TestGone(t *testing.T) {
	const pid = 1 << 22 // the kernel's limit of pids
	if _, err := CPU(pid); err == nil {
		t.Error("a processor time")
	}
	if _, err := ReadMemory(pid); err == nil {
		t.Error("memory")
	}
	if _, err := VoluntarySwitches(pid); err == nil {
		t.Error("switches")
	}
}

func TestDiskUsage(t *testing.T) {
	dir := t.TempDir()
	for name, n := range map[string]int{"a": 3, "sub/b": 4000} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, make([]byte, n), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := DiskUsage(dir); err != nil || n != 4003 {
		t.Errorf("%d bytes, %v", n, err)
	}
}
