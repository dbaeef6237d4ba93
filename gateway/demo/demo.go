// Package demo is the page of development mode: two tabs, a form that publishes events, and what arrives.
//
// In come HTTP requests of a developer's browser, out go two pages with their scripts, and events for the function that
// was given. The pages speak to the gateway itself only as any browser would, through /ws and /websocket/{userId}. They
// use nothing from elsewhere: no outside script, font or style.
package demo

import (
	"context"
	"embed"
	"net/http"
)

//go:embed index.html demo.js connection.js demo.css plain.html plain.js icon.svg
var files embed.FS

// policy lets the pages load only what is served beside them and run no inline script. `ws:` stands there because older
// browsers do not count the WebSocket of the same origin as 'self'.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' ws: wss:; " +
	"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// Handler serves the page at /, the plain dialect's page at /plain, their files below /demo/, and POST /demo/publish, which
// hands one event to publish and answers 202, or a JSON error of one sentence. It asks nobody who they are: mount it in
// development mode only, and behind a check that the Host is this machine, as the gateway's.
func Handler(publish func(ctx context.Context, subject string, body []byte, headers map[string]string) error) http.Handler {
	mux := http.NewServeMux()
	const html, script = "text/html; charset=utf-8", "text/javascript; charset=utf-8"
	for _, f := range []struct{ path, name, contentType string }{
		{"/{$}", "index.html", html},
		{"/plain", "plain.html", html},
		{"/demo/demo.js", "demo.js", script},
		{"/demo/connection.js", "connection.js", script},
		{"/demo/plain.js", "plain.js", script},
		{"/demo/demo.css", "demo.css", "text/css; charset=utf-8"},
		{"/demo/icon.svg", "icon.svg", "image/svg+xml"},
	} {
		mux.Handle("GET "+f.path, file(f.name, f.contentType))
	}
	mux.Handle("POST /demo/publish", publisher(publish))
	return withHeaders(mux)
}

func file(name, contentType string) http.Handler {
	body, err := files.ReadFile(name)
	if err != nil {
		panic("demo: " + err.Error()) // the name is not in the line go:embed above
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.Write(body) // an error is the browser's leaving
	})
}

func withHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store") // the next build's page must not meet this one's script
		next.ServeHTTP(w, r)
	})
}
