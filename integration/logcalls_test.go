package integration

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// logCall is one line of the source that logs.
type logCall struct {
	at      token.Position
	level   string
	message string
	keys    []string // its own, without those of With
}

func (c logCall) row() string {
	return fmt.Sprintf("| %s | %s | %s |", c.level, strings.ReplaceAll(c.message, "`", ""), strings.Join(c.keys, " "))
}

// source is the product's Go files, without tests and without what only tests use.
func source(t *testing.T) (files []*ast.File, set *token.FileSet) {
	t.Helper()
	set = token.NewFileSet()
	add := func(path string) {
		f, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	add("../main.go")
	for _, room := range []string{"../ingest", "../fanout", "../gateway"} {
		err := filepath.WalkDir(room, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && (d.Name() == "node_modules" || d.Name() == "testdata"):
				return filepath.SkipDir
			case strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go"):
				add(path)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files, set
}

var (
	levels    = map[string]string{"Debug": "debug", "Info": "info", "Warn": "warn", "Error": "error"}
	snakeCase = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)
)

// logCalls finds the calls of slog, and says what is wrong with their form. A logger is known by its name: log, l.log, h.log.With(…),
// e.Logger(…).
func logCalls(t *testing.T) (calls []logCall, with []string) {
	t.Helper()
	files, set := source(t)
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			method, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || !isLogger(method.X) {
				return true
			}
			c := logCall{at: set.Position(call.Pos()), level: levels[strings.TrimSuffix(method.Sel.Name, "Context")]}
			args := call.Args
			switch {
			case method.Sel.Name == "With":
				with = append(with, keys(t, c.at, args)...)
				return true
			case method.Sel.Name == "Log":
				c.level, args = "any", args[2:] // a context and the level
			case c.level == "":
				return true
			case strings.HasSuffix(method.Sel.Name, "Context"):
				args = args[1:]
			}
			c.message = literal(args[0])
			if c.message == "" {
				t.Errorf("%s: the message is not a constant: put what changes behind a key", c.at)
			}
			c.keys = keys(t, c.at, args[1:])
			calls = append(calls, c)
			return true
		})
	}
	return calls, with
}

func isLogger(x ast.Expr) bool {
	switch x := x.(type) {
	case *ast.Ident:
		return x.Name == "log" || x.Name == "slog"
	case *ast.SelectorExpr:
		return x.Sel.Name == "log" || x.Sel.Name == "Log"
	case *ast.CallExpr:
		f, ok := x.Fun.(*ast.SelectorExpr)
		return ok && (f.Sel.Name == "Logger" || f.Sel.Name == "With" && isLogger(f.X))
	}
	return false
}

func keys(t *testing.T, at token.Position, args []ast.Expr) (list []string) {
	t.Helper()
	for i := 0; i < len(args); i += 2 {
		key := literal(args[i])
		if !snakeCase.MatchString(key) {
			t.Errorf("%s: argument %d is no constant key like event_id", at, i)
		}
		list = append(list, key)
	}
	return list
}

// literal is the string that a literal says, "" for anything else.
func literal(x ast.Expr) string {
	l, ok := x.(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return ""
	}
	s, _ := strconv.Unquote(l.Value)
	return s
}

// metricNames finds the names that metrics are registered under: Name fields of options, and the first arguments of the gateway's counter
// and vec.
func metricNames(t *testing.T) (names []string) {
	t.Helper()
	files, _ := source(t)
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.KeyValueExpr:
				if k, ok := n.Key.(*ast.Ident); ok && k.Name == "Name" && strings.HasPrefix(literal(n.Value), "tidings_") {
					names = append(names, literal(n.Value))
				}
			case *ast.CallExpr:
				if f, ok := n.Fun.(*ast.Ident); ok && (f.Name == "counter" || f.Name == "vec" || f.Name == "gauge") && len(n.Args) > 1 && literal(n.Args[0]) != "" {
					names = append(names, "tidings_"+literal(n.Args[0]))
				}
			}
			return true
		})
	}
	slices.Sort(names)
	return names
}
