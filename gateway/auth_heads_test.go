package gateway

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

// A token whose header was seen before is checked like any other.
func TestKnownTokenHeads(t *testing.T) {
	a := mustAuth(t, authConfig(func(c *AuthConfig) { c.HMACSecret = testSecret }))
	token := func(edit func(header, claims map[string]any)) string {
		return sign(t, jwt.SigningMethodHS256, []byte(testSecret), edit)
	}
	good := token(nil)
	parts := strings.Split(good, ".")
	signed := func(body string) string { // with the same header
		text := parts[0] + "." + body
		sum, err := jwt.SigningMethodHS256.Sign(text, []byte(testSecret))
		if err != nil {
			t.Fatal(err)
		}
		return text + "." + base64.RawURLEncoding.EncodeToString(sum)
	}
	for range 2 { // the second time the header is known
		for _, tt := range []struct {
			name, token string
			want        error
		}{
			{"good", good, nil},
			{"another user's", token(func(_, claims map[string]any) { claims["sub"] = "bob" }), nil},
			{"without exp", token(func(_, claims map[string]any) { delete(claims, "exp") }), errTokenNoExp},
			{"another body", parts[0] + "." + strings.Split(token(func(_, c map[string]any) { c["sub"] = "bob" }), ".")[1] + "." + parts[2], errTokenSignature},
			{"another secret", sign(t, jwt.SigningMethodHS256, []byte(strings.Repeat("x", 40)), nil), errTokenSignature},
			{"no signature", parts[0] + "." + parts[1] + ".", errTokenSignature},
			{"no body", parts[0] + ".", errTokenMalformed},
			{"four parts", good + ".x", errTokenMalformed},
			{"a signature that is no base64url", good[:len(good)-1], errTokenMalformed},
			{"a body that is no JSON", signed("e30e30"), errTokenMalformed},
			{"a body of null", signed(base64.RawURLEncoding.EncodeToString([]byte("null"))), errTokenNoExp},
			{"crit", token(func(header, _ map[string]any) { header["crit"] = []string{"x"} }), errTokenCrit},
		} {
			if _, err := a.Verify(tt.token); !errors.Is(err, tt.want) {
				t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
			}
		}
	}
	if n := len(a.heads.known); n != 1 {
		t.Errorf("%d headers are kept, want 1: those of tokens that were not accepted are not", n)
	}
}

func TestTokenHeadsAreBounded(t *testing.T) {
	a := mustAuth(t, authConfig(func(c *AuthConfig) { c.HMACSecret = testSecret }))
	for i := range 3 * maxTokenHeads {
		id, err := a.Verify(sign(t, jwt.SigningMethodHS256, []byte(testSecret), func(header, _ map[string]any) { header["kid"] = fmt.Sprint(i) }))
		if err != nil || id.User != "alice" {
			t.Fatalf("got %+v, %v", id, err)
		}
		if n := len(a.heads.known); n == 0 || n > maxTokenHeads {
			t.Fatalf("%d headers are kept, want 1 to %d", n, maxTokenHeads)
		}
	}
}
