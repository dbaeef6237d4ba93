package fanout

import (
	"fmt"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"
)

// newEnv is the language of the rules: CEL with optional fields and its usual extensions, as far as one call costs no more than
// in proportion to its arguments. The cost of a call is only added up behind it, so what compares each with each (the
// sets library, distinct, sort) could hold an event's partition up for minutes, and json.encode has no bound in CEL's account.
func newEnv() (*cel.Env, error) {
	return cel.NewEnv(
		cel.Variable("event", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("subject", cel.StringType),
		cel.Variable("tokens", cel.ListType(cel.StringType)),
		cel.CrossTypeNumericComparisons(true),
		cel.DefaultUTCTimeZone(true),
		cel.EnableIdentifierEscapeSyntax(),
		cel.OptionalTypes(),
		cel.ASTValidators(cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals(), cel.ValidateRegexLiterals()),
		ext.Strings(),
		ext.Lists(ext.ListsVersion(1)), // slice, flatten
		ext.Math(),
		ext.Bindings(),
		ext.TwoVarComprehensions(),
		ext.Encoders(ext.EncodersVersion(0)), // base64
	)
}

// expression is one compiled CEL expression of a rule.
type expression struct {
	rule  string
	field string
	text  string
	prog  cel.Program
}

// want says which types a field accepts. Values that are only known at run time (dyn) pass, and are checked then.
type want struct {
	says string
	ok   func(*cel.Type) bool
}

var (
	wantBool   = want{"true or false", func(t *cel.Type) bool { return t.Kind() == types.BoolKind }}
	wantString = want{"a string", func(t *cel.Type) bool { return t.Kind() == types.StringKind }}
	wantNames  = want{"a string or a list of strings", func(t *cel.Type) bool {
		if t.Kind() == types.ListKind {
			t = t.Parameters()[0]
		}
		return isName(t)
	}}
	wantJSON = want{"something that JSON can express", func(t *cel.Type) bool {
		return t.Kind() != types.TypeKind && t.Kind() != types.OpaqueKind
	}}
)

// isName: users and groups are strings; integers are taken by their decimal text.
func isName(t *cel.Type) bool {
	switch t.Kind() {
	case types.StringKind, types.IntKind, types.UintKind, types.DynKind, types.TypeParamKind:
		return true
	}
	return false
}

// fault is what is wrong with an expression, at a line (1 is its first) and a column (1 is its first) of its text.
type fault struct {
	line, column int
	text         string
}

func compile(env *cel.Env, rule, field, text string, w want) (*expression, []fault) {
	ast, iss := env.Compile(text)
	if iss.Err() != nil {
		var faults []fault
		for _, e := range iss.Errors() {
			faults = append(faults, fault{max(e.Location.Line(), 1), e.Location.Column() + 1, e.Message})
		}
		return nil, faults
	}
	if t := ast.OutputType(); t.Kind() != types.DynKind && !w.ok(t) {
		return nil, []fault{{1, 1, wrongType(t, w)}}
	}
	prog, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(CostLimit), cel.CostTracking(dynCost{}))
	if err != nil {
		return nil, []fault{{1, 1, err.Error()}}
	}
	return &expression{rule, field, text, prog}, nil
}

func wrongType(t *cel.Type, w want) string {
	hint := ""
	if t.Kind() == types.OpaqueKind {
		hint = "; add .orValue(…) for the case that the field is absent"
	}
	return fmt.Sprintf("the expression gives %s, want %s%s", t, w.says, hint)
}

// eval gives the value for the event in s. Its errors are *EvalError.
func (x *expression) eval(s *scope) (ref.Val, error) {
	v, _, err := x.prog.Eval(s)
	if err != nil {
		return nil, x.fail(err)
	}
	return v, nil
}

func (x *expression) fail(err error) error {
	return &EvalError{Rule: x.rule, Field: x.field, Expression: x.text, Err: err}
}

// evalBool gives the value of a condition; no expression is true.
func (x *expression) evalBool(s *scope) (bool, error) {
	if x == nil {
		return true, nil
	}
	v, err := x.eval(s)
	if err != nil {
		return false, err
	}
	b, ok := v.(types.Bool)
	if !ok {
		return false, x.fail(fmt.Errorf("got %s, want true or false", v.Type().TypeName()))
	}
	return bool(b), nil
}

// evalNames gives a list of users or groups, each passed by check; no expression is nobody.
func (x *expression) evalNames(s *scope, check func(string) error) ([]string, error) {
	if x == nil {
		return nil, nil
	}
	v, err := x.eval(s)
	if err != nil {
		return nil, err
	}
	list, err := names(v, check)
	if err != nil {
		return nil, x.fail(err)
	}
	return list, nil
}
