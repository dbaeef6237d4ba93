package gateway

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// maxTokenBytes bounds what is parsed before a signature is checked.
const maxTokenBytes = 8192

// maxTokenTries bounds the keys that one token is tried with: a verification takes some 30 µs of an I/O loop.
const maxTokenTries = 4

// Authenticator turns tokens into identities. It is safe for concurrent use.
type Authenticator struct {
	// Fixed at creation.
	dev    bool
	secret []byte   // nil: no HS tokens
	public *authKey // nil: none configured
	jwks   *jwks    // nil: none configured
	parser *jwt.Parser
	heads  tokenHeads
	claims authClaims
	now    func() time.Time
}

// NewAuthenticator reads the keys of cfg, and begins to fetch the identity provider's: until they are there, which may be long
// when the provider is out, tokens that need them are refused with 1013. Close ends what it started.
func NewAuthenticator(ctx context.Context, cfg AuthConfig, log *slog.Logger) (*Authenticator, error) {
	a, err := newAuthenticator(cfg)
	if err != nil {
		return nil, err
	}
	u, err := cfg.jwksURL()
	if err != nil {
		return nil, err
	}
	cfg.warn(log, a.secret)
	if u != nil {
		a.jwks = newJWKS(u.String(), defaultJWKSTiming(), log)
		a.jwks.start(ctx)
	}
	return a, nil
}

func newAuthenticator(cfg AuthConfig) (*Authenticator, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	secret, err := cfg.secret()
	if err != nil {
		return nil, err
	}
	public, err := cfg.publicKey()
	if err != nil {
		return nil, err
	}
	audience, err := authList("TIDINGS_AUTH_AUDIENCE", cfg.Audience)
	if err != nil {
		return nil, err
	}
	return &Authenticator{
		dev:    cfg.devMode(),
		secret: secret,
		public: public,
		parser: jwt.NewParser(jwt.WithoutClaimsValidation(), jwt.WithStrictDecoding()),
		claims: authClaims{
			issuer: cfg.Issuer, audience: audience, leeway: cfg.Leeway, requireExp: cfg.RequireExp, groupsClaim: cfg.GroupsClaim,
		},
		now: time.Now,
	}, nil
}

// Close stops fetching keys and waits until that has ended. Tokens can still be verified with the keys that are there.
func (a *Authenticator) Close() {
	if a.jwks != nil {
		a.jwks.close()
	}
}

// DevMode tells that no key is configured: everybody may say who they are, and no token can be verified.
func (a *Authenticator) DevMode() bool { return a.dev }

// Verify checks a token with the keys that are there, and never waits. Its errors are a *TokenError, or ErrKeyPending.
func (a *Authenticator) Verify(token string) (Identity, error) {
	id, missing, err := a.verify(token)
	switch {
	case !missing:
		return id, err
	case a.jwks.crowded():
		return Identity{}, errKeysMissing
	}
	return Identity{}, ErrKeyPending
}

// VerifyWait is Verify where waiting for the identity provider is allowed, for some seconds at most and not beyond ctx. Its
// errors are a *TokenError.
func (a *Authenticator) VerifyWait(ctx context.Context, token string) (Identity, error) {
	id, missing, err := a.verify(token)
	if !missing {
		return id, err
	}
	if a.jwks.wait(ctx) != nil {
		return Identity{}, errKeysMissing
	}
	id, _, err = a.verify(token)
	return id, err
}

// verify checks a token; missing tells that the identity provider may have a key which would change the answer.
func (a *Authenticator) verify(token string) (id Identity, missing bool, err error) {
	switch {
	case a.dev:
		return id, false, errTokenDev
	case token == "":
		return id, false, errTokenMissing
	case len(token) > maxTokenBytes:
		return id, false, errTokenLong
	case !isCompactJWS(token):
		return id, false, errTokenMalformed
	}
	claims, err := a.heads.parse(a.parser, token, func(t *jwt.Token) (key any, err error) {
		key, missing, err = a.keys(t)
		return key, err
	})
	if err != nil {
		return id, missing, tokenError(err)
	}
	id, err = a.claims.identity(claims, a.now())
	if err != nil {
		return Identity{}, false, err
	}
	return id, false, nil
}

// keys finds what a token may be verified with: a []byte for HS algorithms only, public keys for all others only.
func (a *Authenticator) keys(t *jwt.Token) (key any, missing bool, err error) {
	// RFC 7515, 4.1.11: "If any of the listed extension Header Parameters are not understood and supported by the recipient,
	// then the JWS is invalid." None is supported.
	if _, ok := t.Header["crit"]; ok {
		return nil, false, errTokenCrit
	}
	alg := t.Method.Alg()
	switch m := t.Method.(type) {
	case *jwt.SigningMethodHMAC:
		if a.secret == nil {
			return nil, false, errTokenAlg
		}
		if len(a.secret) < m.Hash.Size() {
			return nil, false, errTokenSecret
		}
		return a.secret, false, nil
	case *jwt.SigningMethodRSA, *jwt.SigningMethodRSAPSS, *jwt.SigningMethodECDSA, *jwt.SigningMethodEd25519:
		return a.publicKeys(alg, t.Header["kid"])
	}
	return nil, false, errTokenAlg // none
}

// publicKeys are the configured key and those of the identity provider that fit alg and kid.
func (a *Authenticator) publicKeys(alg string, kid any) (key any, missing bool, err error) {
	name, ok := kid.(string)
	if kid != nil && !ok {
		return nil, false, errTokenMalformed
	}
	var keys []jwt.VerificationKey
	if a.public != nil && a.public.fits(alg) {
		keys = append(keys, a.public.public)
	}
	err = errTokenAlg
	if a.jwks != nil {
		var fitting []jwt.VerificationKey
		fitting, missing = a.jwks.find(alg, name)
		keys = append(keys, fitting...)
		err = errTokenKid
	}
	switch len(keys) {
	case 0:
		return nil, missing, err
	case 1:
		return keys[0], missing, nil
	}
	if len(keys) > maxTokenTries {
		return nil, false, errTokenNoKid
	}
	return jwt.VerificationKeySet{Keys: keys}, missing, nil
}

// tokenError is what the browser is told of the parser's error.
func tokenError(err error) error {
	var own *TokenError
	switch {
	case errors.As(err, &own):
		return own
	case errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return errTokenSignature
	case errors.Is(err, jwt.ErrTokenUnverifiable):
		return errTokenAlg
	}
	return errTokenMalformed
}

// isCompactJWS tells whether token has only base64url characters and dots. Go's decoder would skip line breaks.
func isCompactJWS(token string) bool {
	for i := range len(token) {
		switch c := token[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return true
}
