package wsclient

import (
	"encoding/json"
	"fmt"
	"time"
)

// The frames of tidings.v1 from the server, as in gateway/protocol.md. Next returns one of these.
type (
	// Welcome is the first frame.
	Welcome struct {
		Session   string
		Cursor    string
		Resume    string // "none", "complete" or "reset"
		Heartbeat time.Duration
	}

	// Notification is one notification. Without a Cursor it is ephemeral.
	Notification struct {
		Cursor      string
		ID          string
		Kind        string
		Time        time.Time
		Data        json.RawMessage
		TraceParent string
	}

	// Heartbeat carries the position up to which the tab has everything.
	Heartbeat struct{ Cursor string }

	// Reset tells that the position is lost.
	Reset struct{ Cursor string }

	// Draining tells that the server leaves.
	Draining struct{ RetryAfter time.Duration }

	// Overloaded tells, instead of a Welcome, that the server takes no more now.
	Overloaded struct{ RetryAfter time.Duration }
)

// anyFrame has the fields of all of them.
type anyFrame struct {
	Type         string          `json:"type"`
	Session      string          `json:"session"`
	Cursor       string          `json:"cursor"`
	Resume       string          `json:"resume"`
	Heartbeat    int64           `json:"heartbeat"`
	ID           string          `json:"id"`
	Kind         string          `json:"kind"`
	Time         time.Time       `json:"time"`
	Data         json.RawMessage `json:"data"`
	TraceParent  string          `json:"traceparent"`
	RetryAfterMs int64           `json:"retryAfterMs"`
}

// Parse reads the text of one frame. A type that this package does not know is an error: a test would rather learn of it.
func Parse(text []byte) (any, error) {
	var f anyFrame
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, fmt.Errorf("frame %.200q: %w", text, err)
	}
	switch {
	case f.Type == "welcome":
		return Welcome{f.Session, f.Cursor, f.Resume, time.Duration(f.Heartbeat) * time.Millisecond}, nil
	case f.Type == "notification":
		return Notification{f.Cursor, f.ID, f.Kind, f.Time, f.Data, f.TraceParent}, nil
	case f.Type == "reset":
		return Reset{f.Cursor}, nil
	case f.Type == "draining":
		return Draining{time.Duration(f.RetryAfterMs) * time.Millisecond}, nil
	case f.Type == "overloaded":
		return Overloaded{time.Duration(f.RetryAfterMs) * time.Millisecond}, nil
	case f.Type == "" && f.Cursor != "":
		return Heartbeat{f.Cursor}, nil
	}
	return nil, fmt.Errorf("frame %.200q is none of tidings.v1", text)
}
