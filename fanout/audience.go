package fanout

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"tidings/fanout/jsonvalue"
	"tidings/fanout/wire"
	"tidings/ingest"
)

// Audience is whom a Notification is for. Its lists are sorted and without repeats.
type Audience struct {
	Users        []string
	Groups       []string
	All          bool
	ExceptUsers  []string // these get nothing, in whatever group they are
	ExceptGroups []string // nor do the members of these
}

// Empty tells that a reaches nobody.
func (a *Audience) Empty() bool { return !a.All && len(a.Users) == 0 && len(a.Groups) == 0 }

// subtract takes the excepted users and groups out of the lists.
func (a *Audience) subtract() {
	a.Users = without(a.Users, a.ExceptUsers)
	a.Groups = without(a.Groups, a.ExceptGroups)
}

// without removes from list, in place, what sorted contains.
func without(list, sorted []string) []string {
	if len(sorted) == 0 {
		return list
	}
	return slices.DeleteFunc(list, func(s string) bool {
		_, found := slices.BinarySearch(sorted, s)
		return found
	})
}

// DefaultRule stands in place of a rule's name where there is no rules file: in ids, and in errors.
const DefaultRule = "default"

// defaultNotification lets the event name its users: the header notify-users, else the CloudEvents extension notifyusers,
// else the fields userId and userIds of its data.
func defaultNotification(s *scope) (Notification, error) {
	n := Notification{Rule: DefaultRule, Kind: s.event.Type}
	var err error
	if n.Audience.Users, err = namedUsers(s); err != nil || n.Audience.Empty() {
		return n, err
	}
	n.Data, err = eventData(DefaultRule, s.event)
	return n, err
}

func namedUsers(s *scope) ([]string, error) {
	if h, ok := s.event.Headers["notify-users"]; ok {
		return headerUsers("notify-users", h)
	}
	if x, ok := s.event.Extensions["notifyusers"]; ok {
		return headerUsers("notifyusers", x)
	}
	data, err := s.decode()
	if err != nil {
		return nil, defaultError("data", "", err)
	}
	fields, _ := data.(map[string]any) // anything else names nobody
	var users []string
	for _, field := range []string{"userId", "userIds"} {
		if fields[field] == nil {
			continue
		}
		list, err := names(types.DefaultTypeAdapter.NativeToValue(fields[field]), wire.CheckUser)
		if err != nil {
			return nil, defaultError("data."+field, "", err)
		}
		users = append(users, list...)
	}
	return canonical(users), nil
}

func headerUsers(field, value string) ([]string, error) {
	users, err := parseUsers(value)
	if err != nil {
		return nil, defaultError(field, value, err)
	}
	return users, nil
}

func defaultError(field, text string, err error) error {
	return &EvalError{Rule: DefaultRule, Field: field, Expression: text, Err: err}
}

// parseUsers reads the value of notify-users: user IDs with commas between them, each percent-encoded as far as it must be
// (comma, percent sign, space at an end); or a JSON array of strings and integers, when it begins with "[". Empty items
// between commas are skipped, as in HTTP's lists (RFC 9110, section 5.6.1).
func parseUsers(value string) ([]string, error) {
	value = strings.TrimSpace(value)
	if strings.HasPrefix(value, "[") {
		return parseUserArray(value)
	}
	var users []string
	for item := range strings.SplitSeq(value, ",") {
		item = strings.Trim(item, " \t")
		if item == "" {
			continue
		}
		user, err := url.PathUnescape(item)
		if err != nil {
			return nil, fmt.Errorf("user ID %.200q is not percent-encoded: %w", item, err)
		}
		if err := wire.CheckUser(user); err != nil {
			return nil, err
		}
		users = append(users, user)
	}
	return canonical(users), nil
}

func parseUserArray(value string) ([]string, error) {
	v, err := jsonvalue.Decode([]byte(value))
	if err != nil {
		return nil, fmt.Errorf("it begins with \"[\" but is not a JSON array: %w", err)
	}
	return names(types.DefaultTypeAdapter.NativeToValue(v), wire.CheckUser)
}

// eventData is the event's data as it came, "null" where it has none.
func eventData(rule string, e *ingest.Event) ([]byte, error) {
	if len(e.Data) == 0 {
		return []byte("null"), nil
	}
	if !utf8.Valid(e.Data) {
		return nil, &EvalError{Rule: rule, Field: "data", Err: errNotUTF8}
	}
	return e.Data, nil
}

func describe(v ref.Val) string {
	if s, ok := v.(types.String); ok {
		return fmt.Sprintf("the string %q", string(s))
	}
	return v.Type().TypeName()
}
