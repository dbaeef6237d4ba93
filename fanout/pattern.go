package fanout

import (
	"errors"
	"fmt"
	"strings"
)

// pattern is a NATS subject with wildcards: "*" stands for one token, ">" for one or more at the end.
type pattern []string

func parsePattern(s string) (pattern, error) {
	if s == "" {
		return nil, errors.New("the subject is empty")
	}
	if strings.ContainsAny(s, " \t\r\n") {
		return nil, fmt.Errorf("subject %q contains white space", s)
	}
	p := pattern(strings.Split(s, "."))
	for i, t := range p {
		switch {
		case t == "":
			return nil, fmt.Errorf("subject %q has an empty token", s)
		case t == ">" && i < len(p)-1:
			return nil, fmt.Errorf("subject %q: \">\" must be its last token", s)
		case len(t) > 1 && strings.ContainsAny(t, "*>"):
			return nil, fmt.Errorf("subject %q: %q is no wildcard, \"*\" and \">\" stand alone between dots", s, t)
		}
	}
	if !p.withinEvents() {
		return nil, fmt.Errorf("subject %q can never match: events arrive on \"events.>\"", s)
	}
	return p, nil
}

// withinEvents tells whether some subject under "events." matches p.
func (p pattern) withinEvents() bool {
	if p[0] == ">" {
		return true
	}
	return len(p) > 1 && (p[0] == "events" || p[0] == "*")
}

func (p pattern) matches(tokens []string) bool {
	for i, t := range p {
		switch {
		case t == ">":
			return len(tokens) > i
		case i >= len(tokens) || t != "*" && t != tokens[i]:
			return false
		}
	}
	return len(p) == len(tokens)
}
