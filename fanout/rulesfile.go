package fanout

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/cel"
	"go.yaml.in/yaml/v3"
)

// LoadRules reads a file of rules. Every mistake in it is reported, each on a line of its own that begins with file and line.
// An empty path is no file: nil, which stands for the default audience.
func LoadRules(path string) (*Rules, error) {
	if path == "" {
		return nil, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the rules (TIDINGS_RULES): %w", err)
	}
	return ParseRules(path, b)
}

// ParseRules is LoadRules for bytes; file stands in the errors.
func ParseRules(file string, b []byte) (*Rules, error) {
	env, err := newEnv()
	if err != nil {
		return nil, fmt.Errorf("prepare CEL: %w", err)
	}
	f := &rulesFile{file: file, env: env, lines: map[string]int{}}
	var doc yaml.Node
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return nil, f.syntax(err)
	}
	rules := f.document(&doc)
	if len(f.errs) > 0 {
		return nil, errors.Join(f.errs...)
	}
	return rules, nil
}

// rulesFile collects the mistakes of one file.
type rulesFile struct {
	file  string
	env   *cel.Env
	lines map[string]int // where a rule's name was first used
	errs  []error
}

func (f *rulesFile) errorf(line int, format string, args ...any) {
	f.errs = append(f.errs, fmt.Errorf("%s:%d: %s", f.file, line, fmt.Sprintf(format, args...)))
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// syntax gives an error of the YAML parser the form of all others.
func (f *rulesFile) syntax(err error) error {
	line := 1
	m := yamlLine.FindStringSubmatch(err.Error())
	if m != nil && m[1] != "" {
		line, _ = strconv.Atoi(m[1]) // digits, by the expression
	}
	return fmt.Errorf("%s:%d: this is not YAML: %s", f.file, line, yamlLine.ReplaceAllString(err.Error(), ""))
}

func (f *rulesFile) document(doc *yaml.Node) *Rules {
	if len(doc.Content) == 0 {
		f.errorf(1, "the file is empty, want a list under \"rules:\"")
		return nil
	}
	list := f.mapping(doc.Content[0], "the file", "rules")["rules"]
	if list == nil || list.Kind != yaml.SequenceNode || len(list.Content) == 0 {
		if len(f.errs) == 0 {
			f.errorf(doc.Content[0].Line, "want a list of at least one rule under \"rules:\"; without any, no event would reach anybody")
		}
		return nil
	}
	rules := newRules()
	for _, n := range list.Content {
		rules.list = append(rules.list, f.rule(n))
	}
	return rules
}

var ruleName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func (f *rulesFile) rule(n *yaml.Node) *Rule {
	r := &Rule{}
	fields := f.mapping(n, "a rule", "name", "subject", "when", "users", "groups", "all", "exclude", "kind", "data")
	if fields == nil {
		return r
	}
	r.Name = f.name(n, fields["name"])
	r.subject = f.subject(n, r.Name, fields["subject"])
	r.when = f.expression(r.Name, "when", fields["when"], wantBool)
	r.users = f.expression(r.Name, "users", fields["users"], wantNames)
	r.groups = f.expression(r.Name, "groups", fields["groups"], wantNames)
	r.all = f.bool(r.Name, "all", fields["all"])
	r.kind = f.expression(r.Name, "kind", fields["kind"], wantString)
	r.data = f.expression(r.Name, "data", fields["data"], wantJSON)
	if x := fields["exclude"]; x != nil {
		sub := f.mapping(x, fmt.Sprintf("rule %q, exclude", r.Name), "users", "groups")
		r.excludeUsers = f.expression(r.Name, "exclude.users", sub["users"], wantNames)
		r.excludeGroups = f.expression(r.Name, "exclude.groups", sub["groups"], wantNames)
	}
	if fields["users"] == nil && fields["groups"] == nil && !r.all {
		f.errorf(n.Line, "rule %q reaches nobody: it needs users, groups or \"all: true\"", r.Name)
	}
	return r
}

func (f *rulesFile) name(rule, n *yaml.Node) string {
	switch {
	case n == nil:
		f.errorf(rule.Line, "a rule without a name")
		return ""
	case n.Kind != yaml.ScalarNode || !ruleName.MatchString(n.Value):
		f.errorf(n.Line, "the name %q of a rule: want 1 to 64 of A-Z a-z 0-9 _ -", n.Value)
	case f.lines[n.Value] > 0:
		f.errorf(n.Line, "a second rule with the name %q, the first is on line %d", n.Value, f.lines[n.Value])
	default:
		f.lines[n.Value] = n.Line
	}
	return n.Value
}

func (f *rulesFile) subject(rule *yaml.Node, name string, n *yaml.Node) pattern {
	if n == nil {
		f.errorf(rule.Line, "rule %q has no subject", name)
		return nil
	}
	if n.Kind != yaml.ScalarNode {
		f.errorf(n.Line, "rule %q: subject is %s, want one pattern such as events.orders.*.shipped", name, kindOf(n))
		return nil
	}
	p, err := parsePattern(n.Value)
	if err != nil {
		f.errorf(n.Line, "rule %q: %v", name, err)
	}
	return p
}

func (f *rulesFile) bool(rule, field string, n *yaml.Node) bool {
	if n == nil {
		return false
	}
	var b bool
	if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" || n.Decode(&b) != nil {
		f.errorf(n.Line, "rule %q: %s must be true or false", rule, field)
	}
	return b
}

// expression compiles the text of a field; nil when it is absent or wrong.
func (f *rulesFile) expression(rule, field string, n *yaml.Node, w want) *expression {
	if n == nil {
		return nil
	}
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" || strings.TrimSpace(n.Value) == "" {
		f.errorf(n.Line, "rule %q: %s is %s, want a CEL expression as text: put it in quotes, '…', or behind \"|\"", rule, field, kindOf(n))
		return nil
	}
	x, faults := compile(f.env, rule, field, n.Value, w)
	for _, e := range faults {
		f.errorf(lineOf(n, e.line), "rule %q, %s, column %d of the expression: %s", rule, field, e.column, e.text)
	}
	return x
}

// lineOf is the line of the file that holds a line of an expression. Only a literal block ("|") keeps its lines.
func lineOf(n *yaml.Node, line int) int {
	if n.Style&yaml.LiteralStyle != 0 {
		return n.Line + line
	}
	return n.Line
}

// mapping reads n as a mapping with known fields. The result is nil when it is none.
func (f *rulesFile) mapping(n *yaml.Node, what string, known ...string) map[string]*yaml.Node {
	n = resolve(n)
	if n.Kind != yaml.MappingNode {
		f.errorf(n.Line, "%s is %s, want a mapping with %s", what, kindOf(n), strings.Join(known, ", "))
		return nil
	}
	fields := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		switch {
		case !slices.Contains(known, key.Value):
			f.errorf(key.Line, "%s has an unknown field %q, known are %s", what, key.Value, strings.Join(known, ", "))
		case fields[key.Value] != nil:
			f.errorf(key.Line, "%s has the field %q twice", what, key.Value)
		default:
			fields[key.Value] = resolve(n.Content[i+1])
		}
	}
	return fields
}

func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func kindOf(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a YAML mapping"
	case n.Kind == yaml.SequenceNode:
		return "a YAML list"
	case n.Tag == "!!null" || strings.TrimSpace(n.Value) == "":
		return "empty"
	}
	return "a single value"
}
