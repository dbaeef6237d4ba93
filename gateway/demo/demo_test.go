package demo

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type published struct {
	subject string
	body    string
	headers map[string]string
}

// recorder is a publish function that keeps what it was given, and answers err.
func recorder(err error) (publish func(context.Context, string, []byte, map[string]string) error, got *[]published) {
	got = new([]published)
	return func(_ context.Context, subject string, body []byte, headers map[string]string) error {
		*got = append(*got, published{subject, string(body), headers})
		return err
	}, got
}

func TestFiles(t *testing.T) {
	publish, _ := recorder(nil)
	handler := Handler(publish)
	for _, c := range []struct {
		method, path, contentType, holds string
		status                           int
	}{
		{"GET", "/", "text/html; charset=utf-8", `<script type="module" src="/demo/start.js">`, 200},
		{"GET", "/?user=alice", "text/html; charset=utf-8", "Send an event", 200},
		{"HEAD", "/", "text/html; charset=utf-8", "", 200},
		{"GET", "/plain?user=alice", "text/html; charset=utf-8", `<script type="module" src="/demo/plain.js">`, 200},
		{"GET", "/demo/start.js", "text/javascript; charset=utf-8", "from '/client.js'", 200},
		{"GET", "/demo/send.js", "text/javascript; charset=utf-8", "import", 200},
		{"GET", "/demo/plain.js", "text/javascript; charset=utf-8", "new WebSocket(url)", 200},
		{"GET", "/demo/demo.css", "text/css; charset=utf-8", "color-scheme: light dark", 200},
		{"GET", "/demo/start.css", "text/css; charset=utf-8", "prefers-reduced-motion", 200},
		{"GET", "/demo/icon.svg", "image/svg+xml", "<svg", 200},
		{"GET", "/demo/index.html", "text/plain; charset=utf-8", "", 404},
		{"GET", "/demo/demo.go", "text/plain; charset=utf-8", "", 404},
		{"GET", "/nothing", "text/plain; charset=utf-8", "", 404},
		{"POST", "/", "text/plain; charset=utf-8", "", 405},
		{"GET", "/demo/publish", "text/plain; charset=utf-8", "", 405},
	} {
		t.Run(c.method+" "+c.path, func(t *testing.T) {
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequest(c.method, c.path, nil))
			if w.Code != c.status {
				t.Errorf("got status %d, want %d", w.Code, c.status)
			}
			if got := w.Header().Get("Content-Type"); got != c.contentType {
				t.Errorf("got type %q, want %q", got, c.contentType)
			}
			if !strings.Contains(w.Body.String(), c.holds) {
				t.Errorf("%q is not in the answer", c.holds)
			}
			for name, want := range map[string]string{
				"X-Content-Type-Options": "nosniff",
				"Referrer-Policy":        "no-referrer",
				"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; " +
					"connect-src 'self' ws://example.com wss://example.com; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; " +
					"require-trusted-types-for 'script'; trusted-types 'none'",
			} {
				if got := w.Header().Get(name); got != want {
					t.Errorf("got %s %q, want %q", name, got, want)
				}
			}
		})
	}
}

// TestNothingInline: what the policy would refuse is not in the pages, nor anything from elsewhere.
func TestNothingInline(t *testing.T) {
	for _, name := range []string{"index.html", "plain.html"} {
		page, err := files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range []string{" style=", "<style", " onclick", " onload", "http://", "https://", "javascript:"} {
			if strings.Contains(string(page), bad) {
				t.Errorf("%s has %q", name, bad)
			}
		}
		if n, src := strings.Count(string(page), "<script"), strings.Count(string(page), `<script type="module" src="/demo/`); n != src {
			t.Errorf("%s has %d scripts, of which %d are files", name, n, src)
		}
	}
}

func TestPolicyFor(t *testing.T) {
	for _, c := range []struct{ host, connect string }{
		{"localhost:8080", "connect-src 'self' ws://localhost:8080 wss://localhost:8080;"},
		{"[::1]:8080", "connect-src 'self' ws://[::1]:8080 wss://[::1]:8080;"},
		{"", "connect-src 'self';"},
		{"a; script-src *", "connect-src 'self';"},
		{"a\r\nb", "connect-src 'self';"},
		{"a *", "connect-src 'self';"},
	} {
		got := policyFor(c.host)
		if _, after, _ := strings.Cut(got, "img-src 'self'; "); !strings.HasPrefix(after, c.connect+" base-uri 'none'") {
			t.Errorf("%q: got %q, want %q in it", c.host, got, c.connect)
		}
	}
}

func TestPublish(t *testing.T) {
	const good = `{"subject":"events.orders.1.shipped","body":"{\"userId\":\"alice\"}"}`
	for _, c := range []struct {
		name    string
		request string
		change  func(*http.Request)
		fails   error // of publish
		status  int
		want    *published
		says    string
	}{
		{name: "text", request: good, status: 202, want: &published{"events.orders.1.shipped", `{"userId":"alice"}`, nil}},
		{name: "text that is not JSON", request: `{"subject":"events.a","body":"hello\n"}`, status: 202, want: &published{"events.a", "hello\n", nil}},
		{name: "JSON, as sent", request: `{"subject":"events.a","body":{ "userIds": ["a","b"] }}`, status: 202,
			want: &published{"events.a", `{ "userIds": ["a","b"] }`, nil}},
		{name: "no body", request: `{"subject":"events.a"}`, status: 202, want: &published{"events.a", "", nil}},
		{name: "headers", request: `{"subject":"events.a","body":"","headers":{"Nats-Msg-Id":"1","notify-users":"alice, bob"}}`, status: 202,
			want: &published{"events.a", "", map[string]string{"Nats-Msg-Id": "1", "notify-users": "alice, bob"}}},
		{name: "same origin", request: good, status: 202, want: &published{"events.orders.1.shipped", `{"userId":"alice"}`, nil},
			change: func(r *http.Request) { r.Header.Set("Origin", "http://localhost:8080") }},
		{name: "IPv6", request: good, status: 202, want: &published{"events.orders.1.shipped", `{"userId":"alice"}`, nil},
			change: func(r *http.Request) { r.Host = "[::1]:8080"; r.Header.Set("Origin", "http://[::1]:8080") }},
		{name: "another origin", request: good, status: 403, says: "only from this page",
			change: func(r *http.Request) { r.Header.Set("Origin", "http://elsewhere.example") }},
		{name: "another port is another origin", request: good, status: 403, says: "only from this page",
			change: func(r *http.Request) { r.Header.Set("Origin", "http://localhost:9999") }},
		{name: "no origin, but the browser says cross-site", request: good, status: 403, says: "only from this page",
			change: func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }},
		{name: "a form", request: good, status: 415, says: "Content-Type: application/json",
			change: func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }},
		{name: "charset", request: good, status: 202, want: &published{"events.orders.1.shipped", `{"userId":"alice"}`, nil},
			change: func(r *http.Request) { r.Header.Set("Content-Type", "application/json; charset=utf-8") }},
		{name: "as large as allowed", request: `{"subject":"events.a","body":"` + strings.Repeat("x", maxBody-32) + `"}`, status: 202,
			want: &published{"events.a", strings.Repeat("x", maxBody-32), nil}},
		{name: "too large", request: `{"subject":"events.a","body":"` + strings.Repeat("x", maxBody-31) + `"}`, status: 413, says: "larger than 256 KiB"},
		{name: "not JSON", request: `{"subject"`, status: 400, says: "not the JSON"},
		{name: "another subject", request: `{"subject":"log.0.m","body":""}`, status: 400, says: `"log.0.m" must begin with events.`},
		{name: "no subject", request: `{"body":""}`, status: 400, says: "must begin with events."},
		{name: "wildcard", request: `{"subject":"events.>","body":""}`, status: 400, says: "without * and >"},
		{name: "empty part", request: `{"subject":"events..a","body":""}`, status: 400, says: "empty part"},
		{name: "only the prefix", request: `{"subject":"events.","body":""}`, status: 400, says: "empty part"},
		{name: "space", request: `{"subject":"events.a b","body":""}`, status: 400, says: "spaces"},
		{name: "line break in a header", request: `{"subject":"events.a","headers":{"a":"b\r\nc: d"}}`, status: 400, says: `"a"`},
		{name: "colon in a header's name", request: `{"subject":"events.a","headers":{"a:":"b"}}`, status: 400, says: `"a:"`},
		{name: "NATS refuses", request: `{"subject":"events.a","body":""}`, fails: errors.New("no quorum"), status: 502,
			want: &published{"events.a", "", nil}, says: "The event was not stored: no quorum."},
		{name: "NATS is silent", request: `{"subject":"events.a","body":""}`, fails: context.DeadlineExceeded, status: 504,
			want: &published{"events.a", "", nil}, says: "may or may not be stored"},
	} {
		t.Run(c.name, func(t *testing.T) {
			publish, got := recorder(c.fails)
			r := httptest.NewRequest("POST", "http://localhost:8080/demo/publish", strings.NewReader(c.request))
			r.Header.Set("Content-Type", "application/json")
			if c.change != nil {
				c.change(r)
			}
			w := httptest.NewRecorder()
			Handler(publish).ServeHTTP(w, r)
			if w.Code != c.status {
				t.Errorf("got status %d, want %d: %s", w.Code, c.status, w.Body)
			}
			checkAnswer(t, w.Result(), c.says)
			var want []published
			if c.want != nil {
				want = []published{*c.want}
			}
			if !reflect.DeepEqual(*got, want) {
				t.Errorf("got published %.200v, want %.200v", *got, want)
			}
		})
	}
}

// checkAnswer wants JSON, with an error of one sentence that holds says, unless says is empty.
func checkAnswer(t *testing.T, r *http.Response, says string) {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct{ Error string }
	if err := json.Unmarshal(b, &answer); err != nil || r.Header.Get("Content-Type") != "application/json; charset=utf-8" {
		t.Errorf("got %q of type %q, want JSON", b, r.Header.Get("Content-Type"))
	}
	if !strings.Contains(answer.Error, says) || (says == "") != (answer.Error == "") {
		t.Errorf("got the error %q, want one with %q", answer.Error, says)
	}
}
