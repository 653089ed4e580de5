// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestOneTargetAsBefore: the engine's records alone are written to the byte as the first
// release wrote them, so that any other can read them.
func TestOneTargetAsBefore(t *testing.T) {
	dir := memoryDir(t)
	s := mustOpen(t, dir, Options{})
	mustClaim(t, s, "golden")
	for _, sc := range sequence(t) {
		mustAppend(t, s, sc)
	}
	closeSpool(t, s)
	names := segments(t, goldenDir)
	if len(names) == 0 {
		t.Fatal("there is no spool of the first release")
	}
	for _, name := range names {
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(dir, dirName(0), filepath.Base(name)))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, or other ones, %v; want the %d of the first release", name, len(got), err, len(want))
		}
	}
}
