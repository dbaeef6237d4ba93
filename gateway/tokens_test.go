package gateway

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/golang-jwt/jwt/v5"
	"github.com/nats-io/nats.go"

	"tidings/fanout/wire"
)

// guarded is a gateway with a secret.
func (h *house) guarded(settings func(*Config)) *gate {
	h.t.Helper()
	return h.gate(func(c *Config) {
		c.HMACSecret = testSecret
		if settings != nil {
			settings(c)
		}
	})
}

// token is alice's for an hour, with edits.
func token(t testing.TB, edit func(claims map[string]any)) string {
	t.Helper()
	return sign(t, jwt.SigningMethodHS256, []byte(testSecret), func(_, claims map[string]any) {
		if edit != nil {
			edit(claims)
		}
	})
}

func tokenOf(t testing.TB, user string) string {
	return token(t, func(c map[string]any) { c["sub"] = user })
}

// expiring ends between one and two seconds from now: exp has whole seconds.
func expiring(t testing.TB) (tok string, end time.Time) {
	end = time.Now().Truncate(time.Second).Add(2 * time.Second)
	return token(t, func(c map[string]any) { c["exp"] = end.Unix() }), end
}

func authFrame(token string) []byte {
	return masked(text, fmt.Sprintf(`{"type":"auth","token":"%s"}`, token))
}

// asked is a connection that has sent its handshake without a user in the query, and got its 101.
func (g *gate) asked(edits ...string) *tab {
	g.t.Helper()
	b := g.raw()
	b.send(g.request(append([]string{"GET /ws HTTP/1.1"}, edits...)...))
	b.want101()
	return b
}

// Wherever a token may stand it makes a session; and it never comes back.
func TestTokenPlaces(t *testing.T) {
	h := newHouse(t, 1)
	g := h.guarded(func(c *Config) { c.Query = true })
	tok := token(t, nil)
	for name, tt := range map[string]struct {
		edits []string
		then  []byte
	}{
		"header":            {[]string{"Authorization: Bearer " + tok}, nil},
		"cookie":            {[]string{"Cookie: a=b; tidings_token=" + tok + "; c=d"}, nil},
		"subprotocol":       {[]string{"Sec-WebSocket-Protocol: tidings.v1, bearer." + tok}, nil},
		"subprotocol first": {[]string{"Sec-WebSocket-Protocol: bearer." + tok, "+Sec-WebSocket-Protocol: tidings.v1"}, nil},
		"first frame":       {nil, authFrame(tok)},
		"query":             {[]string{"GET /ws?token=" + tok + " HTTP/1.1"}, nil},
		"plain, header":     {[]string{"GET /websocket/alice HTTP/1.1", "Authorization: bearer " + tok}, nil},
		"plain, cookie":     {[]string{"GET /websocket/alice HTTP/1.1", "Cookie: tidings_token=" + tok}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			b := g.raw()
			b.t = t
			var seen bytes.Buffer
			b.r.Reset(&recorded{b, &seen})
			b.send(g.request(append([]string{"GET /ws HTTP/1.1"}, tt.edits...)...), tt.then)
			resp, body := b.response()
			if resp.StatusCode != 101 {
				t.Fatalf("got %s %q", resp.Status, body)
			}
			if p := resp.Header.Get("Sec-WebSocket-Protocol"); strings.Contains(name, "subprotocol") != (p == "tidings.v1") {
				t.Errorf("got subprotocol %q", p)
			}
			b.text()
			h.say("alice", 1)
			b.expect(1, 1)
			if strings.Contains(seen.String(), "bearer") || strings.Contains(seen.String(), tok[:20]) {
				t.Errorf("the token came back:\n%s", &seen)
			}
		})
	}
}

// recorded keeps what a tab has read.
type recorded struct {
	b    *tab
	seen *bytes.Buffer
}

func (r *recorded) Read(b []byte) (int, error) {
	n, err := r.b.conn.Read(b)
	r.seen.Write(b[:n])
	return n, err
}

func TestRefusedTokens(t *testing.T) {
	h := newHouse(t, 1)
	g := h.guarded(nil)
	claim := func(name string, value any) string {
		return token(t, func(c map[string]any) { c[name] = value })
	}
	for name, tt := range map[string]struct {
		token string
		code  CloseCode
	}{
		"expired":             {claim("exp", time.Now().Add(-time.Second).Unix()), closeUnauthorized},
		"without exp":         {claim("exp", nil), closeUnauthorized},
		"not yet":             {claim("nbf", time.Now().Add(time.Hour).Unix()), closeUnauthorized},
		"signed by another":   {sign(t, jwt.SigningMethodHS256, []byte(strings.Repeat("x", 32)), nil), closeUnauthorized},
		"not signed":          {unsigned(t, "none"), closeUnauthorized},
		"garbage":             {"garbage", closeUnauthorized},
		"without a user":      {claim("sub", ""), closeForbidden},
		"with unclear groups": {claim("groups", 7), closeForbidden},
		"another user's":      {tokenOf(t, "bob"), closeForbidden}, // in the plain dialect
	} {
		t.Run(name, func(t *testing.T) {
			ways := map[string]func() *tab{
				"plain": func() *tab { return g.asked("GET /websocket/alice HTTP/1.1", "Cookie: tidings_token="+tt.token) },
			}
			if name != "another user's" {
				ways["header"] = func() *tab { return g.asked("Authorization: Bearer " + tt.token) }
				ways["frame"] = func() *tab { b := g.asked(); b.send(authFrame(tt.token)); return b }
			}
			for way, open := range ways {
				b := open()
				b.t = t
				f, err := b.frame()
				if err != nil || f.Header.OpCode != ws.OpClose {
					t.Fatalf("%s: got %+v, %v, want nothing but a close frame", way, f.Header, err)
				}
				if code, reason := ws.ParseCloseFrameData(f.Payload); code != ws.StatusCode(tt.code) || reason == "" {
					t.Errorf("%s: closed with %d %q, want %d and a reason", way, code, reason, tt.code)
				}
			}
		})
	}
	t.Run("none in the plain dialect", func(t *testing.T) {
		g.asked("GET /websocket/alice HTTP/1.1").wantClosed(closeUnauthorized)
	})
	t.Run("in the query, which is not switched on", func(t *testing.T) {
		g.asked("GET /websocket/alice?token=" + token(t, nil) + " HTTP/1.1").wantClosed(closeUnauthorized)
	})
	t.Run("a name in the query is no token", func(t *testing.T) {
		g.asked("GET /websocket/alice?user=alice HTTP/1.1").wantClosed(closeUnauthorized)
	})
	t.Run("a page of another origin", func(t *testing.T) {
		b := g.raw()
		b.send(g.request("Origin: https://evil.example", "Cookie: tidings_token="+token(t, nil)))
		if resp, _ := b.response(); resp.StatusCode != http.StatusForbidden {
			t.Errorf("got %s, want 403", resp.Status)
		}
	})
}

// A token ends at its exp, also on an open connection; a new one of the same user takes its place.
func TestExpiryWhileConnected(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	g := h.guarded(nil)
	connect := func(t *testing.T) (*tab, time.Time) {
		tok, end := expiring(t)
		b := g.asked("Authorization: Bearer " + tok)
		b.t = t
		b.text()
		return b, end
	}
	for name, tt := range map[string]struct {
		renew func(t *testing.T) []byte
		code  CloseCode     // 0: stays open
		after time.Duration // behind the end of the first token
	}{
		"not renewed":                {func(*testing.T) []byte { return nil }, closeUnauthorized, 0},
		"renewed":                    {func(t *testing.T) []byte { return authFrame(token(t, nil)) }, 0, 0},
		"renewed, again and again":   {func(t *testing.T) []byte { return bytes.Repeat(authFrame(token(t, nil)), 5) }, 0, 0},
		"renewed without an end":     {func(t *testing.T) []byte { return authFrame(token(t, func(c map[string]any) { c["exp"] = 1e15 })) }, 0, 0},
		"renewed with another's":     {func(t *testing.T) []byte { return authFrame(tokenOf(t, "bob")) }, closeForbidden, -2 * time.Second},
		"renewed with an expired":    {func(t *testing.T) []byte { return authFrame(token(t, func(c map[string]any) { c["exp"] = 1 })) }, closeUnauthorized, -2 * time.Second},
		"renewed with one that ends": {func(t *testing.T) []byte { tok, _ := expiring(t); return authFrame(tok) }, closeUnauthorized, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, end := connect(t)
			b.send(tt.renew(t))
			if tt.code == 0 {
				time.Sleep(time.Until(end.Add(1500 * time.Millisecond)))
				b.wantPong("still here")
				return
			}
			b.wantClose(tt.code)
			if d := time.Since(end); d < tt.after || d > tt.after+2500*time.Millisecond {
				t.Errorf("closed %v after the token's end, want %v or little more", d, tt.after)
			}
		})
	}
}

// Groups come from the token, and change with it from the next Record on.
func TestTokenGroups(t *testing.T) {
	h := newHouse(t, 1)
	g := h.guarded(nil)
	grouped := func(groups ...string) string {
		return token(t, func(c map[string]any) { c["groups"] = groups })
	}
	b := g.asked("Authorization: Bearer " + grouped("red", "blue"))
	b.text()
	tell := func(group string, n int) {
		h.tell(wire.Record{Kind: wire.Group, Group: group, Notification: note(n)})
	}
	tell("red", 1)
	tell("green", 2)
	tell("blue", 3)
	b.expect(1, 1)
	b.expect(3, 3)
	b.send(authFrame(grouped("green")))
	b.wantPong("renewed")
	tell("red", 4)
	tell("green", 5)
	tell("blue", 6)
	cursor := b.expect(5, 5)
	b.send(authFrame(token(t, nil)))
	b.wantPong("renewed")
	tell("green", 7)
	h.say("alice", 8)
	b.expect(8, 8)
	sh := (*g.shards.Load())[0]
	sh.mu.Lock()
	if n := len(sh.hub.groups); n != 0 {
		t.Errorf("%d groups are left in the hub", n)
	}
	sh.mu.Unlock()
	// The same at another tab of the past: by the groups it has now.
	again := g.asked("GET /ws?cursor="+cursor+" HTTP/1.1", "Authorization: Bearer "+grouped("green"))
	again.expectFrom(t, 7, 8)
}

// expectFrom is expect behind the welcome.
func (b *tab) expectFrom(t *testing.T, from, to int) {
	t.Helper()
	if m := b.next(); m.Type != "welcome" || m.Resume != "complete" {
		t.Fatalf("got %+v, want a complete resume", m)
	}
	b.expect(from, to)
}

// The key of a token may have to be fetched first. Nobody else waits for that, and the token's session gets what it missed.
func TestUnknownKeyIsFetched(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	keys := testIssuer()
	p := newProvider(t)
	p.serve(jwkOf(&keys.p256.PublicKey, "one"))
	g := h.gate(func(c *Config) { c.JWKSURL, c.Loops = p.URL, 1 })
	within(t, "the first fetch", func() bool { return g.auth.jwks.keys() == 1 })
	known := g.asked("Authorization: Bearer " + sign(t, jwt.SigningMethodES256, keys.p256, withKid("one")))
	known.text()

	asked, answer := make(chan struct{}, 1), make(chan struct{})
	p.serve(jwkOf(&keys.p256.PublicKey, "one"), jwkOf(keys.ed.Public(), "two"))
	serve := p.answer.Load().(http.HandlerFunc)
	p.answer.Store(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case asked <- struct{}{}:
		default:
		}
		<-answer
		serve(w, r)
	}))
	fresh := sign(t, jwt.SigningMethodEdDSA, keys.ed, withKid("two"))
	b := g.asked("Authorization: Bearer " + fresh)
	frame := g.asked()
	frame.send(authFrame(fresh))
	gone := g.asked("Authorization: Bearer " + fresh)
	<-asked
	for n := range 50 {
		h.say("alice", n)
		known.expect(n, n)
	}
	b.wantPong("the loop turns")
	gone.conn.Close()
	eventually(t, "the tab that left is gone", func() error {
		if n := g.metric("tidings_sessions"); n != 3 {
			return fmt.Errorf("%v sessions", n)
		}
		return nil
	})
	close(answer)
	for _, late := range []*tab{b, frame} {
		if m := late.next(); m.Type != "welcome" {
			t.Fatalf("got %+v, want a welcome", m)
		}
	}
	h.say("alice", 50)
	for _, all := range []*tab{known, b, frame} {
		all.expect(50, 50)
	}
}

// While the identity provider is out, tokens of known keys are good, and those of unknown keys are told to come back (1013).
func TestIdentityProviderOut(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	keys := testIssuer()
	p := newProvider(t)
	p.serve(jwkOf(&keys.p256.PublicKey, "one"))
	g := h.gate(func(c *Config) { c.JWKSURL = p.URL })
	within(t, "the first fetch", func() bool { return g.auth.jwks.keys() == 1 })
	p.fail(503)
	known := sign(t, jwt.SigningMethodES256, keys.p256, withKid("one"))
	b := g.asked("Authorization: Bearer " + known)
	b.text()
	g.asked("Authorization: Bearer " + sign(t, jwt.SigningMethodEdDSA, keys.ed, withKid("two"))).wantClosed(closeOverloaded)
	b.send(authFrame(known))
	b.wantPong("still here")
	g.asked("Authorization: Bearer " + known).text()
}

// In development mode anyone is who they say, so only this machine may say it; and there a token is not looked at.
func TestDevelopmentMode(t *testing.T) {
	for _, listen := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:0"} {
		cfg := Config{AuthConfig: authConfig(nil), Listen: listen}
		g, err := New(context.Background(), cfg, Needs{Log: quiet, Connect: func(string) (*nats.Conn, error) { return nil, nil }})
		if g != nil || err == nil || !strings.Contains(err.Error(), "TIDINGS_AUTH_HMAC_SECRET") {
			t.Errorf("%s: got %v, want that it is refused, and what to do", listen, err)
		}
	}
	h := newHouse(t, 1)
	g := h.gate(nil)
	b := g.upgraded("Authorization: Bearer garbage", "Cookie: tidings_token=garbage")
	b.send(authFrame("garbage"))
	b.wantPong("still here")
	h.say("alice", 1)
	b.expect(1, 1)
}
