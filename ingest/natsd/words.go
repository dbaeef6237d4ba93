package natsd

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
)

// InWords says what to do about an error of connecting, where the library's text does not.
func InWords(err error) error {
	do := ""
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, nats.ErrAuthorization):
		do = "the server does not know this user: see to TIDINGS_NATS_CREDS, TIDINGS_NATS_NKEY, or the user and password in TIDINGS_NATS_URL"
	case errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked), errors.Is(err, nats.ErrAccountAuthExpired):
		do = "put new credentials in the place of the old ones; they are read at the next attempt"
	case errors.Is(err, nats.ErrNkeysNotSupported):
		do = "the server has no users with nkeys: see to TIDINGS_NATS_NKEY"
	case errors.Is(err, nats.ErrSecureConnWanted):
		do = "the server offers no TLS, which TIDINGS_NATS_CA, TIDINGS_NATS_CERT or tls:// in TIDINGS_NATS_URL ask for"
	case errors.As(err, &authority):
		do = "name the authority of the server's certificate with TIDINGS_NATS_CA"
	case errors.As(err, &host):
		do = "the server's certificate is for other names than that in TIDINGS_NATS_URL"
	case strings.Contains(err.Error(), "tls: certificate required"), strings.Contains(err.Error(), "tls: bad certificate"),
		strings.Contains(err.Error(), "tls: unknown certificate authority"), strings.Contains(err.Error(), "closed by remote after TLS handshake"):
		do = "the server does not accept our certificate, or wants one: see to TIDINGS_NATS_CERT and TIDINGS_NATS_KEY"
	default:
		return err
	}
	return fmt.Errorf("%w: %s", err, do)
}
