package client

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func request(method, path, etag string) *httptest.ResponseRecorder {
	w, r := httptest.NewRecorder(), httptest.NewRequest(method, path, nil)
	if etag != "" {
		r.Header.Set("If-None-Match", etag)
	}
	Handler().ServeHTTP(w, r)
	return w
}

func TestHandler(t *testing.T) {
	for _, path := range Paths {
		script, err := files.ReadFile("dist" + path)
		if err != nil {
			t.Fatal(err)
		}
		first := request("GET", path, "")
		if first.Code != http.StatusOK || !bytes.Equal(first.Body.Bytes(), script) {
			t.Errorf("%s: got %d and %d bytes, want the script", path, first.Code, first.Body.Len())
		}
		for name, want := range map[string]string{
			"Content-Type": "text/javascript; charset=utf-8", "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff",
			"Access-Control-Allow-Origin": "*",
		} {
			if got := first.Header().Get(name); got != want {
				t.Errorf("%s: got %s %q, want %q", path, name, got, want)
			}
		}
		for _, c := range []struct {
			method, etag string
			status, size int
		}{
			{"GET", first.Header().Get("ETag"), http.StatusNotModified, 0},
			{"GET", `"of another build"`, http.StatusOK, len(script)},
			{"HEAD", "", http.StatusOK, 0},
		} {
			if got := request(c.method, path, c.etag); got.Code != c.status || got.Body.Len() != c.size {
				t.Errorf("%s %s with %q: got %d and %d bytes, want %d and %d", c.method, path, c.etag, got.Code, got.Body.Len(), c.status, c.size)
			}
		}
		if got := request("POST", path, ""); got.Code != http.StatusMethodNotAllowed {
			t.Errorf("POST %s: got %d, want 405", path, got.Code)
		}
	}
}

// What the script imports is served beside it.
func TestImports(t *testing.T) {
	text := request("GET", "/client.js", "").Body.String()
	for _, path := range Paths[1:] {
		if !strings.Contains(text, `import(".`+path+`")`) {
			t.Errorf("/client.js does not import %s", path)
		}
	}
	if got := strings.Count(text, "import("); got != len(Paths)-1 {
		t.Errorf("/client.js imports %d files, want %d", got, len(Paths)-1)
	}
}

// The promise of README.md, for those who have Go and no Node.
func TestSize(t *testing.T) {
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
	z.Write(request("GET", "/client.js", "").Body.Bytes())
	z.Close()
	if b.Len() > 5*1024 {
		t.Errorf("dist/client.js is %d bytes gzipped, want at most 5 KiB", b.Len())
	}
}
