// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// One package that looks up methods by name at run time makes the linker keep
// every exported method of the program: a sixth of its size.
func TestNothingKeepsAllMethods(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "../../cmd/docker-remote-write").Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := strings.Fields(string(out))
	if !slices.Contains(deps, "net/http") {
		t.Fatal("that is not the list of what is linked")
	}
	for _, p := range []string{"text/template", "html/template", "golang.org/x/net/trace", "golang.org/x/crypto/x509roots/fallback"} {
		if slices.Contains(deps, p) {
			t.Errorf("the program links %s", p)
		}
	}
}
