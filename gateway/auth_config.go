package gateway

import (
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"
)

// AuthConfig says who may connect: the keys that tokens are signed with, the claims they must have, and where a token may stand.
// Without any key the gateway is in development mode.
type AuthConfig struct {
	HMACSecret  string        `envconfig:"AUTH_HMAC_SECRET" desc:"secret of HS256 tokens, 32 bytes or more (HS384: 48, HS512: 64); \"base64:…\" for bytes"`
	PublicKey   string        `envconfig:"AUTH_PUBLIC_KEY" desc:"public key of RS, PS, ES or EdDSA tokens: PEM, or the path of a PEM file (key or certificate)"`
	JWKSURL     string        `envconfig:"AUTH_JWKS_URL" desc:"the identity provider's key set; https, or http on loopback"`
	Issuer      string        `envconfig:"AUTH_ISSUER" desc:"tokens must have this iss; empty: any"`
	Audience    []string      `envconfig:"AUTH_AUDIENCE" desc:"tokens must have one of these aud, separated by commas; empty: any"`
	Leeway      time.Duration `envconfig:"AUTH_LEEWAY" default:"30s" desc:"how far the issuer's clock may be ahead (nbf); exp is taken as given"`
	RequireExp  bool          `envconfig:"AUTH_REQUIRE_EXP" default:"true" desc:"refuse tokens that never expire: nothing could take them back"`
	GroupsClaim string        `envconfig:"AUTH_GROUPS_CLAIM" default:"groups" desc:"the claim with the user's groups, a list of strings"`
	Cookie      string        `envconfig:"AUTH_COOKIE" default:"tidings_token" desc:"the cookie a token may stand in; empty: none"`
	Query       bool          `envconfig:"AUTH_QUERY" default:"false" desc:"also accept ?token=…, which proxies write to their logs"`
	Origins     []string      `envconfig:"ORIGINS" desc:"pages that may connect, separated by commas: https://app.example.com, https://*.example.com, or *; empty: only pages of this host"`
}

// authMinSecret is the size of HS256's hash. RFC 7518, 3.2: "A key of the same size as the hash output (for instance, 256 bits for
// "HS256") or larger MUST be used with this algorithm."
const authMinSecret = 32

// Validate tells what is wrong with the settings, in one sentence that names the variable.
func (c *AuthConfig) Validate() error {
	if _, err := c.secret(); err != nil {
		return err
	}
	if _, err := c.publicKey(); err != nil {
		return err
	}
	if _, err := c.jwksURL(); err != nil {
		return err
	}
	if _, err := newOriginRules(c.Origins, c.devMode()); err != nil {
		return err
	}
	if _, err := authList("TIDINGS_AUTH_AUDIENCE", c.Audience); err != nil {
		return err
	}
	switch {
	case c.Leeway < 0 || c.Leeway > 10*time.Minute:
		return fmt.Errorf("TIDINGS_AUTH_LEEWAY is %s: give 0s to 10m", c.Leeway)
	case c.GroupsClaim == "":
		return errors.New("TIDINGS_AUTH_GROUPS_CLAIM is empty: name the claim with the groups")
	case c.Cookie != "" && !isHTTPToken(c.Cookie):
		return fmt.Errorf("TIDINGS_AUTH_COOKIE is %q, which cannot be the name of a cookie", c.Cookie)
	}
	return nil
}

// devMode is true when no key is configured at all, so that no token could be checked.
func (c *AuthConfig) devMode() bool {
	return c.HMACSecret == "" && c.PublicKey == "" && c.JWKSURL == ""
}

// secret is the HMAC key, nil when none is configured.
func (c *AuthConfig) secret() ([]byte, error) { return authSecret(c.HMACSecret) }

func authSecret(text string) ([]byte, error) {
	if text == "" {
		return nil, nil
	}
	// A public key used as a secret is known to everybody: the classic confusion, here by configuration.
	if strings.Contains(text, "-----BEGIN") {
		return nil, errors.New("TIDINGS_AUTH_HMAC_SECRET holds a PEM key: public keys belong in TIDINGS_AUTH_PUBLIC_KEY")
	}
	// A line break at the end, as files and shells add it, would make every signature differ.
	if strings.TrimSpace(text) != text {
		return nil, errors.New("TIDINGS_AUTH_HMAC_SECRET begins or ends with white space: remove it, or give the bytes as \"base64:…\"")
	}
	secret := []byte(text)
	if b, ok := strings.CutPrefix(text, "base64:"); ok {
		// Both alphabets, with and without padding: secrets are copied from everywhere.
		b = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(b, "="))
		var err error
		if secret, err = base64.RawStdEncoding.DecodeString(b); err != nil {
			return nil, errors.New("TIDINGS_AUTH_HMAC_SECRET is not base64 behind \"base64:\"")
		}
	}
	if len(secret) < authMinSecret {
		return nil, fmt.Errorf("TIDINGS_AUTH_HMAC_SECRET has %d bytes: give %d or more, for instance from `openssl rand -hex 32`",
			len(secret), authMinSecret)
	}
	return secret, nil
}

// publicKey is the configured key, nil when there is none.
func (c *AuthConfig) publicKey() (*authKey, error) {
	if c.PublicKey == "" {
		return nil, nil
	}
	k, err := readPublicKey(c.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("TIDINGS_AUTH_PUBLIC_KEY: %w", err)
	}
	return k, nil
}

// jwksURL is the parsed address, nil when none is configured.
func (c *AuthConfig) jwksURL() (*url.URL, error) {
	if c.JWKSURL == "" {
		return nil, nil
	}
	u, err := url.Parse(c.JWKSURL)
	if err != nil || u.Host == "" {
		return nil, errors.New("TIDINGS_AUTH_JWKS_URL is not a URL: give one like https://id.example.com/.well-known/jwks.json")
	}
	if err := checkJWKSURL(u); err != nil {
		return nil, fmt.Errorf("TIDINGS_AUTH_JWKS_URL: %w", err)
	}
	return u, nil
}

// authList trims the entries of a comma list. An empty entry is refused: a list of nothing must not come to mean anything.
func authList(name string, list []string) ([]string, error) {
	out := make([]string, 0, len(list))
	for _, entry := range list {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			return nil, fmt.Errorf("%s has an empty entry: separate the entries by single commas", name)
		}
		out = append(out, entry)
	}
	return out, nil
}

// warn tells of settings that work, but perhaps not as meant.
func (c *AuthConfig) warn(log *slog.Logger, secret []byte) {
	if n := len(secret); n > 0 && n < 64 {
		log.Info("HS512 tokens, and below 48 bytes HS384 tokens, will be refused: the secret is too short for them", "bytes", n)
	}
	if len(c.Audience) == 0 && (c.JWKSURL != "" || c.PublicKey != "") {
		log.Warn("TIDINGS_AUTH_AUDIENCE is not set: tokens that the issuer made for any other service are accepted too")
	}
	if !c.RequireExp && !c.devMode() {
		log.Warn("TIDINGS_AUTH_REQUIRE_EXP is off: tokens without exp are good for ever")
	}
	if c.Query {
		log.Warn("TIDINGS_AUTH_QUERY is on: proxies may write tokens to their logs")
	}
}
