// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"os/exec"
	"strings"
	"testing"
)

// What ships links nothing that proves.
func TestApart(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "../cmd/docker-remote-write", "../internal/...").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	if !strings.Contains(string(out), "/internal/spool\n") {
		t.Fatal("the list lacks internal/spool: it is not of this program")
	}
	for pkg := range strings.Lines(string(out)) {
		if strings.Contains(pkg, "/docker-remote-write/proof") {
			t.Errorf("the product links %s", strings.TrimSpace(pkg))
		}
	}
}
