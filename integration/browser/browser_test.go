package browser

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTabsOfOneBrowser(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, "<title>%s</title>", r.URL.Path)
	}))
	t.Cleanup(server.Close)
	first := New(t)
	second := Tab(t, first)
	Do(t, first, chromedp.Navigate(server.URL+"/first"))
	Do(t, second, chromedp.Navigate(server.URL+"/second"))
	Eval[any](t, first, `sessionStorage.setItem('key', 'first')`)
	Wait(t, first, `document.title === '/first'`)
	Wait(t, second, `document.title === '/second'`)
	if got := Eval[bool](t, second, `sessionStorage.getItem('key') === null`); !got {
		t.Error("a tab sees the sessionStorage of another one")
	}
}

// failures is a testing.TB that counts failures instead of failing.
type failures struct {
	testing.TB
	mu    sync.Mutex
	count int
}

func (f *failures) Errorf(string, ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count++
}

func TestWhatThePageThrowsFailsTheTest(t *testing.T) {
	for name, html := range map[string]string{
		"exception":     `<script>throw new Error('on purpose')</script>`,
		"inline script": `<meta http-equiv="Content-Security-Policy" content="script-src 'self'"><script>1</script>`,
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/html")
				fmt.Fprint(w, html)
			}))
			t.Cleanup(server.Close)
			counted := &failures{TB: t}
			ctx := New(counted)
			Do(t, ctx, chromedp.Navigate(server.URL))
			counted.mu.Lock()
			defer counted.mu.Unlock()
			if counted.count != 1 {
				t.Errorf("got %d failures, want 1", counted.count)
			}
		})
	}
}
