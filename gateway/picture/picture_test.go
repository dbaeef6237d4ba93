package picture

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"tidings/gateway/inquiry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestQuantile(t *testing.T) {
	h := histogram{bounds: []float64{1, 2, 4, math.Inf(1)}, counts: []float64{0, 50, 100, 100}}
	for _, c := range []struct{ q, want float64 }{{0.5, 2}, {0.25, 1.5}, {0.75, 3}, {1, 4}} {
		if got := h.quantile(c.q); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%v: got %v, want %v", c.q, got, c.want)
		}
	}
	beyond := histogram{bounds: []float64{1, math.Inf(1)}, counts: []float64{0, 7}}
	if got := beyond.quantile(0.5); got != 1 {
		t.Errorf("beyond the last bound: got %v, want that bound", got)
	}
	if got := h.minus(h).quantile(0.5); !math.IsNaN(got) {
		t.Errorf("of nothing: got %v, want not a number", got)
	}
	if got := (histogram{}).quantile(0.5); !math.IsNaN(got) {
		t.Errorf("without a histogram: got %v, want not a number", got)
	}
}

// value is a figure of the newest row.
func value(t *testing.T, f Figures, name string) *float64 {
	t.Helper()
	for i, n := range f.Names {
		if n == name {
			return f.Rows[len(f.Rows)-1][i]
		}
	}
	t.Fatalf("there is no figure %q in %q", name, f.Names)
	return nil
}

func wantValue(t *testing.T, f Figures, name string, want float64) {
	t.Helper()
	if got := value(t, f, name); got == nil || math.Abs(*got-want) > 1e-6 {
		t.Errorf("%s: got %v, want %v", name, got, want)
	}
}

func TestHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		records := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tidings_records_total", Help: "h"}, []string{"kind"})
		closes := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tidings_closes_total", Help: "h"}, []string{"reason"})
		latency := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "tidings_delivery_seconds", Help: "h", Buckets: []float64{.01, .02}}, []string{"kind"})
		reg.MustRegister(records, closes, latency)
		closes.WithLabelValues("gone").Add(3)
		latency.WithLabelValues("other")
		h := NewHistory(reg)
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() { h.Run(ctx); close(ended) }()
		synctest.Wait()
		if f := h.After(0); len(f.Rows) != 1 || value(t, f, "p50") != nil {
			t.Errorf("at the start: got %+v, want one row without a latency", f)
		}
		records.WithLabelValues("users").Add(40)
		records.WithLabelValues("all").Add(2)
		closes.WithLabelValues("slow").Add(2)
		for _, kind := range []string{"a", "b", "c"} {
			for range 10 {
				latency.WithLabelValues(kind).(prometheus.ExemplarObserver).ObserveWithExemplar(.015, prometheus.Labels{"trace_id": kind})
			}
		}
		latency.WithLabelValues("c").(prometheus.ExemplarObserver).ObserveWithExemplar(5, prometheus.Labels{"trace_id": "c"})
		time.Sleep(interval)
		synctest.Wait()
		f := h.After(0)
		wantValue(t, f, "records", 42)
		wantValue(t, f, "closes", 2)
		wantValue(t, f, "p50", .01+.01*15.5/30)
		if len(f.Closes) != 1 || f.Closes["slow"] != 2 {
			t.Errorf("got the closes %v, want those of the time that is kept", f.Closes)
		}
		if g := h.After(f.At[0]); len(g.Rows) != 1 || g.At[0] != f.At[1] {
			t.Errorf("got %d rows behind the first, want one", len(g.Rows))
		}
		time.Sleep((latencyOver + 1) * interval)
		synctest.Wait()
		f = h.After(0)
		wantValue(t, f, "records", 0)
		if got := value(t, f, "p50"); got != nil {
			t.Errorf("nothing was observed of late, but half are within %v", *got)
		}
		time.Sleep((kept + 10) * interval)
		synctest.Wait()
		f = h.After(0)
		if len(f.Rows) != kept || f.At[kept-1]-f.At[0] != (kept-1)*interval.Milliseconds() {
			t.Errorf("got %d rows over %d ms", len(f.Rows), f.At[len(f.At)-1]-f.At[0])
		}
		if len(f.Closes) != 0 {
			t.Errorf("got the closes %v of a time that is not kept", f.Closes)
		}
		cancel()
		<-ended
	})
}

func testHouse(search func() *inquiry.Search) http.Handler {
	h := NewHistory(prometheus.NewRegistry())
	h.take(time.Now())
	return House{Pod: "p/1", Roles: []string{"gateway"}, History: h, Search: search, Ready: func() error { return errors.New("waiting for the log") }}.Handler()
}

func TestPages(t *testing.T) {
	handler := testHouse(func() *inquiry.Search { return nil })
	for _, c := range []struct {
		method, path, site string
		status             int
		kind, holds        string
	}{
		{"GET", "/tidings", "", 200, "text/html; charset=utf-8", `src="tidings/app.js"`},
		{"GET", "/tidings?event=e", "cross-site", 200, "text/html; charset=utf-8", "Why did this user"},
		{"GET", "/tidings/", "", 302, "text/html; charset=utf-8", ""},
		{"GET", "/tidings/app.js", "", 200, "text/javascript; charset=utf-8", "import"},
		{"GET", "/tidings/cards.js", "", 200, "text/javascript; charset=utf-8", "Card"},
		{"GET", "/tidings/plot.js", "", 200, "text/javascript; charset=utf-8", "Plot"},
		{"GET", "/tidings/search.js", "", 200, "text/javascript; charset=utf-8", "tidings/"},
		{"GET", "/tidings/words.js", "", 200, "text/javascript; charset=utf-8", "make"},
		{"GET", "/tidings/page.css", "", 200, "text/css; charset=utf-8", "prefers-reduced-motion"},
		{"GET", "/tidings/icon.svg", "", 200, "image/svg+xml", "<svg"},
		{"GET", "/tidings/pages.go", "", 404, "text/plain; charset=utf-8", ""},
		{"POST", "/tidings", "", 405, "text/plain; charset=utf-8", ""},
		{"GET", "/tidings/figures", "same-origin", 200, "application/json; charset=utf-8", `"trouble":"waiting for the log"`},
		{"GET", "/tidings/figures?after=x", "none", 200, "application/json; charset=utf-8", `"rows":[[`},
		{"GET", "/tidings/figures", "cross-site", 403, "application/json; charset=utf-8", "error"},
		{"GET", "/tidings/trace?event=e", "cross-site", 403, "application/json; charset=utf-8", "error"},
		{"GET", "/tidings/who?user=a", "same-site", 403, "application/json; charset=utf-8", "error"},
		{"GET", "/tidings/trace?event=e", "same-origin", 503, "application/json; charset=utf-8", "NATS is not there yet"},
	} {
		r := httptest.NewRequest(c.method, c.path, nil)
		if c.site != "" {
			r.Header.Set("Sec-Fetch-Site", c.site)
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != c.status || w.Header().Get("Content-Type") != c.kind || !strings.Contains(w.Body.String(), c.holds) {
			t.Errorf("%s %s: got %d, %s, %.200q", c.method, c.path, w.Code, w.Header().Get("Content-Type"), w.Body)
		}
		csp := w.Header().Get("Content-Security-Policy")
		if !strings.HasPrefix(csp, "default-src 'none'; ") || strings.Contains(csp, "unsafe") || !strings.Contains(csp, "frame-ancestors 'none'") {
			t.Errorf("%s: got the policy %q", c.path, csp)
		}
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"} {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%s: got %s %q, want %q", c.path, name, got, want)
			}
		}
	}
}

// TestSearchesAreBounded: the third at a time is sent away.
func TestSearchesAreBounded(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	handler := testHouse(func() *inquiry.Search {
		asked <- struct{}{}
		<-release
		return nil
	})
	ended := make(chan int, maxSearches)
	for range maxSearches {
		go func() {
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequest("GET", "/tidings/who?user=a", nil))
			ended <- w.Code
		}()
		<-asked
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest("GET", "/tidings/who?user=a", nil))
	var refused struct{ Error string }
	if err := json.Unmarshal(w.Body.Bytes(), &refused); err != nil || w.Code != 429 || !strings.Contains(refused.Error, "under way") {
		t.Errorf("got %d, %s", w.Code, w.Body)
	}
	close(release)
	for range maxSearches {
		<-ended
	}
}

func BenchmarkTake(b *testing.B) {
	h := NewHistory(prometheus.DefaultGatherer)
	for b.Loop() {
		h.take(time.Now())
	}
}
