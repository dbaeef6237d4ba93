package fanout

import (
	"fmt"
	"slices"
	"strconv"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// names reads users or groups: a string, or a list of strings, where an integer counts as its decimal text. The result is
// sorted and without repeats: a map's keys come in another order each time, but a redelivered event must give the same Records.
func names(v ref.Val, check func(string) error) ([]string, error) {
	list, ok := v.(traits.Lister)
	if !ok {
		s, err := name(v, check)
		if err != nil {
			return nil, err
		}
		return []string{s}, nil
	}
	size, _ := list.Size().(types.Int)
	out := make([]string, 0, size)
	for i, it := 0, list.Iterator(); it.HasNext() == types.True; i++ {
		s, err := name(it.Next(), check)
		if err != nil {
			return nil, fmt.Errorf("item %d: %w", i, err)
		}
		out = append(out, s)
	}
	return canonical(out), nil
}

func name(v ref.Val, check func(string) error) (string, error) {
	var s string
	switch v := v.(type) {
	case types.String:
		s = string(v)
	case types.Int:
		s = strconv.FormatInt(int64(v), 10)
	case types.Uint:
		s = strconv.FormatUint(uint64(v), 10)
	default:
		return "", fmt.Errorf("got %s, want a string or an integer", v.Type().TypeName())
	}
	return s, check(s)
}

// canonical sorts list and drops repeats, in place.
func canonical(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}
