package inquiry

import (
	"fmt"
	"time"
)

// Step is one thing that was looked at, as a person reads it.
type Step struct {
	Mark    string   `json:"mark"`
	Text    string   `json:"text"`
	Details []string `json:"details,omitempty"`
}

// Marks of steps.
const (
	yes     = "yes"
	no      = "no"
	unknown = "unknown"
	noted   = "note"
)

func step(mark, format string, args ...any) Step {
	return Step{Mark: mark, Text: fmt.Sprintf(format, args...)}
}

func note(format string, args ...any) Step { return step(noted, format, args...) }

func (s Step) with(details ...string) Step {
	for _, d := range details {
		if d != "" {
			s.Details = append(s.Details, d)
		}
	}
	return s
}

// clock is a moment as people read it; which day matters, since a log may go back for days.
func clock(t time.Time) string {
	if t.IsZero() {
		return "its start"
	}
	return t.UTC().Format("2006-01-02 15:04:05.000 UTC")
}

func many(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%s %s", thousands(n), more)
}

// thousands groups the digits of a number.
func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
