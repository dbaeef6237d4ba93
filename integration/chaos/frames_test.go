//go:build linux

package chaos

import (
	"encoding/json"
	"fmt"
	"sync"

	"tidings/fanout/wire"
	"tidings/integration/wsclient"
)

// frames reads the frames that all tabs get. A record's is the same for each of them, so that it is read and checked once.
type frames struct {
	world *world

	mu         sync.Mutex // guards the following
	known, old map[string]*frame
}

// frame is one frame, and what it means.
type frame struct {
	said   any         // a frame of wsclient
	at     wire.Cursor // of a frame with a cursor
	cursor string
	event  *event // of a notification
	wrong  string // "" when it is as it must be
}

// keptFrames are read anew at the latest when so many others came.
const keptFrames = 4096

func newFrames(w *world) *frames { return &frames{world: w, known: map[string]*frame{}} }

func (r *frames) parse(text []byte) *frame {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.known[string(text)]; f != nil {
		return f
	}
	f := r.old[string(text)]
	if f == nil {
		f = r.read(text)
	}
	if len(r.known) >= keptFrames {
		r.known, r.old = map[string]*frame{}, r.known
	}
	r.known[string(text)] = f
	return f
}

func (r *frames) read(text []byte) *frame {
	f := &frame{}
	var err error
	if f.said, err = wsclient.Parse(text); err != nil {
		f.wrong = err.Error()
		return f
	}
	switch v := f.said.(type) {
	case wsclient.Welcome:
		f.cursor = v.Cursor
	case wsclient.Heartbeat:
		f.cursor = v.Cursor
	case wsclient.Reset:
		f.cursor = v.Cursor
	case wsclient.Notification:
		f.cursor = v.Cursor
		f.wrong = r.check(f, v)
	default:
		return f
	}
	if f.at, err = wire.ParseCursor(f.cursor); err != nil && f.wrong == "" {
		f.wrong = err.Error()
	}
	return f
}

// check finds the event, and tells what is wrong with what the tab was told about it.
func (r *frames) check(f *frame, n wsclient.Notification) string {
	e := r.world.named(n.ID)
	if e == nil {
		return fmt.Sprintf("got the unknown event %q", n.ID)
	}
	f.event = e
	var data eventData
	if err := json.Unmarshal(n.Data, &data); err != nil || data.N != e.n || data.Pad != e.pad {
		return fmt.Sprintf("got %s with data that are not its own: %.200s", n.ID, n.Data)
	}
	return ""
}
