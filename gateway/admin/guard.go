package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"path"
	"strings"
)

// guard decides who may have which page.
type guard struct {
	token    [sha256.Size]byte // of the token, so that all are of one length
	hasToken bool
	local    bool // only this machine reaches the address
	cross    *http.CrossOriginProtection
}

func newGuard(c *Config) guard {
	return guard{
		token: sha256.Sum256([]byte(c.AdminToken)), hasToken: c.AdminToken != "", local: loopback(c.AdminListen),
		cross: http.NewCrossOriginProtection(),
	}
}

// admit answers a request itself, and is false, unless it may go on. Probes are for everybody: the kubelet has no token.
func (g *guard) admit(w http.ResponseWriter, r *http.Request) bool {
	if r.URL.Path == "/healthz" || r.URL.Path == "/readyz" {
		return true
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	switch {
	case g.hasToken && !g.knows(r):
		w.Header().Set("WWW-Authenticate", `Basic realm="Tidings", charset="UTF-8"`) // browsers ask; the password is the token
		http.Error(w, "This needs the token of TIDINGS_ADMIN_TOKEN, as Authorization: Bearer, or as the password of any user.", http.StatusUnauthorized)
	case !g.hasToken && !g.local && path.Clean(r.URL.Path) != "/metrics":
		http.Error(w, "Others reach this address, so it has no more than /healthz, /readyz and /metrics. Set TIDINGS_ADMIN_TOKEN to have the rest.", http.StatusForbidden)
	case !g.hasToken && g.local && !namesThisMachine(r.Host):
		http.Error(w, "Without TIDINGS_ADMIN_TOKEN this address answers only to localhost and to IP addresses.", http.StatusForbidden)
	case g.cross.Check(r) != nil:
		http.Error(w, "Pages of other origins may not do this.", http.StatusForbidden)
	default:
		return true
	}
	return false
}

// knows takes as long for a wrong token as for another.
func (g *guard) knows(r *http.Request) bool {
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		_, given, ok = r.BasicAuth()
	}
	sum := sha256.Sum256([]byte(given))
	return subtle.ConstantTimeCompare(sum[:], g.token[:]) == 1 && ok
}

// namesThisMachine tells of a Host that no page of the web can have: one whose name was bound to 127.0.0.1 could read what is here otherwise.
func namesThisMachine(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = strings.Trim(host, "[]")
	}
	name = strings.ToLower(name)
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}
