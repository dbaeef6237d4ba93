// Package demo is the pages of development mode: a start page with a bell, an inbox, a form that publishes events and the wire,
// and a plain page for the plain dialect.
//
// In come HTTP requests of a developer's browser, out go the pages with their scripts, and events for the function that
// was given. The start page uses the client that the gateway serves at /client.js, the plain page nothing but a WebSocket: both
// speak to the gateway as any browser would. They use nothing from elsewhere: no outside script, font or style.
package demo

import (
	"context"
	"embed"
	"net/http"
	"path"
)

//go:embed *.html *.js *.css *.svg
var files embed.FS

var types = map[string]string{
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".svg":  "image/svg+xml",
}

// Handler serves the start page at /, the plain dialect's page at /plain, their files below /demo/, and POST /demo/publish,
// which hands one event to publish and answers 202, or a JSON error of one sentence. It asks nobody who they are: mount it in
// development mode only, and behind a check that the Host is this machine, as the gateway's.
func Handler(publish func(ctx context.Context, subject string, body []byte, headers map[string]string) error) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", file("index.html"))
	mux.Handle("GET /plain", file("plain.html"))
	entries, err := files.ReadDir(".")
	if err != nil {
		panic("demo: " + err.Error()) // it is in the binary
	}
	for _, e := range entries {
		if path.Ext(e.Name()) != ".html" {
			mux.Handle("GET /demo/"+e.Name(), file(e.Name()))
		}
	}
	mux.Handle("POST /demo/publish", publisher(publish))
	return withHeaders(mux)
}

func file(name string) http.Handler {
	body, err := files.ReadFile(name)
	if err != nil {
		panic("demo: " + err.Error()) // the name is not in the line go:embed above
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", types[path.Ext(name)])
		w.Write(body) // an error is the browser's leaving
	})
}
