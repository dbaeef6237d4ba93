package gateway

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"tidings/fanout/wire"
)

// maxTokenGroups bounds the groups of one token: every session of a group costs an entry in the hub.
const maxTokenGroups = 256

// Identity is who a token, or in development mode a query, says that a browser is.
type Identity struct {
	User    string
	Groups  []string  // sorted, each once
	Expires time.Time // zero: never
	Issued  time.Time // zero: unknown
}

// authClaims are the conditions that the claims of a token with a good signature must meet.
type authClaims struct {
	issuer      string
	audience    []string
	leeway      time.Duration
	requireExp  bool
	groupsClaim string
}

// identity checks the claims at the time now. Claim names are compared with regard to case (RFC 7519, 10.1.1), which decoding
// into a struct would not do: a claim "SUB" that users may choose must never become "sub".
func (a *authClaims) identity(claims jwt.MapClaims, now time.Time) (Identity, error) {
	expires, err := a.times(claims, now)
	if err != nil {
		return Identity{}, err
	}
	if iss, _ := claims["iss"].(string); a.issuer != "" && iss != a.issuer {
		return Identity{}, errTokenIssuer
	}
	if len(a.audience) > 0 {
		aud, ok := claimStrings(claims["aud"])
		if !ok || !slices.ContainsFunc(aud, func(s string) bool { return slices.Contains(a.audience, s) }) {
			return Identity{}, errTokenAudience
		}
	}
	user, _ := claims["sub"].(string)
	if wire.CheckUser(user) != nil {
		return Identity{}, errTokenSub
	}
	groups, err := a.groups(claims)
	issued, _, _ := numericDate(claims["iat"]) // one that cannot be read is as good as none
	user = strings.Clone(user)                 // the text of all claims is not to be kept with it
	return Identity{User: user, Groups: groups, Expires: expires, Issued: issued}, err
}

// times checks exp and nbf. The leeway is for nbf alone, where a clock that is behind would refuse a fresh token; exp is taken as
// given, so that what is accepted here is not closed as expired in the next moment.
func (a *authClaims) times(claims jwt.MapClaims, now time.Time) (expires time.Time, err error) {
	exp, hasExp, ok1 := numericDate(claims["exp"])
	nbf, hasNbf, ok2 := numericDate(claims["nbf"])
	switch {
	case !ok1 || !ok2:
		return expires, errTokenTime
	case !hasExp && a.requireExp:
		return expires, errTokenNoExp
	// RFC 7519, 4.1.4: "the expiration time on or after which the JWT MUST NOT be accepted for processing".
	case hasExp && !now.Before(exp):
		return expires, errTokenExpired
	case hasNbf && now.Add(a.leeway).Before(nbf):
		return expires, errTokenEarly
	}
	return exp, nil
}

// numericDate reads seconds since 1970, with or without a fraction. What is beyond the year 9999 counts as its end.
func numericDate(claim any) (t time.Time, present, ok bool) {
	if claim == nil {
		return t, false, true
	}
	var f float64
	switch n := claim.(type) {
	case float64:
		f = n
	case int64:
		f = float64(n)
	case uint64:
		f = float64(n)
	default:
		return t, false, false
	}
	const lastSecond = 253402300799
	f = min(max(f, 0), lastSecond)
	sec := int64(f)
	return time.Unix(sec, int64((f-float64(sec))*1e9)), true, true
}

// groups reads the groups claim: a list of names, or one name. An unreadable claim is refused, since a user without the groups
// that an issuer meant would see nothing and never learn why.
func (a *authClaims) groups(claims jwt.MapClaims) ([]string, error) {
	claim := claims[a.groupsClaim]
	if claim == nil {
		return nil, nil
	}
	groups, ok := claimStrings(claim)
	switch {
	case !ok:
		return nil, newTokenError(closeForbidden, fmt.Sprintf("the claim %q is not a list of strings", a.groupsClaim))
	case len(groups) > maxTokenGroups:
		return nil, newTokenError(closeForbidden, fmt.Sprintf("the token has %d groups, at most %d are allowed", len(groups), maxTokenGroups))
	}
	for i, g := range groups {
		groups[i] = strings.Clone(g)
		if wire.CheckGroup(g) != nil {
			return nil, newTokenError(closeForbidden,
				fmt.Sprintf("a group of the token has %d bytes: 1 to %d are allowed", len(g), wire.MaxGroupBytes))
		}
	}
	slices.Sort(groups)
	return slices.Compact(groups), nil
}

// claimStrings reads a claim that is one string or a list of strings.
func claimStrings(claim any) (list []string, ok bool) {
	switch v := claim.(type) {
	case string:
		return []string{v}, true
	case []any:
		list = make([]string, len(v))
		for i := range v {
			if list[i], ok = v[i].(string); !ok {
				return nil, false
			}
		}
		return list, true
	}
	return nil, false
}
