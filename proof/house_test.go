// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The bounds of what one head can hold.
const (
	mostLines     = 350 // of a file
	mostFuncLines = 80
)

// state lists the package-level variables that are neither constants, tables, sentinel
// errors nor compiled expressions, and why they may be there.
var state = map[string]string{
	"cmd/docker-remote-write version":      "set by the linker",
	"cmd/docker-remote-write appended":     "set by a test build alone, in its init",
	"internal/remotewrite useBundledRoots": "the standard library takes fallback roots once a process",
	"internal/replay seed":                 "a secret of the process",
	"internal/telemetry descs":             "made of a table, for client_golang",
	"internal/telemetry pageCSS":           "embedded",
	"internal/telemetry pagePolicy":        "follows from what is embedded",
}

// TestHouse holds the product to its bounds: files and functions that a reader can keep in
// mind, and no state at the level of a package.
func TestHouse(t *testing.T) {
	used := map[string]bool{}
	for _, root := range []string{"../internal", "../cmd/docker-remote-write"} {
		err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			files := token.NewFileSet()
			file, err := parser.ParseFile(files, path, nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			lines := files.Position(file.FileEnd).Line
			if lines > mostLines+1 {
				t.Errorf("%s has %d lines, more than %d", path, lines, mostLines)
			}
			for _, d := range file.Decls {
				switch d := d.(type) {
				case *ast.FuncDecl:
					if n := files.Position(d.End()).Line - files.Position(d.Pos()).Line + 1; n > mostFuncLines {
						t.Errorf("%s: %s has %d lines, more than %d", path, d.Name.Name, n, mostFuncLines)
					}
				case *ast.GenDecl:
					for _, v := range variables(d) {
						key := strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), "../") + " " + v
						if used[key] = true; state[key] == "" {
							t.Errorf("%s: %s is state of the package", path, v)
						}
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for key := range state {
		if !used[key] {
			t.Errorf("%s is listed and is not there", key)
		}
	}
}

// variables are the names that a declaration gives to what may be state.
func variables(d *ast.GenDecl) (names []string) {
	if d.Tok != token.VAR {
		return nil
	}
	for _, spec := range d.Specs {
		v := spec.(*ast.ValueSpec)
		for i, name := range v.Names {
			if name.Name == "_" || i < len(v.Values) && constant(v.Values[i]) {
				continue
			}
			names = append(names, name.Name)
		}
	}
	return names
}

// constant reports whether an expression makes a table, a sentinel error, a compiled
// expression, or a value that no constant can be.
func constant(x ast.Expr) bool {
	switch x := x.(type) {
	case *ast.CompositeLit:
		return true
	case *ast.UnaryExpr:
		return constant(x.X)
	case *ast.FuncLit:
		return false
	case *ast.CallExpr:
		f, ok := x.Fun.(*ast.SelectorExpr)
		if !ok {
			return identifier(x.Fun) == "failed" // a sentinel error of package scrape
		}
		return slices.Contains([]string{
			"errors.New", "fmt.Errorf", "regexp.MustCompile", "crc32.MakeTable", "time.Date", "math.Float64frombits", "expfmt.NewFormat",
		}, identifier(f.X)+"."+f.Sel.Name)
	}
	return false
}

func identifier(x ast.Expr) string {
	if id, ok := x.(*ast.Ident); ok {
		return id.Name
	}
	return ""
}

// layers are the packages of the product from the bottom up. One imports those below
// it alone.
var layers = [][]string{
	{"series", "words", "panics", "weburl", "redact", "replay"},
	{"spool", "logging", "cloudauth"},
	{"scrape", "remotewrite", "telemetry", "config", "dockerplugin"},
	{"statuscmd"},
}

// TestDownwards: imports, and with them calls, run one way.
func TestDownwards(t *testing.T) {
	level := map[string]int{}
	for i, names := range layers {
		for _, name := range names {
			level[name] = i
		}
	}
	const at = "github.com/docker-remote-write/docker-remote-write/internal/"
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}}{{range .Imports}} {{.}}{{end}}`, "../internal/...").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		name, ours := strings.CutPrefix(words[0], at)
		from, known := level[name]
		if !ours || !known {
			t.Errorf("%s is in no layer", words[0])
			continue
		}
		for _, w := range words[1:] {
			if to, ours := strings.CutPrefix(w, at); ours && level[to] >= from {
				t.Errorf("%s imports %s, which is not below it", name, to)
			}
		}
	}
}
