package gateway

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"tidings/fanout/wire"
)

// told is a Record as a naive model keeps it.
type told struct {
	seq   uint64
	r     wire.Record
	entry *entry
}

// wants tells, in the plainest way, whether a session of user in groups is to get it.
func (m *told) wants(user string, groups []string) bool {
	in := slices.Contains[[]string]
	for _, g := range groups {
		if in(m.r.ExceptGroups, g) {
			return false
		}
	}
	if in(m.r.ExceptUsers, user) {
		return false
	}
	switch m.r.Kind {
	case wire.Users:
		return in(m.r.Users, user)
	case wire.Group:
		return in(groups, m.r.Group)
	}
	return true
}

// record makes up a Record for some of a few users and groups.
func record(rnd *rand.Rand, size int) wire.Record {
	some := func(kind string, of, most int) (list []string) {
		for range rnd.IntN(most + 1) {
			list = append(list, fmt.Sprint(kind, rnd.IntN(of)))
		}
		return list
	}
	r := wire.Record{Kind: wire.Kind(1 + rnd.IntN(3)), Notification: []byte(`{"fill":"` + string(make([]byte, rnd.IntN(size))) + `"}`)}
	switch r.Kind {
	case wire.Users:
		r.Users = append(some("u", 8, 3), fmt.Sprint("u", rnd.IntN(8))) // some twice
	case wire.Group:
		r.Group = fmt.Sprint("g", rnd.IntN(4))
	}
	if rnd.IntN(3) == 0 {
		r.ExceptUsers, r.ExceptGroups = some("u", 8, 2), some("g", 4, 1)
	}
	return r
}

func parsed(t testing.TB, r *wire.Record) wire.View {
	t.Helper()
	raw, err := r.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	v, err := wire.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// The tail gives what a plain list of Records gives, whatever was dropped, left out, or put into a wrong recipient's chain
// because hashes are equal.
func TestTailAgainstModel(t *testing.T) {
	for seed := range uint64(30) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		base := rnd.Uint64N(1000)
		size := 1 + rnd.IntN(2000)
		tl := newTail(base, mark{base, 3}, 20_000+rnd.IntN(60_000))
		tl.sweep = 1 + rnd.IntN(30)
		collide := rnd.IntN(2) == 0
		var model []told
		newest := mark{base, 3}
		marks := map[uint64]mark{base: newest} // by sequence: the newest Record at or below
		head := base
		for range 600 {
			for holes := rnd.IntN(10) - 7; holes > 0; holes-- {
				head++
				marks[head] = newest
			}
			head++
			m := told{seq: head, r: record(rnd, size)}
			v := parsed(t, &m.r)
			m.entry = newEntry(wire.Cursor{Epoch: 1, Seq: head}, 1, int8(rnd.IntN(16)), &v)
			tl.add(m.entry, &v.Audience)
			if collide { // u0 to u3 share a chain, and g0 has u0's
				for _, key := range []string{"u0", "u1", "u2", "u3"} {
					tl.link(tl.hashString(saltUser, key), head)
				}
				tl.link(tl.hashString(saltGroup, "g0"), head)
				tl.shrink()
			}
			newest = mark{head, m.entry.part}
			marks[head] = newest
			model = append(model, m)
			if rnd.IntN(20) == 0 {
				head += 2
				tl.skip(head) // the end of the log may be a hole, too
				marks[head-1], marks[head] = newest, newest
			}
			checkTail(t, tl, model, head, marks[tl.base])
			for range 3 {
				checkMissed(t, tl, model, rnd)
			}
		}
		if tl.base == base {
			t.Errorf("seed %d: nothing was ever dropped", seed)
		}
	}
}

func checkTail(t *testing.T, tl *tail, model []told, head uint64, m mark) {
	t.Helper()
	switch {
	case tl.head != head:
		t.Fatalf("got head %d, want %d", tl.head, head)
	case uint64(tl.entries.len()) != tl.head-tl.base:
		t.Fatalf("%d entries for (%d, %d]", tl.entries.len(), tl.base, tl.head)
	case tl.bytes > tl.maxBytes && tl.entries.len() > 1:
		t.Fatalf("%d bytes in %d entries, at most %d are allowed", tl.bytes, tl.entries.len(), tl.maxBytes)
	case tl.mark != m:
		t.Fatalf("got mark %+v at base %d, want %+v", tl.mark, tl.base, m)
	}
	bytes := tl.links.len() * linkSize
	for pos := tl.entries.first; pos < tl.entries.end(); pos++ {
		if e := tl.entries.at(pos); e == nil {
			bytes += holeSize
		} else if bytes += e.size(); e.seq != tl.base+1+pos-tl.entries.first {
			t.Fatalf("entry %d stands in the place of %d", e.seq, tl.base+1+pos-tl.entries.first)
		}
	}
	if tl.bytes != bytes {
		t.Fatalf("counted %d bytes, there are %d", tl.bytes, bytes)
	}
	for tl.links.len() > 0 && tl.links.at(tl.links.first).seq <= tl.base {
		t.Fatal("a link to a Record that is dropped")
	}
}

func checkMissed(t *testing.T, tl *tail, model []told, rnd *rand.Rand) {
	t.Helper()
	user := fmt.Sprint("u", rnd.IntN(9)) // u8 gets what is for all
	var groups []string
	for g := range 4 {
		if rnd.IntN(3) == 0 {
			groups = append(groups, fmt.Sprint("g", g))
		}
	}
	after := tl.base + rnd.Uint64N(tl.head-tl.base+2)
	limit := 1 + rnd.IntN(40)
	got, upTo := tl.missed(user, groups, after, limit)
	var want []*entry
	for i := range model {
		if m := &model[i]; m.seq > after && m.seq <= upTo && m.wants(user, groups) {
			want = append(want, m.entry)
		}
	}
	if !slices.Equal(got, want) || len(got) > limit || upTo > tl.head || upTo <= after && upTo < tl.head {
		t.Fatalf("%s in %v after %d of (%d, %d], at most %d: got %v up to %d, want %v", user, groups, after, tl.base, tl.head, limit, seqs(got), upTo, seqs(want))
	}
}

func seqs(list []*entry) (l []uint64) {
	for _, e := range list {
		l = append(l, e.seq)
	}
	return l
}

// Recipients that have left the tail do not stay in its index.
func TestTailForgets(t *testing.T) {
	tl := newTail(0, mark{}, 100_000)
	for n := range uint64(200_000) {
		r := wire.Record{Kind: wire.Users, Users: []string{fmt.Sprint("user", n)}, Notification: []byte(`{}`)}
		v := parsed(t, &r)
		tl.add(newEntry(wire.Cursor{Seq: n + 1}, 1, 0, &v), &v.Audience)
	}
	if len(tl.newest) > 4096 || tl.links.len() > 2000 {
		t.Errorf("%d recipients in the index and %d links for %d entries", len(tl.newest), tl.links.len(), tl.entries.len())
	}
	if list, upTo := tl.missed("user199999", nil, tl.base, 10); len(list) != 1 || upTo != tl.head {
		t.Errorf("got %d entries up to %d for the newest recipient, want 1 and all", len(list), upTo)
	}
}

// A hole costs memory too: a log with a very large one does not fill it.
func TestTailHole(t *testing.T) {
	tl := newTail(0, mark{}, 100_000)
	r := wire.Record{Kind: wire.All, Notification: []byte(`{}`)}
	v := parsed(t, &r)
	for _, seq := range []uint64{1, 2, 2_000_000} {
		tl.add(newEntry(wire.Cursor{Seq: seq}, 1, 5, &v), &v.Audience)
	}
	if n := len(tl.entries.buf); n > 100_000/holeSize*2 {
		t.Errorf("%d places for one entry", n)
	}
	if tl.mark != (mark{2, 5}) || tl.head != 2_000_000 || tl.bytes > tl.maxBytes {
		t.Errorf("got mark %+v, (%d, %d], %d bytes", tl.mark, tl.base, tl.head, tl.bytes)
	}
}

// What the index costs, beside the Records themselves.
func TestTailMemory(t *testing.T) {
	const records, recipients = 5000, 20
	before := heap()
	tl := newTail(0, mark{}, 1<<40)
	r := wire.Record{Kind: wire.Users, Notification: []byte(`{}`)}
	v := make([]wire.View, 50)
	for i := range v {
		r.Users = nil
		for n := range recipients {
			r.Users = append(r.Users, fmt.Sprint("user", i*recipients+n))
		}
		v[i] = parsed(t, &r)
	}
	shared := newEntry(wire.Cursor{Seq: 1}, 1, 0, &v[0])
	for n := range uint64(records) {
		e := &entry{seq: n + 1, kind: shared.kind, stored: shared.stored, audience: shared.audience, frame: shared.frame}
		tl.add(e, &v[n%50].Audience)
	}
	perLink := float64(heap()-before-records*96) / (records * recipients) // 96: the copied entry
	if perLink > 40 {
		t.Errorf("%.1f bytes for a delivery, want at most 40", perLink)
	}
	t.Logf("%.1f bytes for a delivery, %d for 1000 recipients", perLink, len(tl.newest))
	runtime.KeepAlive(tl)
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A ring keeps positions, however often it grows and shrinks.
func TestRing(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var r ring[uint64]
	var first, end uint64
	grow := true
	for range 100_000 {
		if rnd.IntN(1000) == 0 {
			grow = !grow
		}
		if n := end - first; n == 0 || grow && rnd.IntN(3) > 0 {
			r.push(end * 7)
			end++
		} else {
			if got := r.pop(); got != first*7 {
				t.Fatalf("popped %d, want %d", got, first*7)
			}
			first++
		}
		if r.first != first || r.end() != end || r.len() != int(end-first) {
			t.Fatalf("got [%d, %d), want [%d, %d)", r.first, r.end(), first, end)
		}
		if end > first {
			if pos := first + rnd.Uint64N(end-first); r.at(pos) != pos*7 {
				t.Fatalf("got %d at %d", r.at(pos), pos)
			}
		}
		if len(r.buf) > 64 && r.len() < len(r.buf)/4-1 {
			t.Fatalf("%d places for %d elements", len(r.buf), r.len())
		}
	}
}

// A ring holds on to nothing that was taken out.
func TestRingDrops(t *testing.T) {
	var r ring[*int]
	r.push(new(int))
	r.pop()
	for _, p := range r.buf {
		if p != nil {
			t.Fatal("a popped element is still held")
		}
	}
}

// However much a session missed, each step is short, and together they are not more than what it missed.
func TestTailStepsAreBounded(t *testing.T) {
	const count, limit = 20_000, 64
	tl := newTail(0, mark{}, 1<<40)
	for n := range uint64(count) {
		r := wire.Record{Kind: wire.Users, Users: []string{"other"}, Notification: []byte(`{}`)}
		if n%4 == 0 {
			r = wire.Record{Kind: wire.All, Notification: []byte(`{}`)}
		}
		v := parsed(t, &r)
		tl.add(newEntry(wire.Cursor{Seq: n + 1}, 1, 0, &v), &v.Audience)
	}
	steps, got := 0, 0
	for at := uint64(0); at < tl.head; steps++ {
		list, upTo := tl.missed("alice", nil, at, limit)
		at, got = upTo, got+len(list)
	}
	if got != count/4 || steps > count/4/limit+count/(limit*recordsPerRecord)+linksPerRecord {
		t.Errorf("got %d Records in %d steps, want %d in about %d", got, steps, count/4, count/4/limit)
	}
}

// BenchmarkMissed is a step of catching up, of a session that missed many: what it costs under the shard's lock.
func BenchmarkMissed(b *testing.B) {
	for _, missed := range []int{10, 1000, 50_000} {
		b.Run(fmt.Sprint(missed), func(b *testing.B) {
			tl := newTail(0, mark{}, 1<<40)
			r := wire.Record{Kind: wire.All, Notification: []byte(`{}`)}
			v := parsed(b, &r)
			for n := range uint64(missed) {
				tl.add(newEntry(wire.Cursor{Seq: n + 1}, 1, 0, &v), &v.Audience)
			}
			b.ReportAllocs()
			for b.Loop() {
				tl.missed("alice", nil, 0, 64)
			}
		})
	}
}

// BenchmarkTailAdd is one Record for ten users.
func BenchmarkTailAdd(b *testing.B) {
	tl := newTail(0, mark{}, 256<<20)
	var views [1000]wire.View
	for i := range views {
		r := wire.Record{Kind: wire.Users, Notification: note(i)}
		for n := range 10 {
			r.Users = append(r.Users, fmt.Sprint("user", i*10+n))
		}
		views[i] = parsed(b, &r)
	}
	b.ReportAllocs()
	seq := uint64(0)
	for b.Loop() {
		seq++
		v := &views[seq%1000]
		tl.add(newEntry(wire.Cursor{Seq: seq}, 1, 0, v), &v.Audience)
	}
}
