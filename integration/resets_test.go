package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tidings/fanout/wire"
	"tidings/integration/house"
	"tidings/integration/wsclient"
)

// The places where a position is lost, and is said to be; and those where it is not.

// TestWipedStore: the directory of the embedded server is gone.
func TestWipedStore(t *testing.T) {
	store := t.TempDir()
	d := programs.Start(t, "before", house.Settings{"NATS_STORE": store}).Ready()
	js := house.Connect(t, d.NATS())
	alice := open(t, d, "alice", "")
	alice.expectResume("none")
	for _, id := range ids("old", 1, 3) {
		tell(t, js, id, "alice")
		alice.expect(id)
	}
	d.Kill()
	if err := os.RemoveAll(store); err != nil {
		t.Fatal(err)
	}
	d = programs.Start(t, "after", house.Settings{"NATS_STORE": store}).Ready()
	js = house.Connect(t, d.NATS())
	alice = open(t, d, "alice", alice.cursor)
	alice.expectResume("reset")
	tell(t, js, "new-1", "alice")
	alice.expect("new-1")
	again := open(t, d, "alice", alice.welcome.Cursor)
	again.expectResume("complete")
	again.expect("new-1")
	if got := d.Metric("tidings_resumes_total", "reset"); got != 1 {
		t.Errorf("%v sessions were resumed with reset, want 1", got)
	}
}

// TestRecreatedLog: an operator deletes the log under a running house. It is made again, and every tab is told.
func TestRecreatedLog(t *testing.T) {
	node := programs.Servers(t, 1)[0]
	s := house.Settings{"NATS_URL": node.URL}
	programs.Start(t, "fanout", s.With(house.Settings{"ROLES": "fanout"})).Ready()
	d := programs.Start(t, "gateway", s.With(house.Settings{"ROLES": "gateway"})).Ready()
	js := house.Connect(t, node.URL)
	alice, bob := open(t, d, "alice", ""), open(t, d, "bob", "")
	tell(t, js, "old-1", "alice", "bob")
	alice.expect("old-1")
	bob.expect("old-1")
	bob.Drop()

	if err := js.DeleteStream(context.Background(), wire.Stream(0)); err != nil {
		t.Fatal(err)
	}
	tell(t, js, "between", "alice", "bob") // it needs the log, which is made again
	alice.expectReset()
	house.Eventually(t, house.Patience, "the gateway follows the new log", d.IsReady)
	tell(t, js, "new-1", "alice", "bob")
	// What was stored before the gateway found the new log lies behind the reset, or before it.
	n, ok := alice.next().(wsclient.Notification)
	if ok && n.ID == "between" {
		n, ok = alice.next().(wsclient.Notification)
	}
	if !ok || n.ID != "new-1" {
		t.Errorf("alice got %+v behind the reset, want new-1", n)
	}
	bob = open(t, d, "bob", bob.cursor)
	bob.expectResume("reset")
	tell(t, js, "new-2", "alice", "bob")
	alice.expect("new-2")
	bob.expect("new-2")
	if got := d.Metric("tidings_resets_total", "log"); got != 1 {
		t.Errorf("%v resets because of the log, want 1: alice's", got)
	}
}

// TestTrimmedLog: the log holds less than what a tab missed. Who stayed has everything.
func TestTrimmedLog(t *testing.T) {
	d := programs.Start(t, "all", house.Settings{"LOG_MAX_BYTES": "1048576", "TAIL_BYTES": "65536", "HEARTBEAT": "1s"}).Ready()
	js := house.Connect(t, d.NATS())
	stays, leaves := open(t, d, "alice", ""), open(t, d, "alice", "")
	tell(t, js, "e-1", "alice")
	stays.expect("e-1")
	leaves.expect("e-1")
	leaves.Drop()
	for _, id := range ids("e", 2, 300) {
		tellLong(t, js, id, 8192, "alice")
		stays.expect(id)
	}
	info, err := house.Info(js, wire.Stream(0))
	if err != nil || info.State.FirstSeq < 3 {
		t.Fatalf("the log begins at %d (%v), want it trimmed", info.State.FirstSeq, err)
	}

	back := open(t, d, "alice", leaves.cursor)
	if back.welcome.Resume != "reset" { // the gateway asks for the beginning of the log every other second
		back.expectResume("complete")
		back.expectReset()
	}
	tell(t, js, "e-301", "alice")
	back.expect("e-301")
	stays.expect("e-301")

	// A cursor that the log still reaches back to, but the tail does not, is caught up with from there.
	late := open(t, d, "alice", cursorBefore(t, stays.cursor, 50))
	late.expectResume("complete")
	late.expect(ids("e", 252, 301)...)
	if got := d.Metric("tidings_replay_scans_total"); got == 0 {
		t.Error("the log was not scanned: the tail was long enough")
	}
}

// cursorBefore is the place n records before a cursor.
func cursorBefore(t *testing.T, text string, n uint64) string {
	t.Helper()
	c, err := wire.ParseCursor(text)
	if err != nil {
		t.Fatal(err)
	}
	c.Seq -= n
	return c.String()
}

// TestPowerLoss: after a loss of power a single node may have lost its end, and positions in it; after kill -9 it has not.
func TestPowerLoss(t *testing.T) {
	store := t.TempDir()
	settings := house.Settings{"NATS_STORE": store}
	var cursor string
	for i, c := range []struct {
		name   string
		before func()
		want   string // resume
	}{
		{"first start", func() {}, "none"},
		{"kill -9", func() {}, "complete"},
		{"power loss", func() { otherBoot(t, store) }, "reset"},
		{"kill -9 after the power loss", func() {}, "complete"},
	} {
		c.before()
		d := programs.Start(t, c.name, settings).Ready()
		js := house.Connect(t, d.NATS())
		stays := open(t, d, "alice", "") // who begins at the gateway's end of the log sees that it has reached the event
		tell(t, js, fmt.Sprint("while-away-", i), "alice")
		stays.expect(fmt.Sprint("while-away-", i))
		info, err := house.Info(js, wire.Stream(0))
		if err != nil || info.State.LastSeq != uint64(2*i+1) {
			t.Fatalf("%s: the log ends at %d (%v), want %d", c.name, info.State.LastSeq, err, 2*i+1)
		}
		alice := open(t, d, "alice", cursor)
		if alice.welcome.Resume != c.want {
			t.Fatalf("%s: welcomed with resume %q, want %q", c.name, alice.welcome.Resume, c.want)
		}
		if c.want == "complete" {
			alice.expect(fmt.Sprint("while-away-", i))
		}
		tell(t, js, fmt.Sprint("e-", i), "alice")
		alice.expect(fmt.Sprint("e-", i))
		cursor = alice.cursor
		d.Kill()
	}
}

// otherBoot makes the store look as if the machine had been started since.
func otherBoot(t *testing.T, store string) {
	t.Helper()
	marker := filepath.Join(store, "running")
	b, err := os.ReadFile(marker)
	if err != nil {
		t.Fatalf("what a running server leaves behind: %v", err)
	}
	other := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '8' {
			return r + 1
		}
		return r
	}, string(b))
	if err := os.WriteFile(marker, []byte(other), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestKilledAllInOne: kill -9 of the whole house, at any moment, costs time and nothing else.
func TestKilledAllInOne(t *testing.T) {
	store := t.TempDir()
	var cursor string
	n := 0
	for round := range 4 {
		d := programs.Start(t, fmt.Sprintf("round %d", round), house.Settings{"NATS_STORE": store}).Ready()
		js := house.Connect(t, d.NATS())
		alice := open(t, d, "alice", cursor)
		if round > 0 {
			alice.expectResume("complete")
			alice.expect(ids("e", n-39, n)...) // acknowledged, and not all fanned out when everything ended
		}
		for range 20 {
			n++
			tell(t, js, fmt.Sprint("e-", n), "alice")
			alice.expect(fmt.Sprint("e-", n))
		}
		cursor = alice.cursor
		alice.Drop()
		for range 40 {
			n++
			tell(t, js, fmt.Sprint("e-", n), "alice")
		}
		d.Kill()
	}
}
