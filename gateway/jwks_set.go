package gateway

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// jwkSet is a JSON Web Key Set (RFC 7517) as it was fetched once. It is never modified.
type jwkSet struct {
	keys    []*authKey
	byKid   map[string][]*authKey
	ignored int // not for signatures, secret, too weak, or of a kind that is not known here
}

// jwk has the members that we read. Those of private keys are not among them.
type jwk struct {
	Kty    string   `json:"kty"`
	Use    string   `json:"use"`
	KeyOps []string `json:"key_ops"`
	Alg    string   `json:"alg"`
	Kid    string   `json:"kid"`
	Crv    string   `json:"crv"`
	X      string   `json:"x"`
	Y      string   `json:"y"`
	N      string   `json:"n"`
	E      string   `json:"e"`
}

// parseJWKSet reads a set. RFC 7517, 5: "Implementations SHOULD ignore JWKs within a JWK Set that use "kty" values that are not
// understood by them, that are missing required members, or for which values are out of the supported ranges."
func parseJWKSet(body []byte) (*jwkSet, error) {
	var doc struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		return nil, fmt.Errorf("the answer is not a key set: %w", err)
	}
	// An empty list is the provider's word that no key is good; a missing one is some other document.
	if doc.Keys == nil {
		return nil, errors.New("the answer is not a key set: it has no \"keys\"")
	}
	set := &jwkSet{byKid: map[string][]*authKey{}}
	for _, raw := range doc.Keys {
		k, err := parseJWK(raw)
		if err != nil {
			set.ignored++
			continue
		}
		set.keys = append(set.keys, k)
		if k.kid != "" {
			set.byKid[k.kid] = append(set.byKid[k.kid], k)
		}
	}
	return set, nil
}

func parseJWK(raw []byte) (*authKey, error) {
	var k jwk
	if err := json.Unmarshal(raw, &k); err != nil {
		return nil, err
	}
	if k.Use != "" && k.Use != "sig" {
		return nil, fmt.Errorf("use %q", k.Use)
	}
	if len(k.KeyOps) > 0 && !slices.Contains(k.KeyOps, "verify") {
		return nil, fmt.Errorf("key_ops %q", k.KeyOps)
	}
	public, err := k.public()
	if err != nil {
		return nil, err
	}
	return newAuthKey(k.Kid, k.Alg, public)
}

// public decodes the key. Symmetric ones (kty oct) are not accepted: a set that anybody can fetch holds no secret.
func (k *jwk) public() (any, error) {
	switch k.Kty {
	case "RSA":
		n, err1 := jwkBytes(k.N)
		e, err2 := jwkBytes(k.E)
		exponent := new(big.Int).SetBytes(e)
		if err1 != nil || err2 != nil || exponent.BitLen() > 31 || exponent.BitLen() < 2 || exponent.Bit(0) == 0 {
			return nil, errors.New("n or e is not a number in range")
		}
		return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(exponent.Int64())}, nil
	case "EC":
		return k.ecdsa()
	case "OKP":
		x, err := jwkBytes(k.X)
		if err != nil || k.Crv != "Ed25519" || len(x) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("curve %q with %d bytes", k.Crv, len(x))
		}
		return ed25519.PublicKey(x), nil
	}
	return nil, fmt.Errorf("kty %q", k.Kty)
}

func (k *jwk) ecdsa() (*ecdsa.PublicKey, error) {
	curve, ok := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[k.Crv]
	if !ok {
		return nil, fmt.Errorf("curve %q", k.Crv)
	}
	x, err1 := jwkBytes(k.X)
	y, err2 := jwkBytes(k.Y)
	size := (curve.Params().BitSize + 7) / 8
	// RFC 7518, 6.2.1.2: "The length of this octet string MUST be the full size of a coordinate".
	if err1 != nil || err2 != nil || len(x) != size || len(y) != size {
		return nil, errors.New("x or y is not a coordinate")
	}
	return ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, x, y)) // checks that the point is on the curve
}

// jwkBytes decodes base64url; padding, which some providers add, is let pass.
func jwkBytes(s string) ([]byte, error) {
	return base64.RawURLEncoding.DecodeString(strings.TrimRight(s, "="))
}
