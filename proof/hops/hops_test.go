// SPDX-License-Identifier: Apache-2.0

// Package hops holds DESIGN.md's table of one sample's way to the functions that
// really run.
package hops

import (
	"bufio"
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

const (
	root   = "../.."
	module = "github.com/docker-remote-write/docker-remote-write/"
	// mostHops and mostFiles are what a reader has to follow.
	mostHops  = 30
	mostFiles = 15
)

// The program runs twice, for some scrapes and for steady more of them: what ran once
// more for each of these is what a steady scrape that is sent at once takes.
const (
	warm   = 5
	steady = 5
)

// TestOneSamplesWay finds every function of the product that a steady scrape runs in
// DESIGN.md: it is a hop, stands in the file of one, or in one of those that are said to
// run beside the way. And every hop runs.
func TestOneSamplesWay(t *testing.T) {
	design, err := os.ReadFile(filepath.Join(root, "DESIGN.md"))
	if err != nil {
		t.Fatal(err)
	}
	hops, beside := table(t, string(design), "hop"), table(t, string(design), "beside the way")
	files := map[string]bool{}
	for _, h := range hops {
		files[h.file] = true
	}
	if len(hops) > mostHops || len(files) > mostFiles {
		t.Errorf("the way has %d hops in %d files, at most %d in %d are to be followed", len(hops), len(files), mostHops, mostFiles)
	}

	binary := filepath.Join(t.TempDir(), "docker-remote-write")
	build := exec.Command("go", "build", "-cover", "-covermode=atomic", "-coverpkg=./cmd/docker-remote-write,./internal/...", "-o", binary, "./cmd/docker-remote-write")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	var counts [2]map[row]int
	done := make(chan struct{})
	go func() {
		defer close(done)
		counts[1] = run(t, binary, warm+steady)
	}()
	counts[0] = run(t, binary, warm)
	<-done
	if t.Failed() {
		return
	}

	ran := map[row]bool{}
	for f, n := range counts[1] {
		if n-counts[0][f] >= steady {
			ran[f] = true
		}
	}
	used := map[row]bool{}
	for f := range ran {
		whole := row{file: f.file}
		used[f], used[whole] = true, true
		// What is in the file of a hop needs no other file open.
		if !files[f.file] && !slices.Contains(beside, whole) {
			t.Errorf("%s in %s runs with each scrape and is in neither table", f.function, f.file)
		}
	}
	for _, f := range slices.Concat(hops, beside) {
		if !used[f] {
			t.Errorf("%q in %s is in a table and does not run", f.function, f.file)
		}
	}
	t.Logf("%d functions ran, %d hops in %d files", len(ran), len(hops), len(files))
}

// row is a function, as Name or Type.Name, in a file, relative to the module; without a
// function it stands for all of the file.
type row struct{ function, file string }

// table reads the rows of the table whose first column has that head: functions and
// behind them their file, or files alone.
func table(t *testing.T, text, head string) (rows []row) {
	t.Helper()
	_, rest, ok := strings.Cut(text, "\n| "+head+" |")
	if !ok {
		t.Fatalf("DESIGN.md has no table of %q", head)
	}
	code := regexp.MustCompile("`([^`]+)`")
	for i, line := range strings.Split(rest, "\n") {
		if i < 2 {
			continue
		}
		if !strings.HasPrefix(line, "|") {
			break
		}
		var functions []string
		for _, m := range code.FindAllStringSubmatch(line, -1) {
			switch {
			case !strings.HasSuffix(m[1], ".go"):
				functions = append(functions, m[1])
			case functions == nil:
				rows = append(rows, row{file: m[1]})
			default:
				for _, f := range functions {
					rows = append(rows, row{f, m[1]})
				}
				functions = nil
			}
		}
	}
	return rows
}

// run lets the program make that many scrapes of one shape, sent as they come, and ends it. It
// returns how often each function began.
func run(t *testing.T, binary string, scrapes int) map[row]int {
	body, err := os.ReadFile(filepath.Join(root, "testdata/captures/v20.10-busy.txt"))
	if err != nil {
		t.Error(err)
		return nil
	}
	n := 0
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n++
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		fmt.Fprintf(w, "%sticks_total %d\n", body, n)
	}))
	defer target.Close()
	requests := make(chan struct{}, 100)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("X-Prometheus-Remote-Write-Samples-Written", "1")
		w.WriteHeader(http.StatusNoContent)
		requests <- struct{}{}
	}))
	defer receiver.Close()
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "run")
	cmd.Env = append(os.Environ(), "GOCOVERDIR="+dir, "SCRAPE_TARGET="+target.URL+"/metrics", "REMOTE_WRITE_URL="+receiver.URL,
		"SCRAPE_INTERVAL=500ms", "BATCH_SEND_DEADLINE=0s", "DATA_DIR="+t.TempDir(), "INSTANCE=host")
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Error(err)
		return nil
	}
	if err := cmd.Start(); err != nil {
		t.Error(err)
		return nil
	}
	said := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(out)
		said <- string(b)
	}()
	for range scrapes {
		select {
		case <-requests:
		case text := <-said:
			t.Errorf("the program ended: %s", text)
			return nil
		}
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	text := <-said
	if err := cmd.Wait(); err != nil {
		t.Errorf("the program ended with %v: %s", err, text)
		return nil
	}
	return functions(t, dir)
}

// functions reads what a run has covered.
func functions(t *testing.T, dir string) map[row]int {
	profile := filepath.Join(dir, "profile")
	if out, err := exec.Command("go", "tool", "covdata", "textfmt", "-i="+dir, "-o="+profile).CombinedOutput(); err != nil {
		t.Errorf("covdata: %v\n%s", err, out)
		return nil
	}
	f, err := os.Open(profile)
	if err != nil {
		t.Error(err)
		return nil
	}
	defer f.Close()
	block := regexp.MustCompile(`^(.+\.go):(\d+)\.\d+,(\d+)\.\d+ \d+ (\d+)$`)
	known := map[string][]declared{}
	counts, first := map[row]int{}, map[row]int{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		m := block.FindStringSubmatch(lines.Text())
		if m == nil || !strings.HasPrefix(m[1], module) {
			continue
		}
		file := strings.TrimPrefix(m[1], module)
		if known[file] == nil {
			known[file] = declarations(t, file)
		}
		line, _ := strconv.Atoi(m[2])
		count, _ := strconv.Atoi(m[4])
		for _, d := range known[file] {
			at := row{d.name, file}
			if line >= d.from && line <= d.to && (first[at] == 0 || line < first[at]) {
				first[at], counts[at] = line, count // its first block begins as often as it does
			}
		}
	}
	return counts
}

type declared struct {
	name     string
	from, to int
}

func declarations(t *testing.T, file string) (all []declared) {
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, filepath.Join(root, file), nil, parser.SkipObjectResolution)
	if err != nil {
		t.Error(err)
		return []declared{{}}
	}
	for _, d := range parsed.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		name := f.Name.Name
		if f.Recv != nil {
			x := f.Recv.List[0].Type
			if star, ok := x.(*ast.StarExpr); ok {
				x = star.X
			}
			name = x.(*ast.Ident).Name + "." + name
		}
		all = append(all, declared{name, files.Position(f.Pos()).Line, files.Position(f.End()).Line})
	}
	return all
}
