package ingest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	headerPrefix      = "ce-"
	headerSpecVersion = "ce-specversion"
	cloudEventsType   = "application/cloudevents"
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

// isCloudEvents: "application/cloudevents", whatever stands behind it, is never ordinary data.
func isCloudEvents(content string) bool {
	return len(content) >= len(cloudEventsType) && strings.EqualFold(content[:len(cloudEventsType)], cloudEventsType)
}

// decodeStructured reads an event that is one JSON object (JSON event format, section 3).
func decodeStructured(e *Event, content string, body []byte) error {
	switch media := mediaType(content); media {
	case cloudEventsType, cloudEventsType + "+json":
	case cloudEventsType + "-batch", cloudEventsType + "-batch+json":
		return errors.New("CloudEvent: a batch; publish each event as one message")
	default:
		return fmt.Errorf("CloudEvent: the format %s is not supported, only %s+json", media, cloudEventsType)
	}
	var fields map[string]json.RawMessage
	if !utf8.Valid(body) {
		return errors.New("CloudEvent: the body is not UTF-8")
	}
	if err := json.Unmarshal(body, &fields); err != nil || fields == nil {
		return fmt.Errorf("CloudEvent: the body is not a JSON object: %v", orNull(err))
	}
	return decodeFields(e, fields)
}

func orNull(err error) any {
	if err == nil {
		return "null"
	}
	return err
}

// looksStructured is the object of a message that has the four required attributes: the Go SDK sends structured events over
// core NATS without any header.
func looksStructured(body []byte) map[string]json.RawMessage {
	// Most raw events end here, after a search and not after a parse.
	if !bytes.Contains(body, []byte(`"specversion"`)) || !utf8.Valid(body) {
		return nil
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil {
		return nil
	}
	for _, name := range []string{"specversion", "id", "source", "type"} {
		if _, ok := fields[name]; !ok {
			return nil
		}
	}
	return fields
}

func decodeFields(e *Event, fields map[string]json.RawMessage) error {
	data, data64 := fields["data"], fields["data_base64"]
	delete(fields, "data")
	delete(fields, "data_base64")
	attributes := make(map[string]string, len(fields))
	for name, raw := range fields {
		value, ok, err := attribute(raw)
		if err != nil {
			return fmt.Errorf("CloudEvent: attribute %q: %w", name, err)
		}
		lower := strings.ToLower(name)
		if _, twice := fields[lower]; !ok || twice && lower != name {
			continue // absent, or a second spelling of a name that is there
		}
		attributes[lower] = value
	}
	if err := setAttributes(e, attributes); err != nil {
		return err
	}
	hasData, has64 := present(data), present(data64)
	switch {
	case hasData && has64:
		return errors.New("CloudEvent: both data and data_base64")
	case hasData:
		e.Data = data
	case has64:
		var text string
		if json.Unmarshal(data64, &text) != nil {
			return errors.New("CloudEvent: data_base64 is not a string")
		}
		body, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return fmt.Errorf("CloudEvent: data_base64 is not base64: %v", err)
		}
		return setData(e, body)
	}
	return nil
}

func present(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

// attribute is the canonical text of an attribute's JSON value (CloudEvents, section 3: Type System); null is absent. Lists
// and objects are no attribute values, but extensions with lists of users are sent: their JSON is kept.
func attribute(raw json.RawMessage) (value string, ok bool, err error) {
	if !present(raw) {
		return "", false, nil
	}
	if raw[0] != '"' {
		return string(raw), true, nil
	}
	err = json.Unmarshal(raw, &value)
	return value, true, err
}

// setAttributes checks and sets the context attributes, by lower-case name; what is no attribute of the specification is an
// extension.
func setAttributes(e *Event, attributes map[string]string) error {
	for _, name := range []string{"specversion", "id", "source", "type"} {
		if attributes[name] == "" {
			return fmt.Errorf("CloudEvent: the required attribute %q is missing or empty", name)
		}
	}
	if v := attributes["specversion"]; v != "1.0" {
		return fmt.Errorf("CloudEvent: specversion %q is not supported, only 1.0", v)
	}
	for name, value := range attributes {
		switch name {
		case "specversion", "dataschema":
		case "id":
			e.ID = value
		case "source":
			e.Source = value
		case "type":
			e.Type = value
		case "subject":
			e.Subject = value
		case "datacontenttype":
			e.DataContentType = value
		case "time":
			t, err := parseTime(value)
			if err != nil {
				return fmt.Errorf("CloudEvent: time %q is not RFC 3339", value)
			}
			e.Time = t
		default:
			if e.Extensions == nil {
				e.Extensions = make(map[string]string)
			}
			e.Extensions[name] = value
		}
	}
	e.Key = cloudKey(e.Source, e.ID)
	return nil
}

func setData(e *Event, body []byte) error {
	data, ok := toJSON(e.DataContentType, body)
	if !ok {
		return fmt.Errorf("CloudEvent: the data is not JSON, but datacontenttype is %q", e.DataContentType)
	}
	e.Data = data
	return nil
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
