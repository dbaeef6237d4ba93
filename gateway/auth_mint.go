package gateway

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"tidings/fanout/wire"
)

// Mint makes an HS256 token for user that Verify accepts for ttl from now on, for development and tests.
func (c *AuthConfig) Mint(user string, groups []string, ttl time.Duration, now time.Time) (string, error) {
	secret, err := c.secret()
	switch {
	case err != nil:
		return "", err
	case secret == nil:
		return "", errors.New("TIDINGS_AUTH_HMAC_SECRET is not set: a token must be signed with something")
	case ttl < time.Second:
		return "", fmt.Errorf("a token for %s would have expired already: give 1s or more", ttl)
	}
	if err := wire.CheckUser(user); err != nil {
		return "", err
	}
	for _, g := range groups {
		if err := wire.CheckGroup(g); err != nil {
			return "", err
		}
	}
	claims := jwt.MapClaims{"sub": user, "iat": now.Unix(), "exp": now.Add(ttl).Unix()}
	if len(groups) > 0 {
		claims[c.GroupsClaim] = groups
	}
	if c.Issuer != "" {
		claims["iss"] = c.Issuer
	}
	if len(c.Audience) > 0 {
		claims["aud"] = strings.TrimSpace(c.Audience[0])
	}
	return jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(secret)
}
