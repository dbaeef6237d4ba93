package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"time"
	"unicode/utf8"
)

// Limits of a Record. An audience of more users becomes several Records (chunks): one Record of 2,048 recipients of 17 B
// is 35 kB, so that a big event does not block its shard.
const (
	MaxUsers      = 2048
	MaxUserBytes  = 128
	MaxGroupBytes = 128
	MaxExcept     = 4096
)

const version = 1

// Kind says whom a Record is for.
type Kind byte

// The kinds of audience. Their numbers are stored; they never change meaning.
const (
	Users Kind = 1 // the listed users
	Group Kind = 2 // every session of one group, expanded at the gateways
	All   Kind = 3 // every session, expanded at the gateways
)

func (k Kind) String() string {
	switch k {
	case Users:
		return "users"
	case Group:
		return "group"
	case All:
		return "all"
	}
	return fmt.Sprintf("kind %d", byte(k))
}

// ErrRecord is wrapped by every error about the bytes or the fields of a Record.
var ErrRecord = errors.New("bad record")

// Record is one notification with its audience: one entry of the log.
type Record struct {
	Kind         Kind
	EventID      string    // the event's id, as the browser sees it
	Stored       time.Time // when NATS stored the event; nanoseconds
	Users        []string  // Kind Users: 1 to MaxUsers recipients
	Group        string    // Kind Group: its name
	ExceptUsers  []string  // these get nothing, whatever the kind
	ExceptGroups []string  // nor does any session that is in one of these groups
	Notification []byte    // a JSON object, the browser's frame without type and cursor
}

// Append encodes r behind dst:
//
//	byte    version, 1
//	byte    kind                                                     ┐
//	list    users       (kind users)    or   string group  (kind group)  │ the audience
//	list    except users                                             │
//	list    except groups                                            ┘
//	8 bytes stored, Unix nanoseconds, big endian
//	string  event id
//	rest    notification, a JSON object
//
// where a string is its length as a uvarint and its bytes, and a list its length as a uvarint and its strings.
func (r *Record) Append(dst []byte) ([]byte, error) {
	if err := r.check(); err != nil {
		return dst, err
	}
	dst = append(dst, version, byte(r.Kind))
	switch r.Kind {
	case Users:
		dst = appendList(dst, r.Users)
	case Group:
		dst = appendString(dst, r.Group)
	}
	dst = appendList(dst, r.ExceptUsers)
	dst = appendList(dst, r.ExceptGroups)
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.Stored.UnixNano()))
	dst = appendString(dst, r.EventID)
	return append(dst, r.Notification...), nil
}

func (r *Record) check() error {
	switch {
	case r.Kind < Users || r.Kind > All:
		return fmt.Errorf("%w: unknown %s", ErrRecord, r.Kind)
	case r.Kind == Users && (len(r.Users) == 0 || len(r.Users) > MaxUsers):
		return fmt.Errorf("%w: %d users, want 1 to %d", ErrRecord, len(r.Users), MaxUsers)
	case len(r.ExceptUsers) > MaxExcept || len(r.ExceptGroups) > MaxExcept:
		return fmt.Errorf("%w: more than %d exceptions", ErrRecord, MaxExcept)
	case len(r.Notification) < 2 || r.Notification[0] != '{':
		return fmt.Errorf("%w: the notification is not a JSON object", ErrRecord)
	}
	if r.Kind == Group {
		if err := CheckGroup(r.Group); err != nil {
			return err
		}
	}
	for _, list := range [][]string{r.Users, r.ExceptUsers} {
		for _, u := range list {
			if err := CheckUser(u); err != nil {
				return err
			}
		}
	}
	for _, g := range r.ExceptGroups {
		if err := CheckGroup(g); err != nil {
			return err
		}
	}
	return nil
}

// CheckUser tells whether id can be a user's: 1 to 128 bytes of UTF-8.
func CheckUser(id string) error { return checkName("user ID", id, MaxUserBytes) }

// CheckGroup tells whether name can be a group's: 1 to 128 bytes of UTF-8.
func CheckGroup(name string) error { return checkName("group name", name, MaxGroupBytes) }

func checkName(what, s string, most int) error {
	switch {
	case s == "":
		return fmt.Errorf("%w: empty %s", ErrRecord, what)
	case len(s) > most:
		return fmt.Errorf("%w: %s of %d bytes, at most %d are allowed", ErrRecord, what, len(s), most)
	case !utf8.ValidString(s):
		return fmt.Errorf("%w: %s %q is not UTF-8", ErrRecord, what, s)
	}
	return nil
}

// Audience says whom a Record is for. Like View it points into the bytes it was parsed from.
type Audience struct {
	Kind         Kind
	Users        List
	Group        []byte
	ExceptUsers  List
	ExceptGroups List
}

// Excepts tells whether a session of this user, in these groups, is to get nothing although it is in the audience.
func (a *Audience) Excepts(user string, groups []string) bool {
	if a.ExceptUsers.n == 0 && a.ExceptGroups.n == 0 {
		return false
	}
	if a.ExceptUsers.Has(user) {
		return true
	}
	for _, g := range groups {
		if a.ExceptGroups.Has(g) {
			return true
		}
	}
	return false
}

// View is a Record read in place: it points into the bytes it was parsed from and allocates nothing.
type View struct {
	Audience
	AudienceBytes []byte // what ParseAudience reads again
	Stored        int64  // Unix nanoseconds
	EventID       []byte
	Notification  []byte
}

// Parse checks b whole, and returns a view into it. Errors wrap ErrRecord.
func Parse(b []byte) (View, error) {
	if len(b) == 0 {
		return View{}, fmt.Errorf("%w: no bytes", ErrRecord)
	}
	if b[0] != version {
		return View{}, fmt.Errorf("%w: version %d, this program reads %d", ErrRecord, b[0], version)
	}
	b = b[1:]
	var v View
	rest, err := v.Audience.parse(b)
	if err != nil {
		return View{}, err
	}
	v.AudienceBytes = b[:len(b)-len(rest)]
	if len(rest) < 8 {
		return View{}, fmt.Errorf("%w: cut short", ErrRecord)
	}
	v.Stored = int64(binary.BigEndian.Uint64(rest))
	var ok bool
	if v.EventID, rest, ok = cutString(rest[8:]); !ok {
		return View{}, fmt.Errorf("%w: event id cut short", ErrRecord)
	}
	if len(rest) < 2 || rest[0] != '{' {
		return View{}, fmt.Errorf("%w: the notification is not a JSON object", ErrRecord)
	}
	v.Notification = rest
	return v, nil
}

// ParseAudience reads a View's AudienceBytes. Errors wrap ErrRecord.
func ParseAudience(b []byte) (Audience, error) {
	var a Audience
	rest, err := a.parse(b)
	if err == nil && len(rest) != 0 {
		err = fmt.Errorf("%w: %d bytes behind the audience", ErrRecord, len(rest))
	}
	return a, err
}

func (a *Audience) parse(b []byte) (rest []byte, err error) {
	if len(b) == 0 {
		return b, fmt.Errorf("%w: cut short", ErrRecord)
	}
	a.Kind, b = Kind(b[0]), b[1:]
	var ok bool
	switch a.Kind {
	case Users:
		if a.Users, b, ok = cutList(b, MaxUsers, MaxUserBytes); !ok || a.Users.n == 0 {
			return b, fmt.Errorf("%w: list of users", ErrRecord)
		}
	case Group:
		if a.Group, b, ok = cutString(b); !ok || len(a.Group) == 0 || len(a.Group) > MaxGroupBytes || !utf8.Valid(a.Group) {
			return b, fmt.Errorf("%w: group", ErrRecord)
		}
	case All:
	default:
		return b, fmt.Errorf("%w: unknown %s", ErrRecord, a.Kind)
	}
	if a.ExceptUsers, b, ok = cutList(b, MaxExcept, MaxUserBytes); !ok {
		return b, fmt.Errorf("%w: list of excepted users", ErrRecord)
	}
	if a.ExceptGroups, b, ok = cutList(b, MaxExcept, MaxGroupBytes); !ok {
		return b, fmt.Errorf("%w: list of excepted groups", ErrRecord)
	}
	return b, nil
}

// Record copies the view out.
func (v View) Record() Record {
	return Record{
		Kind:         v.Kind,
		EventID:      string(v.EventID),
		Stored:       time.Unix(0, v.Stored).UTC(),
		Users:        v.Users.Strings(),
		Group:        string(v.Group),
		ExceptUsers:  v.ExceptUsers.Strings(),
		ExceptGroups: v.ExceptGroups.Strings(),
		Notification: append([]byte(nil), v.Notification...),
	}
}

// List is a list of strings within a parsed Record.
type List struct {
	b []byte
	n int
}

// Len is the number of strings.
func (l List) Len() int { return l.n }

// All yields each string's position and bytes, in order. The bytes belong to the Record.
func (l List) All() iter.Seq2[int, []byte] {
	return func(yield func(int, []byte) bool) {
		b := l.b
		for i := range l.n {
			var s []byte
			s, b, _ = cutString(b)
			if !yield(i, s) {
				return
			}
		}
	}
}

// At returns string i. It walks there: 2,048 recipients take about 4 µs.
func (l List) At(i int) []byte {
	for j, s := range l.All() {
		if j == i {
			return s
		}
	}
	return nil
}

// Has tells whether s is in the list.
func (l List) Has(s string) bool {
	if l.n == 0 {
		return false
	}
	for _, b := range l.All() {
		if string(b) == s {
			return true
		}
	}
	return false
}

// Strings copies the list out; nil when it is empty.
func (l List) Strings() []string {
	if l.n == 0 {
		return nil
	}
	out := make([]string, 0, l.n)
	for _, s := range l.All() {
		out = append(out, string(s))
	}
	return out
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendList(dst []byte, list []string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(list)))
	for _, s := range list {
		dst = appendString(dst, s)
	}
	return dst
}

func cutString(b []byte) (s, rest []byte, ok bool) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)-w) {
		return nil, b, false
	}
	return b[w : w+int(n)], b[w+int(n):], true
}

func cutList(b []byte, most, mostBytes int) (l List, rest []byte, ok bool) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(most) {
		return List{}, b, false
	}
	start := b[w:]
	rest = start
	for range n {
		var s []byte
		if s, rest, ok = cutString(rest); !ok || len(s) == 0 || len(s) > mostBytes || !utf8.Valid(s) {
			return List{}, b, false
		}
	}
	return List{start[:len(start)-len(rest)], int(n)}, rest, true
}
