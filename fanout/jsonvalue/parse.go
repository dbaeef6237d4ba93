package jsonvalue

import (
	"encoding/json"
	"unicode/utf8"
)

// maxDepth is encoding/json's.
const maxDepth = 10_000

// parser reads one JSON value in one pass. Strings without escapes are parts of the text, which is copied once: it takes a fifth of
// the time of a json.Decoder, which was the largest single cost of a rule. It gives up on whatever is not right, and on nothing else:
// what is wrong with it, encoding/json then says.
type parser struct {
	text string
	at   int
	deep int
}

// parse gives the value that decodeSlowly gives, false where that might fail.
func parse(b []byte) (any, bool) {
	p := parser{text: string(b)}
	v, ok := p.value()
	return v, ok && p.next() == 0 && p.at == len(p.text)
}

// next is the first byte that is no white space, 0 at the end.
func (p *parser) next() byte {
	for ; p.at < len(p.text); p.at++ {
		switch c := p.text[p.at]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

// take passes c, behind any white space.
func (p *parser) take(c byte) bool {
	if p.next() != c {
		return false
	}
	p.at++
	return true
}

func (p *parser) value() (any, bool) {
	switch p.next() {
	case '{':
		return p.object()
	case '[':
		return p.array()
	case '"':
		return p.string()
	case 't':
		return true, p.word("true")
	case 'f':
		return false, p.word("false")
	case 'n':
		return nil, p.word("null")
	}
	return p.number()
}

func (p *parser) word(w string) bool {
	if len(p.text)-p.at < len(w) || p.text[p.at:p.at+len(w)] != w {
		return false
	}
	p.at += len(w)
	return true
}

func (p *parser) object() (any, bool) {
	if p.deep++; p.deep > maxDepth {
		return nil, false
	}
	defer func() { p.deep-- }()
	p.at++
	m := make(map[string]any)
	if p.take('}') {
		return m, true
	}
	for {
		if p.next() != '"' {
			return nil, false
		}
		name, ok := p.string()
		if !ok || !p.take(':') {
			return nil, false
		}
		if m[name], ok = p.value(); !ok {
			return nil, false
		}
		if p.take('}') {
			return m, true
		}
		if !p.take(',') {
			return nil, false
		}
	}
}

func (p *parser) array() (any, bool) {
	if p.deep++; p.deep > maxDepth {
		return nil, false
	}
	defer func() { p.deep-- }()
	p.at++
	list := []any{}
	if p.take(']') {
		return list, true
	}
	for {
		v, ok := p.value()
		if !ok {
			return nil, false
		}
		list = append(list, v)
		if p.take(']') {
			return list, true
		}
		if !p.take(',') {
			return nil, false
		}
	}
}

// string reads a string; p is at its first quote.
func (p *parser) string() (string, bool) {
	start, plain, ascii := p.at, true, true
	for p.at++; p.at < len(p.text); p.at++ {
		switch c := p.text[p.at]; {
		case c == '"':
			p.at++
			return unquote(p.text[start:p.at], plain, ascii)
		case c == '\\':
			plain = false
			p.at++ // whatever follows is no end
		case c < ' ':
			return "", false
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return "", false
}

// unquote leaves what is rare to encoding/json: escapes, and bytes that are not UTF-8.
func unquote(quoted string, plain, ascii bool) (string, bool) {
	if s := quoted[1 : len(quoted)-1]; plain && (ascii || utf8.ValidString(s)) {
		return s, true
	}
	var s string
	err := json.Unmarshal([]byte(quoted), &s)
	return s, err == nil
}

// number reads a number as RFC 8259, section 6, has it.
func (p *parser) number() (any, bool) {
	start := p.at
	p.skip('-')
	if !p.skip('0') && !p.digits() {
		return nil, false
	}
	if p.skip('.') && !p.digits() {
		return nil, false
	}
	if p.skip('e') || p.skip('E') {
		if !p.skip('+') {
			p.skip('-')
		}
		if !p.digits() {
			return nil, false
		}
	}
	v, err := number(p.text[start:p.at])
	return v, err == nil
}

func (p *parser) skip(c byte) bool {
	if p.at == len(p.text) || p.text[p.at] != c {
		return false
	}
	p.at++
	return true
}

func (p *parser) digits() bool {
	start := p.at
	for p.at < len(p.text) && '0' <= p.text[p.at] && p.text[p.at] <= '9' {
		p.at++
	}
	return p.at > start
}
