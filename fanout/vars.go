package fanout

import (
	"fmt"
	"reflect"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"tidings/fanout/jsonvalue"
	"tidings/ingest"
)

// scope holds the variables of one event for all rules. The data is decoded when the first expression asks for it: rules that
// look only at the subject or the headers never pay for it. Owned by one goroutine.
type scope struct {
	event  *ingest.Event
	tokens []string // of the NATS subject

	decoded bool
	data    any
	err     error
}

func newScope(e *ingest.Event) *scope {
	return &scope{event: e, tokens: strings.Split(e.NATSSubject, ".")}
}

// ResolveName implements cel.Activation.
func (s *scope) ResolveName(name string) (any, bool) {
	switch name {
	case "event":
		return eventVar{s}, true
	case "subject":
		return s.event.NATSSubject, true
	case "tokens":
		return s.tokens, true
	}
	return nil, false
}

// Parent implements cel.Activation.
func (s *scope) Parent() cel.Activation { return nil }

func (s *scope) decode() (any, error) {
	if !s.decoded && len(s.event.Data) > 0 {
		s.data, s.err = jsonvalue.Decode(s.event.Data)
	}
	s.decoded = true
	return s.data, s.err
}

// eventVar is the variable event: a map whose "data" is decoded on demand.
type eventVar struct{ s *scope }

// attributes are the keys that every event has.
var attributes = [...]string{"id", "source", "type", "subject", "time", "datacontenttype", "data", "headers"}

// FindStringKey is what cel-go asks for event.name. An extension never hides an attribute.
func (v eventVar) FindStringKey(name string) (any, bool) {
	e := v.s.event
	switch name {
	case "id":
		return e.ID, true
	case "source":
		return e.Source, true
	case "type":
		return e.Type, true
	case "subject":
		return e.Subject, true
	case "time":
		return e.Time, true
	case "datacontenttype":
		return e.DataContentType, true
	case "data":
		data, err := v.s.decode()
		if err != nil {
			return types.NewErr("event.data: %v", err), true
		}
		return data, true
	case "headers":
		if e.Headers == nil {
			return map[string]string{}, true
		}
		return e.Headers, true
	}
	x, ok := e.Extensions[name]
	return x, ok
}

// Find implements traits.Mapper.
func (v eventVar) Find(key ref.Val) (ref.Val, bool) {
	name, ok := key.(types.String)
	if !ok {
		return nil, false
	}
	x, ok := v.FindStringKey(string(name))
	if !ok {
		return nil, false
	}
	return types.DefaultTypeAdapter.NativeToValue(x), true
}

// Get implements traits.Indexer.
func (v eventVar) Get(key ref.Val) ref.Val {
	if x, ok := v.Find(key); ok {
		return x
	}
	return types.NewErr("no such key: %v", key)
}

// Contains implements traits.Container.
func (v eventVar) Contains(key ref.Val) ref.Val {
	_, ok := v.Find(key)
	return types.Bool(ok)
}

// The rest of traits.Mapper treats the event as a whole, which few expressions do: they get a plain map.

func (v eventVar) Iterator() traits.Iterator        { return v.full().Iterator() }
func (v eventVar) Size() ref.Val                    { return v.full().Size() }
func (v eventVar) Equal(other ref.Val) ref.Val      { return v.full().Equal(other) }
func (v eventVar) ConvertToType(t ref.Type) ref.Val { return v.full().ConvertToType(t) }
func (v eventVar) Type() ref.Type                   { return types.MapType }
func (v eventVar) Value() any                       { return v.full().Value() }

func (v eventVar) ConvertToNative(t reflect.Type) (any, error) {
	return v.full().ConvertToNative(t)
}

func (v eventVar) String() string { return fmt.Sprintf("event %s", v.s.event.ID) }

func (v eventVar) full() traits.Mapper {
	m := make(map[string]any, len(attributes)+len(v.s.event.Extensions))
	for name, x := range v.s.event.Extensions {
		m[name] = x
	}
	for _, name := range attributes {
		m[name], _ = v.FindStringKey(name)
	}
	return types.NewStringInterfaceMap(types.DefaultTypeAdapter, m)
}
