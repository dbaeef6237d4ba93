package picture

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"tidings/gateway/inquiry"
)

//go:embed index.html app.js cards.js plot.js search.js words.js page.css icon.svg
var files embed.FS

// policy lets the page load only what is served beside it, and nothing make markup of text.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; trusted-types 'none'; require-trusted-types-for 'script'"

// House is the process that the page is about.
type House struct {
	Pod     string
	Roles   []string
	Started time.Time
	History *History

	// Search is nil while NATS is not there yet.
	Search func() *inquiry.Search
	// Ready tells why this process is not ready, nil if it is.
	Ready func() error
}

// maxSearches is how many may be under way: each may read a million messages.
const maxSearches = 2

// Handler serves the page at /tidings, and what belongs to it below. It asks nobody who they are: mount it on the admin address, and in
// development mode behind a check that the Host is this machine.
func (h House) Handler() http.Handler {
	mux := http.NewServeMux()
	const script = "text/javascript; charset=utf-8"
	for _, f := range []struct{ path, name, contentType string }{
		{"/tidings", "index.html", "text/html; charset=utf-8"},
		{"/tidings/app.js", "app.js", script},
		{"/tidings/cards.js", "cards.js", script},
		{"/tidings/plot.js", "plot.js", script},
		{"/tidings/search.js", "search.js", script},
		{"/tidings/words.js", "words.js", script},
		{"/tidings/page.css", "page.css", "text/css; charset=utf-8"},
		{"/tidings/icon.svg", "icon.svg", "image/svg+xml"},
	} {
		mux.Handle("GET "+f.path, file(f.name, f.contentType))
	}
	mux.Handle("GET /tidings/{$}", http.RedirectHandler("../tidings", http.StatusFound))
	mux.HandleFunc("GET /tidings/figures", h.figures)
	searches := make(chan struct{}, maxSearches)
	mux.HandleFunc("GET /tidings/trace", h.search(searches, func(ctx context.Context, s *inquiry.Search, r *http.Request) (any, error) {
		return s.Trace(ctx, r.FormValue("event"), r.FormValue("user"))
	}))
	mux.HandleFunc("GET /tidings/who", h.search(searches, func(ctx context.Context, s *inquiry.Search, r *http.Request) (any, error) {
		return s.Who(ctx, r.FormValue("user"), inquiry.DefaultLatest)
	}))
	return withHeaders(mux)
}

func file(name, contentType string) http.Handler {
	body, err := files.ReadFile(name)
	if err != nil {
		panic("picture: " + err.Error()) // the name is not in the line go:embed above
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
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store") // the next build's page must not meet this one's script
		next.ServeHTTP(w, r)
	})
}

// figures are told with what the process is.
func (h House) figures(w http.ResponseWriter, r *http.Request) {
	if !ours(w, r) {
		return
	}
	after, _ := strconv.ParseInt(r.FormValue("after"), 10, 64) // everything, where it says nothing
	out := struct {
		Pod     string   `json:"pod"`
		Roles   []string `json:"roles"`
		Started int64    `json:"started"`
		Kept    int      `json:"kept"` // milliseconds
		Trouble string   `json:"trouble,omitempty"`
		Figures
	}{h.Pod, h.Roles, h.Started.UnixMilli(), int(kept * interval / time.Millisecond), "", h.History.After(after)}
	if err := h.Ready(); err != nil {
		out.Trouble = err.Error()
	}
	answer(w, http.StatusOK, out)
}

// search answers a question, as many at a time as is good.
func (h House) search(turns chan struct{}, f func(context.Context, *inquiry.Search, *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !ours(w, r) {
			return
		}
		select {
		case turns <- struct{}{}:
			defer func() { <-turns }()
		default:
			refuse(w, http.StatusTooManyRequests, fmt.Sprintf("%d searches are under way already: try again in a moment", maxSearches))
			return
		}
		s := h.Search()
		if s == nil {
			refuse(w, http.StatusServiceUnavailable, "NATS is not there yet: try again in a moment")
			return
		}
		report, err := f(r.Context(), s, r)
		if err != nil {
			refuse(w, http.StatusBadRequest, err.Error())
			return
		}
		answer(w, http.StatusOK, report)
	}
}

// ours refuses what a page of another site asks: it could not read the answer, but make us work for it.
func ours(w http.ResponseWriter, r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return true
	}
	refuse(w, http.StatusForbidden, "this is answered to the page /tidings only")
	return false
}

func refuse(w http.ResponseWriter, status int, sentence string) {
	answer(w, status, map[string]string{"error": sentence})
}

func answer(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil { // cannot be
		status, b = http.StatusInternalServerError, []byte(`{"error":"the answer cannot be written"}`)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	w.Write(b) // an error is the browser's leaving
}
