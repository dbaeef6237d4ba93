package admin

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "0123456789abcdef-token"

func yes() *bool { b := true; return &b }
func no() *bool  { b := false; return &b }

func pages(cfg Config, development bool) *Pages {
	p := New(cfg, Needs{
		Alive: func() error { return nil }, Ready: func() error { return errors.New("not yet") },
		Metrics: prometheus.NewRegistry(), Development: development,
	})
	p.Handle("/tidings", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("page")) }))
	return p
}

func get(p *Pages, path string, change func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", "http://127.0.0.1:9090"+path, nil)
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w
}

// Who may have what: the status of each page, in the order healthz, readyz, metrics, tidings, pprof.
func TestWhoMayHaveWhat(t *testing.T) {
	paths := []string{"/healthz", "/readyz", "/metrics", "/tidings", "/debug/pprof/heap?debug=1"}
	bearer := func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
	for _, c := range []struct {
		name        string
		cfg         Config
		development bool
		change      func(*http.Request)
		want        [5]int
	}{
		{"loopback, development", Config{AdminListen: "127.0.0.1:9090"}, true, nil, [5]int{200, 503, 200, 200, 200}},
		{"loopback, production", Config{AdminListen: "127.0.0.1:9090"}, false, nil, [5]int{200, 503, 200, 200, 404}},
		{"loopback, pprof wanted", Config{AdminListen: "[::1]:9090", Pprof: yes()}, false, nil, [5]int{200, 503, 200, 200, 200}},
		{"loopback, pprof not wanted", Config{AdminListen: "localhost:9090", Pprof: no()}, true, nil, [5]int{200, 503, 200, 200, 404}},
		{"for others", Config{AdminListen: ":9090"}, false, nil, [5]int{200, 503, 200, 403, 403}},
		{"for others, development", Config{AdminListen: "0.0.0.0:9090"}, true, nil, [5]int{200, 503, 200, 403, 403}},
		{"no token given", Config{AdminListen: ":9090", AdminToken: token, Pprof: yes()}, false, nil, [5]int{200, 503, 401, 401, 401}},
		{"no token given, loopback", Config{AdminListen: "127.0.0.1:9090", AdminToken: token}, true, nil, [5]int{200, 503, 401, 401, 401}},
		{"token", Config{AdminListen: ":9090", AdminToken: token}, false, bearer, [5]int{200, 503, 200, 200, 404}},
		{"token, pprof wanted", Config{AdminListen: ":9090", AdminToken: token, Pprof: yes()}, false, bearer, [5]int{200, 503, 200, 200, 200}},
		{"token as password", Config{AdminListen: ":9090", AdminToken: token}, false, func(r *http.Request) { r.SetBasicAuth("me", token) }, [5]int{200, 503, 200, 200, 404}},
		{"wrong token", Config{AdminListen: ":9090", AdminToken: token}, false, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token+"x") }, [5]int{200, 503, 401, 401, 401}},
		{"empty token", Config{AdminListen: ":9090", AdminToken: token}, false, func(r *http.Request) { r.Header.Set("Authorization", "Bearer ") }, [5]int{200, 503, 401, 401, 401}},
		{"token without Bearer", Config{AdminListen: ":9090", AdminToken: token}, false, func(r *http.Request) { r.Header.Set("Authorization", token) }, [5]int{200, 503, 401, 401, 401}},
		{"a name bound to 127.0.0.1", Config{AdminListen: "127.0.0.1:9090"}, true, func(r *http.Request) { r.Host = "evil.example:9090" }, [5]int{200, 503, 403, 403, 403}},
		{"localhost", Config{AdminListen: "127.0.0.1:9090"}, true, func(r *http.Request) { r.Host = "localhost:9090" }, [5]int{200, 503, 200, 200, 200}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.cfg.Validate(); err != nil {
				t.Fatal(err)
			}
			p := pages(c.cfg, c.development)
			for i, path := range paths {
				w := get(p, path, c.change)
				if w.Code != c.want[i] {
					t.Errorf("%s: got %d %q, want %d", path, w.Code, strings.TrimSpace(w.Body.String()), c.want[i])
				}
				if strings.Contains(w.Body.String(), token) {
					t.Errorf("%s: the answer holds the token", path)
				}
			}
		})
	}
}

// A path that only looks like that of a probe or of the metrics gives nothing away.
func TestPathsBesideTheProbes(t *testing.T) {
	p := pages(Config{AdminListen: ":9090", AdminToken: token, Pprof: yes()}, false)
	for _, path := range []string{"/healthz/../metrics", "//metrics", "/readyz/", "/healthz/x", "/%6detrics", "/debug/pprof"} {
		if w := get(p, path, nil); w.Code != http.StatusUnauthorized {
			t.Errorf("%s: got %d, want 401", path, w.Code)
		}
	}
}

// What changes something is not done for the page of another origin, with whatever the browser sends along.
func TestOtherOrigins(t *testing.T) {
	p := pages(Config{AdminListen: "127.0.0.1:9090"}, true)
	post := func(site string) int {
		return get(p, "/tidings", func(r *http.Request) { r.Method = "POST"; r.Header.Set("Sec-Fetch-Site", site) }).Code
	}
	if got := post("cross-site"); got != http.StatusForbidden {
		t.Errorf("cross-site: got %d, want 403", got)
	}
	if got := post("same-origin"); got != http.StatusOK {
		t.Errorf("same-origin: got %d, want 200", got)
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		want string // "": nothing wrong
	}{
		{Config{AdminListen: ":9090"}, ""},
		{Config{AdminListen: ":9090", AdminToken: token, Pprof: yes()}, ""},
		{Config{AdminListen: "9090"}, "want host:port"},
		{Config{AdminListen: ":9090", AdminToken: "short-secret"}, "has 12 bytes: give 16"},
		{Config{AdminListen: ":9090", AdminToken: token + "\n"}, "white space"},
		{Config{AdminListen: ":9090", Pprof: yes()}, "set TIDINGS_ADMIN_TOKEN"},
	} {
		err := c.cfg.Validate()
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%+v: got %v, want nothing wrong", c.cfg, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%+v: got %v, want it to say %q", c.cfg, err, c.want)
		case err != nil && c.cfg.AdminToken != "" && strings.Contains(err.Error(), c.cfg.AdminToken):
			t.Errorf("the error holds the token: %v", err)
		}
	}
}
