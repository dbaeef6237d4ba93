package gateway

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// source is an EventSource without a browser, on net/http: it reads the stream as WHATWG HTML, 9.2.6, says, and holds it against the
// grammar of 9.2.5 as narrowly as we write it.
type source struct {
	t      testing.TB
	resp   *http.Response
	r      *bufio.Reader
	lastID string // what would be sent as Last-Event-ID
	retry  string
}

// event is one that a page would see.
type event struct {
	name string // "message", or what was said
	id   string
	data string
}

// stream asks for one; fields are "Name: value".
func (g *gate) stream(path string, fields ...string) *source {
	g.t.Helper()
	resp := g.askStream("GET", path, fields...)
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(resp.Body)
		g.t.Fatalf("%s: got %s %q, want 200", path, resp.Status, body)
	}
	return &source{t: g.t, resp: resp, r: bufio.NewReader(resp.Body)}
}

func (g *gate) askStream(method, path string, fields ...string) *http.Response {
	g.t.Helper()
	r, err := http.NewRequest(method, "http://"+g.Addr().String()+path, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		if r.Header.Add(name, value); name == "Host" {
			r.Host = value
		}
	}
	tr := &http.Transport{DisableCompression: true, ResponseHeaderTimeout: 10 * time.Second}
	resp, err := tr.RoundTrip(r)
	if err != nil {
		g.t.Fatalf("%s %s: %v", method, path, err)
	}
	g.t.Cleanup(func() { resp.Body.Close(); tr.CloseIdleConnections() })
	return resp
}

// next is the next event; what comes in front of it without data is none.
func (s *source) next() event {
	s.t.Helper()
	e, err := s.read()
	if err != nil {
		s.t.Fatalf("got %v, want an event", err)
	}
	return e
}

func (s *source) read() (e event, err error) {
	timeout := time.AfterFunc(10*time.Second, func() { s.resp.Body.Close() })
	defer timeout.Stop()
	id := s.lastID
	e.name = "message"
	for data := false; ; {
		line, err := s.r.ReadString('\n')
		if err != nil {
			if line != "" {
				err = fmt.Errorf("an event cut off: %q, %w", line, err)
			}
			return e, err
		}
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			s.lastID = id
			if e.id = id; data {
				return e, nil
			}
			continue
		}
		field, value, ok := strings.Cut(line, ":")
		if ok && field != "" {
			if value, ok = strings.CutPrefix(value, " "); !ok {
				return e, fmt.Errorf("no space behind the colon: %q", line)
			}
		}
		switch {
		case !ok, strings.ContainsAny(line, "\r\x00\ufeff"), !utf8.ValidString(line):
			return e, fmt.Errorf("not a line as we write it: %q", line)
		case field == "": // a comment
		case field == "id":
			id = value
		case field == "retry":
			s.retry = value
		case field == "event" && value != "":
			e.name = value
		case field == "data" && !data:
			e.data, data = value, true
		default:
			return e, fmt.Errorf("a field that we do not write: %q", line)
		}
	}
}

// message is the next event as a frame of tidings.v1, whose cursor must be its id.
func (s *source) message() (m message) {
	s.t.Helper()
	e := s.next()
	if err := json.Unmarshal([]byte(e.data), &m); err != nil || e.name != "message" {
		s.t.Fatalf("got event %+v, %v, want a frame", e, err)
	}
	if m.Cursor != "" && e.id != m.Cursor {
		s.t.Fatalf("got id %q for %s", e.id, e.data)
	}
	return m
}

func (s *source) welcome(resume string) message {
	s.t.Helper()
	m := s.message()
	if m.Type != "welcome" || m.Resume != resume {
		s.t.Fatalf("got %+v, want a welcome with resume %s", m, resume)
	}
	return m
}

// expect reads notifications with these numbers, in this order, past heartbeats.
func (s *source) expect(from, to int) (cursor string) {
	s.t.Helper()
	for n := from; n <= to; {
		m := s.message()
		if m.Type == "" {
			continue
		}
		if m.Type != "notification" || string(m.Data) != fmt.Sprint(n) {
			s.t.Fatalf("got %+v, want notification %d", m, n)
		}
		cursor = m.Cursor
		n++
	}
	return cursor
}

// wantClosed reads past everything up to the close event, behind which there is nothing.
func (s *source) wantClosed(code CloseCode) (reason string) {
	s.t.Helper()
	for {
		e := s.next()
		if e.name == "message" {
			continue
		}
		var c struct {
			Code   CloseCode `json:"code"`
			Reason *string   `json:"reason"`
		}
		if err := json.Unmarshal([]byte(e.data), &c); err != nil || e.name != "close" || c.Code != code || c.Reason == nil {
			s.t.Fatalf("got event %+v, want close with %d", e, code)
		}
		if rest, err := s.read(); !errors.Is(err, io.EOF) {
			s.t.Fatalf("got %+v, %v behind the close event, want the end of the stream", rest, err)
		}
		return *c.Reason
	}
}

func (s *source) leave() { s.resp.Body.Close() }

// readEvents parses what came to the browser's end of a bench session, behind its head.
func readEvents(t testing.TB, b []byte) (list []event, lastID string) {
	t.Helper()
	if _, rest, ok := bytes.Cut(b, []byte("\r\n\r\n")); ok {
		b = rest
	}
	s := &source{t: t, resp: &http.Response{Body: io.NopCloser(nil)}, r: bufio.NewReader(bytes.NewReader(b))}
	for {
		e, err := s.read()
		if errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "cut off") {
			return list, s.lastID
		}
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, e)
	}
}
