package fanout

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMistakesInTheFile(t *testing.T) {
	tests := map[string]struct {
		text string
		want []string // the lines of the error, their beginnings
	}{
		"empty":     {"", []string{`rules.yaml:1: the file is empty`}},
		"no YAML":   {"rules:\n- name: [\n", []string{`rules.yaml:2: this is not YAML: `}},
		"a tab":     {"rules:\n\t- name: x\n", []string{`rules.yaml:2: this is not YAML: found character that cannot start any token`}},
		"a list":    {"- name: x\n", []string{`rules.yaml:1: the file is a YAML list, want a mapping with rules`}},
		"no rules":  {"rules: []\n", []string{`rules.yaml:1: want a list of at least one rule`}},
		"misspelt":  {"rule:\n- name: x\n", []string{`rules.yaml:1: the file has an unknown field "rule", known are rules`}},
		"no fields": {"rules:\n-\n- 3\n", []string{`rules.yaml:2: a rule is empty, want a mapping`, `rules.yaml:3: a rule is a single value`}},
		"unknown field": {
			rule("users: '\"u\"'", "user: x", "exclude: {user: '1'}"),
			[]string{`rules.yaml:5: a rule has an unknown field "user", known are name, subject`, `rules.yaml:6: rule "r", exclude has an unknown field "user", known are users, groups`},
		},
		"field twice": {rule("all: true", "all: true"), []string{`rules.yaml:5: a rule has the field "all" twice`}},
		"names": {
			"rules:\n- {subject: events.>, all: true}\n- {name: a b, subject: events.>, all: true}\n" +
				"- {name: a, subject: events.>, all: true}\n- {name: a, subject: events.>, all: true}\n- {name: [a], subject: events.>, all: true}\n",
			[]string{
				`rules.yaml:2: a rule without a name`,
				`rules.yaml:3: the name "a b" of a rule: want 1 to 64 of A-Z a-z 0-9 _ -`,
				`rules.yaml:5: a second rule with the name "a", the first is on line 4`,
				`rules.yaml:6: the name "" of a rule`,
			},
		},
		"subjects": {
			"rules:\n- {name: a, all: true}\n- {name: b, subject: orders.>, all: true}\n- {name: c, subject: events.>.x, all: true}\n- {name: d, subject: [events.x], all: true}\n",
			[]string{
				`rules.yaml:2: rule "a" has no subject`,
				`rules.yaml:3: rule "b": subject "orders.>" can never match: events arrive on "events.>"`,
				`rules.yaml:4: rule "c": subject "events.>.x": ">" must be its last token`,
				`rules.yaml:5: rule "d": subject is a YAML list, want one pattern`,
			},
		},
		"nobody":      {rule("kind: '\"k\"'", "all: false"), []string{`rules.yaml:2: rule "r" reaches nobody: it needs users, groups or "all: true"`}},
		"all no bool": {rule("all: yes please", "users: '\"u\"'"), []string{`rules.yaml:4: rule "r": all must be true or false`}},
		"no text": {
			rule("users: [event.data.u]", "groups:", "data: {a: 1}", "when: ''"),
			[]string{
				`rules.yaml:7: rule "r": when is empty, want a CEL expression`,
				`rules.yaml:4: rule "r": users is a YAML list, want a CEL expression as text: put it in quotes`,
				`rules.yaml:5: rule "r": groups is empty`,
				`rules.yaml:6: rule "r": data is a YAML mapping`,
			},
		},
		"exclude no mapping": {rule("all: true", "exclude: event.data.u"), []string{`rules.yaml:5: rule "r", exclude is a single value, want a mapping with users, groups`}},
		"types": {
			rule("when: '\"x\"'", "users: 'true'", "groups: '[1.5]'", "kind: '1'", "data: type(1)", "exclude: {users: 'event.?data'}"),
			[]string{
				`rules.yaml:4: rule "r", when, column 1 of the expression: the expression gives string, want true or false`,
				`rules.yaml:5: rule "r", users, column 1 of the expression: the expression gives bool, want a string or a list of strings`,
				`rules.yaml:6: rule "r", groups, column 1 of the expression: the expression gives list(double)`,
				`rules.yaml:7: rule "r", kind, column 1 of the expression: the expression gives int, want a string`,
				`rules.yaml:8: rule "r", data, column 1 of the expression: the expression gives type(int), want something that JSON can express`,
				`rules.yaml:9: rule "r", exclude.users, column 1 of the expression: the expression gives optional_type(dyn), want a string or a list of strings; add .orValue(…)`,
			},
		},
		"CEL, all mistakes at once": {
			rule("when: evnt.data.x > 1 && foo(2)", "users: |", "  [", "    event.data.a,", "    even.data.b,", "  ]", "data: \"{'a': }\"", "exclude: {groups: \"'a'.matches('(') ? 'b' : 'c'\"}"),
			[]string{
				`rules.yaml:4: rule "r", when, column 1 of the expression: undeclared reference to 'evnt'`,
				`rules.yaml:4: rule "r", when, column 23 of the expression: undeclared reference to 'foo'`,
				`rules.yaml:8: rule "r", users, column 3 of the expression: undeclared reference to 'even'`,
				`rules.yaml:10: rule "r", data, column 7 of the expression: Syntax error: mismatched input '}'`,
				`rules.yaml:11: rule "r", exclude.groups, column 13 of the expression: invalid matches argument`,
			},
		},
		"functions without a bound": {
			rule("users: event.data.u.distinct()"),
			[]string{`rules.yaml:4: rule "r", users, column 22 of the expression: undeclared reference to 'distinct'`},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := ParseRules("rules.yaml", []byte(tt.text))
			if err == nil {
				t.Fatal("got no error")
			}
			got := strings.Split(err.Error(), "\n")
			if len(got) != len(tt.want) {
				t.Fatalf("got %d lines, want %d:\n%v", len(got), len(tt.want), err)
			}
			for i, want := range tt.want {
				if !strings.HasPrefix(got[i], want) {
					t.Errorf("line %d\ngot  %s\nwant %s", i, got[i], want)
				}
			}
		})
	}
}

func TestLoadRules(t *testing.T) {
	if r, err := LoadRules(""); r != nil || err != nil || r.Len() != 0 {
		t.Errorf("no path: got %v, %v, want no rules and no error", r, err)
	}
	if _, err := LoadRules(filepath.Join(t.TempDir(), "absent.yaml")); err == nil || !strings.Contains(err.Error(), "TIDINGS_RULES") {
		t.Errorf("absent file: got %v, want an error that names the setting", err)
	}
	path := filepath.Join(t.TempDir(), "r.yaml")
	if err := os.WriteFile(path, []byte(rule("all: 1")), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadRules(path); err == nil || !strings.HasPrefix(err.Error(), path+":4: ") {
		t.Errorf("got %v, want an error that begins with file and line", err)
	}
}

func TestAnchors(t *testing.T) {
	r := parse(t, "rules:\n- {name: a, subject: events.a, users: &u '\"alice\"'}\n- {name: b, subject: events.b, users: *u}\n")
	got, err := r.Evaluate(newEvent("events.b", "1"))
	if err != nil || len(got) != 1 || got[0].Audience.Users[0] != "alice" {
		t.Errorf("got %v, %v, want rule b for alice", show(got), err)
	}
}

func TestPattern(t *testing.T) {
	tests := []struct {
		pattern, subject string
		want             bool
	}{
		{"events.>", "events.a", true},
		{"events.>", "events.a.b", true},
		{"events.>", "events", false},
		{">", "events.a", true},
		{"*.>", "events.a", true},
		{"events.*", "events.a", true},
		{"events.*", "events.a.b", false},
		{"events.*.b", "events.a.b", true},
		{"events.*.b", "events.a.c", false},
		{"events.*.b", "events.a", false},
		{"events.a", "events.a", true},
		{"events.a", "events.ab", false},
		{"events.a.>", "events.a", false},
	}
	for _, tt := range tests {
		p, err := parsePattern(tt.pattern)
		if err != nil {
			t.Errorf("%s: %v", tt.pattern, err)
		}
		if got := p.matches(strings.Split(tt.subject, ".")); got != tt.want {
			t.Errorf("%s, %s: got %v, want %v", tt.pattern, tt.subject, got, tt.want)
		}
	}
	for _, bad := range []string{"", "events", "*", "orders.>", "events..a", "events.a.", ".events", "events.a*", "events.>.a", "events.a b", "events.**", "events.a\n"} {
		if p, err := parsePattern(bad); err == nil {
			t.Errorf("%q: got %v, want an error", bad, p)
		}
	}
}
