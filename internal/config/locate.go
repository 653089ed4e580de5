// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v2"
)

// value is one of CONFIG_FILE, with where it stands.
type value struct {
	line  int // 0 if it is not known
	raw   any
	keys  map[string]value // of a map
	items []value          // of a list
}

// UnmarshalYAML takes any value. The library tells lines in errors only.
func (v *value) UnmarshalYAML(unmarshal func(any) error) error {
	var never chan int
	var t *yaml.TypeError
	if errors.As(unmarshal(&never), &t) && len(t.Errors) > 0 {
		v.line = lineOf(t.Errors[0])
	}
	if err := unmarshal(&v.raw); err != nil {
		return err
	}
	if unmarshal(&v.keys) != nil {
		v.keys = nil
		if unmarshal(&v.items) != nil {
			v.items = nil
		}
	}
	return nil
}

// lineOf is the line that an error of the library names, or 0.
func lineOf(problem string) int {
	digits := strings.TrimSuffix(strings.TrimPrefix(lineNumber.FindString(problem), "line "), ": ")
	n, _ := strconv.Atoi(digits)
	return n
}

// locate says of an error of decoding text which entry and key it is about, and in which
// line. What decodes a value of a key (a duration, a version of TLS) knows none of them.
func locate(text []byte, err error) error {
	var file value
	if yaml.Unmarshal(text, &file) != nil {
		return yamlError(err)
	}
	var t *yaml.TypeError
	if !errors.As(err, &t) {
		return file.named(plainError(err), err.Error())
	}
	var errs []error
	for i, e := range t.Errors {
		err := yamlError(&yaml.TypeError{Errors: []string{e}})
		if i < mostLocated {
			err = file.named(err, e)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// mostLocated is the number of problems from which on only their lines are told: each is
// looked for anew.
const mostLocated = 20

// named puts in front of an error where it comes from; problem is it in the library's words.
func (v value) named(err error, problem string) error {
	line := lineOf(problem)
	path, at := v.culprit(func(x any) any { return x }, essence(problem), line)
	if len(path) == 0 {
		return err
	}
	if unknownKey.MatchString(problem) {
		path = path[:len(path)-1] // the error names it
	}
	where := ""
	for i, p := range path {
		if i > 0 && !strings.HasPrefix(p, " ") {
			where += ": "
		}
		where += p
	}
	text := strings.TrimPrefix(err.Error(), lineNumber.FindString(err.Error()))
	if strings.Contains(text, "duration") {
		text += "; give whole numbers with units, such as 30s or 1m30s"
	}
	if strings.Contains(text, "TLS version") {
		text += "; give TLS10, TLS11, TLS12 or TLS13"
	}
	if line == 0 {
		line = at
	}
	if where != "" {
		where += ": "
	}
	return fmt.Errorf("line %d: %s%s", line, where, text)
}

// culprit is the innermost value that has the problem also where the file holds nothing
// else: its keys and places, and its line. whole makes a file of a value in place of v.
func (v value) culprit(whole func(any) any, problem string, line int) (path []string, at int) {
	inner := func(name string, child value, whole func(any) any) bool {
		if line > 0 && !child.spans(line) || !fails(whole(child.raw), problem) {
			return false
		}
		path, at = child.culprit(whole, problem, line)
		path = append([]string{name}, path...)
		return true
	}
	keys := slices.SortedFunc(maps.Keys(v.keys), func(a, b string) int {
		return cmp.Or(cmp.Compare(v.keys[a].line, v.keys[b].line), strings.Compare(a, b))
	})
	for _, k := range keys {
		if inner(k, v.keys[k], func(x any) any { return whole(map[string]any{k: x}) }) {
			return path, at
		}
	}
	for i, item := range v.items {
		name := fmt.Sprintf(" entry %d", i+1)
		if called, ok := item.keys["name"].raw.(string); ok {
			name += " (" + quote(called) + ")"
		}
		if inner(name, item, func(x any) any { return whole([]any{x}) }) {
			return path, at
		}
	}
	return nil, v.line
}

// spans reports whether the value or one in it stands in that line.
func (v value) spans(line int) bool {
	within := v.line == line
	for _, k := range v.keys {
		within = within || k.spans(line)
	}
	for _, i := range v.items {
		within = within || i.spans(line)
	}
	return within
}

// fails reports whether a file that holds x has that problem.
func fails(x any, problem string) bool {
	text, err := yaml.Marshal(x)
	if err != nil {
		return false
	}
	err = yaml.UnmarshalStrict(text, new(fileConfig))
	var t *yaml.TypeError
	switch {
	case err == nil:
		return false
	case errors.As(err, &t):
		return slices.ContainsFunc(t.Errors, func(e string) bool { return essence(e) == problem })
	}
	return essence(err.Error()) == problem
}

var quoted = regexp.MustCompile("(?s)\".*\"|`.*`")

// essence is a problem without its line and its value, which writing it anew may change.
func essence(problem string) string {
	return quoted.ReplaceAllString(strings.TrimPrefix(problem, lineNumber.FindString(problem)), "")
}
