package ingest

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	headerPrefix      = "ce-"
	headerSpecVersion = "ce-specversion"
)

// decodeBinary reads an event whose attributes are headers and whose data is the body
// (NATS protocol binding for CloudEvents, section 3.1).
func decodeBinary(e *Event, body []byte) error {
	attributes := make(map[string]string, len(e.Headers))
	for header, value := range e.Headers {
		name, ok := strings.CutPrefix(header, headerPrefix)
		if !ok || name == "" {
			continue
		}
		value, err := decodeHeader(value)
		if err != nil {
			return fmt.Errorf("CloudEvent: header %s: %w", header, err)
		}
		attributes[name] = value
	}
	if err := setAttributes(e, attributes); err != nil {
		return err
	}
	// The binding has the type in ce-datacontenttype; producers used to HTTP leave it in Content-Type.
	if e.DataContentType == "" && !isCloudEvents(e.Headers["content-type"]) {
		e.DataContentType = e.Headers["content-type"]
	}
	return setData(e, body)
}

// decodeHeader undoes what the binding does to an attribute's value: "any HTTP header value MUST first be unescaped with respect to
// double-quoted strings … A single round of percent-decoding MUST then be performed", and bytes that are not UTF-8 then are
// refused. A percent sign that no two digits follow stands for itself: a name may well be "50% off".
func decodeHeader(s string) (string, error) {
	s = unquote(s)
	if strings.IndexByte(s, '%') >= 0 {
		s = percentDecode(s)
	}
	if !utf8.ValidString(s) {
		return "", errors.New("the percent-decoded value is not UTF-8")
	}
	return s, nil
}

func unquote(s string) string {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return s
	}
	s = s[1 : len(s)-1]
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		out = append(out, s[i])
	}
	return string(out)
}

func percentDecode(s string) string {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if hi, lo := hexDigit(s[i+1]), hexDigit(s[i+2]); hi >= 0 && lo >= 0 {
				out = append(out, byte(hi<<4|lo))
				i += 2
				continue
			}
		}
		out = append(out, s[i])
	}
	return string(out)
}

func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
