// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/docker-remote-write/docker-remote-write/internal/config"
	"github.com/docker-remote-write/docker-remote-write/internal/logging"
)

// TestPrinted: what libraries print, and what the program ends with, leaves it by the
// log and without secrets.
func TestPrinted(t *testing.T) {
	stderr, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	flags, writer := log.Flags(), log.Writer()
	defer func() { log.SetFlags(flags); log.SetOutput(writer) }()
	cfg, _, err := config.Load(config.Run, []string{
		"REMOTE_WRITE_URL=http://receiver.example/write", "REMOTE_WRITE_BEARER_TOKEN=hunter2-long", "DATA_DIR=" + t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	c := call{stdout: stderr, stderr: stderr}
	err = withLog(c, cfg, func(*logging.Logger) error {
		log.Print("a token: hunter2-long")
		return errors.New("the token hunter2-long is refused")
	})
	if err == nil || err.Error() != "the token <secret> is refused" {
		t.Errorf("error %v", err)
	}
	err = withLog(c, cfg, func(*logging.Logger) error { panic("hunter2-long") })
	if err == nil || !strings.HasPrefix(err.Error(), "panic in the program at printed_test.go:") || !strings.HasSuffix(err.Error(), ": <secret>") {
		t.Errorf("error %v", err)
	}
	if _, err := stderr.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(stderr)
	if want := "warning: a library complains error=\"a token: <secret>\"\n"; err != nil || string(got) != want {
		t.Errorf("%v\n got %s\nwant %s", err, got, want)
	}
}

// TestNothingPrintsPastTheLog looks for all ways to print that are not ours: in each
// package of this module that the program links, other loggers, the process's own
// files, recovering elsewhere than in internal/panics, and goroutines whose panic
// would print a stack trace.
func TestNothingPrintsPastTheLog(t *testing.T) {
	allowed := map[string][]string{
		"log":       {"internal/logging/printed.go", "cmd/docker-remote-write/main.go"},
		"os.Stdout": {"internal/logging/logging.go", "cmd/docker-remote-write/main.go"},
		"os.Stderr": {"internal/logging/logging.go", "cmd/docker-remote-write/main.go"},
		"recover":   {"internal/panics/panics.go"},
		// The log's own goroutine has no log to end by; the runtime's is the runtime's.
		"goroutine": {"internal/logging/writer.go", "cmd/docker-remote-write/limits.go", "internal/panics/panics.go"},
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, file := range ownFiles(t) {
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		name, err := filepath.Rel(root, file)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range waysToPrint(f) {
			seen[found.way] = true
			if !slices.Contains(allowed[found.way], filepath.ToSlash(name)) {
				t.Errorf("%s:%d: %s", name, fset.Position(found.at).Line, found.way)
			}
		}
	}
	for way := range allowed {
		if !seen[way] {
			t.Errorf("%s was found nowhere: this test looks for the wrong thing", way)
		}
	}
}

// ownFiles are the sources of this module's packages that the program links.
func ownFiles(t *testing.T) []string {
	t.Helper()
	out, err := exec.Command("go", "list", "-deps", "-f",
		`{{if .Module}}{{if .Module.Main}}{{range .GoFiles}}{{$.Dir}}/{{.}}{{"\n"}}{{end}}{{end}}{{end}}`, ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(out))
}

type wayToPrint struct {
	way string
	at  token.Pos
}

func waysToPrint(f *ast.File) []wayToPrint {
	var all []wayToPrint
	for _, i := range f.Imports {
		switch path := strings.Trim(i.Path.Value, `"`); path {
		case "log", "log/slog":
			all = append(all, wayToPrint{path, i.Pos()})
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			if !guarded(n.Call) {
				all = append(all, wayToPrint{"goroutine", n.Pos()})
			}
		case *ast.CallExpr:
			switch called := dotted(n.Fun); {
			case called == "recover", called == "print", called == "println", called == "debug.PrintStack",
				called == "fmt.Print", called == "fmt.Println", called == "fmt.Printf":
				all = append(all, wayToPrint{called, n.Pos()})
			case strings.HasSuffix(called, ".Go") && called != "panics.Go" && !guarded(n):
				all = append(all, wayToPrint{"goroutine", n.Pos()})
			}
		case *ast.SelectorExpr:
			if way := dotted(n); way == "os.Stdout" || way == "os.Stderr" || strings.HasPrefix(way, "logrus.Std") {
				all = append(all, wayToPrint{way, n.Pos()})
			}
		case *ast.KeyValueExpr:
			if key := dotted(n.Key); key == "ErrorLog" {
				all = append(all, wayToPrint{key, n.Pos()})
			}
		}
		return true
	})
	return all
}

// guarded reports whether panics.Guard is called somewhere in the call.
func guarded(call *ast.CallExpr) bool {
	found := false
	ast.Inspect(call, func(n ast.Node) bool {
		if c, ok := n.(*ast.CallExpr); ok && dotted(c.Fun) == "panics.Guard" {
			found = true
		}
		return !found
	})
	return found
}

// dotted is an identifier, or two with a dot in between, or the last two of more.
func dotted(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		if x := dotted(e.X); x != "" {
			return x[strings.LastIndexByte(x, '.')+1:] + "." + e.Sel.Name
		}
	}
	return ""
}
