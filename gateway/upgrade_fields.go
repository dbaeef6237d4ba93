package gateway

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"tidings/fanout/wire"
)

// maxSubprotocols bounds the offers of one handshake; a browser that follows protocol.md makes two.
const maxSubprotocols = 16

// dialectOf reads the path. The user ID of /websocket/{userId} is one segment, percent-encoded: "a/b" stands there as a%2Fb.
func dialectOf(r *http.Request) (d dialect, user string, ref *refusal) {
	switch r.URL.Path {
	case "/ws":
		return tidingsV1, "", nil
	case "/sse":
		return eventStream, "", nil
	}
	segment, ok := strings.CutPrefix(r.URL.EscapedPath(), "/websocket/")
	if !ok || strings.Contains(segment, "/") {
		return 0, "", refusePath
	}
	user, err := url.PathUnescape(segment)
	if err != nil || wire.CheckUser(user) != nil {
		return 0, "", refuseUser
	}
	return plain, user, nil
}

// devIdentity takes user and groups from the query, as development mode does.
func (up *upgrade) devIdentity(query string) *refusal {
	if up.dialect != plain {
		user, ok := queryValue(query, "user")
		switch {
		case !ok:
			return refuseQuery
		case user == "":
			return refuseNoUser
		case wire.CheckUser(user) != nil:
			return refuseUser
		}
		up.user = user
	}
	list, ok := queryValue(query, "groups")
	if !ok {
		return refuseQuery
	}
	if list == "" {
		return nil
	}
	groups := strings.Split(strings.Clone(list), ",") // not the whole request
	if len(groups) > maxTokenGroups {
		return refuseGroups
	}
	for _, g := range groups {
		if wire.CheckGroup(g) != nil {
			return refuseGroups
		}
	}
	slices.Sort(groups)
	up.groups = slices.Compact(groups)
	return nil
}

// findToken looks where a token may stand, the first place that has one counts: Authorization, the subprotocol, the cookie, and
// the query where that is switched on.
func findToken(r *http.Request, rules *upgradeRules, bearer string) (token string, ref *refusal) {
	if lines := r.Header["Authorization"]; len(lines) > 1 {
		return "", refuseBearer
	} else if len(lines) == 1 {
		// Another scheme is somebody else's: a proxy with basic authentication passes it on.
		scheme, rest, _ := strings.Cut(lines[0], " ")
		if asciiEqualFold(scheme, "bearer") {
			if token = strings.TrimSpace(rest); token == "" {
				return "", refuseBearer
			}
			return token, nil
		}
	}
	if bearer != "" {
		return bearer, nil
	}
	if token = cookieValue(r.Header["Cookie"], rules.cookie); token != "" || !rules.query {
		return token, nil
	}
	token, ok := queryValue(r.URL.RawQuery, "token")
	if !ok {
		return "", refuseQuery
	}
	return token, nil
}

// cookieValue finds the first cookie of this name. http.Request.Cookie would parse and allocate all.
func cookieValue(lines []string, name string) string {
	if name == "" {
		return ""
	}
	for _, line := range lines {
		for pair := range strings.SplitSeq(line, ";") {
			key, value, _ := strings.Cut(strings.Trim(pair, " \t"), "=")
			if key == name {
				return strings.Trim(value, `"`)
			}
		}
	}
	return ""
}

// queryValue finds the first value of a key, "" when there is none. url.ParseQuery would parse and allocate all.
func queryValue(query, key string) (value string, ok bool) {
	for pair := range strings.SplitSeq(query, "&") {
		if k, v, _ := strings.Cut(pair, "="); k == key {
			v, err := url.QueryUnescape(v)
			return v, err == nil
		}
	}
	return "", true
}

// hasToken tells whether a comma list, which may go over several lines, has the token, whatever its case.
func hasToken(lines []string, token string) bool {
	for _, line := range lines {
		for item := range strings.SplitSeq(line, ",") {
			if asciiEqualFold(strings.Trim(item, " \t"), token) {
				return true
			}
		}
	}
	return false
}

// protocolList reads Sec-WebSocket-Protocol. RFC 6455, 4.1, 10: "The elements that comprise this value MUST be non-empty strings
// with characters in the range U+0021 to U+007E not including separator characters [...] and MUST all be unique strings."
func protocolList(lines []string) (list []string, ok bool) {
	for _, line := range lines {
		for item := range strings.SplitSeq(line, ",") {
			item = strings.Trim(item, " \t")
			if item == "" { // RFC 9110, 5.6.1.2: "A recipient MUST parse and ignore a reasonable number of empty list elements"
				continue
			}
			if !isHTTPToken(item) || slices.Contains(list, item) || len(list) == maxSubprotocols {
				return nil, false
			}
			list = append(list, item)
		}
	}
	return list, len(list) > 0
}

// isHTTPToken is the token of RFC 9110, 5.6.2, which has the characters that RFC 6455 allows.
func isHTTPToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`()<>@,;:\"/[]?={}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// asciiEqualFold compares without regard to the case of ASCII letters. strings.EqualFold would also take the Kelvin sign for a k.
func asciiEqualFold(s, lower string) bool {
	if len(s) != len(lower) {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}
