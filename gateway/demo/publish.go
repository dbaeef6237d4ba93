package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// maxBody bounds a request to publish, in bytes: what a form can reasonably hold.
const maxBody = 256 << 10

// publishWithin is how long one event may take to be stored: a NATS election lasts 4 to 9 s.
const publishWithin = 15 * time.Second

// request is the body of POST /demo/publish.
type request struct {
	Subject string            `json:"subject"`
	Body    json.RawMessage   `json:"body"` // a string: its text is the event, whatever it is; any other JSON: the event itself
	Headers map[string]string `json:"headers"`
}

// refusal is what the page is told instead of 202: a status and a sentence.
type refusal struct {
	status int
	text   string
}

func refuse(status int, format string, args ...any) *refusal {
	return &refusal{status, fmt.Sprintf(format, args...)}
}

func publisher(publish func(context.Context, string, []byte, map[string]string) error) http.Handler {
	crossOrigin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := crossOrigin.Check(r); err != nil {
			answer(w, http.StatusForbidden, "error", "Events are taken only from this page itself.")
			return
		}
		req, refused := readRequest(w, r)
		if refused == nil {
			refused = send(r.Context(), publish, req)
		}
		if refused != nil {
			answer(w, refused.status, "error", refused.text)
			return
		}
		answer(w, http.StatusAccepted, "published", req.Subject)
	})
}

func readRequest(w http.ResponseWriter, r *http.Request) (request, *refusal) {
	var req request
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return req, refuse(http.StatusUnsupportedMediaType, "Send JSON, with Content-Type: application/json.")
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if tooBig := new(http.MaxBytesError); errors.As(err, &tooBig) {
		return req, refuse(http.StatusRequestEntityTooLarge, "The event is larger than %d KiB.", maxBody>>10)
	}
	if err != nil {
		return req, refuse(http.StatusBadRequest, "The request broke off: %v.", err)
	}
	if err := json.Unmarshal(b, &req); err != nil {
		return req, refuse(http.StatusBadRequest, "The request is not the JSON that was expected: %v.", err)
	}
	if why := checkSubject(req.Subject); why != "" {
		return req, refuse(http.StatusBadRequest, "The subject %q %s.", req.Subject, strings.TrimSuffix(why, "."))
	}
	for name, value := range req.Headers {
		if !headerName(name) || strings.ContainsAny(value, "\r\n") {
			return req, refuse(http.StatusBadRequest, "The header %q has a name or a value that NATS cannot carry.", name)
		}
	}
	return req, nil
}

// checkSubject tells what is wrong with a subject for one event, "" when nothing is.
func checkSubject(subject string) string {
	switch {
	case !strings.HasPrefix(subject, "events."):
		return "must begin with events."
	case strings.ContainsAny(subject, "*>"):
		return "must name one subject, without * and >"
	case strings.HasSuffix(subject, ".") || strings.Contains(subject, ".."):
		return "has an empty part between its dots"
	case !utf8.ValidString(subject) || strings.ContainsFunc(subject, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }):
		return "must not contain spaces or control characters"
	}
	return ""
}

func headerName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' })
}

func send(ctx context.Context, publish func(context.Context, string, []byte, map[string]string) error, req request) *refusal {
	body := []byte(req.Body)
	var text string
	if json.Unmarshal(req.Body, &text) == nil {
		body = []byte(text)
	}
	ctx, cancel := context.WithTimeout(ctx, publishWithin)
	defer cancel()
	err := publish(ctx, req.Subject, body, req.Headers)
	if errors.Is(err, context.DeadlineExceeded) {
		return refuse(http.StatusGatewayTimeout, "NATS did not confirm the event within %v; it may or may not be stored.", publishWithin)
	}
	if err != nil {
		return refuse(http.StatusBadGateway, "The event was not stored: %s.", strings.TrimRight(err.Error(), "."))
	}
	return nil
}

func answer(w http.ResponseWriter, status int, key, value string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{key: value}) // an error is the browser's leaving
}
