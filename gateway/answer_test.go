package gateway

import (
	"slices"
	"testing"

	"tidings/fanout/wire"
	"tidings/gateway/ask"
)

func TestWhoIsTold(t *testing.T) {
	h := newHouse(t, 2)
	g := h.gate(nil)
	alice, welcome := g.tab("alice", "")
	first := h.say("alice", 1)
	alice.expect(1, 1)

	a := h.ask("alice", "her session has the record", func(a ask.Gateway) bool {
		return len(a.Sessions) == 1 && a.Sessions[0].Position >= first
	})
	s := a.Sessions[0]
	if a.Pod != g.pod || a.Error != "" || a.Leaving || a.Shard != wire.Shard("alice", 2) || a.Head < first || !a.Remembers.IsZero() {
		t.Errorf("got the answer %+v", a)
	}
	if s.ID != welcome.Session || s.State != "live" || s.Dialect != "tidings.v1" || s.Epoch != a.Epoch || a.Epoch == 0 || s.Queue != 0 {
		t.Errorf("got the session %+v, of the gateway %+v", s, a)
	}
	if len(a.Moments) != 1 || a.Moments[0].What != ask.Began || a.Moments[0].Word != "none" || a.Moments[0].To != first-1 {
		t.Errorf("got the moments %+v, want a beginning without a cursor behind record %d", a.Moments, first-1)
	}
	alice.conn.Close()
	a = h.ask("alice", "she is gone", func(a ask.Gateway) bool { return len(a.Sessions) == 0 && len(a.Moments) == 2 })
	if end := a.Moments[1]; end.What != ask.Closed || end.Word != causeGone || end.To != first || end.Session != s.ID || end.Epoch != a.Epoch {
		t.Errorf("got the end %+v, want gone with everything up to %d", end, first)
	}

	back, again := g.tab("alice", wire.Cursor{Shard: a.Shard, Epoch: a.Epoch + 1, Seq: 1}.String())
	defer back.conn.Close()
	if again.Resume != "reset" {
		t.Fatalf("got resume %q, want reset", again.Resume)
	}
	a = h.ask("alice", "she was reset", func(a ask.Gateway) bool { return len(a.Moments) == 3 })
	if m := a.Moments[2]; m.What != ask.Began || m.Word != "reset" || m.To != first {
		t.Errorf("got %+v, want a beginning with reset behind %d", m, first)
	}
	if a := h.ask("bob", "she is not he", func(a ask.Gateway) bool { return a.Error == "" }); len(a.Sessions)+len(a.Moments) != 0 {
		t.Errorf("bob has %+v", a)
	}
}

// TestPodsAreKnown: whoever asks finds in the consumers of the log who should answer.
func TestPodsAreKnown(t *testing.T) {
	h := newHouse(t, 1)
	g := h.gate(nil)
	var pods []string
	for c := range h.stream().ListConsumers(t.Context()).Info() {
		pods = append(pods, c.Config.Metadata[ask.MetaPod])
	}
	if want := []string{g.pod}; !slices.Equal(pods, want) {
		t.Errorf("the log's consumers are of %q, want %q", pods, want)
	}
}

func TestResetIsRemembered(t *testing.T) {
	h := newHouse(t, 1)
	g := h.gate(nil)
	alice, _ := g.tab("alice", "")
	defer alice.conn.Close()
	last := h.say("alice", 1)
	alice.expect(1, 1)
	before := g.shard0().epochNow()
	if err := h.js.DeleteStream(t.Context(), wire.Stream(0)); err != nil {
		t.Fatal(err)
	}
	h.makeLog(0)
	a := h.ask("alice", "she was reset", func(a ask.Gateway) bool { return len(a.Moments) == 2 })
	m := a.Moments[1]
	if m.What != ask.Reset || m.Word != resetLog || m.From != 0 || m.To != 0 || m.Epoch == before || m.Epoch != a.Epoch {
		t.Errorf("got %+v behind position %d of epoch %d, want a reset to the beginning of another epoch", m, last, before)
	}
}
