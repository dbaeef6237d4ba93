package gateway

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// authKey is one public key and the algorithms it may be used with. The token's header proposes, the key decides: that is what
// keeps an RSA key from being taken for an HMAC secret.
type authKey struct {
	kid    string   // "" for the configured key
	algs   []string // never an HS algorithm, never none
	public any      // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey, as jwt.SigningMethod.Verify wants them
}

// newAuthKey binds a public key to its algorithms, to alg alone unless that is empty.
func newAuthKey(kid, alg string, public any) (*authKey, error) {
	k := &authKey{kid: kid, public: public}
	switch p := public.(type) {
	case *rsa.PublicKey:
		// RFC 7518, 3.3: "A key of size 2048 bits or larger MUST be used with these algorithms." The upper bound keeps one
		// verification below a millisecond.
		if n := p.N.BitLen(); n < 2048 || n > 8192 {
			return nil, fmt.Errorf("RSA key of %d bits: 2048 to 8192 are accepted", n)
		}
		k.algs = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
	case *ecdsa.PublicKey:
		// RFC 7518, 3.4: each ES algorithm is one curve and one hash. jwt itself does not compare the curve.
		switch p.Curve {
		case elliptic.P256():
			k.algs = []string{"ES256"}
		case elliptic.P384():
			k.algs = []string{"ES384"}
		case elliptic.P521():
			k.algs = []string{"ES512"}
		default:
			return nil, fmt.Errorf("ECDSA key on curve %s: P-256, P-384 and P-521 are accepted", p.Curve.Params().Name)
		}
	case ed25519.PublicKey:
		k.algs = []string{"EdDSA"}
	default:
		return nil, fmt.Errorf("key of type %T: RSA, ECDSA and Ed25519 are accepted", public)
	}
	if alg != "" {
		if !slices.Contains(k.algs, alg) {
			return nil, fmt.Errorf("alg %q does not fit a key of type %T", alg, public)
		}
		k.algs = []string{alg}
	}
	return k, nil
}

func (k *authKey) fits(alg string) bool { return slices.Contains(k.algs, alg) }

// readPublicKey takes PEM text, also with its line breaks written as \n, or the path of a PEM file.
func readPublicKey(textOrPath string) (*authKey, error) {
	text := strings.ReplaceAll(textOrPath, `\n`, "\n")
	if !strings.Contains(text, "-----BEGIN") {
		b, err := os.ReadFile(textOrPath)
		if err != nil {
			return nil, fmt.Errorf("neither PEM text nor a readable file: %w", err)
		}
		text = string(b)
	}
	block, rest := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("no PEM block found")
	}
	// In a chain of certificates the further ones are authorities, which sign no tokens.
	if strings.Contains(string(rest), "-----BEGIN") {
		return nil, errors.New("more than one PEM block: give one key; to rotate keys use TIDINGS_AUTH_JWKS_URL")
	}
	public, err := parsePublicKey(block)
	if err != nil {
		return nil, err
	}
	return newAuthKey("", "", public)
}

func parsePublicKey(block *pem.Block) (any, error) {
	switch {
	case strings.Contains(block.Type, "PRIVATE KEY"):
		return nil, errors.New("it is a private key, which must stay with the issuer: give the public one (openssl pkey -pubout)")
	case block.Type == "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(block.Bytes)
	case block.Type == "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	case block.Type == "CERTIFICATE":
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return cert.PublicKey, nil
	}
	return nil, fmt.Errorf("PEM block %q: PUBLIC KEY, RSA PUBLIC KEY and CERTIFICATE are accepted", block.Type)
}
