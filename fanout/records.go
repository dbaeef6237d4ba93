package fanout

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"

	"tidings/fanout/wire"
	"tidings/ingest"
)

// Entry is one Record on its way into the log.
type Entry struct {
	Shard   int
	Subject string
	MsgID   string // the same on every attempt: NATS stores it once within the duplicate window
	Kind    wire.Kind
	Body    []byte

	TraceParent string // of the span that stores it; "": it is not traced
}

// headerRoom is what a message takes of max_payload besides the Record: its headers. An id has at most 140 bytes, a traceparent 55.
const headerRoom = 512

// recordMaker turns a Notification into Records. A session gets at most one of them:
//
//   - all: one Record, which makes users and groups redundant
//   - a session in several of the groups gets the first one's: each Record excepts the groups before its own
//   - a listed user's session in one of the groups gets the group's: the Records of users except all groups
type recordMaker struct {
	shards  int
	most    int // bytes of a message, with its headers
	event   *ingest.Event
	n       *Notification
	body    []byte // the notification as browsers see it
	entries []Entry
}

// records makes the entries for n. Errors are *EvalError: the Records do not fit into most bytes each.
func records(e *ingest.Event, n *Notification, shards, most int) ([]Entry, error) {
	m := &recordMaker{shards: shards, most: most - headerRoom, event: e, n: n, body: n.encode(e)}
	a := &n.Audience
	if a.All {
		err := m.perShard("a", wire.Record{Kind: wire.All, ExceptGroups: a.ExceptGroups})
		return m.entries, err
	}
	if err := m.users(); err != nil {
		return nil, err
	}
	for i, g := range a.Groups {
		except := canonical(slices.Concat(a.Groups[:i], a.ExceptGroups))
		if err := m.perShard("g"+groupHash(g), wire.Record{Kind: wire.Group, Group: g, ExceptGroups: except}); err != nil {
			return nil, err
		}
	}
	return m.entries, nil
}

// groupHash stands for a group in an id, where its name might be too long or not ASCII. 80 bits of SHA-256: two groups of one
// event with the same hash would be one Record short.
func groupHash(group string) string {
	h := sha256.Sum256([]byte(group))
	return hex.EncodeToString(h[:10])
}

// perShard stores r once in every shard, with those excepted users that live there.
func (m *recordMaker) perShard(chunk string, r wire.Record) error {
	except := make([][]string, m.shards)
	for _, u := range m.n.Audience.ExceptUsers {
		s := wire.Shard(u, m.shards)
		except[s] = append(except[s], u)
	}
	for s := range m.shards {
		r.ExceptUsers = except[s]
		if err := m.add(s, wire.MixedSubject(s), chunk, r); err != nil {
			return err
		}
	}
	return nil
}

// recipient is a user and where its Records go.
type recipient struct {
	shard, partition int
	user             string
}

// users splits the listed users over shards and chunks. They are ordered by partition, so that most chunks of a big audience
// lie in one, and a resume of a user in another partition need not read them.
func (m *recordMaker) users() error {
	rs := make([]recipient, len(m.n.Audience.Users))
	for i, u := range m.n.Audience.Users {
		rs[i] = recipient{wire.Shard(u, m.shards), wire.Partition(u), u}
	}
	slices.SortFunc(rs, func(a, b recipient) int {
		return cmp.Or(cmp.Compare(a.shard, b.shard), cmp.Compare(a.partition, b.partition), cmp.Compare(a.user, b.user))
	})
	except := canonical(slices.Concat(m.n.Audience.Groups, m.n.Audience.ExceptGroups))
	room := m.most - len(m.body) - len(m.event.ID) - listBytes(except) - 64
	chunks := make([]int, m.shards)
	for len(rs) > 0 {
		n := chunkLen(rs, room)
		if n == 0 {
			return m.tooBig(len(m.body))
		}
		shard := rs[0].shard
		if err := m.chunk(rs[:n], chunks[shard], except); err != nil {
			return err
		}
		chunks[shard]++
		rs = rs[n:]
	}
	return nil
}

// chunkLen is how many of rs go into one Record: of one shard, at most wire.MaxUsers, in at most room bytes.
func chunkLen(rs []recipient, room int) int {
	for i, r := range rs {
		room -= len(r.user) + 2
		if i == wire.MaxUsers || r.shard != rs[0].shard || room < 0 {
			return i
		}
	}
	return len(rs)
}

func (m *recordMaker) chunk(rs []recipient, chunk int, except []string) error {
	first, last := rs[0], rs[len(rs)-1]
	users := make([]string, len(rs))
	for i, r := range rs {
		users[i] = r.user
	}
	subject := wire.MixedSubject(first.shard)
	if first.partition == last.partition {
		subject = wire.Subject(first.shard, first.partition)
	}
	return m.add(first.shard, subject, strconv.Itoa(chunk), wire.Record{Kind: wire.Users, Users: users, ExceptGroups: except})
}

func (m *recordMaker) add(shard int, subject, chunk string, r wire.Record) error {
	r.EventID, r.Stored, r.Notification = m.event.ID, m.event.Stored, m.body
	size := len(m.body) + len(m.event.ID) + listBytes(r.Users) + listBytes(r.ExceptUsers) + listBytes(r.ExceptGroups) + 256
	b, err := r.Append(make([]byte, 0, size))
	if err != nil {
		return m.fail(err)
	}
	if len(b) > m.most {
		return m.tooBig(len(b))
	}
	id := m.event.Key + "." + m.n.Rule + "." + strconv.Itoa(shard) + "." + chunk
	m.entries = append(m.entries, Entry{Shard: shard, Subject: subject, MsgID: id, Kind: r.Kind, Body: b})
	return nil
}

func (m *recordMaker) tooBig(size int) error {
	return m.fail(fmt.Errorf("a notification of %d bytes does not fit with its audience into a message of NATS, at most %d bytes (max_payload %d): "+
		"let the rule's data say less, or raise max_payload on the servers", size, m.most, m.most+headerRoom))
}

func (m *recordMaker) fail(err error) error {
	return &EvalError{Rule: m.n.Rule, Field: "data", Err: err}
}

// listBytes is at least what a list takes in a Record.
func listBytes(list []string) int {
	n := 3
	for _, s := range list {
		n += len(s) + 2
	}
	return n
}
