package ingest

import (
	"fmt"
	"strings"
	"time"
)

const cloudEventsType = "application/cloudevents"

// isCloudEvents: "application/cloudevents", whatever stands behind it, is never ordinary data.
func isCloudEvents(content string) bool {
	return len(content) >= len(cloudEventsType) && strings.EqualFold(content[:len(cloudEventsType)], cloudEventsType)
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

// parseTime reads RFC 3339, which allows small letters where Go wants capitals.
func parseTime(s string) (time.Time, error) { return time.Parse(time.RFC3339Nano, strings.ToUpper(s)) }
