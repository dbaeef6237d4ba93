//go:build linux

package loadgen

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serverOf answers every connection with f, and gives the address.
func serverOf(t *testing.T, f func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(20 * time.Second))
				f(c)
			})
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return "ws://" + l.Addr().String() + "/ws"
}

// upgraded is a connection of which the handshake is done.
func upgraded(f func(net.Conn)) func(net.Conn) {
	return func(c net.Conn) {
		u := ws.Upgrader{Protocol: func(p []byte) bool { return string(p) == "tidings.v1" }}
		if _, err := u.Upgrade(c); err == nil {
			f(c)
		}
	}
}

func text(s string) []byte { return ws.MustCompileFrame(ws.NewTextFrame([]byte(s))) }

// untilClosed keeps a connection, and takes what comes.
func untilClosed(c net.Conn) { io.Copy(io.Discard, c) }

// driver is one process of a Fleet, within this one.
type driver struct {
	t   *testing.T
	in  *io.PipeWriter
	out *json.Decoder
}

func drive(t *testing.T, cfg Config) *driver {
	t.Helper()
	cfg.Of, cfg.Users, cfg.Rate = 1, max(cfg.Users, 1), max(cfg.Rate, 1000)
	in, commands := io.Pipe()
	answers, out := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- Serve(in, out) }()
	t.Cleanup(func() {
		commands.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	if err := json.NewEncoder(commands).Encode(cfg); err != nil {
		t.Fatal(err)
	}
	return &driver{t, commands, json.NewDecoder(answers)}
}

func (d *driver) ask(c command) (r Report) {
	d.t.Helper()
	if err := json.NewEncoder(d.in).Encode(c); err != nil {
		d.t.Fatal(err)
	}
	if err := d.out.Decode(&r); err != nil {
		d.t.Fatal(err)
	}
	return r
}

// until asks for reports until one is as it should be.
func (d *driver) until(good func(Report) bool) (r Report) {
	d.t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if r = d.ask(command{Do: "report"}); good(r) {
			return r
		}
	}
	d.t.Fatalf("not in time: %+v", r)
	return r
}

const welcome = `{"type":"welcome","cursor":"0.1.0"}`

func TestDeliveriesAreCountedAndTimed(t *testing.T) {
	const way = 50 * time.Millisecond
	sent := `{"type":"notification","data":{` + string(Stamp(nil, time.Now().Add(-way).UnixNano())) + `}}`
	for _, c := range []struct {
		name  string
		write func(c net.Conn, b []byte)
	}{
		{"in one segment", func(c net.Conn, b []byte) { c.Write(b) }},
		{"byte by byte", func(c net.Conn, b []byte) {
			for i := range b {
				c.Write(b[i : i+1])
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			target := serverOf(t, upgraded(func(conn net.Conn) {
				c.write(conn, bytes.Join([][]byte{text(welcome), text(sent), text(`{"cursor":"0.1.2"}`), text(sent), text(`{"type":"reset"}`)}, nil))
				untilClosed(conn)
			}))
			d := drive(t, Config{Targets: []string{target}, Subprotocol: "tidings.v1"})
			if r := d.ask(command{Do: "open", Tabs: 5, Within: 10 * time.Second}); r.Open != 5 || r.Failed != 0 {
				t.Fatalf("got %+v, want 5 open", r)
			}
			r := d.until(func(r Report) bool { return r.Deliveries == 10 && r.Resets == 5 })
			if got := time.Duration(r.Ways.Quantile(0.01)); got < way || r.Max < int64(got)*9/10 || r.First > r.Last {
				t.Errorf("got the shortest way %v, longest %v, first %d, last %d; want %v or more", got, time.Duration(r.Max), r.First, r.Last, way)
			}
			if r = d.ask(command{Do: "reset"}); r.Deliveries != 0 || r.Resets != 0 || r.Open != 5 {
				t.Errorf("after reset: got %+v, want 5 open and nothing else", r)
			}
			if r = d.ask(command{Do: "report"}); len(r.Ways) != 0 {
				t.Errorf("after reset: got %d ways", len(r.Ways))
			}
		})
	}
}

func TestOpenGoesOnWhereItStopped(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]int{}
	target := serverOf(t, func(c net.Conn) {
		u := ws.Upgrader{OnRequest: func(uri []byte) error {
			mu.Lock()
			defer mu.Unlock()
			seen[string(uri)]++
			return nil
		}}
		if _, err := u.Upgrade(c); err == nil {
			untilClosed(c)
		}
	})
	d := drive(t, Config{Targets: []string{target}, Users: 2})
	for _, n := range []int{2, 6} {
		if r := d.ask(command{Do: "open", Tabs: n, Within: 10 * time.Second}); r.Open != n {
			t.Fatalf("got %+v, want %d open", r, n)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(seen) != 2 || seen["/ws?user="+User(0)] != 3 || seen["/ws?user="+User(1)] != 3 {
		t.Errorf("got %v, want three tabs of each of two users", seen)
	}
}

// Tabs that are dropped come back as the same users, each with the last cursor it was given; and a lost position is counted.
func TestDroppedTabsComeBackWithTheirCursors(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	sent := func(cursor string) []byte {
		return text(`{"type":"notification","cursor":"` + cursor + `","data":{` + string(Stamp(nil, 1)) + `}}`)
	}
	target := serverOf(t, func(c net.Conn) {
		uri := ""
		u := ws.Upgrader{Protocol: func([]byte) bool { return true }, OnRequest: func(b []byte) error { uri = string(b); return nil }}
		if _, err := u.Upgrade(c); err != nil {
			return
		}
		mu.Lock()
		seen = append(seen, uri)
		mu.Unlock()
		if strings.Contains(uri, "cursor=") {
			c.Write(append(text(`{"type":"welcome","cursor":"0.1.0","resume":"reset"}`), sent("0.1.9")...))
		} else {
			c.Write(append(text(welcome), sent("0.1.8"+uri[len(uri)-1:])...)) // each user has another
		}
		untilClosed(c)
	})
	d := drive(t, Config{Targets: []string{target}, Subprotocol: "tidings.v1", Users: 3})
	d.ask(command{Do: "open", Tabs: 4, Within: 10 * time.Second})
	d.until(func(r Report) bool { return r.Deliveries == 4 })
	if r := d.ask(command{Do: "drop"}); r.Open != 0 || r.Failed != 0 {
		t.Fatalf("dropped: got %+v, want none open and none failed", r)
	}
	d.ask(command{Do: "reset"})
	if r := d.ask(command{Do: "open", Tabs: 5, AtOnce: 2, Within: 10 * time.Second}); r.Open != 5 || r.Failed != 0 {
		t.Fatalf("back: got %+v, want 5 open", r)
	}
	r := d.until(func(r Report) bool { return r.Deliveries == 5 })
	if r.Resets != 4 || len(r.Tabs) != 1 || r.Tabs[1] != 5 {
		t.Errorf("got %d resets, tabs by deliveries %v; want 4, and 5 tabs with one", r.Resets, r.Tabs)
	}
	mu.Lock()
	defer mu.Unlock()
	var back []string
	for _, uri := range seen[4:] {
		back = append(back, strings.TrimPrefix(uri, "/ws?user=00000000-0000-4000-8000-00000000000"))
	}
	slices.Sort(back)
	if want := []string{"0&cursor=0.1.80", "0&cursor=0.1.80", "1", "1&cursor=0.1.81", "2&cursor=0.1.82"}; !slices.Equal(back, want) {
		t.Errorf("came back: %v, want %v", back, want)
	}
}

// TestWhoIsToldToComeLaterDoes: as the same user, with the cursor, not earlier, and nobody else in the meantime.
func TestWhoIsToldToComeLaterDoes(t *testing.T) {
	var mu sync.Mutex
	came := map[string][]time.Time{}
	target := serverOf(t, func(c net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		user := r.URL.Query().Get("user")
		mu.Lock()
		came[user] = append(came[user], time.Now())
		first := len(came[user]) == 1
		mu.Unlock()
		if first && strings.HasSuffix(user, "1") {
			c.Write([]byte("HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nContent-Length: 5\r\n\r\nlater"))
		} else {
			c.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: " + handshakeAccept + "\r\n\r\n"))
		}
		untilClosed(c)
	})
	d := drive(t, Config{Targets: []string{target}, Users: 3})
	if r := d.ask(command{Do: "open", Tabs: 3, AtOnce: 1, Within: 10 * time.Second}); r.Open != 3 || r.Failed != 0 {
		t.Fatalf("got %+v, want 3 open", r)
	}
	mu.Lock()
	defer mu.Unlock()
	for user, times := range came {
		switch {
		case strings.HasSuffix(user, "1") && (len(times) != 2 || times[1].Sub(times[0]) < time.Second):
			t.Errorf("%s, who was told to come in a second, came at %v", user, times)
		case !strings.HasSuffix(user, "1") && len(times) != 1:
			t.Errorf("%s came %d times, want once", user, len(times))
		}
	}
	if len(came) != 3 {
		t.Errorf("%d users came, want 3", len(came))
	}
}

func TestPingsAreAnswered(t *testing.T) {
	got := make(chan ws.Frame, 1)
	target := serverOf(t, upgraded(func(c net.Conn) {
		c.Write(append(text(welcome), ws.MustCompileFrame(ws.NewPingFrame([]byte("still there?")))...))
		h, err := ws.ReadHeader(c)
		payload := make([]byte, min(h.Length, 125))
		if _, rerr := io.ReadFull(c, payload); err == nil && rerr == nil {
			got <- ws.UnmaskFrame(ws.Frame{Header: h, Payload: payload})
		}
		untilClosed(c)
	}))
	drive(t, Config{Targets: []string{target}, Subprotocol: "tidings.v1"}).ask(command{Do: "open", Tabs: 1, Within: 10 * time.Second})
	select {
	case f := <-got:
		if f.Header.OpCode != ws.OpPong || string(f.Payload) != "still there?" {
			t.Errorf("got opcode %v with %q, want a pong with the ping's payload", f.Header.OpCode, f.Payload)
		}
	case <-time.After(10 * time.Second):
		t.Error("no pong came")
	}
}

func TestWhatGoesWrongIsSaid(t *testing.T) {
	for _, c := range []struct {
		name string
		f    func(net.Conn)
		want string
	}{
		{"refused", func(c net.Conn) {
			http.ReadRequest(bufio.NewReader(c))
			c.Write([]byte("HTTP/1.1 401 Unauthorized\r\nContent-Length: 4\r\n\r\nwho?"))
			untilClosed(c)
		}, "401"},
		{"busy without a time", func(c net.Conn) {
			http.ReadRequest(bufio.NewReader(c))
			c.Write([]byte("HTTP/1.1 503 Service Unavailable\r\nRetry-After: soon\r\nContent-Length: 4\r\n\r\nbusy"))
			untilClosed(c)
		}, "503"},
		{"busy for too long", func(c net.Conn) {
			http.ReadRequest(bufio.NewReader(c))
			c.Write([]byte("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 600\r\nContent-Length: 4\r\n\r\nbusy"))
			untilClosed(c)
		}, "in time"},
		{"closed with a code", upgraded(func(c net.Conn) {
			c.Write(ws.MustCompileFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(4401, "the token has expired"))))
			untilClosed(c)
		}), `4401 "the token has expired"`},
		{"ended", upgraded(func(net.Conn) {}), "ended"},
		{"silent", untilClosed, "in time"},
		{"not the key's answer", func(c net.Conn) {
			c.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\n\r\n"))
			untilClosed(c)
		}, "Sec-WebSocket-Accept"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := drive(t, Config{Targets: []string{serverOf(t, c.f)}, Subprotocol: "tidings.v1"})
			r := d.ask(command{Do: "open", Tabs: 1, Within: time.Second})
			if r.Open != 0 || r.Failed != 1 || !strings.Contains(r.Error, c.want) {
				t.Errorf("got %+v, want one failure that says %q", r, c.want)
			}
		})
	}
	t.Run("nobody listens", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		d := drive(t, Config{Targets: []string{"ws://" + l.Addr().String()}})
		if r := d.ask(command{Do: "open", Tabs: 1, Within: time.Second}); r.Failed != 1 || !strings.Contains(r.Error, "refused") {
			t.Errorf("got %+v, want a refused connection", r)
		}
	})
}
