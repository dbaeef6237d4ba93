package tlsfront

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tidings/integration/house"
)

// volume is a directory as Kubernetes mounts a Secret: the files are links through a link that is changed in one step.
type volume struct {
	t   *testing.T
	dir string
	n   int
}

func (v *volume) put(cert, key string) {
	v.t.Helper()
	v.n++
	data := filepath.Join(v.dir, strings.Repeat("x", v.n))
	if err := os.Mkdir(data, 0o700); err != nil {
		v.t.Fatal(err)
	}
	for name, from := range map[string]string{"tls.crt": cert, "tls.key": key} {
		b, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(filepath.Join(data, name), b, 0o600)
		}
		if err != nil {
			v.t.Fatal(err)
		}
	}
	if err := os.Symlink(data, filepath.Join(v.dir, "..new")); err != nil {
		v.t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(v.dir, "..new"), filepath.Join(v.dir, "..data")); err != nil {
		v.t.Fatal(err)
	}
}

func newVolume(t *testing.T) *volume {
	v := &volume{t: t, dir: t.TempDir()}
	for _, name := range []string{"tls.crt", "tls.key"} {
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(v.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return v
}

// A new pair is for new connections, those that are there stay, and a pair that cannot be used changes nothing but the metrics.
func TestReload(t *testing.T) {
	v := newVolume(t)
	var lines bytes.Buffer
	var cert, key string
	s := newStand(t, func(c *Config, n *Needs) {
		v.put(c.TLSCert, c.TLSKey)
		cert, key = c.TLSCert, c.TLSKey
		c.TLSCert, c.TLSKey = filepath.Join(v.dir, "tls.crt"), filepath.Join(v.dir, "tls.key")
		n.Log = slog.New(slog.NewTextHandler(&lines, nil))
	})
	serial := func() string {
		t.Helper()
		client, loop := s.connect()
		defer loop.Close()
		defer client.Close()
		return client.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	old, loop := s.connect()
	first := serial()

	until := time.Now().Add(2 * time.Hour)
	otherCert, otherKey := s.ca.Issue(t, "other", until)
	v.put(otherCert, key) // the halves of two pairs
	s.pair.again()
	s.pair.again() // the same is not told twice
	if got := serial(); got != first {
		t.Errorf("after a pair that is none: got serial %s, want %s as before", got, first)
	}
	v.put(otherCert, otherKey)
	s.pair.again()
	second := serial()
	if second == first {
		t.Error("after another pair: got the first certificate")
	}
	if got := s.metric("certificate_expiry_timestamp_seconds"); got != float64(until.Unix()) {
		t.Errorf("got expiry %v, want %v", got, until.Unix())
	}
	if err := os.Remove(filepath.Join(v.dir, "..data")); err != nil {
		t.Fatal(err)
	}
	s.pair.again()
	if got := serial(); got != second {
		t.Errorf("after the files are gone: got serial %s, want %s as before", got, second)
	}
	expired, expiredKey := s.ca.Issue(t, "expired", time.Now().Add(-time.Minute))
	v.put(expired, expiredKey)
	s.pair.again()
	if got := serial(); got != second {
		t.Errorf("after an expired pair: got serial %s, want %s as before", got, second)
	}
	v.put(cert, key)
	s.pair.again()
	if got := serial(); got != first {
		t.Errorf("after the first pair: got serial %s, want %s", got, first)
	}
	s.await("certificate_reloads_total", 2, "ok")
	s.await("certificate_reloads_total", 3, "failed")

	send(t, old, []byte("still here"))
	receive(t, loop, []byte("still here"))
	if key, _ := os.ReadFile(key); strings.Contains(lines.String(), strings.Split(string(key), "\n")[1]) {
		t.Error("the log holds a key")
	}
	if strings.Count(lines.String(), "cannot be used") != 3 || strings.Count(lines.String(), "has changed") != 2 {
		t.Errorf("got log:\n%s", &lines)
	}
}

// The files are looked at by the clock too.
func TestWatch(t *testing.T) {
	ca := house.NewAuthority(t)
	cert, key := ca.Issue(t, "a", time.Now().Add(time.Hour))
	c, err := newCertificate(Config{TLSCert: cert, TLSKey: key}, slog.New(slog.DiscardHandler), newMetrics(prometheus.NewRegistry()))
	if err != nil {
		t.Fatal(err)
	}
	first := c.now.Load()
	done := make(chan struct{})
	ctx := t.Context()
	go func() { defer close(done); c.watch(ctx, time.Millisecond) }()
	ca.Issue(t, "a", time.Now().Add(2*time.Hour)) // over the old files, one after the other
	house.Eventually(t, patience, "the new pair is taken", func() error {
		if c.now.Load() == first {
			return os.ErrNotExist
		}
		return nil
	})
	t.Cleanup(func() { <-done })
}

func TestMistakesAtTheStart(t *testing.T) {
	ca := house.NewAuthority(t)
	cert, key := ca.Issue(t, "a", time.Now().Add(time.Hour))
	other, _ := ca.Issue(t, "b", time.Now().Add(time.Hour))
	old, oldKey := ca.Issue(t, "c", time.Now().Add(-time.Minute))
	for _, c := range []struct{ name, cert, key, want string }{
		{"not there", cert + "x", key, "there is no file " + cert + "x"},
		{"key not there", cert, key + "x", "TIDINGS_TLS_KEY: there is no file"},
		{"no pair", other, key, "are no pair"},
		{"no PEM", key, key, "are no pair"},
		{"expired", old, oldKey, "ended on"},
		{"empty", os.DevNull, os.DevNull, "are no pair"},
	} {
		f, err := New(Config{TLSCert: c.cert, TLSKey: c.key, TLSHandshakes: 1}, "127.0.0.1:0", Needs{Registry: prometheus.NewRegistry()})
		if err == nil {
			f.Refuse()
			t.Errorf("%s: it started", c.name)
		} else if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %q, want a line with %q", c.name, err, c.want)
		}
	}
	half := Config{TLSCert: cert, TLSHandshakes: 1}
	if err := half.Validate(); err == nil || !strings.Contains(err.Error(), "belong together") {
		t.Errorf("a certificate without a key: got %v", err)
	}
}
