package demo

import (
	"net/http"
	"regexp"
)

// policy lets the pages load only what is served beside them, and run no inline script or style and make no markup out of
// text. Browsers that do not count the WebSocket of the same origin as 'self' are given it by name.
const (
	policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'"
	rest   = "; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)

// hostName is a Host that can stand in a policy: a name or an address, and a port.
var hostName = regexp.MustCompile(`^[A-Za-z0-9.:\[\]-]{1,255}$`)

func policyFor(host string) string {
	if !hostName.MatchString(host) {
		return policy + rest
	}
	return policy + " ws://" + host + " wss://" + host + rest
}

func withHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policyFor(r.Host))
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store") // the next build's page must not meet this one's script
		next.ServeHTTP(w, r)
	})
}
