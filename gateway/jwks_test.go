package gateway

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// jwkOf is a public key as an identity provider publishes it.
func jwkOf(public any, kid string) map[string]any {
	b64 := base64.RawURLEncoding.EncodeToString
	switch p := public.(type) {
	case *rsa.PublicKey:
		return map[string]any{"kty": "RSA", "kid": kid, "n": b64(p.N.Bytes()), "e": b64(big.NewInt(int64(p.E)).Bytes())}
	case *ecdsa.PublicKey:
		b, err := p.Bytes()
		if err != nil {
			panic(err)
		}
		n := (len(b) - 1) / 2
		return map[string]any{"kty": "EC", "kid": kid, "crv": p.Curve.Params().Name, "x": b64(b[1 : 1+n]), "y": b64(b[1+n:])}
	case ed25519.PublicKey:
		return map[string]any{"kty": "OKP", "kid": kid, "crv": "Ed25519", "x": b64(p)}
	}
	panic(fmt.Sprintf("%T", public))
}

func with(m map[string]any, pairs ...any) map[string]any {
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i].(string)] = pairs[i+1]
	}
	return m
}

// provider is an identity provider whose answer can be changed.
type provider struct {
	*httptest.Server
	fetches atomic.Int64
	answer  atomic.Value // http.HandlerFunc
}

func newProvider(t testing.TB) *provider {
	p := &provider{}
	p.serve()
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.fetches.Add(1)
		p.answer.Load().(http.HandlerFunc)(w, r)
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *provider) serve(keys ...map[string]any) {
	if keys == nil {
		keys = []map[string]any{}
	}
	b, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		panic(err)
	}
	p.body(string(b))
}

func (p *provider) body(s string) {
	p.answer.Store(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(s)) }))
}

func (p *provider) fail(status int) {
	p.answer.Store(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "out", status) }))
}

// quick never fetches by itself after the first success, and soon after a failure.
var quick = jwksTiming{refresh: time.Hour, gap: 10 * time.Millisecond, retry: 10 * time.Millisecond, retryMax: 20 * time.Millisecond, timeout: 5 * time.Second}

func authWithProvider(t testing.TB, address string, timing jwksTiming, edit func(*AuthConfig)) *Authenticator {
	t.Helper()
	return authLogging(t, address, timing, edit, quiet)
}

func authLogging(t testing.TB, address string, timing jwksTiming, edit func(*AuthConfig), log *slog.Logger) *Authenticator {
	t.Helper()
	a, err := newAuthenticator(authConfig(func(c *AuthConfig) {
		c.JWKSURL = address
		if edit != nil {
			edit(c)
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	a.jwks = newJWKS(address, timing, log)
	a.jwks.start(t.Context())
	t.Cleanup(a.Close)
	return a
}

func withKid(kid string) func(header, claims map[string]any) {
	return func(h, _ map[string]any) {
		if kid != "" {
			h["kid"] = kid
		}
	}
}

// within fails the test if cond does not hold within 10 s.
func within(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

func TestJWKSKeys(t *testing.T) {
	is := testIssuer()
	const oct = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" // 32 zero bytes
	rs := &is.rsa.PublicKey
	for _, tt := range []struct {
		name string
		keys []map[string]any
		tok  string
		want *TokenError // nil: alice
	}{
		{"RS256", []map[string]any{jwkOf(rs, "k")}, sign(t, jwt.SigningMethodRS256, is.rsa, withKid("k")), nil},
		{"PS512", []map[string]any{jwkOf(rs, "k")}, sign(t, jwt.SigningMethodPS512, is.rsa, withKid("k")), nil},
		{"ES256", []map[string]any{jwkOf(&is.p256.PublicKey, "k")}, sign(t, jwt.SigningMethodES256, is.p256, withKid("k")), nil},
		{"ES384", []map[string]any{jwkOf(&is.p384.PublicKey, "k")}, sign(t, jwt.SigningMethodES384, is.p384, withKid("k")), nil},
		{"ES512", []map[string]any{jwkOf(&is.p521.PublicKey, "k")}, sign(t, jwt.SigningMethodES512, is.p521, withKid("k")), nil},
		{"EdDSA", []map[string]any{jwkOf(is.ed.Public(), "k")}, sign(t, jwt.SigningMethodEdDSA, is.ed, withKid("k")), nil},
		{"for signatures, with alg and operations", []map[string]any{with(jwkOf(rs, "k"), "use", "sig", "alg", "RS256", "key_ops", []string{"verify"}, "x5u", "http://127.0.0.1:1/")},
			sign(t, jwt.SigningMethodRS256, is.rsa, withKid("k")), nil},
		{"padded numbers", []map[string]any{with(jwkOf(rs, "k"), "n", base64.URLEncoding.EncodeToString(rs.N.Bytes()))},
			sign(t, jwt.SigningMethodRS256, is.rsa, withKid("k")), nil},
		{"beside keys that cannot be read", []map[string]any{{"kty": "XYZ", "kid": "k"}, {"kty": 1}, {}, jwkOf(rs, "k")},
			sign(t, jwt.SigningMethodRS256, is.rsa, withKid("k")), nil},
		{"two of one name", []map[string]any{jwkOf(&is.p256.PublicKey, "k"), jwkOf(&is.other.PublicKey, "k"), jwkOf(rs, "k")},
			sign(t, jwt.SigningMethodRS256, is.rsa, withKid("k")), nil},
		{"no name in the token", []map[string]any{jwkOf(&is.other.PublicKey, "j"), jwkOf(rs, "k")}, sign(t, jwt.SigningMethodRS256, is.rsa, nil), nil},
		{"no names at all", []map[string]any{jwkOf(rs, "")}, sign(t, jwt.SigningMethodRS256, is.rsa, nil), nil},
		{"no name, too many to try", []map[string]any{jwkOf(rs, "a"), jwkOf(rs, "b"), jwkOf(rs, "c"), jwkOf(rs, "d"), jwkOf(rs, "e")},
			sign(t, jwt.SigningMethodRS256, is.rsa, nil), errTokenNoKid},
		{"another name", []map[string]any{jwkOf(rs, "k")}, sign(t, jwt.SigningMethodRS256, is.rsa, withKid("l")), errTokenKid},
		{"name without a key", []map[string]any{jwkOf(rs, "")}, sign(t, jwt.SigningMethodRS256, is.rsa, withKid("k")), errTokenKid},
		{"another key of the name", []map[string]any{jwkOf(&is.other.PublicKey, "k")}, sign(t, jwt.SigningMethodRS256, is.rsa, withKid("k")), errTokenSignature},
		{"another alg", []map[string]any{with(jwkOf(rs, "k"), "alg", "RS512")}, sign(t, jwt.SigningMethodRS256, is.rsa, withKid("k")), errTokenKid},
		{"PS token, RS key", []map[string]any{with(jwkOf(rs, "k"), "alg", "RS256")}, sign(t, jwt.SigningMethodPS256, is.rsa, withKid("k")), errTokenKid},
		{"for encryption", []map[string]any{with(jwkOf(rs, "k"), "use", "enc")}, sign(t, jwt.SigningMethodRS256, is.rsa, withKid("k")), errTokenKid},
		{"for encryption by alg", []map[string]any{with(jwkOf(rs, "k"), "alg", "RSA-OAEP")}, sign(t, jwt.SigningMethodRS256, is.rsa, withKid("k")), errTokenKid},
		{"not for verifying", []map[string]any{with(jwkOf(rs, "k"), "key_ops", []string{"encrypt"})}, sign(t, jwt.SigningMethodRS256, is.rsa, withKid("k")), errTokenKid},
		{"symmetric", []map[string]any{{"kty": "oct", "kid": "k", "k": oct, "alg": "HS256"}},
			sign(t, jwt.SigningMethodHS256, make([]byte, 32), withKid("k")), errTokenAlg},
		{"HS with the key's modulus", []map[string]any{jwkOf(rs, "k")}, sign(t, jwt.SigningMethodHS256, rs.N.Bytes(), withKid("k")), errTokenAlg},
		{"RSA key that says HS256", []map[string]any{with(jwkOf(rs, "k"), "alg", "HS256")}, sign(t, jwt.SigningMethodHS256, rs.N.Bytes(), withKid("k")), errTokenAlg},
		{"RSA of 1024 bits", []map[string]any{jwkOf(&is.weak.PublicKey, "k")}, sign(t, jwt.SigningMethodRS256, is.weak, withKid("k")), errTokenKid},
		{"RSA with exponent 1", []map[string]any{with(jwkOf(rs, "k"), "e", "AQ")}, sign(t, jwt.SigningMethodRS256, is.rsa, withKid("k")), errTokenKid},
		{"RSA with a huge exponent", []map[string]any{with(jwkOf(rs, "k"), "e", "AQAAAAAAAQAB")}, sign(t, jwt.SigningMethodRS256, is.rsa, withKid("k")), errTokenKid},
		{"point off the curve", []map[string]any{with(jwkOf(&is.p256.PublicKey, "k"), "y", oct)}, sign(t, jwt.SigningMethodES256, is.p256, withKid("k")), errTokenKid},
		{"short coordinate", []map[string]any{with(jwkOf(&is.p256.PublicKey, "k"), "x", "AAAA")}, sign(t, jwt.SigningMethodES256, is.p256, withKid("k")), errTokenKid},
		{"unknown curve", []map[string]any{with(jwkOf(&is.p256.PublicKey, "k"), "crv", "secp256k1")}, sign(t, jwt.SigningMethodES256, is.p256, withKid("k")), errTokenKid},
		{"Ed25519 of 31 bytes", []map[string]any{with(jwkOf(is.ed.Public(), "k"), "x", oct[:41])}, sign(t, jwt.SigningMethodEdDSA, is.ed, withKid("k")), errTokenKid},
		{"none", []map[string]any{jwkOf(rs, "k")}, sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, withKid("k")), errTokenAlg},
		{"no keys", []map[string]any{}, sign(t, jwt.SigningMethodRS256, is.rsa, withKid("k")), errTokenKid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			p.serve(tt.keys...)
			a := authWithProvider(t, p.URL, quick, nil)
			id, err := a.VerifyWait(t.Context(), tt.tok)
			if tt.want != nil {
				wantRefused(t, tt.tok, err, tt.want)
			} else if err != nil || id.User != "alice" {
				t.Errorf("got %+v, %v; want alice", id, err)
			}
		})
	}
}

// With a secret and a public key beside the key set each kind of token finds its own key, and none another's.
func TestJWKSBesideOtherKeys(t *testing.T) {
	is := testIssuer()
	p := newProvider(t)
	p.serve(jwkOf(&is.rsa.PublicKey, "k"))
	a := authWithProvider(t, p.URL, quick, func(c *AuthConfig) { c.HMACSecret, c.PublicKey = testSecret, publicPEM(t, &is.other.PublicKey) })
	for name, token := range map[string]string{
		"secret":    sign(t, jwt.SigningMethodHS256, []byte(testSecret), withKid("x")),
		"static":    sign(t, jwt.SigningMethodRS256, is.other, withKid("x")),
		"same name": sign(t, jwt.SigningMethodRS256, is.other, withKid("k")),
		"key set":   sign(t, jwt.SigningMethodRS256, is.rsa, withKid("k")),
	} {
		if id, err := a.VerifyWait(t.Context(), token); err != nil || id.User != "alice" {
			t.Errorf("%s: got %+v, %v; want alice", name, id, err)
		}
	}
	before := p.fetches.Load()
	if _, err := a.Verify(sign(t, jwt.SigningMethodHS256, []byte(testSecret), withKid("y"))); err != nil || p.fetches.Load() != before {
		t.Errorf("HS token with an unknown name: got %v and %d fetches, want none", err, p.fetches.Load()-before)
	}
}

func TestJWKSRotation(t *testing.T) {
	is := testIssuer()
	p := newProvider(t)
	p.serve(jwkOf(&is.rsa.PublicKey, "old"))
	a := authWithProvider(t, p.URL, quick, nil)
	old, next := sign(t, jwt.SigningMethodRS256, is.rsa, withKid("old")), sign(t, jwt.SigningMethodES256, is.p256, withKid("new"))
	if _, err := a.VerifyWait(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Verify(old); err != nil {
		t.Errorf("known key: got %v, want an answer without waiting", err)
	}
	p.serve(jwkOf(&is.p256.PublicKey, "new"))
	if _, err := a.Verify(next); !errors.Is(err, ErrKeyPending) || errors.Is(err, ErrToken) {
		t.Errorf("new key: got %v, want ErrKeyPending", err)
	}
	if id, err := a.VerifyWait(t.Context(), next); err != nil || id.User != "alice" {
		t.Errorf("new key, waiting: got %+v, %v; want alice", id, err)
	}
	// What the provider has withdrawn is not accepted any more.
	_, err := a.VerifyWait(t.Context(), old)
	wantRefused(t, old, err, errTokenKid)
}

// Verify never asks the provider, so that it never waits, even while the provider does not answer.
func TestJWKSVerifyDoesNotWait(t *testing.T) {
	is := testIssuer()
	p := newProvider(t)
	release := make(chan struct{})
	p.answer.Store(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-release }))
	a := authWithProvider(t, p.URL, quick, nil)
	within(t, "a fetch begins", func() bool { return p.fetches.Load() == 1 })
	token := sign(t, jwt.SigningMethodRS256, is.rsa, withKid("k"))
	if _, err := a.Verify(token); !errors.Is(err, ErrKeyPending) {
		t.Errorf("got %v, want ErrKeyPending", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := a.VerifyWait(ctx, token)
	wantRefused(t, token, err, errKeysMissing)
	p.serve(jwkOf(&is.rsa.PublicKey, "k"))
	close(release)
	within(t, "the token is accepted", func() bool { _, err := a.VerifyWait(t.Context(), token); return err == nil })
}

// The provider is out at start: the gateway starts, says so, refuses in a way that makes browsers come back, and gets well by
// itself.
func TestJWKSOutageAtStart(t *testing.T) {
	is := testIssuer()
	p := newProvider(t)
	p.fail(http.StatusServiceUnavailable)
	var log lockedBuffer
	a := authLogging(t, p.URL, quick, nil, slog.New(slog.NewTextHandler(&log, nil)))
	token := sign(t, jwt.SigningMethodRS256, is.rsa, withKid("k"))
	_, err := a.VerifyWait(t.Context(), token)
	wantRefused(t, token, err, errKeysMissing)
	if got := errKeysMissing.Code; got != closeOverloaded {
		t.Errorf("close code: got %d, want %d", got, closeOverloaded)
	}
	within(t, "a warning", func() bool {
		return strings.Contains(log.String(), "level=WARN") && strings.Contains(log.String(), "503")
	})
	before := p.fetches.Load()
	within(t, "it tries again by itself", func() bool { return p.fetches.Load() > before+2 })
	p.serve(jwkOf(&is.rsa.PublicKey, "k"))
	within(t, "the token is accepted", func() bool { _, err := a.Verify(token); return err == nil })
	if strings.Contains(log.String(), token) {
		t.Error("the log has the token")
	}
}

func TestJWKSOutageLater(t *testing.T) {
	is := testIssuer()
	p := newProvider(t)
	p.serve(jwkOf(&is.rsa.PublicKey, "k"))
	timing := quick
	timing.refresh = 10 * time.Millisecond
	a := authWithProvider(t, p.URL, timing, nil)
	token := sign(t, jwt.SigningMethodRS256, is.rsa, withKid("k"))
	if _, err := a.VerifyWait(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	for name, out := range map[string]func(){
		"status 500":    func() { p.fail(500) },
		"not found":     func() { p.fail(404) },
		"not JSON":      func() { p.body("<html>") },
		"other JSON":    func() { p.body(`{"error":"x"}`) },
		"keys null":     func() { p.body(`{"keys":null}`) },
		"keys a string": func() { p.body(`{"keys":"x"}`) },
		"too long":      func() { p.body(`{"keys":[]}` + strings.Repeat(" ", maxJWKSBytes)) },
		"redirect to an address that is not encrypted": func() {
			p.answer.Store(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "http://id.example.com/jwks.json", http.StatusFound)
			}))
		},
		"redirects without end": func() {
			p.answer.Store(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/again", http.StatusFound) }))
		},
		"connection closed": func() {
			p.answer.Store(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }))
		},
	} {
		out()
		before := p.fetches.Load()
		within(t, name+": further fetches", func() bool { return p.fetches.Load() > before+2 })
		if _, err := a.Verify(token); err != nil {
			t.Errorf("%s: got %v, want the keys kept", name, err)
		}
		unknown := sign(t, jwt.SigningMethodRS256, is.rsa, withKid("new"))
		_, err := a.VerifyWait(t.Context(), unknown)
		wantRefused(t, unknown, err, errKeysMissing)
	}
	p.serve() // the provider says that no key is good any more
	within(t, "the keys are gone", func() bool { _, err := a.VerifyWait(t.Context(), token); return err != nil })
}

func TestJWKSRedirects(t *testing.T) {
	check := newJWKSClient(time.Second).CheckRedirect
	for address, want := range map[string]bool{
		"https://id.example.com/keys": true, "http://localhost:8080/keys": true, "http://127.0.0.1/keys": true,
		"http://id.example.com/keys": false, "http://localhost.example.com/keys": false, "ftp://id.example.com/keys": false,
	} {
		if got := check(&http.Request{URL: mustURL(t, address)}, nil) == nil; got != want {
			t.Errorf("redirect to %s: got followed %v, want %v", address, got, want)
		}
	}
}

// Hundreds of browsers with invented key names cause one fetch per gap; all of them are answered.
func TestJWKSFlood(t *testing.T) {
	is := testIssuer()
	p := newProvider(t)
	p.serve(jwkOf(&is.rsa.PublicKey, "k"))
	timing := quick
	timing.gap = 200 * time.Millisecond
	a := authWithProvider(t, p.URL, timing, nil)
	good := sign(t, jwt.SigningMethodRS256, is.rsa, withKid("k"))
	if _, err := a.VerifyWait(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	before, start := p.fetches.Load(), time.Now()
	var wg sync.WaitGroup
	for i := range 300 {
		garbage := sign(t, jwt.SigningMethodES256, is.p256, withKid(fmt.Sprint("garbage", i)))
		wg.Go(func() {
			_, err := a.VerifyWait(t.Context(), garbage)
			wantRefused(t, garbage, err, errTokenKid)
		})
		if _, err := a.Verify(good); err != nil {
			t.Errorf("during the flood: got %v, want alice", err)
		}
	}
	wg.Wait()
	most := int64(time.Since(start)/timing.gap) + 1
	if got := p.fetches.Load() - before; got < 1 || got > most {
		t.Errorf("got %d fetches in %v, want 1 to %d", got, time.Since(start), most)
	}
}

// The waiting ones are bounded too. Beyond that, an unknown name is answered at once, and known ones as ever.
func TestJWKSCrowd(t *testing.T) {
	is := testIssuer()
	p := newProvider(t)
	p.serve(jwkOf(&is.rsa.PublicKey, "k"))
	timing := quick
	timing.gap = time.Hour
	a := authWithProvider(t, p.URL, timing, nil)
	good, garbage := sign(t, jwt.SigningMethodRS256, is.rsa, withKid("k")), sign(t, jwt.SigningMethodES256, is.p256, withKid("x"))
	within(t, "the first fetch", func() bool { _, err := a.Verify(good); return err == nil })
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range maxJWKSWaiters {
		wg.Go(func() {
			_, err := a.VerifyWait(ctx, garbage)
			wantRefused(t, garbage, err, errKeysMissing)
		})
	}
	within(t, "all wait", a.jwks.crowded)
	_, err := a.Verify(garbage)
	wantRefused(t, garbage, err, errKeysMissing)
	_, err = a.VerifyWait(t.Context(), garbage)
	wantRefused(t, garbage, err, errKeysMissing)
	if _, err := a.Verify(good); err != nil {
		t.Errorf("known key: got %v, want alice", err)
	}
	cancel()
	wg.Wait()
	if _, err := a.Verify(garbage); !errors.Is(err, ErrKeyPending) {
		t.Errorf("after the crowd: got %v, want ErrKeyPending", err)
	}
	if got := p.fetches.Load(); got != 1 {
		t.Errorf("got %d fetches within one gap, want 1", got)
	}
}

// Closing ends a fetch that hangs, answers those who wait, and leaves the keys.
func TestJWKSClose(t *testing.T) {
	is := testIssuer()
	p := newProvider(t)
	p.serve(jwkOf(&is.rsa.PublicKey, "k"))
	a := authWithProvider(t, p.URL, quick, nil)
	good, unknown := sign(t, jwt.SigningMethodRS256, is.rsa, withKid("k")), sign(t, jwt.SigningMethodRS256, is.rsa, withKid("l"))
	if _, err := a.VerifyWait(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	p.answer.Store(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	before := p.fetches.Load()
	waited := make(chan error)
	go func() { _, err := a.VerifyWait(context.Background(), unknown); waited <- err }()
	within(t, "a fetch hangs", func() bool { return p.fetches.Load() > before })
	a.Close()
	wantRefused(t, unknown, <-waited, errKeysMissing)
	_, err := a.VerifyWait(context.Background(), unknown)
	wantRefused(t, unknown, err, errKeysMissing)
	if _, err := a.Verify(good); err != nil {
		t.Errorf("after Close: got %v, want alice", err)
	}
	a.Close() // twice is no harm
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
