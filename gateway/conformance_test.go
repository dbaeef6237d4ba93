package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// exchange is what a browser sends at once, and all that it gets. frame/conformance_test.go has many more cases of what is read;
// these show what becomes of it on the wire.
type exchange struct {
	name string
	send [][]byte
	want []string // frames, in order; a close frame is followed by the end of the stream
}

const (
	fin  = 0x80
	text = fin | byte(ws.OpText)
	ping = fin | byte(ws.OpPing)
	pong = fin | byte(ws.OpPong)
	cont = byte(ws.OpContinuation)
)

var health = `{"sendType":"HEALTH"}`

// exchanges are of the plain dialect, where a message can be seen to have arrived: HEALTH is answered by SUCCESS.
func exchanges() []exchange {
	p125 := strings.Repeat("\xfe", 125)
	key := []byte{1, 2, 3, 4} // a header is judged when it is complete
	full := `{"sendType":"HEALTH","fill":"` + strings.Repeat("x", 4096-31) + `"}`
	list := []exchange{
		// 5.4, 5.5: fragments, and control frames in their midst.
		{"a message", [][]byte{masked(text, health)}, []string{"text SUCCESS"}},
		{"an empty message", [][]byte{masked(text, ""), masked(text, health)}, []string{"text SUCCESS"}},
		{"a message in fragments", [][]byte{masked(byte(ws.OpText), health[:5]), masked(cont, ""), masked(cont|fin, health[5:])},
			[]string{"text SUCCESS"}},
		{"a ping amid fragments", [][]byte{masked(byte(ws.OpText), health[:5]), masked(ping, "p"), masked(cont|fin, health[5:])},
			[]string{"pong p", "text SUCCESS"}},
		{"three messages and a ping", [][]byte{masked(text, health), masked(text, health), masked(ping, "x"), masked(text, health)},
			[]string{"text SUCCESS", "text SUCCESS", "pong x", "text SUCCESS"}},
		{"as large as allowed", [][]byte{masked(text, full)}, []string{"text SUCCESS"}},
		{"a continuation of nothing", [][]byte{masked(cont|fin, "x")}, []string{"close 1002"}},
		{"a text amid fragments", [][]byte{masked(byte(ws.OpText), "x"), masked(text, health)}, []string{"close 1002"}},
		{"a ping in fragments", [][]byte{masked(byte(ws.OpPing), "x"), masked(cont|fin, "y")}, []string{"close 1002"}},
		// 5.5.2, 5.5.3
		{"a ping", [][]byte{masked(ping, "Hello")}, []string{"pong Hello"}},
		{"an empty ping", [][]byte{masked(ping, "")}, []string{"pong "}},
		{"a ping that is no text", [][]byte{masked(ping, p125)}, []string{"pong " + p125}},
		{"a ping that is too long", [][]byte{masked(ping, p125+"x")}, []string{"close 1002"}},
		{"a pong nobody asked for", [][]byte{masked(pong, ""), masked(pong, "x"), masked(ping, "y")}, []string{"pong y"}},
		// 5.1: "a server MUST close the connection upon receiving a frame that is not masked".
		{"not masked", [][]byte{{text, 2, '{', '}'}}, []string{"close 1002"}},
		{"a ping not masked", [][]byte{{ping, 0}}, []string{"close 1002"}},
		// 5.2
		{"a length of 64 bits with its highest bit set", [][]byte{{text, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1}, key}, []string{"close 1002"}},
		{"a length of 16 bits for 5 bytes", [][]byte{{text, 0xfe, 0, 5}, key}, []string{"close 1002"}},
		{"a length of 64 bits for 5 bytes", [][]byte{{text, 0xff, 0, 0, 0, 0, 0, 0, 0, 5}, key}, []string{"close 1002"}},
		// Ours, by the header alone.
		{"too large", [][]byte{masked(text, full+" ")}, []string{"close 1009"}},
		{"too large, its header only", [][]byte{maskedHeader(text, 1<<30), key}, []string{"close 1009"}},
		{"too large in fragments", [][]byte{masked(byte(ws.OpText), full), masked(cont, "x")}, []string{"close 1009"}},
		{"a binary message", [][]byte{masked(fin|byte(ws.OpBinary), "x")}, []string{"close 1003"}},
		// 8.1
		{"not UTF-8", [][]byte{masked(text, "a\xffb")}, []string{"close 1007"}},
		{"a surrogate", [][]byte{masked(text, "\xed\xa0\x80")}, []string{"close 1007"}},
		{"not UTF-8 in a fragment that is not the last", [][]byte{masked(byte(ws.OpText), "a\xff")}, []string{"close 1007"}},
		{"a character cut by the end", [][]byte{masked(byte(ws.OpText), "\xf0\x9f"), masked(cont|fin, "\x98")}, []string{"close 1007"}},
		{"a character over two fragments", [][]byte{masked(byte(ws.OpText), `{"x":"`+"\xc3"), masked(cont|fin, "\xa4\""+`,"sendType":"HEALTH"}`)},
			[]string{"text SUCCESS"}},
		// 5.5.1, 7.1.5, 7.4
		{"an empty close", [][]byte{masked(fin|byte(ws.OpClose), "")}, []string{"close"}},
		{"a close with a reason", [][]byte{closeFrame(1000, "goodbye, κόσμε")}, []string{"close 1000"}},
		{"a close of one byte", [][]byte{masked(fin|byte(ws.OpClose), "x")}, []string{"close 1002"}},
		{"a close with a reason that is not UTF-8", [][]byte{closeFrame(1000, "\xff")}, []string{"close 1007"}},
		{"a close that is too long", [][]byte{closeFrame(1000, p125[:124])}, []string{"close 1002"}},
		{"a close amid fragments", [][]byte{masked(byte(ws.OpText), "x"), closeFrame(1001, "")}, []string{"close 1001"}},
		// 1.4: "after receiving a control frame indicating the connection should be closed, a peer discards any further data".
		{"messages behind a close", [][]byte{closeFrame(1000, ""), masked(text, health), masked(ping, "x"), closeFrame(1001, "")},
			[]string{"close 1000"}},
		{"messages behind an error", [][]byte{masked(0x83, ""), masked(text, health), closeFrame(1000, "")}, []string{"close 1002"}},
		{"messages before a close", [][]byte{masked(text, health), closeFrame(1000, "")}, []string{"text SUCCESS", "close 1000"}},
	}
	for rsv := byte(1); rsv < 8; rsv++ {
		list = append(list, exchange{fmt.Sprintf("reserved bits %d", rsv), [][]byte{masked(text|rsv<<4, health)}, []string{"close 1002"}})
	}
	for _, op := range []byte{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		list = append(list, exchange{fmt.Sprintf("opcode %d", op), [][]byte{masked(fin|op, "")}, []string{"close 1002"}})
	}
	for _, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999} {
		list = append(list, exchange{fmt.Sprintf("close with %d", code), [][]byte{closeFrame(code, "")}, []string{fmt.Sprint("close ", code)}})
	}
	for _, code := range []int{0, 1, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535} {
		list = append(list, exchange{fmt.Sprintf("close with the invalid %d", code), [][]byte{closeFrame(code, "")}, []string{"close 1002"}})
	}
	return list
}

// However the bytes are cut, the same comes back; and behind a close frame the gateway closes the connection first, at once,
// with nothing lost to a reset: the tab sends nothing after its exchange and reads to the end.
func TestConformance(t *testing.T) {
	h := newHouse(t, 1)
	g := h.gate(func(c *Config) { c.MessagesPerSecond = 1000 })
	for _, x := range exchanges() {
		t.Run(x.name, func(t *testing.T) {
			for name, send := range map[string]func(*tab){
				"at once":        func(b *tab) { b.send(x.send...) },
				"frame by frame": func(b *tab) { sendEach(b, x.send) },
				"byte by byte":   func(b *tab) { sendEach(b, split(bytes.Join(x.send, nil))) },
			} {
				b := g.upgraded("GET /websocket/alice HTTP/1.1")
				b.t = t
				done := make(chan struct{})
				go func() { send(b); close(done) }() // it may be refused before all is written
				got := b.shown(len(x.want))
				if !slices.Equal(got, x.want) {
					t.Fatalf("%s: got %q, want %q", name, got, x.want)
				}
				if last := x.want[len(x.want)-1]; strings.HasPrefix(last, "close") {
					b.wantEnd(1500 * time.Millisecond)
				} else {
					<-done
					b.wantPong("still here")
				}
				b.conn.Close()
				<-done
			}
		})
	}
	g.settled(t)
}

func sendEach(b *tab, parts [][]byte) {
	for _, p := range parts {
		b.send(p)
	}
}

func split(b []byte) (parts [][]byte) {
	for i := range b {
		parts = append(parts, b[i:i+1])
	}
	return parts
}

// shown reads n frames. What the gateway sends is final, and never masked (5.1).
func (b *tab) shown(n int) (list []string) {
	b.t.Helper()
	for range n {
		f, err := b.frame()
		if err != nil {
			return append(list, err.Error())
		}
		if f.Header.Masked || !f.Header.Fin || f.Header.Rsv != 0 {
			b.t.Errorf("got header %+v", f.Header)
		}
		switch f.Header.OpCode {
		case ws.OpText:
			list = append(list, "text "+string(f.Payload))
		case ws.OpPing:
			list = append(list, "ping "+string(f.Payload))
		case ws.OpPong:
			list = append(list, "pong "+string(f.Payload))
		case ws.OpClose:
			if len(f.Payload) == 0 {
				list = append(list, "close")
			} else {
				code, _ := ws.ParseCloseFrameData(f.Payload)
				list = append(list, fmt.Sprint("close ", code))
			}
		default:
			list = append(list, fmt.Sprintf("opcode %d", f.Header.OpCode))
		}
	}
	return list
}

// A tab that goes on sending behind its mistake still gets the close frame: the connection is not reset on unread bytes.
func TestCloseFrameSurvivesWhatIsStillSent(t *testing.T) {
	h := newHouse(t, 1)
	g := h.gate(nil)
	for name, mistake := range map[string]struct {
		send []byte
		code CloseCode
	}{
		"a broken frame":  {masked(0x83, ""), closeProtocol},
		"not JSON":        {masked(text, "hello"), closeProtocol},
		"too many frames": {bytes.Repeat(masked(pong, ""), 50), closeFlood},
	} {
		t.Run(name, func(t *testing.T) {
			b := g.upgraded()
			b.t = t
			b.send(mistake.send, bytes.Repeat(masked(text, `{"type":"more"}`), 50_000))
			b.wantClose(mistake.code)
			b.conn.Close()
		})
	}
}

// A close frame of ours that is not answered is not waited for; one that is answered ends the connection at once.
func TestCloseAnswered(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	g := h.gate(nil)
	for name, tt := range map[string]struct {
		answer      []byte
		least, most time.Duration
	}{
		"not at all":            {nil, 1500 * time.Millisecond, 4 * time.Second},
		"by something else":     {masked(ping, "x"), 1500 * time.Millisecond, 4 * time.Second},
		"with the code":         {closeFrame(1002, ""), 0, 1500 * time.Millisecond},
		"with another code":     {closeFrame(1000, "bye"), 0, 1500 * time.Millisecond},
		"without a code":        {masked(fin|byte(ws.OpClose), ""), 0, 1500 * time.Millisecond},
		"with a broken frame":   {masked(0x83, ""), 0, 1500 * time.Millisecond},
		"behind other messages": {append(masked(text, "{}"), closeFrame(1002, "")...), 0, 1500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := g.upgraded()
			b.t = t
			b.send(masked(text, "not JSON"))
			b.wantClose(closeProtocol)
			start := time.Now()
			b.send(tt.answer)
			b.wantEnd(tt.most)
			if d := time.Since(start); d < tt.least {
				t.Errorf("the connection ended after %v, want at least %v", d, tt.least)
			}
		})
	}
}

// A tab that vanishes without a close frame is not answered with one.
func TestEndWithoutClose(t *testing.T) {
	h := newHouse(t, 1)
	g := h.gate(nil)
	b := g.upgraded()
	b.conn.(interface{ CloseWrite() error }).CloseWrite()
	if f, err := b.frame(); !errors.Is(err, io.EOF) {
		t.Fatalf("got %+v, %v, want the end of the stream", f, err)
	}
	eventually(t, "the close is counted", func() error {
		if n := g.metric("tidings_closes_total", causeGone); n != 1 {
			return fmt.Errorf("got %v closes as %s, want 1", n, causeGone)
		}
		return nil
	})
}

// What is not a JSON object is no message of tidings.v1. Objects are, whatever is in them: a newer client may say more.
func TestWhatIsAMessage(t *testing.T) {
	h := newHouse(t, 1)
	g := h.gate(nil)
	for message, open := range map[string]bool{
		`{}`: true, `{"type":"later"}`: true, ` {"type":1} `: true, `{"type":{"a":[]},"token":7,"sendType":null}`: true, `{"type":"auth","token":"x"}`: true,
		``: false, `null`: false, `7`: false, `"type"`: false, `[{}]`: false, `true`: false, `{`: false, `{}{}`: false, `{"a":1,}`: false,
	} {
		b := g.upgraded()
		b.send(masked(text, message))
		if open {
			b.wantPong("still here")
		} else {
			b.wantClose(closeProtocol)
		}
		b.conn.Close()
	}
}
