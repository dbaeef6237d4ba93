package inquiry

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tidings/fanout/wire"
	"tidings/gateway/ask"
)

// Record is an entry of the log.
type Record struct {
	Shard    int       `json:"shard"`
	Sequence uint64    `json:"sequence"`
	Epoch    uint64    `json:"epoch"`
	Subject  string    `json:"subject"`
	Stored   time.Time `json:"stored"`
	Event    string    `json:"event"` // its id
	Kind     string    `json:"kind,omitempty"`
	Rule     string    `json:"rule,omitempty"`

	For          string   `json:"for"` // users, group or all
	Users        int      `json:"users,omitempty"`
	Names        []string `json:"names,omitempty"` // the first of them
	Group        string   `json:"group,omitempty"`
	ExceptGroups []string `json:"exceptGroups,omitempty"`

	// About the user who was asked about.
	Concerns string `json:"concerns,omitempty"`
}

// What a record has to do with a user.
const (
	listed     = "listed"
	everybody  = "everybody"
	ifInGroup  = "in the group" // it depends on the groups of the session
	notAtAll   = "not concerned"
	isExcepted = "excepted"
	elsewhere  = "another shard" // a copy for the users of another shard
)

const (
	maxRecords = 64
	maxShown   = 10 // names of users, in a report
)

// newRecord reads a message of the log.
func newRecord(shard, shards int, epoch uint64, m *jetstream.RawStreamMsg, user string) (Record, error) {
	r := Record{Shard: shard, Sequence: m.Sequence, Epoch: epoch, Subject: m.Subject, Stored: m.Time.UTC()}
	if parts := strings.Split(m.Header.Get(nats.MsgIdHdr), "."); len(parts) == 4 {
		r.Rule = parts[1]
	}
	v, err := wire.Parse(m.Data)
	if err != nil {
		return r, fmt.Errorf("record %d of %s: %w", m.Sequence, wire.Stream(shard), err)
	}
	r.Event, r.For, r.Users, r.Group = string(v.EventID), v.Kind.String(), v.Users.Len(), string(v.Group)
	for i, u := range v.Users.All() {
		if i == maxShown {
			break
		}
		r.Names = append(r.Names, string(u))
	}
	r.ExceptGroups = v.ExceptGroups.Strings()
	r.ExceptGroups = r.ExceptGroups[:min(len(r.ExceptGroups), ask.MaxNames)]
	var n struct {
		Kind string `json:"kind"`
	}
	if json.Unmarshal(v.Notification, &n) == nil {
		r.Kind = n.Kind
	}
	switch {
	case user == "":
	case v.Kind != wire.Users && wire.Shard(user, shards) != shard:
		r.Concerns = elsewhere
	default:
		r.Concerns = concerns(&v.Audience, user)
	}
	return r, nil
}

func concerns(a *wire.Audience, user string) string {
	switch {
	case a.ExceptUsers.Has(user):
		return isExcepted
	case a.Kind == wire.Users && a.Users.Has(user):
		return listed
	case a.Kind == wire.Users:
		return notAtAll
	case a.Kind == wire.Group:
		return ifInGroup
	}
	return everybody
}

// Log is what the log has of an event.
type Log struct {
	Records []Record `json:"records,omitempty"`
	More    int      `json:"more,omitempty"`   // records that were found and are not listed
	Walks   []Walk   `json:"walks,omitempty"`  // by shard
	Errors  []string `json:"errors,omitempty"` // what could not be read
	First   []uint64 `json:"-"`                // of each shard: the log begins there
	whole   bool     // every record that the rules make was found
}

// stopped tells why the log was not read as far as it goes; "" if it was.
func (l *Log) stopped() string {
	for _, w := range l.Walks {
		if w.Stopped != "" {
			return w.Stopped
		}
	}
	return ""
}

// records looks for the event's entries in the log: where and which the rules say, if that is known; everything that bears its id otherwise.
func (s *Search) records(ctx context.Context, id string, e *Event, rulings []Ruling, user string, b *budget) (l Log) {
	shards := s.shards(ctx)
	if shards == 0 {
		l.Errors = append(l.Errors, "the log does not exist, or cannot be read: the fanout role makes it; is it running?")
		return l
	}
	want, known := expected(rulings)
	found := 0
	for shard := range shards {
		var left map[string]bool
		if known {
			left = want[shard]
			if len(left) == 0 {
				continue
			}
		}
		n, err := s.shardRecords(ctx, shard, shards, id, e, left, user, b, &l)
		if err != nil {
			l.Errors = append(l.Errors, err.Error())
		}
		found += n
	}
	total := 0
	for _, ids := range want {
		total += len(ids)
	}
	l.whole = known && total > 0 && found >= total
	slices.SortStableFunc(l.Records, func(a, b Record) int { return a.Stored.Compare(b.Stored) })
	return l
}

// expected are the ids of the records that the rules make, by shard. They are known when all fanouts say the same, and all of it.
func expected(rulings []Ruling) (want map[int]map[string]bool, known bool) {
	if len(rulings) != 1 || rulings[0].Error != "" || rulings[0].More > 0 {
		return nil, false
	}
	want = map[int]map[string]bool{}
	for _, v := range rulings[0].Verdicts {
		if v.Outcome == ask.Failed {
			return nil, false // made by other rules than these, if at all
		}
		if v.MoreRecords > 0 {
			return nil, false
		}
		for _, r := range v.Records {
			if want[r.Shard] == nil {
				want[r.Shard] = map[string]bool{}
			}
			want[r.Shard][r.ID] = true
		}
	}
	return want, len(want) > 0 // none: perhaps other rules than those of now have made some
}

func (s *Search) shardRecords(ctx context.Context, shard, shards int, id string, e *Event, want map[string]bool, user string, b *budget, l *Log) (found int, err error) {
	stream, err := s.stream(ctx, wire.Stream(shard))
	if err != nil {
		return 0, err
	}
	info := stream.CachedInfo()
	epoch := wire.Epoch(info.Created, info.Config.Metadata)
	w := Walk{Stream: wire.Stream(shard)}
	defer func() { l.Walks = append(l.Walks, w) }()
	take := func(m *jetstream.RawStreamMsg) {
		r, bad := newRecord(shard, shards, epoch, m, user)
		if bad != nil {
			l.Errors = append(l.Errors, bad.Error())
			return
		}
		found++
		if len(l.Records) == maxRecords {
			l.More++
			return
		}
		l.Records = append(l.Records, r)
	}
	if e == nil || e.Key == "" { // its records are known by the id that they carry
		err = s.walkBack(ctx, span{stream: w.Stream}, b, &w, func(m *jetstream.RawStreamMsg) {
			if bears(m, id) {
				take(m)
			}
		}, func() bool { return found > 0 })
		return found, err
	}
	sp := span{stream: w.Stream, since: e.Stored.Add(-clocks), to: info.State.LastSeq, headers: true}
	var seen []uint64
	err = s.walk(ctx, sp, b, &w, func(m *jetstream.RawStreamMsg) bool {
		msgID := m.Header.Get(nats.MsgIdHdr)
		if strings.HasPrefix(msgID, e.Key+".") && len(seen) < 2*maxRecords {
			seen = append(seen, m.Sequence)
			delete(want, msgID)
		}
		return want == nil || len(want) > 0
	})
	if want != nil && len(want) == 0 {
		w.Stopped = ""
	}
	for _, seq := range seen {
		m, bad := s.get(ctx, w.Stream, seq)
		if bad != nil {
			return found, bad
		}
		if m != nil {
			take(m)
		}
	}
	return found, err
}

// bears tells whether a record is of the event with that id or key.
func bears(m *jetstream.RawStreamMsg, id string) bool {
	if key, _, ok := strings.Cut(m.Header.Get(nats.MsgIdHdr), "."); ok && key == id {
		return true
	}
	v, err := wire.Parse(m.Data)
	return err == nil && string(v.EventID) == id
}

// latest are the newest records of the log for a user, newest first.
func (s *Search) latest(ctx context.Context, user string, groups []string, most int, b *budget) (l Log, err error) {
	shards := s.shards(ctx)
	if shards == 0 {
		return l, fmt.Errorf("the log does not exist, or cannot be read: the fanout role makes it; is it running?")
	}
	shard := wire.Shard(user, shards)
	stream, err := s.stream(ctx, wire.Stream(shard))
	if err != nil {
		return l, err
	}
	info := stream.CachedInfo()
	epoch := wire.Epoch(info.Created, info.Config.Metadata)
	w := Walk{Stream: wire.Stream(shard)}
	sp := span{stream: w.Stream, subjects: []string{wire.Subject(shard, wire.Partition(user)), wire.MixedSubject(shard)}}
	var window []Record // of the walk at hand, oldest first
	err = s.walkBack(ctx, sp, b, &w, func(m *jetstream.RawStreamMsg) {
		v, bad := wire.Parse(m.Data)
		if bad != nil || !isFor(&v.Audience, user, groups) {
			return
		}
		if r, bad := newRecord(shard, shards, epoch, m, user); bad == nil {
			if len(window) == most {
				window = window[1:]
				l.More++
			}
			window = append(window, r)
		}
	}, func() bool {
		slices.Reverse(window)
		l.Records = append(l.Records, window...)
		window = nil
		return len(l.Records) >= most
	})
	l.Records = l.Records[:min(len(l.Records), most)]
	l.Walks = []Walk{w}
	return l, err
}

// isFor tells whether a session of the user in these groups gets it.
func isFor(a *wire.Audience, user string, groups []string) bool {
	switch {
	case a.Excepts(user, groups):
		return false
	case a.Kind == wire.Users:
		return a.Users.Has(user)
	case a.Kind == wire.Group:
		return slices.Contains(groups, string(a.Group))
	}
	return true
}
