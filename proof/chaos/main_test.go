// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// built is where the programs under test are built, once for all tests.
var built string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "chaos-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	built = dir
	code := m.Run()
	os.RemoveAll(dir)
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// program builds a command of this module and returns the path of the binary.
func program(t *testing.T, build func() (string, error)) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// traced is the program with the tag that makes it say what is on disk.
var traced = sync.OnceValues(func() (string, error) {
	return goBuild("docker-remote-write", "../../cmd/docker-remote-write", "-tags", "appendtrace")
})

func goBuild(name, dir string, flags ...string) (string, error) {
	path := filepath.Join(built, name)
	args := append([]string{"build", "-o", path}, flags...)
	cmd := exec.Command("go", append(args, dir)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", name, err, out)
	}
	return path, nil
}

// loops is TEST_LOOPS: 1 in CI, more when there is time.
func loops() int {
	n, err := strconv.Atoi(os.Getenv("TEST_LOOPS"))
	if err != nil || n < 1 {
		return 1
	}
	return n
}

// random is a source whose seed is in the test's log.
func random(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s, err := strconv.ParseUint(os.Getenv("CHAOS_SEED"), 10, 64); err == nil {
		seed = s
	}
	t.Logf("CHAOS_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}
