package gateway

import (
	"fmt"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// The plain dialect, word for word.
func TestPlainDialect(t *testing.T) {
	h := newHouse(t, 1)
	g := h.gate(nil)
	epoch := (*g.shards.Load())[0].epochNow()
	b := g.raw()
	b.send(g.request("GET /websocket/alice HTTP/1.1"))
	resp, _ := b.response()
	if resp.StatusCode != 101 || len(resp.Header["Sec-Websocket-Protocol"])+len(resp.Header["Sec-Websocket-Extensions"]) > 0 {
		t.Fatalf("got %s %v, want 101, no subprotocol and no extension", resp.Status, resp.Header)
	}
	want := func(text string) {
		t.Helper()
		if got := b.text(); got != text {
			t.Fatalf("got %q, want %q", got, text)
		}
	}
	want("来自后台的反馈:连接成功")
	for range 3 {
		b.send(masked(text, health))
		want("SUCCESS")
	}
	for _, says := range []string{"", "hello", "null", "7", "[]", "{", `{"sendType":"health"}`, `{"sendType":7}`, `{"type":"auth","token":"x"}`, "SUCCESS"} {
		b.send(masked(text, says))
	}
	b.send(masked(text, ` { "sendType" : "HEALTH", "time": 1 } `))
	want("SUCCESS")
	seq := h.say("alice", 1)
	want(fmt.Sprintf(`{"type":"notification","cursor":"0.%s.%d","id":"1","kind":"test","data":1}`, base36(epoch), seq))
	h.say("bob", 2)
	seq = h.say("alice", 3)
	want(fmt.Sprintf(`{"type":"notification","cursor":"0.%s.%d","id":"3","kind":"test","data":3}`, base36(epoch), seq))
	b.send(closeFrame(1000, ""))
	b.wantClosed(closeNormal)
}

func base36(n uint64) string {
	const digits = "0123456789abcdefghijklmnopqrstuvwxyz"
	s := ""
	for ; n > 0; n /= 36 {
		s = digits[n%36:n%36+1] + s
	}
	return s
}

// A wrapper that keeps the cursor catches up with it; one whose place is lost goes on without a word.
func TestPlainCursor(t *testing.T) {
	h := newHouse(t, 1)
	g := h.gate(nil)
	b := g.upgraded("GET /websocket/alice HTTP/1.1")
	h.say("alice", 1)
	h.say("alice", 2)
	cursor := b.expect(1, 1)
	b.conn.Close()
	again := g.upgraded("GET /websocket/alice?cursor=" + cursor + " HTTP/1.1")
	again.expect(2, 2)
	lost := g.upgraded("GET /websocket/alice?cursor=garbage HTTP/1.1")
	h.say("alice", 3)
	lost.expect(3, 3)
	again.expect(3, 3)
}

// The user is the path's segment, whatever is in it.
func TestPlainUser(t *testing.T) {
	h := newHouse(t, 1)
	g := h.gate(nil)
	for path, user := range map[string]string{"a%2Fb": "a/b", "%E5%B0%8F%E6%98%8E": "小明", "a+b": "a+b", "a%20b": "a b", "..%2Fws": "../ws"} {
		b := g.upgraded("GET /websocket/" + path + " HTTP/1.1")
		h.say(user, 1)
		b.expect(1, 1)
	}
}

// Silence is broken by pings alone. A tab that answers them stays, one that does not is closed with 4408.
func TestPlainHeartbeat(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	g := h.gate(func(c *Config) { c.Heartbeat = 2 * time.Second })
	dead := g.upgraded("GET /websocket/alice HTTP/1.1")
	b := g.upgraded("GET /websocket/alice HTTP/1.1")
	for n := range 3 {
		if got := b.shown(1)[0]; got != "ping " {
			t.Fatalf("got %q as frame %d, want a ping", got, n)
		}
		b.write(ws.NewPongFrame(nil))
	}
	dead.wantClose(closeNoHeartbeat)
	b.wantPong("still here")
}
