// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"docker-remote-write": main})
}

// TestScripts runs the real main under scripts.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: *update && os.Getenv("CI") != "true",
		Setup: func(e *testscript.Env) error {
			golden, err := filepath.Abs("../../testdata/spool/v1")
			e.Setenv("GOLDEN", golden)
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"usage": usageFails},
	})
}

// usageFails runs the program with arguments that it must refuse with status 2.
func usageFails(ts *testscript.TestScript, neg bool, args []string) {
	err := ts.Exec("docker-remote-write", args...)
	var exit *exec.ExitError
	if neg || !errors.As(err, &exit) || exit.ExitCode() != exitUsage {
		ts.Fatalf("docker-remote-write %v: %v, want exit status %d", args, err, exitUsage)
	}
	if out := ts.ReadFile("stdout"); out != "" {
		ts.Fatalf("docker-remote-write %v: a usage error printed to stdout: %s", args, out)
	}
}
