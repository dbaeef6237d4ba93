package gateway

import (
	"cmp"
	"hash/maphash"
	"slices"
	"sync/atomic"

	"tidings/fanout/wire"
)

// entry is one Record in the tail: what is sent, and whom it is for. It is shared by everybody and never modified, but for the forms
// that are made of it when they are needed.
type entry struct {
	seq      uint64
	shard    *shard    // where it is delivered live; a scan's entries have none
	life     uint32    // of the shard when the Record arrived
	kind     wire.Kind // 0: no Record, but word that positions of before this life are lost
	part     int8      // user partition of its subject; mixed for all others
	label    uint8     // of its kind, for the metrics
	traced   bool      // its delivery becomes a span
	stored   int64     // Unix nanoseconds
	audience []byte    // wire.ParseAudience
	frame    []byte    // the WebSocket frame, ready to write

	event    atomic.Pointer[made] // the same for event streams
	deflated atomic.Pointer[made] // the frame, compressed
}

// mixed stands for the subject log.<s>.m where a partition's number would.
const mixed int8 = -1

// size is what an entry costs in memory, near enough to bound it.
func (e *entry) size() int { return len(e.audience) + len(e.frame) + 96 }

// tail is the newest part of a shard's log, (base, head], indexed by recipient. It is a cache: the log is the truth.
//
// A link is one delivery. Links stand in a ring in the order of their Records, and each names the link before it of the same
// recipient; so a recipient's deliveries are found from the newest backwards, and dropping the oldest Record is
// dropping the oldest links. A link costs 16 B and a recipient one map entry, without a pointer for the collector to follow.
type tail struct {
	maxBytes int

	base, head uint64 // sequences; entries cover (base, head]
	mark       mark   // the newest Record known at or below base

	entries ring[*entry] // by sequence; a hole in the log is nil
	links   ring[link]   // by position
	bytes   int
	extra   *atomic.Int64 // bytes of forms that were made of the entries

	seed   maphash.Seed
	mask   uint64            // of the hashes: all bits, but where a test wants them to collide
	newest map[uint64]uint64 // recipient's hash → position of its newest link, + 1
	sweep  int               // size of newest at which stale entries are looked for
}

// mark is a Record known by its place only. Whoever reads the log for what is older than the tail has read far enough when
// it has seen the mark.
type mark struct {
	seq  uint64
	part int8
}

type link struct {
	seq  uint64 // of the entry
	prev uint64 // position + 1 of the same recipient's link before this one; 0: none
}

func newTail(base uint64, m mark, maxBytes int) *tail {
	return &tail{
		maxBytes: maxBytes, base: base, head: base, mark: m, extra: new(atomic.Int64),
		seed: maphash.MakeSeed(), mask: ^uint64(0), newest: map[uint64]uint64{}, sweep: 1024,
	}
}

// Bytes of a link, and of a place that no Record fills.
const (
	linkSize = 16
	holeSize = 8
)

// add appends the Record behind head. A sequence further on leaves holes: Records that the log does not have.
func (t *tail) add(e *entry, a *wire.Audience) {
	t.skip(e.seq - 1)
	t.head = e.seq
	t.entries.push(e)
	t.bytes += e.size()
	switch a.Kind {
	case wire.Users:
		for _, u := range a.Users.All() {
			t.link(t.hash(saltUser, u), e.seq)
		}
	case wire.Group:
		t.link(t.hash(saltGroup, a.Group), e.seq)
	case wire.All:
		t.link(t.hash(saltAll, nil), e.seq)
	}
	t.shrink()
	if len(t.newest) > t.sweep {
		t.forget()
	}
}

// skip goes on to seq: there are no Records for anyone between.
func (t *tail) skip(seq uint64) {
	for t.head < seq {
		t.head++
		t.entries.push(nil)
		t.bytes += holeSize
		t.shrink()
	}
}

// shrink drops the oldest until what is left fits. The newest stays, however large.
func (t *tail) shrink() {
	for t.bytes+int(t.extra.Load()) > t.maxBytes && t.entries.len() > 1 {
		t.dropOldest()
	}
}

func (t *tail) link(key, seq uint64) {
	t.links.push(link{seq, t.newest[key]})
	t.newest[key] = t.links.end()
	t.bytes += linkSize
}

func (t *tail) dropOldest() {
	e := t.entries.pop()
	t.base++
	for t.links.len() > 0 && t.links.at(t.links.first).seq <= t.base {
		t.links.pop()
		t.bytes -= linkSize
	}
	if e == nil {
		t.bytes -= holeSize
		return
	}
	t.bytes -= e.size()
	t.extra.Add(-e.leave())
	t.mark = mark{e.seq, e.part}
}

// leave is the end of a tail that nobody has any more: what its entries are made into from now on is not counted, since nothing would
// take it away again.
func (t *tail) leave() {
	for t.entries.len() > 0 {
		if e := t.entries.pop(); e != nil {
			t.extra.Add(-e.leave())
		}
	}
}

// forget drops recipients whose newest delivery has left the tail, when so many came that it is worth the walk.
func (t *tail) forget() {
	for k, pos := range t.newest {
		if pos <= t.links.first {
			delete(t.newest, k)
		}
	}
	t.sweep = max(1024, 2*len(t.newest))
}

// A step of catching up looks at so many links, and if those are not all, at so many Records, for each one that it may give:
// its time under the shard's lock is bounded, and catching up with n Records takes time in proportion to n. Without that
// bound, each step walked over all that was missed: 4 ms for 50,000 Records, 780 times.
const (
	linksPerRecord   = 16
	recordsPerRecord = 64
)

// missed gives Records for a session, oldest first: all of those in (after, upTo], at most limit. upTo is head when nothing else
// is missing. after must not be below base.
func (t *tail) missed(user string, groups []string, after uint64, limit int) (list []*entry, upTo uint64) {
	steps := linksPerRecord * limit
	list, steps = t.chain(list, t.hashString(saltUser, user), user, groups, after, steps)
	list, steps = t.chain(list, t.hash(saltAll, nil), user, groups, after, steps)
	for _, g := range groups {
		list, steps = t.chain(list, t.hashString(saltGroup, g), user, groups, after, steps)
	}
	if steps == 0 {
		return t.walk(list[:0], user, groups, after, limit)
	}
	slices.SortFunc(list, func(a, b *entry) int { return cmp.Compare(a.seq, b.seq) })
	list = slices.Compact(list)
	if len(list) > limit {
		return list[:limit:limit], list[limit-1].seq
	}
	return list, t.head
}

// chain walks one recipient's links back to after, and gives how many of the steps are left; 0 says that they did not suffice.
// Hashes can collide, so the audience itself decides.
func (t *tail) chain(list []*entry, key uint64, user string, groups []string, after uint64, steps int) ([]*entry, int) {
	for pos := t.newest[key]; pos > t.links.first; steps-- {
		l := t.links.at(pos - 1)
		if l.seq <= after {
			break
		}
		if steps == 0 {
			return list, 0
		}
		if e := t.at(l.seq); wants(e, user, groups) {
			list = append(list, e)
		}
		pos = l.prev
	}
	return list, steps
}

// walk looks at one Record after the other, from after on: for a session that missed many it is the shorter way.
func (t *tail) walk(list []*entry, user string, groups []string, after uint64, limit int) ([]*entry, uint64) {
	end := min(t.head, after+uint64(recordsPerRecord*limit))
	for seq := after + 1; seq <= end; seq++ {
		if e := t.at(seq); e != nil && wants(e, user, groups) {
			if list = append(list, e); len(list) == limit {
				return list, seq
			}
		}
	}
	return list, end
}

// at is the Record with a sequence in (base, head]; nil where the log has none.
func (t *tail) at(seq uint64) *entry { return t.entries.at(t.entries.first + (seq - t.base - 1)) }

// wants tells whether a session is in the entry's audience: as a listed user, as a member of the named group, or as anyone.
func wants(e *entry, user string, groups []string) bool {
	a, err := wire.ParseAudience(e.audience)
	if err != nil {
		return false // cannot be: it was parsed when it arrived
	}
	switch a.Kind {
	case wire.Users:
		if !a.Users.Has(user) {
			return false
		}
	case wire.Group:
		if !slices.ContainsFunc(groups, func(g string) bool { return g == string(a.Group) }) {
			return false
		}
	}
	return !a.Excepts(user, groups)
}

// Hashes of users, of groups and of everybody are kept apart: a group may be named like a user.
const (
	saltUser  uint64 = 0
	saltGroup uint64 = 0x9e3779b97f4a7c15
	saltAll   uint64 = 0xc2b2ae3d27d4eb4f
)

func (t *tail) hash(salt uint64, name []byte) uint64 {
	return (maphash.Bytes(t.seed, name) ^ salt) & t.mask
}

func (t *tail) hashString(salt uint64, name string) uint64 {
	return (maphash.String(t.seed, name) ^ salt) & t.mask
}

// ring is a queue whose elements keep their position: the first ever pushed has position 0. Its storage grows to the largest
// size it had and shrinks when three quarters are free.
type ring[T any] struct {
	buf   []T // a power of two long
	first uint64
	n     int
}

func (r *ring[T]) len() int        { return r.n }
func (r *ring[T]) end() uint64     { return r.first + uint64(r.n) }
func (r *ring[T]) at(pos uint64) T { return r.buf[pos&uint64(len(r.buf)-1)] }

func (r *ring[T]) push(v T) {
	if r.n == len(r.buf) {
		r.resize(max(64, 2*r.n))
	}
	r.buf[r.end()&uint64(len(r.buf)-1)] = v
	r.n++
}

func (r *ring[T]) pop() (v T) {
	i := r.first & uint64(len(r.buf)-1)
	v, r.buf[i] = r.buf[i], v
	r.first++
	r.n--
	if len(r.buf) > 64 && r.n < len(r.buf)/4 {
		r.resize(len(r.buf) / 2)
	}
	return v
}

func (r *ring[T]) resize(size int) {
	buf := make([]T, size)
	for pos := r.first; pos < r.end(); pos++ {
		buf[pos&uint64(size-1)] = r.at(pos)
	}
	r.buf = buf
}
