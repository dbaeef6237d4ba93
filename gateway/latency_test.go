package gateway

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"tidings/fanout/wire"
)

func newLatency(most int) (*latency, *prometheus.Registry) {
	reg := prometheus.NewRegistry()
	l := &latency{most: most}
	l.register(promauto.With(reg))
	return l, reg
}

func ofKind(kind string) []byte {
	k, err := json.Marshal(kind)
	if err != nil {
		panic(err)
	}
	return fmt.Appendf(nil, `{"id":"a\"b\\","kind":%s,"time":"2026-01-02T15:04:05.678Z","data":{"kind":"no"}}`, k)
}

func TestKindOf(t *testing.T) {
	for _, tt := range []struct{ notification, want string }{
		{string(ofKind("order.shipped")), "order.shipped"},
		{string(ofKind(`a"b\`)), `a\"b\\`},
		{string(ofKind("小")), "小"},
		{`{"id":"","kind":"k"}`, "k"},
		{`{"id":"1","kind":""}`, ""},
		{`{"id":"1","kind":"cut`, ""},
		{`{"id":"1","kind":"cut\`, ""},
		{`{"id":"1`, ""},
		{`{"id":1,"kind":"k"}`, ""},
		{`{"kind":"k","id":"1"}`, ""},
		{`{}`, ""},
		{``, ""},
	} {
		if got := string(kindOf([]byte(tt.notification))); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.notification, got, tt.want)
		}
	}
}

// However many kinds there are, the metric has so many and one more.
func TestKindsAreBounded(t *testing.T) {
	const most = 3
	l, reg := newLatency(most)
	for i, tt := range []struct {
		kind string
		want uint8
	}{
		{"order.shipped", 1}, {"orders.1042.shipped", 2}, {"orders.1043.shipped", 2}, {"order.shipped", 1}, {"other", 0},
		{"v1.orders.7a", 3}, {"one.more", 0}, {"orders.9.shipped", 2}, {strings.Repeat("x", 101), 0}, {"v1.orders.7a", 3}, {"", 0},
	} {
		n := l.number(ofKind(tt.kind))
		if n != tt.want {
			t.Errorf("%d: kind %q has number %d, want %d", i, tt.kind, n, tt.want)
		}
		l.of[n].Observe(1)
	}
	if got, err := testutil.GatherAndCount(reg, "tidings_delivery_seconds"); err != nil || got != most+1 {
		t.Errorf("there are %d series, %v, want %d", got, err, most+1)
	}
	if got := label([]byte(`orders.1042.a\u0042`)); got != "orders.*.aB" {
		t.Errorf("got the label %q", got)
	}
}

func TestKindsAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates, too")
	}
	l, _ := newLatency(10)
	n := ofKind("order.shipped")
	if got := testing.AllocsPerRun(100, func() { l.number(n) }); got != 0 {
		t.Errorf("a known kind takes %v allocations, want 0", got)
	}
}

// A clock that is behind that of NATS makes no negative times.
func TestClockSkew(t *testing.T) {
	b := newBench(t, nil)
	s, _ := b.session("alice")
	b.seq++
	in := b.incoming(b.seq, wire.Record{Kind: wire.Users, Users: []string{"alice"}, Notification: note(1)})
	e := newEntry(wire.Cursor{Epoch: 1, Seq: in.seq}, s.life, in.part, &in.view)
	e.stored += 60e9
	s.deliver(e)
	b.drain()
	if got := testutil.ToFloat64(b.gate.metrics.latency.skewed); got != 1 {
		t.Errorf("%v deliveries count as skewed, want 1", got)
	}
	h := collect(t, b.gate.metrics.latency.of[0].(prometheus.Metric)).GetHistogram()
	if h.GetSampleCount() != 1 || h.GetSampleSum() != 0 {
		t.Errorf("got %d observations of %v s, want 1 of 0", h.GetSampleCount(), h.GetSampleSum())
	}
}

func FuzzKindOf(f *testing.F) {
	f.Add(ofKind("order.shipped"))
	f.Add([]byte(`{"id":"\"","kind":"\\"}`))
	f.Add([]byte(`{"id":"x","kind":"\ud800"`))
	f.Add([]byte(`{"id":`))
	f.Fuzz(func(t *testing.T, notification []byte) {
		kind := kindOf(notification)
		name := label(kind)
		if len(name) > maxKindBytes || !utf8.ValidString(name) {
			t.Errorf("%q is no label", name)
		}
		var n struct{ ID, Kind string }
		if json.Unmarshal(notification, &n) != nil || !strings.HasPrefix(string(notification), `{"id":"`) || strings.Count(string(notification), `"kind"`) != 1 {
			return
		}
		var got string
		if kind != nil && json.Unmarshal([]byte(`"`+string(kind)+`"`), &got) != nil {
			t.Errorf("%q is no string, of %s", kind, notification)
		}
	})
}
