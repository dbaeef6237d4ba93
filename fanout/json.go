package fanout

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// appendValue writes a CEL value as JSON: integers as integers, timestamps as RFC 3339, durations as "1.5s", bytes as base64,
// the keys of a map in order (so that a retry gives the same bytes).
func appendValue(dst []byte, v ref.Val) ([]byte, error) {
	switch v := v.(type) {
	case types.Null:
		return append(dst, "null"...), nil
	case types.Bool:
		return strconv.AppendBool(dst, bool(v)), nil
	case types.Int:
		return strconv.AppendInt(dst, int64(v), 10), nil
	case types.Uint:
		return strconv.AppendUint(dst, uint64(v), 10), nil
	case types.Double:
		return appendDouble(dst, float64(v))
	case types.String:
		return appendString(dst, string(v)), nil
	case types.Bytes:
		return appendString(dst, base64.StdEncoding.EncodeToString(v)), nil
	case types.Timestamp:
		return appendString(dst, v.UTC().Format(time.RFC3339Nano)), nil
	case types.Duration:
		return appendString(dst, strconv.FormatFloat(v.Seconds(), 'f', -1, 64)+"s"), nil
	case *types.Optional:
		if !v.HasValue() {
			return append(dst, "null"...), nil
		}
		return appendValue(dst, v.GetValue())
	case traits.Mapper:
		return appendMap(dst, v)
	case traits.Lister:
		return appendList(dst, v)
	}
	return dst, fmt.Errorf("a value of type %s has no JSON form", v.Type().TypeName())
}

func appendDouble(dst []byte, f float64) ([]byte, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return dst, fmt.Errorf("%v has no JSON form", f)
	}
	b, err := json.Marshal(f)
	return append(dst, b...), err
}

func appendList(dst []byte, l traits.Lister) (_ []byte, err error) {
	dst = append(dst, '[')
	for i, it := 0, l.Iterator(); it.HasNext() == types.True; i++ {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = appendValue(dst, it.Next()); err != nil {
			return dst, err
		}
	}
	return append(dst, ']'), nil
}

func appendMap(dst []byte, m traits.Mapper) (_ []byte, err error) {
	type entry struct {
		name string
		key  ref.Val
	}
	var entries []entry
	for it := m.Iterator(); it.HasNext() == types.True; {
		key := it.Next()
		name, ok := key.ConvertToType(types.StringType).(types.String)
		if !ok {
			return dst, fmt.Errorf("a map key of type %s has no JSON form", key.Type().TypeName())
		}
		entries = append(entries, entry{string(name), key})
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	dst = append(dst, '{')
	for i, e := range entries {
		if i > 0 {
			if e.name == entries[i-1].name {
				return dst, fmt.Errorf("two keys of a map have the text %q", e.name)
			}
			dst = append(dst, ',')
		}
		dst = append(appendString(dst, e.name), ':')
		if dst, err = appendValue(dst, m.Get(e.key)); err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), nil
}

const hexDigits = "0123456789abcdef"

// appendString quotes s (RFC 8259, section 7). It escapes what must be escaped and nothing for HTML's sake; bytes that are not
// UTF-8 become U+FFFD, since one such frame would end every connection it is sent on (RFC 6455, section 8.1).
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				dst = append(append(dst, s[start:i]...), "\ufffd"...)
				start = i + 1
			}
			i += n
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	return append(append(dst, s[start:]...), '"')
}

var errNotUTF8 = errors.New("the event's data is not UTF-8, which JSON must be (RFC 8259, section 8.1)")
