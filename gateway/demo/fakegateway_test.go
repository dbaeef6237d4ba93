package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"tidings/gateway/client"
)

// fakeGateway speaks as much of both dialects as the pages need, and does on command what a real one does seldom. Its log
// is a slice, its cursors are "0.e.<length of the log>".
type fakeGateway struct {
	server    *httptest.Server
	published func() []published

	mu        sync.Mutex // guards what follows
	heartbeat int        // ms, as the welcome says
	log       []logged
	tabs      []*fakeTab
	dialled   []dialled
	health    int // HEALTH frames received
	wg        sync.WaitGroup
}

type logged struct {
	users []string
	frame string // without type and cursor: `"id":…}`
}

// fakeTab is one open connection.
type fakeTab struct {
	user  string
	plain bool
	conn  net.Conn

	closed bool // our close frame is sent; guarded by fakeGateway.mu
}

// dialled is one attempt to connect.
type dialled struct {
	at     time.Time
	cursor string
}

const plainGreeting = "来自后台的反馈:连接成功"

func newFakeGateway(t *testing.T) *fakeGateway {
	g := &fakeGateway{heartbeat: 25000}
	record, got := recorder(nil)
	publish := func(ctx context.Context, subject string, body []byte, headers map[string]string) error {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.deliver(body)
		return record(ctx, subject, body, headers)
	}
	g.published = func() []published {
		g.mu.Lock()
		defer g.mu.Unlock()
		return slices.Clone(*got)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ws", func(w http.ResponseWriter, r *http.Request) {
		g.serve(t, w, r, &fakeTab{user: r.URL.Query().Get("user")}, r.URL.Query().Get("cursor"))
	})
	mux.HandleFunc("GET /websocket/{user}", func(w http.ResponseWriter, r *http.Request) {
		g.serve(t, w, r, &fakeTab{user: r.PathValue("user"), plain: true}, "")
	})
	for _, path := range client.Paths {
		mux.Handle(path, client.Handler())
	}
	mux.Handle("/", Handler(publish))
	g.server = httptest.NewServer(mux)
	t.Cleanup(func() {
		g.server.Close()
		g.close("", ws.StatusGoingAway, "")
		g.wg.Wait()
	})
	return g
}

func (g *fakeGateway) serve(t *testing.T, w http.ResponseWriter, r *http.Request, tab *fakeTab, cursor string) {
	conn, _, hs, err := ws.HTTPUpgrader{Protocol: func(p string) bool { return p == "tidings.v1" }}.Upgrade(r, w)
	if err != nil || tab.plain != (hs.Protocol == "") {
		t.Errorf("upgrade of %s: subprotocol %q, error %v", r.URL, hs.Protocol, err)
		return
	}
	tab.conn = conn
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dialled = append(g.dialled, dialled{time.Now(), cursor})
	g.welcome(tab, cursor)
	g.tabs = append(g.tabs, tab)
	g.wg.Add(1)
	go g.read(tab)
}

func (g *fakeGateway) welcome(tab *fakeTab, cursor string) {
	if tab.plain {
		write(tab, plainGreeting)
		return
	}
	seen, err := strconv.Atoi(strings.TrimPrefix(cursor, "0.e."))
	resume, at := "complete", cursor
	switch {
	case cursor == "":
		resume, at, seen = "none", g.cursor(len(g.log)), len(g.log)
	case err != nil || seen > len(g.log):
		resume, at, seen = "reset", g.cursor(len(g.log)), len(g.log)
	}
	write(tab, fmt.Sprintf(`{"type":"welcome","session":"s%d","cursor":%q,"resume":%q,"heartbeat":%d}`, len(g.dialled), at, resume, g.heartbeat))
	for i, l := range g.log[seen:] {
		g.send(tab, seen+i+1, l)
	}
}

func (g *fakeGateway) cursor(seq int) string { return fmt.Sprintf("0.e.%d", seq) }

// deliver logs a notification with the body as its data, and sends it to the tabs of its users. The caller holds mu.
func (g *fakeGateway) deliver(body []byte) {
	var audience struct {
		UserID  string
		UserIDs []string
	}
	if err := json.Unmarshal(body, &audience); err != nil {
		return
	}
	l := logged{users: append(audience.UserIDs, audience.UserID)}
	l.frame = fmt.Sprintf(`"id":"e%d","kind":"order.shipped","time":%q,"data":%s}`, len(g.log)+1, time.Now().UTC().Format(time.RFC3339Nano), body)
	g.log = append(g.log, l)
	for _, tab := range g.tabs {
		g.send(tab, len(g.log), l)
	}
}

func (g *fakeGateway) send(tab *fakeTab, seq int, l logged) {
	switch {
	case !slices.Contains(l.users, tab.user):
	case tab.plain:
		write(tab, "{"+l.frame)
	default:
		write(tab, fmt.Sprintf(`{"type":"notification","cursor":%q,%s`, g.cursor(seq), l.frame))
	}
}

// event is what a service elsewhere would publish.
func (g *fakeGateway) event(body string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.deliver([]byte(body))
}

// say sends a frame, word for word, to the tabs of user.
func (g *fakeGateway) say(user, frame string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, tab := range g.tabs {
		if tab.user == user {
			write(tab, frame)
		}
	}
}

// close closes the tabs of user, "" being all.
func (g *fakeGateway) close(user string, code ws.StatusCode, reason string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, tab := range g.tabs {
		if user == "" || tab.user == user {
			tab.closed = true
			ws.WriteFrame(tab.conn, ws.NewCloseFrame(ws.NewCloseFrameBody(code, reason))) // it may be gone already
			tab.conn.Close()
		}
	}
}

func (g *fakeGateway) attempts() []dialled {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.dialled)
}

// text reads the next text. A close frame is answered, unless it is the answer to ours: a second one is a failed connection to Chromium, 1006.
func (g *fakeGateway) text(tab *fakeTab) ([]byte, error) {
	for {
		h, err := ws.ReadHeader(tab.conn)
		if err != nil {
			return nil, err
		}
		payload := make([]byte, min(h.Length, 1<<16))
		if _, err := io.ReadFull(tab.conn, payload); err != nil {
			return nil, err
		}
		ws.Cipher(payload, h.Mask, 0)
		switch h.OpCode {
		case ws.OpText:
			return payload, nil
		case ws.OpClose:
			g.mu.Lock()
			defer g.mu.Unlock()
			if !tab.closed {
				ws.WriteFrame(tab.conn, ws.NewCloseFrame(payload))
			}
			return nil, io.EOF
		}
	}
}

// read answers HEALTH, and forgets the tab when its connection ends.
func (g *fakeGateway) read(tab *fakeTab) {
	defer g.wg.Done()
	for {
		text, err := g.text(tab)
		g.mu.Lock()
		if err != nil {
			tab.conn.Close()
			g.tabs = slices.DeleteFunc(g.tabs, func(other *fakeTab) bool { return other == tab })
			g.mu.Unlock()
			return
		}
		if string(text) == `{"sendType":"HEALTH"}` {
			g.health++
			write(tab, "SUCCESS")
		}
		g.mu.Unlock()
	}
}

// write ignores errors: the reading side learns of a connection's end.
func write(tab *fakeTab, text string) { wsutil.WriteServerText(tab.conn, []byte(text)) }
