package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"tidings/gateway/ask"
)

func TestDiaryForgetsTheOldest(t *testing.T) {
	d := newDiary()
	for i := range diaryMoments {
		d.add(moment{at: int64(i), session: uint64(i), user: "alice", what: ask.Began})
	}
	if got := d.since(); !got.IsZero() {
		t.Errorf("a diary that has lost nothing goes back to %v", got)
	}
	for i := range 3 {
		d.add(moment{at: int64(diaryMoments + i), session: uint64(diaryMoments + i), user: "bob", what: ask.Closed})
	}
	list := d.of("alice")
	if len(list) != diaryMoments-3 || list[0].Session != sessionName(3) || list[len(list)-1].Session != sessionName(diaryMoments-1) {
		t.Errorf("got %d moments of alice, from %+v to %+v", len(list), list[0], list[len(list)-1])
	}
	if got := d.of("bob"); len(got) != 3 || got[2].Session != sessionName(diaryMoments+2) {
		t.Errorf("got %+v of bob", got)
	}
	if got := d.since().UnixNano(); got != 3 {
		t.Errorf("it goes back to moment %d, want 3", got)
	}
	if raceEnabled {
		return
	}
	if n := testing.AllocsPerRun(100, func() { d.add(moment{user: "carol", what: ask.Began}) }); n != 0 {
		t.Errorf("%v allocations for a moment, want none", n)
	}
}

func TestGiven(t *testing.T) {
	s := &Session{pos: 9}
	if got := s.given(); got != 9 {
		t.Errorf("got %d without an outbox, want 9", got)
	}
	s.out = &outbox{queue: []queued{{}, {before: 4, moves: true}, {before: 6, moves: true}}}
	if got := s.given(); got != 4 {
		t.Errorf("got %d, want 4: the rest waits for the socket", got)
	}
	s.out.queue = s.out.queue[:1]
	if got := s.given(); got != 9 {
		t.Errorf("got %d, want 9: what waits is no notification", got)
	}
}

// ask asks the house's gateways about a user, until an answer satisfies.
func (h *house) ask(user, what string, satisfies func(ask.Gateway) bool) ask.Gateway {
	h.t.Helper()
	var last string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		b, err := json.Marshal(ask.Who{User: user})
		if err != nil {
			h.t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		m, err := h.js.Conn().RequestWithContext(ctx, ask.SubjectWho, b)
		cancel()
		if err != nil {
			last = err.Error()
			continue
		}
		a, err := ask.ParseGateway(m.Data)
		if err != nil {
			h.t.Fatal(err)
		}
		if satisfies(a) {
			return a
		}
		last = fmt.Sprintf("%+v", a)
	}
	h.t.Fatalf("no answer about %s says that %s; the last: %s", user, what, last)
	return ask.Gateway{}
}
