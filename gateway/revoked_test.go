package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/nats-io/nats.go/jetstream"

	"tidings/fanout"
	"tidings/fanout/wire"
	"tidings/gateway/control"
)

func (h *house) ensureControl() {
	h.t.Helper()
	eventually(h.t, "the stream is made", func() error { // see makeLog
		return fanout.EnsureControl(h.t.Context(), h.js, fanout.ControlConfig{MaxAge: time.Hour})
	})
}

// issued is a token of the user that is so old.
func issued(t testing.TB, user string, ago time.Duration) string {
	return token(t, func(c map[string]any) { c["sub"], c["iat"] = user, time.Now().Add(-ago).Unix() })
}

func (g *gate) tokenTab(token string) *tab {
	g.t.Helper()
	return g.open("/ws", ws.Dialer{Protocols: []string{"tidings.v1", "bearer." + token}})
}

// TestRevoke: all sessions of the user end on all gateways, nobody else's; the tokens of before are refused, by gateways too that start later; one that
// is issued afterwards is good.
func TestRevoke(t *testing.T) {
	h := newHouse(t, 1)
	h.ensureControl()
	g1, g2 := h.guarded(nil), h.guarded(nil)
	old := issued(t, "alice", time.Minute)
	a1, a2, bob := g1.tokenTab(old), g2.tokenTab(old), g1.tokenTab(issued(t, "bob", time.Minute))
	for _, b := range []*tab{a1, a2, bob} {
		if m := b.next(); m.Type != "welcome" {
			t.Fatalf("got %+v, want a welcome", m)
		}
	}
	if err := control.Revoke(t.Context(), h.js, "alice"); err != nil {
		t.Fatal(err)
	}
	a1.wantClosed(closeForbidden)
	a2.wantClosed(closeForbidden)
	g1.tokenTab(old).wantClosed(closeForbidden)
	g2.tokenTab(old).wantClosed(closeForbidden)
	h.guarded(nil).tokenTab(old).wantClosed(closeForbidden) // and one that starts later
	h.say("bob", 1)
	if m := bob.said(); string(m.Data) != "1" {
		t.Errorf("got %+v for another user", m)
	}
	fresh := g1.tokenTab(issued(t, "alice", -2*time.Second)) // of the seconds to come
	if m := fresh.next(); m.Type != "welcome" {
		t.Fatalf("got %+v for a token of afterwards, want a welcome", m)
	}
	fresh.write(ws.NewTextFrame([]byte(`{"type":"auth","token":"` + old + `"}`)))
	fresh.wantClosed(closeForbidden)
}

// TestRevokedStreamComesBack: what is revoked stays so while the stream is away, and one that is made anew is followed from its beginning.
func TestRevokedStreamComesBack(t *testing.T) {
	h := newHouse(t, 1)
	g := h.guarded(nil) // without the stream: nobody is revoked
	g.tokenTab(issued(t, "alice", time.Minute)).next()
	if err := control.Revoke(t.Context(), h.js, "alice"); !errors.Is(err, jetstream.ErrNoStreamResponse) {
		t.Errorf("got %v, want that nothing stores it", err)
	}
	h.ensureControl()
	for range 3 {
		if err := control.Revoke(t.Context(), h.js, "carol"); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(user string) func() error {
		return func() error {
			if !g.revoked.refuses(Identity{User: user, Issued: time.Now().Add(-time.Minute)}) {
				return errors.New("accepted")
			}
			return nil
		}
	}
	eventually(t, "carol is refused", refused("carol"))
	if err := h.js.DeleteStream(t.Context(), wire.ControlStream); err != nil {
		t.Fatal(err)
	}
	h.ensureControl()
	if err := control.Revoke(t.Context(), h.js, "dave"); err != nil { // sequence 1, again
		t.Fatal(err)
	}
	eventually(t, "dave is refused", refused("dave"))
	if err := refused("carol")(); err != nil {
		t.Error("carol's revocation was forgotten with the stream")
	}
}

// TestUnreadableRevocation is skipped, and those behind it count.
func TestUnreadableRevocation(t *testing.T) {
	h := newHouse(t, 1)
	h.ensureControl()
	for _, text := range []string{"", "alice", `{"user":""}`, `{"usr":"alice"}`, `{"user":"alice"}`} {
		if _, err := h.js.Publish(context.Background(), control.SubjectRevoke, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	g := h.guarded(nil)
	g.tokenTab(issued(t, "alice", time.Minute)).wantClosed(closeForbidden)
}

// TestControl: gateways say how many sessions they have, and give away what they are asked to.
func TestControl(t *testing.T) {
	h := newHouse(t, 1)
	g1, g2 := h.gate(nil), h.gate(nil)
	var tabs []*tab
	for range 40 {
		b, _ := g1.tab("alice", "")
		tabs = append(tabs, b)
	}
	g2.tab("bob", "")
	nc := h.js.Conn()
	loads, err := control.Loads(t.Context(), nc)
	if err != nil || len(loads) != 2 || loads[0].Sessions+loads[1].Sessions != 41 || loads[0].Gateway == loads[1].Gateway {
		t.Fatalf("got %+v, %v", loads, err)
	}
	for name, message := range map[string]string{
		"nobody is meant":  `{"gateway":"other:1","sessions":5}`,
		"nothing is asked": `{"gateway":"` + g1.Name() + `"}`,
		"two things":       `{"sessions":1,"share":0.5}`,
		"misspelt":         `{"gatway":"` + g1.Name() + `","sessions":5}`,
		"not JSON":         `shed them all`,
		"too slow":         `{"sessions":5,"over":"2000h"}`,
	} {
		if err := nc.Publish(control.SubjectShed, []byte(message)); err != nil {
			t.Fatal(name, err)
		}
	}
	answers, err := control.Ask[control.Shedding](t.Context(), nc, control.SubjectShed, control.Shed{Gateway: g1.Name(), Share: 0.25, Over: "1s"})
	if err != nil || len(answers) != 1 || answers[0].Sessions != 10 || answers[0].Error != "" {
		t.Fatalf("got %+v, %v", answers, err)
	}
	eventually(t, "a quarter has left", func() error {
		for _, b := range tabs { // answer the closing handshake
			b.conn.SetReadDeadline(time.Now().Add(time.Millisecond))
			if f, err := readFrame(b.r); err == nil && f.Header.OpCode == ws.OpClose {
				b.conn.Close()
			}
		}
		loads, err := control.Loads(t.Context(), nc)
		if left := loads[0].Sessions + loads[1].Sessions; err != nil || left < 30 || left > 32 { // each loop rounds its part
			b, _ := json.Marshal(loads)
			return errors.New(string(b))
		}
		return nil
	})
	if got := g1.metric("tidings_closes_total", "draining"); got < 9 || got > 11 {
		t.Errorf("%v were sent away, want 10", got)
	}
	if got := g2.metric("tidings_closes_total", "draining"); got != 0 {
		t.Errorf("the other gateway sent %v away", got)
	}
}
