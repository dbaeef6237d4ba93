package gateway

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// originRules say which pages may connect. A browser sends its cookies along wherever a page connects to, so without this any
// page on the web could read a visitor's notifications (RFC 6455, 10.2).
type originRules struct {
	dev   bool // the Host must be loopback too
	any   bool
	exact map[origin]struct{}
	below []origin // host with a leading dot: any host below it
}

// origin is the triple of RFC 6454, section 4, in lower case. port is filled in where the scheme has one by default.
type origin struct{ scheme, host, port string }

// newOriginRules reads TIDINGS_ORIGINS. Without entries only pages of the same host may connect.
func newOriginRules(list []string, dev bool) (originRules, error) {
	rules := originRules{dev: dev, exact: map[origin]struct{}{}}
	entries, err := authList("TIDINGS_ORIGINS", list)
	if err != nil {
		return rules, err
	}
	for _, entry := range entries {
		if entry == "*" {
			rules.any = true
			continue
		}
		// A trailing slash is what people copy from the address bar.
		o, ok := parseOrigin(strings.Replace(strings.TrimSuffix(entry, "/"), "://*.", "://", 1))
		switch {
		case !ok && !strings.Contains(entry, "://"):
			return rules, fmt.Errorf("TIDINGS_ORIGINS: %q has no scheme: write https://%s", entry, entry)
		case !ok:
			return rules, fmt.Errorf("TIDINGS_ORIGINS: %q is not an origin like https://app.example.com, https://*.example.com or *", entry)
		case strings.Contains(entry, "://*."):
			rules.below = append(rules.below, origin{o.scheme, "." + o.host, o.port})
		default:
			rules.exact[o] = struct{}{}
		}
	}
	return rules, nil
}

// check tells whether a request with these Origin lines and this Host may connect; nil means yes. The origin's scheme is not
// compared with the request's, since TLS normally ends at the ingress.
func (rules *originRules) check(lines []string, host string) *refusal {
	if rules.dev && !loopbackHost(host) {
		return refuseRebinding
	}
	switch {
	case len(lines) == 0: // not a browser; only pages can be made to connect against their user's will
		return nil
	case len(lines) > 1:
		return refuseOrigins
	case rules.any:
		return nil
	}
	o, ok := parseOrigin(lines[0]) // "null", as sandboxed frames and files send it, is none
	if !ok || !rules.allow(o, host) {
		return refuseOrigin
	}
	return nil
}

func (rules *originRules) allow(o origin, host string) bool {
	if len(rules.exact) == 0 && len(rules.below) == 0 {
		name, port, ok := splitHost(host)
		if port == "" {
			port = defaultPort(o.scheme)
		}
		return ok && o.host == strings.ToLower(name) && o.port == port
	}
	if _, ok := rules.exact[o]; ok {
		return true
	}
	for _, b := range rules.below {
		if o.scheme == b.scheme && o.port == b.port && len(o.host) > len(b.host) && strings.HasSuffix(o.host, b.host) {
			return true
		}
	}
	return false
}

// parseOrigin reads scheme "://" host [ ":" port ] (RFC 6454, 6.2), and nothing that looks only alike.
func parseOrigin(s string) (o origin, ok bool) {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || !isScheme(scheme) {
		return o, false
	}
	scheme = strings.ToLower(scheme) // after the check: a few other letters have ASCII ones as their lower case
	host, port, ok := splitHost(rest)
	if port == "" {
		port = defaultPort(scheme)
	}
	return origin{scheme, strings.ToLower(host), port}, ok
}

func isScheme(s string) bool {
	for i := range len(s) {
		letter := 'a' <= s[i] && s[i] <= 'z' || 'A' <= s[i] && s[i] <= 'Z'
		if !letter && (i == 0 || !strings.ContainsRune("0123456789+-.", rune(s[i]))) {
			return false
		}
	}
	return s != ""
}

// splitHost reads host [ ":" port ]; an IPv6 address comes without its brackets.
func splitHost(s string) (host, port string, ok bool) {
	if rest, found := strings.CutPrefix(s, "["); found {
		host, rest, found = strings.Cut(rest, "]")
		addr, err := netip.ParseAddr(host)
		if !found || err != nil || !addr.Is6() || addr.Zone() != "" || rest != "" && rest[0] != ':' {
			return "", "", false
		}
		if rest == "" {
			return host, "", true
		}
		return host, rest[1:], isPort(rest[1:])
	}
	host, port, found := strings.Cut(s, ":")
	if found && !isPort(port) || host == "" {
		return "", "", false
	}
	for i := range len(host) {
		switch c := host[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '_':
		default:
			return "", "", false
		}
	}
	return host, port, true
}

// isPort accepts a port as browsers write it.
func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0 && s[0] != '0'
}

func defaultPort(scheme string) string {
	switch scheme {
	case "http", "ws":
		return "80"
	case "https", "wss":
		return "443"
	}
	return ""
}

// loopbackHost tells whether a Host header names this machine. In development mode everybody may be anybody, and a page whose
// name was rebound to 127.0.0.1 would otherwise pass as the same origin.
func loopbackHost(host string) bool {
	name, _, ok := splitHost(host)
	return ok && loopbackName(name)
}

// loopbackName tells whether a host name or address always means this machine. RFC 6761, 6.3: names below localhost do.
func loopbackName(name string) bool {
	name = strings.ToLower(name)
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(name)
	return err == nil && addr.Unmap().IsLoopback()
}

// IsLoopback tells whether a listen address can be reached from this machine only. ":8080" and "0.0.0.0:8080" can be reached
// from everywhere; a name other than localhost may.
func IsLoopback(listenAddr string) bool {
	host, _, err := net.SplitHostPort(listenAddr)
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}
