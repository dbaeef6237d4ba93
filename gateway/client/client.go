// Package client is the browser's side of tidings.v1: TypeScript in src/, and what is built from it in dist/.
//
// Out go a script, which pages import from the gateway itself, and the two that it loads where they are needed. The package on npm,
// with the hooks for Vue and React, is built from the same source; README.md is its documentation. CI builds dist/ anew and compares.
package client

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"net/http"
	"time"
)

//go:embed dist/client.js dist/client-tabs.js dist/client-sse.js
var files embed.FS

// Paths are where the gateway serves the scripts. They find each other by these names.
var Paths = [...]string{"/client.js", "/client-tabs.js", "/client-sse.js"}

// Handler serves them. They are public, and for pages of any origin: they hold nothing of anybody. Browsers ask each time whether
// theirs are current, since a gateway's scripts and its protocol go together.
func Handler() http.Handler {
	mux := http.NewServeMux()
	for _, path := range Paths {
		mux.Handle("GET "+path, script(path))
	}
	return mux
}

func script(path string) http.Handler {
	body, err := files.ReadFile("dist" + path)
	if err != nil {
		panic("client: " + err.Error()) // the name is not in the line go:embed above
	}
	sum := sha256.Sum256(body)
	etag := `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "text/javascript; charset=utf-8")
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", etag)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Cross-Origin-Resource-Policy", "cross-origin")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
	})
}
