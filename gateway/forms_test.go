package gateway

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"tidings/fanout/wire"
)

// An event is the bytes of its notification, in one line and with its cursor as id.
func TestNotificationEvent(t *testing.T) {
	for name, tt := range map[string]struct{ notification, want string }{
		"as it usually is": {`{"id":"7"}`, `{"type":"notification","cursor":"1.2s.77","id":"7"}`},
		"nothing":          {`{}`, `{"type":"notification","cursor":"1.2s.77"}`},
		"in several lines": {"{\n\"id\":\r\n\"7\\n\"\r}", `{"type":"notification","cursor":"1.2s.77", "id":  "7\n" }`},
		"another cursor":   {`{"cursor":"evil\nid: 9"}`, `{"type":"notification","cursor":"1.2s.77","cursor":"evil\nid: 9"}`},
		"any characters":   {`{"id":"💧é\u2028` + "\u2028" + `"}`, `{"type":"notification","cursor":"1.2s.77","id":"💧é\u2028` + "\u2028" + `"}`},
		"large":            {`{"id":"` + strings.Repeat("x", 70_000) + `"}`, `{"type":"notification","cursor":"1.2s.77","id":"` + strings.Repeat("x", 70_000) + `"}`},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := wire.ParseCursor("1.2s.77")
			if err != nil {
				t.Fatal(err)
			}
			e := newEntry(c, 1, 0, &wire.View{Notification: []byte(tt.notification)})
			frame := string(e.frame)
			var f forms
			if got, want := string(f.of(e, events)), "id: 1.2s.77\ndata: "+tt.want+"\n\n"; got != want {
				t.Errorf("got %.200q, want %.200q", got, want)
			}
			if string(f.of(e, framed)) != frame {
				t.Error("the frame has changed")
			}
		})
	}
}

// An event without a cursor leaves the one before.
func TestEventWithoutCursor(t *testing.T) {
	if got, want := string(appendNotificationEvent(nil, []byte(`{"type":"notification","data":{"cursor":"1.2.3"}}`))),
		`data: {"type":"notification","data":{"cursor":"1.2.3"}}`+"\n\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// What is made of Records counts among the tail's bytes for as long as it is kept there.
func TestFormsAreCounted(t *testing.T) {
	b := newBench(t, func(c *Config) { c.TailBytes = 100_000 })
	fill := strings.Repeat("x", 900)
	tell := func() {
		b.tell(wire.Record{Kind: wire.Users, Users: []string{"alice"}, Notification: []byte(`{"fill":"` + fill + `"}`)})
	}
	for range 200 {
		tell()
	}
	alone := b.shard.tail.entries.len()
	if n := b.shard.extra.Load(); n != 0 {
		t.Errorf("%d bytes of forms without any event stream", n)
	}
	one, _ := b.session("alice")
	two, browser := b.streamSession("alice")
	three, browser3 := b.streamSession("alice")
	for range 200 {
		tell()
		read(browser)
		read(browser3)
	}
	tail := b.shard.tail
	if n := tail.entries.len(); n < alone/3 || n > alone*2/3 {
		t.Errorf("%d Records in the tail, each in two forms, want about half of %d", n, alone)
	}
	kept := int64(0)
	for pos := tail.entries.first; pos < tail.entries.end(); pos++ {
		e := tail.entries.at(pos)
		kept += int64(len(e.event.Load().b) + madeSize)
		if x, y := two.bytesOf(e), three.bytesOf(e); &x[0] != &y[0] {
			t.Fatal("two streams do not share an event")
		}
		if &one.bytesOf(e)[0] != &e.frame[0] {
			t.Fatal("a WebSocket is given something else than its frame")
		}
	}
	if got := b.shard.extra.Load(); got != kept {
		t.Errorf("%d bytes of forms are counted, want %d", got, kept)
	}
	old := tail.entries.at(tail.entries.first)
	b.shard.restart(2, 0, mark{})
	if got := b.shard.extra.Load(); got != 0 {
		t.Errorf("%d bytes of forms are counted when the tail is gone", got)
	}
	if e := two.bytesOf(old); len(e) < len(fill) || b.shard.extra.Load() != 0 {
		t.Errorf("got %.50q for a Record that has left, and %d bytes counted", e, b.shard.extra.Load())
	}
}

// Loops may need the same at once, and the tail may drop it meanwhile: each of them has it, made once, and the count comes out even.
func TestFormsAtOnce(t *testing.T) {
	var f forms
	for range 50 {
		sh := newShard(0, 1<<20, nil)
		var list []*entry
		for n := range uint64(100) {
			v := parsed(t, &wire.Record{Kind: wire.Users, Users: []string{"alice"}, Notification: []byte(fmt.Sprintf(`{"data":%d}`, n))})
			e := newEntry(wire.Cursor{Seq: n + 1}, 1, 0, &v)
			e.shard = sh
			sh.tail.add(e, &v.Audience)
			list = append(list, e)
		}
		var loops sync.WaitGroup
		got := make([][]*byte, 3)
		for i := range got {
			loops.Go(func() {
				for _, e := range list {
					b := f.of(e, events)
					if !strings.Contains(string(b), fmt.Sprintf(`"data":%d}`, e.seq-1)) {
						t.Errorf("got %q", b)
					}
					got[i] = append(got[i], &b[0])
				}
			})
		}
		loops.Go(func() {
			for range 50 {
				sh.tail.dropOldest()
			}
		})
		loops.Wait()
		for i := 50; i < 100; i++ {
			if got[0][i] != got[1][i] || got[1][i] != got[2][i] {
				t.Fatal("an event was made more than once")
			}
		}
		sh.tail.leave()
		if n := sh.extra.Load(); n != 0 {
			t.Fatalf("%d bytes are left in the count", n)
		}
	}
}
