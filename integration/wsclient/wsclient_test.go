package wsclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		text string
		want any // nil: an error
	}{
		{`{"type":"welcome","session":"4k2","cursor":"0.a.7","resume":"none","heartbeat":25000}`, Welcome{"4k2", "0.a.7", "none", 25 * time.Second}},
		{`{"type":"notification","cursor":"0.a.8","id":"7a1","kind":"order.shipped","time":"2026-03-01T10:00:00Z","data":{"n":1},"traceparent":"00-1"}`,
			Notification{"0.a.8", "7a1", "order.shipped", time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC), json.RawMessage(`{"n":1}`), "00-1"}},
		{`{"type":"notification","id":"7a1","kind":"typing","time":"2026-03-01T10:00:00Z","data":null,"new":1}`,
			Notification{ID: "7a1", Kind: "typing", Time: time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC), Data: json.RawMessage(`null`)}},
		{`{"cursor":"0.a.9"}`, Heartbeat{"0.a.9"}},
		{`{"type":"reset","cursor":"0.b.0"}`, Reset{"0.b.0"}},
		{`{"type":"draining","retryAfterMs":3200}`, Draining{3200 * time.Millisecond}},
		{`{"type":"overloaded","retryAfterMs":7000}`, Overloaded{7 * time.Second}},
		{`{"type":"surprise"}`, nil},
		{`{}`, nil},
		{`来自后台的反馈:连接成功`, nil},
	} {
		got, err := Parse([]byte(c.text))
		if !reflect.DeepEqual(got, c.want) || (err != nil) != (c.want == nil) {
			t.Errorf("%s:\n got %#v, %v\nwant %#v", c.text, got, err, c.want)
		}
	}
}

func TestFramesInOrderAndPingsAnswered(t *testing.T) {
	early := append(text(`{"type":"welcome","session":"1","cursor":"0.a.1","resume":"none","heartbeat":25000}`), text(`{"cursor":"0.a.1"}`)...)
	long := strings.Repeat("ü", 40_000)
	url := serve(t, early, func(p *peer) {
		p.write(ws.MustCompileFrame(ws.NewPingFrame([]byte("are you there"))))
		p.write(ws.MustCompileFrame(ws.NewFrame(ws.OpText, false, []byte(`{"type":"reset",`))))
		p.write(ws.MustCompileFrame(ws.NewPingFrame(nil)))
		p.write(ws.MustCompileFrame(ws.NewFrame(ws.OpContinuation, true, []byte(`"cursor":"0.b.1"}`))))
		p.write(text(`{"type":"notification","cursor":"0.b.2","id":"1","kind":"k","time":"2026-03-01T10:00:00Z","data":"` + long + `"}`))
		for _, want := range []string{"are you there", "", `{"token":"x","type":"auth"}`} {
			if f := p.read(); string(f.Payload) != want {
				t.Errorf("server got %v %q, want %q", f.Header.OpCode, f.Payload, want)
			}
		}
	})
	tab := dial(t, url, Options{Protocols: []string{"bearer.x", "tidings.v1"}})
	if got := tab.Protocol(); got != "tidings.v1" {
		t.Errorf("got subprotocol %q, want tidings.v1", got)
	}
	at := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	for _, want := range []any{
		Welcome{"1", "0.a.1", "none", 25 * time.Second}, Heartbeat{"0.a.1"}, Reset{"0.b.1"},
		Notification{Cursor: "0.b.2", ID: "1", Kind: "k", Time: at, Data: json.RawMessage(`"` + long + `"`)},
	} {
		if got, err := tab.Next(patience); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %.100v, %v, want %.100v", got, err, want)
		}
	}
	if err := tab.SendJSON(map[string]string{"type": "auth", "token": "x"}); err != nil {
		t.Error(err)
	}
	if _, err := tab.Next(patience); CloseCode(err) != 1006 || !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want closed with 1006, EOF", err)
	}
}

func TestMuteTabLeavesPingsUnanswered(t *testing.T) {
	url := serve(t, nil, func(p *peer) {
		p.write(ws.MustCompileFrame(ws.NewPingFrame([]byte("ping"))))
		if f := p.read(); f.Header.OpCode != ws.OpText {
			t.Errorf("server got %v %q, want a text", f.Header.OpCode, f.Payload)
		}
	})
	tab := dial(t, url, Options{Mute: true})
	if op, payload, err := tab.Frame(patience); op != ws.OpPing || string(payload) != "ping" || err != nil {
		t.Errorf("got %v %q, %v, want the ping", op, payload, err)
	}
	if err := tab.SendText("done"); err != nil {
		t.Error(err)
	}
}

func TestHandshake(t *testing.T) {
	seen := make(chan *peer, 1)
	url := serve(t, nil, func(p *peer) { seen <- p })
	dial(t, url, Options{LocalAddr: "127.0.0.1", Header: http.Header{"Authorization": {"Bearer x"}, "Host": {"notify.example"}, "Cookie": {"a=b"}}})
	p := <-seen
	for name, want := range map[string]string{"Authorization": "Bearer x", "Host": "notify.example", "Cookie": "a=b"} {
		if got := p.header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if host, _, _ := net.SplitHostPort(p.remote); host != "127.0.0.1" {
		t.Errorf("came from %s, want 127.0.0.1", host)
	}
}

func TestRefused(t *testing.T) {
	url := serve(t, nil, func(*peer) {})
	_, err := Dial(context.Background(), url, Options{Header: http.Header{"Origin": {"https://evil.example"}}})
	var refused *Refused
	if !errors.As(err, &refused) || refused.Status != 403 || !strings.Contains(refused.Body, "origin may not connect") {
		t.Errorf("got %v, want 403 and its sentence", err)
	}
}

func TestTimeoutIsNotTheEnd(t *testing.T) {
	more := make(chan bool)
	url := serve(t, nil, func(p *peer) {
		b := text(`{"cursor":"0.a.1"}`)
		p.write(b[:5])
		<-more
		p.write(b[5:])
		<-more
	})
	tab := dial(t, url, Options{})
	for range 3 {
		if _, err := tab.Next(20 * time.Millisecond); !Timeout(err) || CloseCode(err) != 0 {
			t.Fatalf("got %v, want a timeout", err)
		}
	}
	more <- true
	if got, err := tab.Next(patience); got != (Heartbeat{"0.a.1"}) {
		t.Errorf("got %v, %v, want the whole heartbeat", got, err)
	}
	more <- true
}

func TestHowItEnds(t *testing.T) {
	closing := func(code ws.StatusCode, reason string) []byte {
		return ws.MustCompileFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(code, reason)))
	}
	for name, c := range map[string]struct {
		bytes []byte
		want  Closed
	}{
		"code and reason": {closing(4401, "token expired"), Closed{Code: 4401, Reason: "token expired"}},
		"no reason":       {closing(1012, ""), Closed{Code: 1012}},
		"no code":         {ws.MustCompileFrame(ws.NewCloseFrame(nil)), Closed{Code: 1005}},
	} {
		t.Run(name, func(t *testing.T) {
			url := serve(t, nil, func(p *peer) {
				p.write(c.bytes)
				f := p.read()
				if f.Header.OpCode != ws.OpClose || !bytes.Equal(f.Payload, c.bytes[2:min(4, len(c.bytes))]) {
					t.Errorf("server got %v %q, want the code back", f.Header.OpCode, f.Payload)
				}
			})
			tab := dial(t, url, Options{})
			for range 2 {
				_, err := tab.Next(patience)
				var got *Closed
				if !errors.As(err, &got) || *got != c.want {
					t.Errorf("got %v, want %v", err, &c.want)
				}
			}
			if !tab.ServerHungUp(patience) {
				t.Error("the server closed, but that was not seen")
			}
		})
	}
}

func TestServerThatStaysIsNotHungUp(t *testing.T) {
	done := make(chan bool)
	url := serve(t, nil, func(*peer) { <-done })
	tab := dial(t, url, Options{})
	if tab.ServerHungUp(20 * time.Millisecond) {
		t.Error("the server is there, but is said to have hung up")
	}
	close(done)
}

func TestClose(t *testing.T) {
	url := serve(t, nil, func(p *peer) {
		p.write(text(`{"cursor":"0.a.1"}`)) // thrown away
		f := p.read()
		if code, reason := ws.ParseCloseFrameData(f.Payload); f.Header.OpCode != ws.OpClose || code != 1000 || reason != "bye" {
			t.Errorf("server got %v %q, want close 1000 bye", f.Header.OpCode, f.Payload)
		}
		p.write(ws.MustCompileFrame(ws.NewCloseFrame(f.Payload)))
		if err := p.ends(); err != nil {
			t.Errorf("server: %v, want a clean end", err)
		}
	})
	if err := dial(t, url, Options{}).Close(1000, "bye", patience); err != nil {
		t.Error(err)
	}
}

func TestCloseWithoutAnAnswer(t *testing.T) {
	url := serve(t, nil, func(p *peer) { p.read() })
	if err := dial(t, url, Options{}).Close(1000, "", patience); CloseCode(err) != 1006 {
		t.Errorf("got %v, want closed with 1006", err)
	}
}

func TestHangupAndDrop(t *testing.T) {
	ends := make(chan error)
	url := serve(t, nil, func(p *peer) { ends <- p.ends() })
	dial(t, url, Options{}).Hangup()
	if err := <-ends; err != nil {
		t.Errorf("after Hangup the server got %v, want EOF", err)
	}
	dial(t, url, Options{}).Drop()
	if err := <-ends; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("after Drop the server got %v, want a reset", err)
	}
	// It ends a read that waits, too.
	tab := dial(t, url, Options{})
	read := make(chan error)
	go func() {
		_, err := tab.Next(0)
		read <- err
	}()
	tab.Hangup()
	if err := <-read; CloseCode(err) != 1006 {
		t.Errorf("got %v, want closed with 1006", err)
	}
	<-ends
}

// A tab that does not read stops the server after little, and has lost nothing when it reads again.
func TestTabThatDoesNotRead(t *testing.T) {
	const enough = 64 << 20
	written := make(chan int)
	url := serve(t, nil, func(p *peer) {
		p.conn.(*net.TCPConn).SetWriteBuffer(4096)
		p.conn.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
		line, n := text(strings.Repeat("x", 1000)), 0
		for n < enough {
			m, err := p.conn.Write(line)
			if n += m; err != nil {
				break
			}
		}
		p.conn.(*net.TCPConn).CloseWrite()
		written <- n
		p.ends()
	})
	tab := dial(t, url, Options{ReadBuffer: 4096})
	n := <-written
	if n > 1<<20 {
		t.Errorf("the server could write %d bytes to a tab that reads none, want less than 1 MiB", n)
	}
	texts := 0
	for {
		_, err := tab.Text(patience)
		if err != nil {
			if CloseCode(err) != 1006 {
				t.Error(err)
			}
			break
		}
		texts++
	}
	if want := n / len(text(strings.Repeat("x", 1000))); texts != want {
		t.Errorf("got %d texts, want %d", texts, want)
	}
}

func TestSlow(t *testing.T) {
	url := serve(t, nil, func(p *peer) {
		p.read() // not behind the handshake, which is read at full speed
		p.write(text(strings.Repeat("x", 996)))
		p.ends()
	})
	tab := dial(t, url, Options{})
	tab.Slow(100, 2*time.Millisecond)
	if err := tab.SendText("go"); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if b, err := tab.Text(patience); len(b) != 996 {
		t.Errorf("got %d bytes, %v, want 996", len(b), err)
	}
	if took := time.Since(start); took < 20*time.Millisecond {
		t.Errorf("1,000 bytes took %v, want ten pauses of 2 ms at least", took)
	}
}

// What a browser would refuse is an error, which stays.
func TestBrokenServer(t *testing.T) {
	masked := ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame([]byte("x"))))
	for name, b := range map[string][]byte{
		"masked":           masked,
		"reserved bits":    {0xc1, 0},
		"reserved opcode":  {0x83, 0},
		"not UTF-8":        text("\xff"),
		"continuation":     {0x80, 0},
		"not the shortest": {0x81, 126, 0, 1, 'x'},
		"long ping":        append([]byte{0x89, 126, 0, 126}, make([]byte, 126)...),
		"close of 1 byte":  {0x88, 1, 3},
		"bad close reason": {0x88, 3, 3, 0xe8, 0xff},
		"endless":          {0x81, 127, 0x7f, 0, 0, 0, 0, 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			url := serve(t, nil, func(p *peer) {
				p.write(b)
				p.ends()
			})
			tab := dial(t, url, Options{})
			for range 2 {
				if _, _, err := tab.Frame(patience); err == nil || Timeout(err) || !strings.Contains(err.Error(), "broke the protocol") {
					t.Errorf("got %v, want that the server broke the protocol", err)
				}
			}
		})
	}
}

func TestSendRawIsSentAsItIs(t *testing.T) {
	url := serve(t, nil, func(p *peer) {
		got, err := io.ReadAll(p.conn)
		if err != nil || string(got) != "\x81\x85\x37" {
			t.Errorf("server got %q, %v", got, err)
		}
	})
	tab := dial(t, url, Options{})
	if err := tab.SendRaw([]byte("\x81\x85\x37")); err != nil {
		t.Error(err)
	}
	tab.Hangup()
}
