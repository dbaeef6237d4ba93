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
