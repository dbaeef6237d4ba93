package fanout

import (
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// CostLimit bounds one evaluation, in CEL's units: about one per operation, per four elements of a list that is searched, and
// per ten bytes of a string. It is 100 units for each of 100,000 members, where event.data.members.filter(m, m.active).map(m, m.id)
// takes 29; and about a second of one core.
const CostLimit = 10_000_000

// dynCost prices calls whose argument types are known only at run time, as all of event.data are. CEL itself takes them for one
// unit each: "i in event.data.ids" within a filter over 100,000 IDs would pass the limit and take minutes.
type dynCost struct{}

// CallCost implements cost.ActualCostEstimator; nil leaves the price to CEL.
func (dynCost) CallCost(function, overload string, args []ref.Val, result ref.Val) *uint64 {
	if overload != "" {
		return nil
	}
	cost := uint64(1)
	for _, arg := range args {
		cost += bytesCost(arg)
		if scans(function) {
			cost += elements(arg) / 4 // 28 ns each, where other units take 85 ns
		}
	}
	if function == overloads.Matches && len(args) == 2 {
		cost *= 1 + bytesCost(args[1])
	}
	return &cost
}

// scans tells which functions walk over lists and maps; the others pick one element or none.
func scans(function string) bool {
	switch function {
	case operators.In, operators.Equals, operators.NotEquals, "flatten", "slice", "join", "format":
		return true
	}
	return false
}

func bytesCost(v ref.Val) uint64 {
	switch v := v.(type) {
	case types.String:
		return uint64(len(v)) / 10
	case types.Bytes:
		return uint64(len(v)) / 10
	}
	return 0
}

func elements(v ref.Val) uint64 {
	if _, text := v.(types.String); text {
		return 0
	}
	if s, ok := v.(traits.Sizer); ok {
		if n, ok := s.Size().(types.Int); ok {
			return uint64(n)
		}
	}
	return 0
}
