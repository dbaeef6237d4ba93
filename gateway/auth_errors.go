package gateway

import (
	"errors"
	"unicode/utf8"
)

// ErrToken is what every TokenError is: errors.Is(err, ErrToken).
var ErrToken = errors.New("token not accepted")

// ErrKeyPending says that the key which signed the token must be fetched first: call VerifyWait where waiting is allowed.
var ErrKeyPending = errors.New("the key of the token must be fetched first")

// maxReason is what a close frame holds besides its code. RFC 6455, 5.5: "All control frames MUST have a payload length of
// 125 bytes or less".
const maxReason = 123

// TokenError says why a token is not accepted, and what the browser is told: 4401 where another token would help, 4403 where
// the token is genuine but what it says is not allowed here, 1013 where it could not be checked now.
type TokenError struct {
	Code   CloseCode
	Reason string // at most 123 bytes; never a part of the token
}

func (e *TokenError) Error() string { return e.Reason }

// Is makes every TokenError an ErrToken.
func (e *TokenError) Is(target error) bool { return target == ErrToken }

func newTokenError(code CloseCode, reason string) *TokenError {
	if len(reason) > maxReason {
		n := maxReason
		for !utf8.RuneStart(reason[n]) {
			n--
		}
		reason = reason[:n]
	}
	return &TokenError{code, reason}
}

// They are made once, so that a flood of bad tokens costs little. The values are shared: do not modify them.
var (
	errTokenMissing   = newTokenError(closeUnauthorized, "no token given")
	errTokenLong      = newTokenError(closeUnauthorized, "the token is longer than 8192 bytes")
	errTokenMalformed = newTokenError(closeUnauthorized, "the token is not a signed JWT")
	errTokenCrit      = newTokenError(closeUnauthorized, "the token demands an extension (crit) that is not known here")
	errTokenAlg       = newTokenError(closeUnauthorized, "no key is configured for the token's algorithm")
	errTokenSecret    = newTokenError(closeUnauthorized, "the configured secret is too short for the token's algorithm (RFC 7518, 3.2)")
	errTokenKid       = newTokenError(closeUnauthorized, "the token is signed with a key that is not known here")
	errTokenNoKid     = newTokenError(closeUnauthorized, "the token names no key (kid), and the key set has too many to try")
	errTokenSignature = newTokenError(closeUnauthorized, "the token's signature does not match")
	errTokenDev       = newTokenError(closeUnauthorized, "no key is configured: tokens cannot be checked in development mode")

	errTokenExpired  = newTokenError(closeUnauthorized, "the token has expired")
	errTokenNoExp    = newTokenError(closeUnauthorized, "the token has no exp")
	errTokenEarly    = newTokenError(closeUnauthorized, "the token is not valid yet")
	errTokenTime     = newTokenError(closeUnauthorized, "exp or nbf of the token is not a number")
	errTokenIssuer   = newTokenError(closeUnauthorized, "the token has another issuer (iss) than required here")
	errTokenAudience = newTokenError(closeUnauthorized, "the token is not meant for this service (aud)")

	errTokenSub    = newTokenError(closeForbidden, "sub of the token is not a user ID: 1 to 128 bytes of UTF-8 are required")
	errKeysMissing = newTokenError(closeOverloaded, "the identity provider's keys cannot be fetched now")
)
