package gateway

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"
)

// issuer holds one private key of every kind. Making them takes half a second, so that tests share one.
type issuer struct {
	rsa, other, weak, short *rsa.PrivateKey
	p224, p256, p384, p521  *ecdsa.PrivateKey
	ed                      ed25519.PrivateKey
}

var testIssuer = sync.OnceValue(func() *issuer {
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	ec := func(c elliptic.Curve) *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			panic(err)
		}
		return k
	}
	rs := func(bits int) *rsa.PrivateKey {
		k, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			panic(err)
		}
		return k
	}
	return &issuer{
		rsa: rs(2048), other: rs(2048), weak: rs(1024), short: rs(2047),
		p224: ec(elliptic.P224()), p256: ec(elliptic.P256()), p384: ec(elliptic.P384()), p521: ec(elliptic.P521()), ed: ed,
	}
})

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// authConfig is what the defaults of the environment give.
func authConfig(edit func(*AuthConfig)) AuthConfig {
	c := AuthConfig{Leeway: 30 * time.Second, RequireExp: true, GroupsClaim: "groups", Cookie: "tidings_token"}
	if edit != nil {
		edit(&c)
	}
	return c
}

func mustAuth(t testing.TB, cfg AuthConfig) *Authenticator {
	t.Helper()
	a, err := NewAuthenticator(t.Context(), cfg, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

func publicPEM(t testing.TB, public any) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// sign makes a token for alice, good for an hour; edit changes header and claims.
func sign(t testing.TB, method jwt.SigningMethod, key any, edit func(header, claims map[string]any)) string {
	t.Helper()
	claims := jwt.MapClaims{"sub": "alice", "exp": time.Now().Add(time.Hour).Unix()}
	tok := jwt.NewWithClaims(method, claims)
	if edit != nil {
		edit(tok.Header, claims)
	}
	s, err := tok.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// wantRefused checks the error's kind, its code, and that it gives nothing of the token away.
func wantRefused(t testing.TB, token string, err error, want *TokenError) {
	t.Helper()
	var got *TokenError
	if !errors.As(err, &got) || !errors.Is(err, ErrToken) {
		t.Errorf("got error %v, want %d %q", err, want.Code, want.Reason)
		return
	}
	if got.Code != want.Code || got.Reason != want.Reason {
		t.Errorf("got %d %q, want %d %q", got.Code, got.Reason, want.Code, want.Reason)
	}
	if len(got.Reason) > 123 || !utf8.ValidString(got.Reason) {
		t.Errorf("reason of %d bytes: %q", len(got.Reason), got.Reason)
	}
	for part := range strings.SplitSeq(token, ".") {
		if len(part) > 8 && strings.Contains(got.Reason, part[:8]) {
			t.Errorf("reason %q has a part of the token", got.Reason)
		}
	}
}

func TestAlgorithms(t *testing.T) {
	is := testIssuer()
	long := []byte(strings.Repeat("s", 64))
	for _, tt := range []struct {
		method jwt.SigningMethod
		key    any
		public any
	}{
		{jwt.SigningMethodHS256, long, nil}, {jwt.SigningMethodHS384, long, nil}, {jwt.SigningMethodHS512, long, nil},
		{jwt.SigningMethodRS256, is.rsa, &is.rsa.PublicKey}, {jwt.SigningMethodRS384, is.rsa, &is.rsa.PublicKey},
		{jwt.SigningMethodRS512, is.rsa, &is.rsa.PublicKey}, {jwt.SigningMethodPS256, is.rsa, &is.rsa.PublicKey},
		{jwt.SigningMethodPS384, is.rsa, &is.rsa.PublicKey}, {jwt.SigningMethodPS512, is.rsa, &is.rsa.PublicKey},
		{jwt.SigningMethodES256, is.p256, &is.p256.PublicKey}, {jwt.SigningMethodES384, is.p384, &is.p384.PublicKey},
		{jwt.SigningMethodES512, is.p521, &is.p521.PublicKey}, {jwt.SigningMethodEdDSA, is.ed, is.ed.Public()},
	} {
		t.Run(tt.method.Alg(), func(t *testing.T) {
			a := mustAuth(t, authConfig(func(c *AuthConfig) {
				if c.HMACSecret = string(long); tt.public != nil {
					c.HMACSecret, c.PublicKey = "", publicPEM(t, tt.public)
				}
			}))
			token := sign(t, tt.method, tt.key, func(h, c map[string]any) { h["kid"] = "whatever" })
			id, err := a.Verify(token)
			if err != nil || id.User != "alice" || id.Groups != nil || time.Until(id.Expires) > time.Hour {
				t.Errorf("got %+v, %v; want alice", id, err)
			}
			for i := range 3 {
				parts := strings.Split(token, ".")
				b, _ := base64.RawURLEncoding.DecodeString(parts[i])
				b[len(b)/2] ^= 1
				parts[i] = base64.RawURLEncoding.EncodeToString(b)
				if id, err := a.Verify(strings.Join(parts, ".")); err == nil {
					t.Errorf("one bit of part %d changed: got %+v, want an error", i, id)
				}
			}
			if id, err := a.Verify(token[:strings.LastIndex(token, ".")+1]); err == nil {
				t.Errorf("without its signature: got %+v, want an error", id)
			}
		})
	}
}

// The header's alg is the attacker's to choose. Each of these was a hole in some library.
func TestAlgorithmConfusion(t *testing.T) {
	is := testIssuer()
	rsaPEM, p256PEM := publicPEM(t, &is.rsa.PublicKey), publicPEM(t, &is.p256.PublicKey)
	rsaDER, _ := x509.MarshalPKIXPublicKey(&is.rsa.PublicKey)
	edPEM := publicPEM(t, is.ed.Public())
	for _, tt := range []struct {
		name   string
		secret string
		public string
		token  string
		want   *TokenError
	}{
		{"none", testSecret, rsaPEM, sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil), errTokenAlg},
		{"none in capitals", testSecret, rsaPEM, forge(t, "NONE", nil), errTokenAlg},
		{"nOnE with a signature", testSecret, rsaPEM, forge(t, "nOnE", []byte(testSecret)), errTokenAlg},
		{"no alg", testSecret, rsaPEM, forge(t, "", []byte(testSecret)), errTokenAlg},
		{"HS256 in small letters", testSecret, "", forge(t, "hs256", []byte(testSecret)), errTokenAlg},
		{"HS with the public key's PEM as secret", "", rsaPEM, forge(t, "HS256", []byte(rsaPEM)), errTokenAlg},
		{"the same where a secret is there", testSecret, rsaPEM, forge(t, "HS256", []byte(rsaPEM)), errTokenSignature},
		{"HS with the PEM without its last line break", testSecret, rsaPEM, forge(t, "HS256", []byte(strings.TrimSpace(rsaPEM))), errTokenSignature},
		{"HS with the public key's DER", testSecret, rsaPEM, forge(t, "HS256", rsaDER), errTokenSignature},
		{"HS with the modulus", testSecret, rsaPEM, forge(t, "HS256", is.rsa.N.Bytes()), errTokenSignature},
		{"HS with the Ed25519 key", testSecret, edPEM, forge(t, "HS256", []byte(is.ed.Public().(ed25519.PublicKey))), errTokenSignature},
		{"HS with an empty secret", "", rsaPEM, forge(t, "HS256", nil), errTokenAlg},
		{"HS with an empty secret where one is there", testSecret, "", forge(t, "HS256", nil), errTokenSignature},
		{"RS where only a secret is there", testSecret, "", sign(t, jwt.SigningMethodRS256, is.rsa, nil), errTokenAlg},
		{"RS of another key", "", rsaPEM, sign(t, jwt.SigningMethodRS256, is.other, nil), errTokenSignature},
		{"PS of another key", "", rsaPEM, sign(t, jwt.SigningMethodPS256, is.other, nil), errTokenSignature},
		{"ES where the key is RSA", "", rsaPEM, sign(t, jwt.SigningMethodES256, is.p256, nil), errTokenAlg},
		{"EdDSA where the key is RSA", "", rsaPEM, sign(t, jwt.SigningMethodEdDSA, is.ed, nil), errTokenAlg},
		{"RS where the key is ECDSA", "", p256PEM, sign(t, jwt.SigningMethodRS256, is.rsa, nil), errTokenAlg},
		{"ES384 with a P-256 key", "", p256PEM, wrongCurve(t, "ES384", is.p256, 48), errTokenAlg},
		{"ES512 with a P-256 key", "", p256PEM, wrongCurve(t, "ES512", is.p256, 66), errTokenAlg},
		{"ES256 with r = s = 0", "", p256PEM, blank(t, "ES256", 64), errTokenSignature},
		{"RS256 with an empty signature", "", rsaPEM, blank(t, "RS256", 0), errTokenSignature},
		{"EdDSA with zeros", "", edPEM, blank(t, "EdDSA", 64), errTokenSignature},
		{"own key in the header", "", rsaPEM, sign(t, jwt.SigningMethodRS256, is.other, func(h, _ map[string]any) {
			h["jwk"] = jwkOf(&is.other.PublicKey, "own")
			h["kid"] = "own"
			h["jku"] = "http://127.0.0.1:1/"
		}), errTokenSignature},
		{"crit", testSecret, "", sign(t, jwt.SigningMethodHS256, []byte(testSecret), func(h, _ map[string]any) {
			h["crit"] = []string{"b64"}
			h["b64"] = true
		}), errTokenCrit},
		{"kid that is not a string", "", rsaPEM, sign(t, jwt.SigningMethodRS256, is.rsa, func(h, _ map[string]any) { h["kid"] = 1 }), errTokenMalformed},
		{"HS384 with 32 bytes", testSecret, "", sign(t, jwt.SigningMethodHS384, []byte(testSecret), nil), errTokenSecret},
		{"HS512 with 32 bytes", testSecret, "", sign(t, jwt.SigningMethodHS512, []byte(testSecret), nil), errTokenSecret},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := mustAuth(t, authConfig(func(c *AuthConfig) { c.HMACSecret, c.PublicKey = tt.secret, tt.public }))
			id, err := a.Verify(tt.token)
			if err == nil {
				t.Fatalf("got %+v, want refused", id)
			}
			wantRefused(t, tt.token, err, tt.want)
		})
	}
}

// forge signs with HMAC-SHA256 whatever the header says.
func forge(t testing.TB, alg string, secret []byte) string {
	t.Helper()
	signed := unsigned(t, alg)
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

func unsigned(t testing.TB, alg string) string {
	t.Helper()
	header, _ := json.Marshal(map[string]string{"alg": alg, "typ": "JWT"})
	if alg == "" {
		header = []byte(`{"typ":"JWT"}`)
	}
	claims := fmt.Sprintf(`{"sub":"alice","exp":%d}`, time.Now().Add(time.Hour).Unix())
	return base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
}

func blank(t testing.TB, alg string, size int) string {
	return unsigned(t, alg) + "." + base64.RawURLEncoding.EncodeToString(make([]byte, size))
}

// wrongCurve is a signature that is right but for the curve that alg stands for.
func wrongCurve(t testing.TB, alg string, key *ecdsa.PrivateKey, size int) string {
	t.Helper()
	signed := unsigned(t, alg)
	h := map[string]crypto.Hash{"ES384": crypto.SHA384, "ES512": crypto.SHA512}[alg].New()
	h.Write([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, key, h.Sum(nil))
	if err != nil {
		t.Fatal(err)
	}
	sig := append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
	return signed + "." + base64.RawURLEncoding.EncodeToString(sig)
}

func TestMalformedTokens(t *testing.T) {
	a := mustAuth(t, authConfig(func(c *AuthConfig) { c.HMACSecret = testSecret }))
	good := sign(t, jwt.SigningMethodHS256, []byte(testSecret), nil)
	enc := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	for name, tt := range map[string]struct {
		token string
		want  *TokenError
	}{
		"empty":                {"", errTokenMissing},
		"one part":             {"abc", errTokenMalformed},
		"two parts":            {"abc.def", errTokenMalformed},
		"four parts":           {good + ".x", errTokenMalformed},
		"line break":           {strings.Replace(good, ".", "\n.", 1), errTokenMalformed},
		"padding":              {good + "=", errTokenMalformed},
		"bearer before it":     {"Bearer " + good, errTokenMalformed},
		"not base64url":        {"+/." + good, errTokenMalformed},
		"header not JSON":      {enc("x") + "." + enc("{}") + ".AA", errTokenMalformed},
		"header an array":      {enc("[]") + "." + enc("{}") + ".AA", errTokenMalformed},
		"claims not JSON":      {enc(`{"alg":"HS256"}`) + "." + enc("x") + ".AA", errTokenMalformed},
		"encrypted (JWE)":      {"a.b.c.d.e", errTokenMalformed},
		"as long as allowed":   {strings.Repeat("a", maxTokenBytes), errTokenMalformed},
		"longer than allowed":  {strings.Repeat("a", maxTokenBytes+1), errTokenLong},
		"alg that is a number": {enc(`{"alg":1}`) + "." + enc("{}") + ".AA", errTokenAlg},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := a.Verify(tt.token)
			wantRefused(t, tt.token, err, tt.want)
		})
	}
}

func TestClaims(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	unix := now.Unix()
	groups := func(n int) (list []string) {
		for i := range n {
			list = append(list, fmt.Sprintf("group-%04d", i))
		}
		return list
	}
	strict := func(c *AuthConfig) { c.Issuer, c.Audience = "https://id.example.com", []string{"tidings", " other "} }
	lax := func(c *AuthConfig) { c.RequireExp = false }
	for _, tt := range []struct {
		name   string
		cfg    func(*AuthConfig)
		claims map[string]any // on top of sub and exp; nil removes
		want   Identity
		err    *TokenError
	}{
		{"as usual", nil, nil, Identity{User: "alice", Expires: now.Add(time.Hour)}, nil},
		{"expired", nil, map[string]any{"exp": unix - 1}, Identity{}, errTokenExpired},
		{"expired within the leeway", nil, map[string]any{"exp": unix - 29}, Identity{}, errTokenExpired},
		{"expires now", nil, map[string]any{"exp": unix}, Identity{}, errTokenExpired},
		{"expires in a moment", nil, map[string]any{"exp": float64(unix) + 0.5}, Identity{User: "alice", Expires: now.Add(time.Second / 2)}, nil},
		{"exp in the year 30000", nil, map[string]any{"exp": 1e12}, Identity{User: "alice", Expires: time.Unix(253402300799, 0)}, nil},
		{"exp beyond numbers", nil, map[string]any{"exp": 1e300}, Identity{User: "alice", Expires: time.Unix(253402300799, 0)}, nil},
		{"exp 0", nil, map[string]any{"exp": 0}, Identity{}, errTokenExpired},
		{"exp before 1970", nil, map[string]any{"exp": -1e300}, Identity{}, errTokenExpired},
		{"exp a string", nil, map[string]any{"exp": "1900000000"}, Identity{}, errTokenTime},
		{"exp an object", lax, map[string]any{"exp": map[string]any{}}, Identity{}, errTokenTime},
		{"no exp", nil, map[string]any{"exp": nil}, Identity{}, errTokenNoExp},
		{"no exp where it need not be", lax, map[string]any{"exp": nil}, Identity{User: "alice"}, nil},
		{"expired where exp need not be", lax, map[string]any{"exp": unix - 1}, Identity{}, errTokenExpired},
		{"EXP is not exp", nil, map[string]any{"exp": nil, "EXP": unix + 60}, Identity{}, errTokenNoExp},
		{"nbf now", nil, map[string]any{"nbf": unix}, Identity{User: "alice", Expires: now.Add(time.Hour)}, nil},
		{"nbf within the leeway", nil, map[string]any{"nbf": unix + 30}, Identity{User: "alice", Expires: now.Add(time.Hour)}, nil},
		{"nbf beyond the leeway", nil, map[string]any{"nbf": unix + 31}, Identity{}, errTokenEarly},
		{"nbf a string", nil, map[string]any{"nbf": "soon"}, Identity{}, errTokenTime},
		{"iat in the future does not matter", nil, map[string]any{"iat": unix + 999}, Identity{User: "alice", Expires: now.Add(time.Hour)}, nil},
		{"iss and aud", strict, map[string]any{"iss": "https://id.example.com", "aud": "tidings"}, Identity{User: "alice", Expires: now.Add(time.Hour)}, nil},
		{"one of several aud", strict, map[string]any{"iss": "https://id.example.com", "aud": []string{"x", "other"}}, Identity{User: "alice", Expires: now.Add(time.Hour)}, nil},
		{"no iss", strict, map[string]any{"aud": "tidings"}, Identity{}, errTokenIssuer},
		{"iss that goes on", strict, map[string]any{"iss": "https://id.example.com/", "aud": "tidings"}, Identity{}, errTokenIssuer},
		{"iss a list", strict, map[string]any{"iss": []string{"https://id.example.com"}, "aud": "tidings"}, Identity{}, errTokenIssuer},
		{"no aud", strict, map[string]any{"iss": "https://id.example.com"}, Identity{}, errTokenAudience},
		{"another aud", strict, map[string]any{"iss": "https://id.example.com", "aud": []string{"tidings2"}}, Identity{}, errTokenAudience},
		{"aud with a number", strict, map[string]any{"iss": "https://id.example.com", "aud": []any{"tidings", 1}}, Identity{}, errTokenAudience},
		{"sub of any UTF-8", nil, map[string]any{"sub": "用户 1\n"}, Identity{User: "用户 1\n", Expires: now.Add(time.Hour)}, nil},
		{"sub as long as allowed", nil, map[string]any{"sub": strings.Repeat("a", 128)}, Identity{User: strings.Repeat("a", 128), Expires: now.Add(time.Hour)}, nil},
		{"sub too long", nil, map[string]any{"sub": strings.Repeat("a", 129)}, Identity{}, errTokenSub},
		{"no sub", nil, map[string]any{"sub": nil}, Identity{}, errTokenSub},
		{"SUB is not sub", nil, map[string]any{"sub": nil, "SUB": "bob", "Sub": "bob"}, Identity{}, errTokenSub},
		{"SUB does not override sub", nil, map[string]any{"SUB": "bob"}, Identity{User: "alice", Expires: now.Add(time.Hour)}, nil},
		{"sub a number", nil, map[string]any{"sub": 17}, Identity{}, errTokenSub},
		{"groups", nil, map[string]any{"groups": []string{"b", "a", "b"}}, Identity{User: "alice", Groups: []string{"a", "b"}, Expires: now.Add(time.Hour)}, nil},
		{"one group", nil, map[string]any{"groups": "staff"}, Identity{User: "alice", Groups: []string{"staff"}, Expires: now.Add(time.Hour)}, nil},
		{"groups null", nil, map[string]any{"groups": json.RawMessage("null")}, Identity{User: "alice", Expires: now.Add(time.Hour)}, nil},
		{"as many groups as allowed", nil, map[string]any{"groups": groups(256)}, Identity{User: "alice", Groups: groups(256), Expires: now.Add(time.Hour)}, nil},
		{"too many groups", nil, map[string]any{"groups": groups(257)}, Identity{}, &TokenError{closeForbidden, "the token has 257 groups, at most 256 are allowed"}},
		{"groups a number", nil, map[string]any{"groups": 1}, Identity{}, &TokenError{closeForbidden, `the claim "groups" is not a list of strings`}},
		{"a group a number", nil, map[string]any{"groups": []any{"a", 1}}, Identity{}, &TokenError{closeForbidden, `the claim "groups" is not a list of strings`}},
		{"an empty group", nil, map[string]any{"groups": []string{"a", ""}}, Identity{}, &TokenError{closeForbidden, "a group of the token has 0 bytes: 1 to 128 are allowed"}},
		{"a long group", nil, map[string]any{"groups": []string{strings.Repeat("g", 129)}}, Identity{}, &TokenError{closeForbidden, "a group of the token has 129 bytes: 1 to 128 are allowed"}},
		{"groups elsewhere", func(c *AuthConfig) { c.GroupsClaim = "https://example.com/roles" },
			map[string]any{"groups": 1, "https://example.com/roles": []string{"r"}}, Identity{User: "alice", Groups: []string{"r"}, Expires: now.Add(time.Hour)}, nil},
		{"a claim with a long name", func(c *AuthConfig) { c.GroupsClaim = strings.Repeat("ü", 100) },
			map[string]any{strings.Repeat("ü", 100): 1}, Identity{}, &TokenError{closeForbidden, `the claim "` + strings.Repeat("ü", 56)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := mustAuth(t, authConfig(func(c *AuthConfig) {
				c.HMACSecret = testSecret
				if tt.cfg != nil {
					tt.cfg(c)
				}
			}))
			a.now = func() time.Time { return now }
			token := sign(t, jwt.SigningMethodHS256, []byte(testSecret), func(_, claims map[string]any) {
				claims["exp"] = unix + 3600
				maps.Copy(claims, tt.claims)
				maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
			})
			id, err := a.Verify(token)
			if tt.err != nil {
				wantRefused(t, token, err, tt.err)
			} else if err != nil {
				t.Errorf("got error %v, want %+v", err, tt.want)
			}
			if id.User != tt.want.User || !slices.Equal(id.Groups, tt.want.Groups) || !id.Expires.Equal(tt.want.Expires) {
				t.Errorf("got %+v, want %+v", id, tt.want)
			}
		})
	}
}

func TestSeveralKeys(t *testing.T) {
	is := testIssuer()
	a := mustAuth(t, authConfig(func(c *AuthConfig) { c.HMACSecret, c.PublicKey = testSecret, publicPEM(t, &is.p256.PublicKey) }))
	for _, token := range []string{
		sign(t, jwt.SigningMethodHS256, []byte(testSecret), nil), sign(t, jwt.SigningMethodES256, is.p256, nil),
	} {
		if id, err := a.Verify(token); err != nil || id.User != "alice" {
			t.Errorf("got %+v, %v; want alice", id, err)
		}
	}
}

func TestDevMode(t *testing.T) {
	a := mustAuth(t, authConfig(nil))
	if !a.DevMode() {
		t.Error("no key: got DevMode false, want true")
	}
	token := sign(t, jwt.SigningMethodHS256, []byte(testSecret), nil)
	_, err := a.Verify(token)
	wantRefused(t, token, err, errTokenDev)
	if a := mustAuth(t, authConfig(func(c *AuthConfig) { c.HMACSecret = testSecret })); a.DevMode() {
		t.Error("a secret: got DevMode true, want false")
	}
}

func TestKeySettings(t *testing.T) {
	is := testIssuer()
	pkcs8, _ := x509.MarshalPKCS8PrivateKey(is.rsa)
	private := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
	rsaPEM := publicPEM(t, &is.rsa.PublicKey)
	file := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(file, []byte(rsaPEM), 0o600); err != nil {
		t.Fatal(err)
	}
	cert := certificate(t, is.rsa)
	for _, tt := range []struct {
		name string
		edit func(*AuthConfig)
		want string // in the error; "" none
	}{
		{"secret of 32 bytes", func(c *AuthConfig) { c.HMACSecret = testSecret }, ""},
		{"secret of 31 bytes", func(c *AuthConfig) { c.HMACSecret = testSecret[1:] }, "TIDINGS_AUTH_HMAC_SECRET has 31 bytes: give 32 or more"},
		{"secret in base64", func(c *AuthConfig) {
			c.HMACSecret = "base64:" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0xfb}, 32))
		}, ""},
		{"secret in base64url", func(c *AuthConfig) {
			c.HMACSecret = "base64:" + base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{0xfb}, 32))
		}, ""},
		{"secret in base64, too short", func(c *AuthConfig) { c.HMACSecret = "base64:" + base64.StdEncoding.EncodeToString(make([]byte, 24)) }, "has 24 bytes"},
		{"secret not in base64", func(c *AuthConfig) { c.HMACSecret = "base64:" + strings.Repeat("*", 44) }, "is not base64"},
		{"secret with a line break", func(c *AuthConfig) { c.HMACSecret = testSecret + "\n" }, "white space"},
		{"secret that is a public key", func(c *AuthConfig) { c.HMACSecret = rsaPEM }, "belong in TIDINGS_AUTH_PUBLIC_KEY"},
		{"PEM", func(c *AuthConfig) { c.PublicKey = rsaPEM }, ""},
		{"PEM in one line", func(c *AuthConfig) { c.PublicKey = strings.ReplaceAll(rsaPEM, "\n", `\n`) }, ""},
		{"PEM file", func(c *AuthConfig) { c.PublicKey = file }, ""},
		{"PKCS #1", func(c *AuthConfig) {
			c.PublicKey = string(pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&is.rsa.PublicKey)}))
		}, ""},
		{"certificate", func(c *AuthConfig) { c.PublicKey = cert }, ""},
		{"certificate chain", func(c *AuthConfig) { c.PublicKey = cert + cert }, "more than one PEM block"},
		{"no such file", func(c *AuthConfig) { c.PublicKey = file + "x" }, "TIDINGS_AUTH_PUBLIC_KEY: neither PEM text nor a readable file"},
		{"private key", func(c *AuthConfig) { c.PublicKey = private }, "it is a private key"},
		{"broken PEM", func(c *AuthConfig) { c.PublicKey = rsaPEM[:len(rsaPEM)-20] }, "no PEM block"},
		{"broken key", func(c *AuthConfig) {
			c.PublicKey = string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")}))
		}, "TIDINGS_AUTH_PUBLIC_KEY: asn1"},
		{"other block", func(c *AuthConfig) {
			c.PublicKey = string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: []byte("x")}))
		}, "X509 CRL"},
		{"RSA of 1024 bits", func(c *AuthConfig) { c.PublicKey = publicPEM(t, &is.weak.PublicKey) }, "RSA key of 1024 bits"},
		{"RSA of 2047 bits", func(c *AuthConfig) { c.PublicKey = publicPEM(t, &is.short.PublicKey) }, "RSA key of 2047 bits"},
		{"P-224", func(c *AuthConfig) { c.PublicKey = publicPEM(t, &is.p224.PublicKey) }, "curve P-224"},
		{"key set over https", func(c *AuthConfig) { c.JWKSURL = "https://127.0.0.1:1/jwks.json" }, ""},
		{"key set over http on loopback", func(c *AuthConfig) { c.JWKSURL = "http://localhost:1/jwks.json" }, ""},
		{"key set over http", func(c *AuthConfig) { c.JWKSURL = "http://id.example.com/jwks.json" }, "TIDINGS_AUTH_JWKS_URL: http://id.example.com/jwks.json is not encrypted"},
		{"key set in a file", func(c *AuthConfig) { c.JWKSURL = "file:///etc/jwks.json" }, "TIDINGS_AUTH_JWKS_URL is not a URL"},
		{"key set by ftp", func(c *AuthConfig) { c.JWKSURL = "ftp://id.example.com/jwks.json" }, `scheme "ftp"`},
		{"empty audience", func(c *AuthConfig) { c.HMACSecret, c.Audience = testSecret, []string{"a", " "} }, "TIDINGS_AUTH_AUDIENCE has an empty entry"},
		{"leeway below 0", func(c *AuthConfig) { c.Leeway = -1 }, "TIDINGS_AUTH_LEEWAY"},
		{"leeway of an hour", func(c *AuthConfig) { c.Leeway = time.Hour }, "TIDINGS_AUTH_LEEWAY"},
		{"no groups claim", func(c *AuthConfig) { c.GroupsClaim = "" }, "TIDINGS_AUTH_GROUPS_CLAIM"},
		{"bad name of a cookie", func(c *AuthConfig) { c.Cookie = "a=b" }, "TIDINGS_AUTH_COOKIE"},
		{"bad origin", func(c *AuthConfig) { c.Origins = []string{"app.example.com"} }, "TIDINGS_ORIGINS"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, err := NewAuthenticator(t.Context(), authConfig(tt.edit), quiet)
			if a != nil {
				defer a.Close()
			}
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("got error %v, want none", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got error %v, want one with %q", err, tt.want)
			case err != nil && strings.Contains(err.Error(), testSecret[1:]):
				t.Errorf("the error gives the secret away: %v", err)
			}
		})
	}
}

func certificate(t testing.TB, key *rsa.PrivateKey) string {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestMint(t *testing.T) {
	cfg := authConfig(func(c *AuthConfig) {
		c.HMACSecret, c.Issuer, c.Audience, c.GroupsClaim = testSecret, "https://id.example.com", []string{"tidings", "other"}, "roles"
	})
	now := time.Now()
	token, err := cfg.Mint("用户", []string{"b", "a"}, time.Hour, now)
	if err != nil {
		t.Fatal(err)
	}
	id, err := mustAuth(t, cfg).Verify(token)
	want := now.Add(time.Hour).Truncate(time.Second)
	if err != nil || id.User != "用户" || !slices.Equal(id.Groups, []string{"a", "b"}) || !id.Expires.Equal(want) {
		t.Errorf("got %+v, %v; want 用户 in a and b until %v", id, err, want)
	}
	for name, mint := range map[string]func() (string, error){
		"no secret":       func() (string, error) { c := authConfig(nil); return c.Mint("alice", nil, time.Hour, now) },
		"no user":         func() (string, error) { return cfg.Mint("", nil, time.Hour, now) },
		"bad group":       func() (string, error) { return cfg.Mint("alice", []string{""}, time.Hour, now) },
		"expired at once": func() (string, error) { return cfg.Mint("alice", nil, 0, now) },
	} {
		if token, err := mint(); err == nil {
			t.Errorf("%s: got %s, want an error", name, token)
		}
	}
}

func TestVerifyConcurrently(t *testing.T) {
	is := testIssuer()
	a := mustAuth(t, authConfig(func(c *AuthConfig) { c.HMACSecret, c.PublicKey = testSecret, publicPEM(t, is.ed.Public()) }))
	tokens := []string{sign(t, jwt.SigningMethodHS256, []byte(testSecret), nil), sign(t, jwt.SigningMethodEdDSA, is.ed, nil)}
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for range 100 {
				if id, err := a.Verify(tokens[i%2]); err != nil || id.User != "alice" {
					t.Errorf("got %+v, %v; want alice", id, err)
				}
				if _, err := a.VerifyWait(context.Background(), "x"); !errors.Is(err, ErrToken) {
					t.Errorf("got %v, want ErrToken", err)
				}
			}
		})
	}
	wg.Wait()
}

// A bound near what it is, so that nobody adds an allocation without seeing it.
func TestVerifyAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates too; CI counts without it")
	}
	a := mustAuth(t, authConfig(func(c *AuthConfig) { c.HMACSecret = testSecret }))
	token := sign(t, jwt.SigningMethodHS256, []byte(testSecret), func(_, c map[string]any) { c["iat"], c["iss"] = 1, "x" })
	garbage := strings.Repeat("a.", 3)
	for name, tt := range map[string]struct {
		token string
		most  float64
	}{"good": {token, 60}, "garbage": {garbage, 9}, "foreign characters": {"\x00" + token, 0}} {
		if got := testing.AllocsPerRun(100, func() { a.Verify(tt.token) }); got > tt.most {
			t.Errorf("%s: got %v allocations, want at most %v", name, got, tt.most)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	is := testIssuer()
	for _, bb := range []struct {
		method jwt.SigningMethod
		key    any
		public any
	}{
		{jwt.SigningMethodHS256, []byte(testSecret), nil},
		{jwt.SigningMethodRS256, is.rsa, &is.rsa.PublicKey},
		{jwt.SigningMethodPS256, is.rsa, &is.rsa.PublicKey},
		{jwt.SigningMethodES256, is.p256, &is.p256.PublicKey},
		{jwt.SigningMethodES384, is.p384, &is.p384.PublicKey},
		{jwt.SigningMethodES512, is.p521, &is.p521.PublicKey},
		{jwt.SigningMethodEdDSA, is.ed, is.ed.Public()},
	} {
		b.Run(bb.method.Alg(), func(b *testing.B) {
			a := mustAuth(b, authConfig(func(c *AuthConfig) {
				if c.HMACSecret = testSecret; bb.public != nil {
					c.PublicKey = publicPEM(b, bb.public)
				}
				c.Issuer, c.Audience = "https://id.example.com", []string{"tidings"}
			}))
			token := sign(b, bb.method, bb.key, func(_, c map[string]any) {
				c["iat"], c["iss"], c["aud"], c["groups"] = time.Now().Unix(), "https://id.example.com", "tidings", []string{"staff", "berlin"}
			})
			b.ReportAllocs()
			for b.Loop() {
				if _, err := a.Verify(token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// What is accepted was signed with one of the keys: a token that the fuzzer changed never is.
func FuzzVerify(f *testing.F) {
	is := testIssuer()
	a := mustAuth(f, authConfig(func(c *AuthConfig) { c.HMACSecret, c.PublicKey = testSecret, publicPEM(f, &is.rsa.PublicKey) }))
	good := sign(f, jwt.SigningMethodHS256, []byte(testSecret), nil)
	f.Add(good)
	f.Add(sign(f, jwt.SigningMethodRS256, is.rsa, nil)) // another key in each fuzzing process, where it is refused
	f.Add(sign(f, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil))
	f.Add(forge(f, "HS256", []byte(publicPEM(f, &is.rsa.PublicKey))))
	f.Add(blank(f, "RS256", 256))
	f.Add("eyJhbGciOiJIUzI1NiIsImNyaXQiOltdfQ.e30.")
	f.Fuzz(func(t *testing.T, token string) {
		id, err := a.Verify(token)
		if err != nil {
			var te *TokenError
			if !errors.As(err, &te) || len(te.Reason) > 123 || te.Code != closeUnauthorized && te.Code != closeForbidden {
				t.Errorf("got error %v", err)
			}
			return
		}
		if id.User != "alice" {
			t.Errorf("got %+v, which nobody signed", id)
		}
	})
}
