package gateway

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// latency is how long notifications take, by kind: from the storage of the event to the write to each live session's socket. It is
// observed for each session, because a Record's last tab is the one that waited longest; an observation by kind costs what one without
// costs, since a Record's kind is looked up once, when it arrives.
type latency struct {
	vec    *prometheus.HistogramVec
	skewed prometheus.Counter
	most   int // kinds that have a number

	numbers atomic.Pointer[map[string]uint8] // by kind; never modified
	of      [256]prometheus.Observer         // by number; those in numbers are set

	mu sync.Mutex // of who adds a number
}

// otherKinds are those that came when all numbers were given, or that are no label.
const (
	otherKinds   = 0
	otherName    = "other"
	maxKindBytes = 100
)

func (l *latency) register(f promauto.Factory) {
	l.vec = f.NewHistogramVec(prometheus.HistogramOpts{
		Name: "tidings_delivery_seconds",
		Help: "From the event's storage in NATS to the write of its notification to a live session's socket, by the notification's kind.",
		// Classic buckets: a native histogram looks its bucket up in a map at every observation, of which there is one per delivery.
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
	}, []string{"kind"})
	l.skewed = f.NewCounter(prometheus.CounterOpts{
		Name: "tidings_delivery_clock_skew_total",
		Help: "Deliveries that by this machine's clock came before the event was stored by that of NATS; they are observed as 0.",
	})
	l.of[otherKinds] = l.vec.WithLabelValues(otherName)
	l.numbers.Store(&map[string]uint8{otherName: otherKinds})
}

// number is that of a notification's kind. It allocates nothing for a kind that has one.
func (l *latency) number(notification []byte) uint8 {
	kind := kindOf(notification)
	if n, ok := (*l.numbers.Load())[string(kind)]; ok {
		return n
	}
	return l.learn(label(kind))
}

// learn gives a kind a number, while there are some.
func (l *latency) learn(kind string) uint8 {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := *l.numbers.Load()
	n, ok := old[kind]
	if ok || kind == "" || len(old) > l.most {
		return n // otherKinds, if it has none
	}
	n = uint8(len(old))
	l.of[n] = l.vec.WithLabelValues(kind)
	numbers := make(map[string]uint8, len(old)+1)
	for k, v := range old {
		numbers[k] = v
	}
	numbers[kind] = n
	l.numbers.Store(&numbers)
	return n
}

// kindOf finds the kind in what fanout writes, {"id":"…","kind":"…",…, without the quotes; nil where that is not what it is.
func kindOf(notification []byte) []byte {
	rest, ok := bytes.CutPrefix(notification, []byte(`{"id":`))
	if !ok {
		return nil
	}
	if rest, ok = bytes.CutPrefix(rest[stringLen(rest):], []byte(`,"kind":`)); !ok {
		return nil
	}
	if n := stringLen(rest); n > 2 {
		return rest[1 : n-1]
	}
	return nil
}

// stringLen is the length of the JSON string that b begins with, 0 if there is none.
func stringLen(b []byte) int {
	if len(b) == 0 || b[0] != '"' {
		return 0
	}
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return 0
}

// label is a kind as a metric's label, "" for one that is better counted with others. The kind of a raw event is its subject, and there a
// number is some aggregate's name: those are one kind.
func label(kind []byte) string {
	text := string(kind)
	if bytes.IndexByte(kind, '\\') >= 0 && json.Unmarshal([]byte(`"`+text+`"`), &text) != nil {
		return ""
	}
	if len(text) > maxKindBytes || !utf8.ValidString(text) {
		return ""
	}
	tokens := strings.Split(text, ".")
	for i, t := range tokens {
		if t != "" && strings.Trim(t, "0123456789") == "" {
			tokens[i] = "*"
		}
	}
	return strings.Join(tokens, ".")
}
