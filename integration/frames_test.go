package integration

import (
	"encoding/json"
	"fmt"
	"sync"

	"tidings/integration/wsclient"
)

// frames reads the frames that all tabs get. Those of a record are the same for all of them, so that it is read once: under the race
// detector a thousand tabs that read JSON are all that two cores do.
type frames struct {
	world *world

	mu     sync.Mutex // guards the following
	known  map[string]*arrival
	places map[string]int // cursor → event: where one tab finds an event every tab does
}

// arrival is a notification, and the event that it is about.
type arrival struct {
	wsclient.Notification
	event *event
	wrong string // "" when it is as it must be
}

func newFrames(w *world) *frames {
	return &frames{world: w, known: map[string]*arrival{}, places: map[string]int{}}
}

func (r *frames) parse(text []byte) (any, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a := r.known[string(text)]; a != nil {
		return a, nil
	}
	frame, err := wsclient.Parse(text)
	n, ok := frame.(wsclient.Notification)
	if !ok {
		return frame, err
	}
	a := &arrival{Notification: n}
	a.wrong = r.check(a)
	r.known[string(text)] = a
	return a, nil
}

// check finds the event, and tells what is wrong with what the tab was told about it.
func (r *frames) check(a *arrival) string {
	if a.ID == theEnd {
		return ""
	}
	var index int
	if n, err := fmt.Sscanf(a.ID, "e-%d", &index); n != 1 || err != nil || index >= len(r.world.events) {
		return fmt.Sprintf("got the unknown event %q", a.ID)
	}
	e := r.world.events[index]
	a.event = e
	var data eventData
	if err := json.Unmarshal(a.Data, &data); err != nil || data.A != e.aggregate || data.N != e.n || data.Pad != e.data.Pad {
		return fmt.Sprintf("got %s with data that are not its own: %.200s", a.ID, a.Data)
	}
	if other, had := r.places[a.Cursor]; had && other != index {
		return fmt.Sprintf("%s is at %s, where another tab found e-%d", a.ID, a.Cursor, other)
	}
	r.places[a.Cursor] = index
	return ""
}
