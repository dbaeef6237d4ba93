package gateway

import (
	"net/url"
	"strings"
	"testing"
)

func TestOrigins(t *testing.T) {
	const same = ""
	const listed = "https://app.example.com,https://*.example.org,http://localhost:5173,https://*.example.net:8443,chrome-extension://abcdefgh"
	for _, tt := range []struct {
		name, rules, origin, host string
		want                      bool
	}{
		{"same host", same, "https://app.example.com", "app.example.com", true},
		{"same host, TLS ended before", same, "https://app.example.com:443", "app.example.com", true},
		{"same host and port", same, "http://localhost:8080", "localhost:8080", true},
		{"same host, port as by default", same, "https://app.example.com", "app.example.com:443", true},
		{"same host in capitals", same, "https://app.example.com", "APP.example.com", true},
		{"same IPv6 address", same, "http://[::1]:8080", "[::1]:8080", true},
		{"other port", same, "http://localhost:8081", "localhost:8080", false},
		{"default port is not another", same, "http://app.example.com", "app.example.com:443", false},
		{"other host", same, "https://evil.example", "app.example.com", false},
		{"subdomain is another host", same, "https://x.app.example.com", "app.example.com", false},
		{"null", same, "null", "app.example.com", false},
		{"null where listed", listed, "null", "app.example.com", false},
		{"anything", "*", "https://evil.example", "app.example.com", true},
		{"null where anything", "*", "null", "app.example.com", true},
		{"junk where anything", "*", "\x7f", "app.example.com", true},
		{"exact", listed, "https://app.example.com", "ws.example.com", true},
		{"exact in capitals", listed, "HTTPS://APP.example.COM", "ws.example.com", true},
		{"exact with the default port", listed, "https://app.example.com:443", "ws.example.com", true},
		{"exact, other scheme", listed, "http://app.example.com", "ws.example.com", false},
		{"exact, other port", listed, "https://app.example.com:444", "ws.example.com", false},
		{"same host is not enough where listed", listed, "https://ws.example.com", "ws.example.com", false},
		{"with port", listed, "http://localhost:5173", "localhost:8080", true},
		{"below", listed, "https://a.example.org", "ws.example.com", true},
		{"far below", listed, "https://a.b.c.example.org", "ws.example.com", true},
		{"not the top itself", listed, "https://example.org", "ws.example.com", false},
		{"ends alike", listed, "https://evilexample.org", "ws.example.com", false},
		{"goes on", listed, "https://a.example.org.evil.example", "ws.example.com", false},
		{"dot alone", listed, "https://.example.org", "ws.example.com", false},
		{"below, scheme", listed, "http://a.example.org", "ws.example.com", false},
		{"below, scheme with the other's port", listed, "http://a.example.org:443", "ws.example.com", false},
		{"below, port", listed, "https://a.example.net:8443", "ws.example.com", true},
		{"below, other port", listed, "https://a.example.net", "ws.example.com", false},
		{"extension", listed, "chrome-extension://abcdefgh", "ws.example.com", true},
		{"user information", listed, "https://app.example.com@evil.example", "ws.example.com", false},
		{"path", listed, "https://app.example.com/", "ws.example.com", false},
		{"query", listed, "https://a.example.org?.example.org", "ws.example.com", false},
		{"space", listed, "https://app.example.com https://evil.example", "ws.example.com", false},
		{"Kelvin sign for k", "https://ok.example", "https://o\u212a.example", "ws.example.com", false},
		{"zero before the port", listed, "https://app.example.com:0443", "ws.example.com", false},
		{"empty", listed, "", "ws.example.com", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rules := mustOrigins(t, tt.rules, false)
			if got := rules.check([]string{tt.origin}, tt.host) == nil; got != tt.want {
				t.Errorf("page of %q at host %q, rules %q: got allowed %v, want %v", tt.origin, tt.host, tt.rules, got, tt.want)
			}
		})
	}
}

func mustOrigins(t testing.TB, list string, dev bool) originRules {
	t.Helper()
	var entries []string
	if list != "" {
		entries = strings.Split(list, ",")
	}
	rules, err := newOriginRules(entries, dev)
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

func TestOriginLines(t *testing.T) {
	rules := mustOrigins(t, "https://app.example.com", false)
	if got := rules.check(nil, "ws.example.com"); got != nil {
		t.Errorf("no Origin: got %q, want allowed", got.text)
	}
	if got := rules.check([]string{"https://app.example.com", "https://app.example.com"}, "ws.example.com"); got != refuseOrigins {
		t.Errorf("two Origins: got %v, want refuseOrigins", got)
	}
}

func TestOriginInDevelopment(t *testing.T) {
	rules := mustOrigins(t, "", true)
	for _, tt := range []struct {
		host string
		want *refusal
	}{
		{"localhost:8080", nil}, {"LOCALHOST", nil}, {"a.localhost:8080", nil}, {"127.0.0.1:8080", nil}, {"127.8.9.1", nil},
		{"[::1]:8080", nil}, {"[::ffff:127.0.0.1]", nil},
		{"evil.example:8080", refuseRebinding}, {"localhost.evil.example", refuseRebinding}, {"notlocalhost", refuseRebinding},
		{"10.0.0.1", refuseRebinding}, {"127.0.0.1.evil.example", refuseRebinding}, {"", refuseRebinding}, {"0.0.0.0", refuseRebinding},
	} {
		// Rebound, the page's own origin has the same name as the Host: only the name gives it away. Programs are not let in either,
		// since fetch of the same origin sends no Origin.
		for _, lines := range [][]string{nil, {"http://" + tt.host}} {
			if got := rules.check(lines, tt.host); got != tt.want {
				t.Errorf("Host %q, Origin %q: got %v, want %v", tt.host, lines, got, tt.want)
			}
		}
	}
	open := mustOrigins(t, "*", true)
	if got := open.check([]string{"https://evil.example"}, "evil.example"); got != refuseRebinding {
		t.Errorf("any origin, Host not loopback: got %v, want refuseRebinding", got)
	}
}

func TestOriginSettings(t *testing.T) {
	for entry, want := range map[string]string{
		"app.example.com":             "write https://app.example.com",
		"https://app.example.com/x":   "is not an origin",
		"https://a.*.example.com":     "is not an origin",
		"https://*":                   "is not an origin",
		"https://app.example.com:*":   "is not an origin",
		"https://app.example.com:0":   "is not an origin",
		"https://":                    "is not an origin",
		"https://bücher.example":      "is not an origin",
		"https://a.example, ,http://": "empty entry",
		"null":                        "write https://null",
		"://app.example.com":          "is not an origin",
	} {
		_, err := newOriginRules(strings.Split(entry, ","), false)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "TIDINGS_ORIGINS") {
			t.Errorf("%q: got error %v, want one with TIDINGS_ORIGINS and %q", entry, err, want)
		}
	}
	rules, err := newOriginRules([]string{" https://app.example.com/ ", "https://*.example.com"}, false)
	if err != nil || !rules.allow(origin{"https", "app.example.com", "443"}, "") {
		t.Errorf("slash and spaces: got %v, want app.example.com allowed", err)
	}
}

func TestIsLoopback(t *testing.T) {
	for addr, want := range map[string]bool{
		"127.0.0.1:8080": true, "localhost:8080": true, "[::1]:8080": true, "127.1.2.3:0": true, "[::ffff:127.0.0.1]:80": true,
		":8080": false, "0.0.0.0:8080": false, "[::]:8080": false, "10.0.0.1:8080": false, "example.com:8080": false,
		"localhost.example.com:8080": false, "x.localhost:8080": false, "localhost": false, "127.0.0.1": false, "": false,
	} {
		if got := IsLoopback(addr); got != want {
			t.Errorf("IsLoopback(%q): got %v, want %v", addr, got, want)
		}
	}
}

// What is let in is, by the standard library's reading too, one of the listed pages or one below example.com.
func FuzzOrigin(f *testing.F) {
	for _, seed := range []string{
		"https://app.example.com", "https://a.b.example.com:443", "null", "https://app.example.com@evil.example", "https://[::1]:80",
		"https://evil.example#.example.com", "https://evil.example\\.example.com", "https://.example.com", "HTTPS://APP.EXAMPLE.COM",
		"https://evil.example/.example.com", "https://evilexample.com", "https://a.example.com:08", "https://\u212a.example.com",
	} {
		f.Add(seed, "ws.example.com")
	}
	f.Add("http://localhost:8080", "localhost:8080")
	rules := mustOrigins(f, "https://*.example.com", false)
	same := mustOrigins(f, "", false)
	dev := mustOrigins(f, "", true)
	f.Fuzz(func(t *testing.T, page, host string) {
		if rules.check([]string{page}, host) == nil {
			u, err := url.Parse(page)
			if err != nil || u.Scheme != "https" || !strings.HasSuffix(strings.ToLower(u.Hostname()), ".example.com") ||
				u.Path != "" || u.User != nil || u.Port() != "" && u.Port() != "443" {
				t.Errorf("%q is allowed, and parsed %+v, %v", page, u, err)
			}
		}
		if same.check([]string{page}, host) == nil {
			u, err := url.Parse(page)
			h, err2 := url.Parse("//" + host)
			if err != nil || err2 != nil || !strings.EqualFold(u.Hostname(), h.Hostname()) {
				t.Errorf("%q is allowed at host %q", page, host)
			}
		}
		if dev.check([]string{page}, host) == nil && !loopbackHost(host) {
			t.Errorf("host %q is served in development mode", host)
		}
	})
}
