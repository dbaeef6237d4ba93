package fanout

import (
	"fmt"
	"strings"

	"tidings/ingest"
)

// EvalError is an event that a rule could not be applied to: an expression failed, or gave what no notification can be made
// of. The same event and the same rules fail again, so it is permanent: errors.Is(err, ingest.ErrPermanent) holds.
type EvalError struct {
	Rule       string // its name
	Field      string // "users", "exclude.groups"; of the event where no rule applies: "notify-users"
	Expression string // the text that failed
	Err        error
}

func (e *EvalError) Error() string {
	return fmt.Sprintf("rule %q, %s: %v", e.Rule, e.Field, e.Err)
}

func (e *EvalError) Unwrap() error { return e.Err }

// Is makes every EvalError an ingest.ErrPermanent.
func (e *EvalError) Is(target error) bool { return target == ingest.ErrPermanent }

// mostHeader bounds an expression in a header: of the default audience it is the event's own text, of any length.
const mostHeader = 1000

// DeadLetterHeaders go with the event to the DLQ. A header is one line, so the expression's white space is folded.
func (e *EvalError) DeadLetterHeaders() map[string]string {
	text := strings.Join(strings.Fields(e.Field+": "+e.Expression), " ")
	return map[string]string{
		"Tidings-Rule":       e.Rule,
		"Tidings-Expression": strings.TrimSuffix(shorten(text), ":"),
	}
}

func shorten(s string) string {
	if len(s) <= mostHeader {
		return s
	}
	return strings.ToValidUTF8(s[:mostHeader], "") + "…"
}
