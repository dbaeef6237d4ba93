package main

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"sync"

	"github.com/gorilla/websocket"
)

// hub knows the connections, by user and all of them.
type hub struct {
	mu    sync.RWMutex
	users map[string]map[*conn]struct{}
	all   map[*conn]struct{}
}

// event is what is published on plain.>.
type event struct {
	Users []string        `json:"users"`
	All   bool            `json:"all"`
	Data  json.RawMessage `json:"data"` // what the browsers get
}

func newHub() *hub {
	return &hub{users: map[string]map[*conn]struct{}{}, all: map[*conn]struct{}{}}
}

// upgrader has the buffers of the chat example; the default is 4 KiB each.
var upgrader = websocket.Upgrader{ReadBufferSize: 1024, WriteBufferSize: 1024}

func (h *hub) serve(w http.ResponseWriter, r *http.Request) {
	user := r.URL.Query().Get("user")
	if user == "" {
		http.Error(w, "name a user: /ws?user=alice", http.StatusBadRequest)
		return
	}
	c := &conn{hub: h, user: user, send: make(chan []byte, 256)}
	h.add(c) // before the answer: who has it misses nothing
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		h.remove(c)
		return // it has answered
	}
	c.ws = ws
	go c.writePump()
	go c.readPump()
}

func (h *hub) add(c *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.users[c.user] == nil {
		h.users[c.user] = map[*conn]struct{}{}
	}
	h.users[c.user][c] = struct{}{}
	h.all[c] = struct{}{}
}

// remove is called by several who find that a connection is over; the first one closes its channel.
func (h *hub) remove(c *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.all[c]; !ok {
		return
	}
	delete(h.all, c)
	delete(h.users[c.user], c)
	if len(h.users[c.user]) == 0 {
		delete(h.users, c.user)
	}
	close(c.send)
}

func (h *hub) dispatch(log *slog.Logger, b []byte) {
	var e event
	if err := json.Unmarshal(b, &e); err != nil {
		log.Error("an event is not JSON", "error", err)
		return
	}
	var slow []*conn
	h.mu.RLock()
	if e.All {
		slow = push(slow, h.all, e.Data)
	}
	for _, u := range e.Users {
		slow = push(slow, h.users[u], e.Data)
	}
	h.mu.RUnlock()
	for _, c := range slow {
		log.Warn("a connection did not keep up", "user", c.user)
		h.remove(c)
	}
}

func push(slow []*conn, to map[*conn]struct{}, b []byte) []*conn {
	for c := range to {
		select {
		case c.send <- b:
		default:
			slow = append(slow, c)
		}
	}
	return slow
}
