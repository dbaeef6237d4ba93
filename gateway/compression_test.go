package gateway

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/gorilla/websocket"

	"tidings/fanout/wire"
	"tidings/integration/browser"
)

const offer = "Sec-WebSocket-Extensions: permessage-deflate"

func TestCompressionOffers(t *testing.T) {
	rules := testUpgradeRules(t, AuthConfig{HMACSecret: testSecret})
	rules.deflate = true
	const agreed = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	for _, tt := range []struct {
		name  string
		edits []string
		want  string // "": no extension; "400": refused
	}{
		{"none", nil, ""},
		{"Firefox", []string{offer}, agreed},
		{"Chromium", []string{offer + "; client_max_window_bits"}, agreed},
		{"another window of the browser's", []string{offer + "; client_max_window_bits=10"}, agreed},
		{"a smaller window of ours", []string{offer + "; server_max_window_bits=10"}, agreed + "; server_max_window_bits=10"},
		{"the smallest", []string{offer + "; server_max_window_bits=8"}, agreed + "; server_max_window_bits=8"},
		{"in quotes", []string{offer + `; server_max_window_bits="9"`}, agreed + "; server_max_window_bits=9"},
		{"the largest, by name", []string{offer + "; server_max_window_bits=15"}, agreed + "; server_max_window_bits=15"},
		{"everything", []string{offer + "; client_no_context_takeover; server_no_context_takeover; client_max_window_bits=15; server_max_window_bits=15"},
			agreed + "; server_max_window_bits=15"},
		{"the second of two", []string{offer + "; server_max_window_bits=7, permessage-deflate"}, agreed},
		{"the first of two", []string{offer + "; server_max_window_bits=9, permessage-deflate"}, agreed + "; server_max_window_bits=9"},
		{"in two lines", []string{"Sec-WebSocket-Extensions: x-webkit-deflate-frame", "+Sec-WebSocket-Extensions: permessage-deflate"}, agreed},
		{"another extension", []string{"Sec-WebSocket-Extensions: permessage-bzip2"}, ""},
		{"a parameter that we do not know", []string{offer + "; level=9"}, ""},
		{"a parameter twice", []string{offer + "; server_no_context_takeover; server_no_context_takeover"}, ""},
		{"a window without a size", []string{offer + "; server_max_window_bits"}, ""},
		{"a window too large", []string{offer + "; server_max_window_bits=16"}, ""},
		{"a window that is no number", []string{offer + "; client_max_window_bits=x"}, ""},
		{"a value where none is", []string{offer + "; client_no_context_takeover=1"}, ""},
		{"no list", []string{offer + "; ;=,"}, "400"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, edits := range [][]string{tt.edits, append([]string{"GET /websocket/alice HTTP/1.1"}, tt.edits...)} {
				up, ref := checkBytes(t, rules, handshake(edits...))
				if (ref == refuseExtensions) != (tt.want == "400") || ref != nil && ref != refuseExtensions {
					t.Fatalf("got %s", refusalText(ref))
				}
				if ref != nil {
					continue
				}
				answer := string(appendSwitchingProtocols(nil, up))
				_, got, _ := strings.Cut(answer, "\r\nSec-WebSocket-Extensions: ")
				if got, _, _ = strings.Cut(got, "\r\n"); got != tt.want || !strings.HasSuffix(answer, "\r\n\r\n") {
					t.Errorf("got %q, want %q", got, tt.want)
				}
				if up.form().deflated() != (tt.want != "") {
					t.Errorf("got form %d", up.form())
				}
			}
			rules := *rules
			rules.deflate = false
			if up, ref := checkBytes(t, &rules, handshake(tt.edits...)); ref != nil || up.form() != framed {
				t.Errorf("switched off: got %s, form %d", refusalText(ref), up.form())
			}
		})
	}
}

// A client of another house, with compression: what is worth it comes compressed, all of it is right, and what it sends compressed is read.
func TestCompression(t *testing.T) {
	h := newHouse(t, 1)
	g := h.gate(func(c *Config) { c.Compression = true })
	plain := h.gate(nil)
	dial := func(g *gate, path string) *websocket.Conn {
		d := websocket.Dialer{EnableCompression: true, Subprotocols: []string{"tidings.v1"}}
		if strings.HasPrefix(path, "/websocket/") {
			d.Subprotocols = nil
		}
		c, resp, err := d.DialContext(t.Context(), g.url(path), nil)
		if err != nil {
			t.Fatal(err)
		}
		if agreed := resp.Header.Get("Sec-WebSocket-Extensions") != ""; agreed != (g != plain) {
			t.Fatalf("compression is agreed: %v", agreed)
		}
		t.Cleanup(func() { c.Close() })
		if _, b, err := c.ReadMessage(); err != nil || len(b) == 0 {
			t.Fatalf("got %q, %v, want a welcome", b, err)
		}
		return c
	}
	clients := []*websocket.Conn{dial(g, "/ws?user=alice"), dial(g, "/ws?user=alice"), dial(plain, "/ws?user=alice"), dial(g, "/websocket/alice")}
	for n := range 30 {
		fill := strings.Repeat("many words, ", n*n)
		h.tell(wire.Record{Kind: wire.Users, Users: []string{"alice"}, Notification: fmt.Appendf(nil, `{"data":%d,"fill":"%s"}`, n, fill)})
		for i, c := range clients {
			if _, b, err := c.ReadMessage(); err != nil || !strings.HasSuffix(string(b), fmt.Sprintf(`"data":%d,"fill":"%s"}`, n, fill)) {
				t.Fatalf("client %d: got %.100q, %v, want notification %d", i, b, err, n)
			}
		}
	}
	// 12 B a word: from the seventh on a text has 512 bytes.
	if got := g.metric("tidings_compressed_records_total"); got < 20 || got > 25 {
		t.Errorf("%v records were compressed, want each of the larger 23 once", got)
	}
	if in, out := g.metric("tidings_compression_in_bytes_total"), g.metric("tidings_compression_out_bytes_total"); out == 0 || out > in/5 {
		t.Errorf("%v bytes became %v", in, out)
	}
	asks := clients[3]
	asks.EnableWriteCompression(true)
	if err := asks.WriteMessage(websocket.TextMessage, []byte(`{"sendType":"HEALTH","fill":"`+strings.Repeat("x", 3000)+`"}`)); err != nil {
		t.Fatal(err)
	}
	if _, b, err := asks.ReadMessage(); err != nil || string(b) != "SUCCESS" {
		t.Errorf("got %q, %v, want SUCCESS", b, err)
	}
	if err := asks.WriteMessage(websocket.TextMessage, []byte(`{"fill":"`+strings.Repeat("x", 1<<20)+`"}`)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := asks.ReadMessage(); !websocket.IsCloseError(err, int(closeTooBig)) {
		t.Errorf("got %v for a bomb, want 1009", err)
	}
	before := liveHeap()
	bomb := masked(text|0x40, deflated(t, strings.Repeat("\x00", 3<<20)))
	for range 20 {
		b := g.upgraded(offer)
		b.send(bomb)
		b.wantClosed(closeTooBig)
	}
	if grown := liveHeap() - before; grown > 4<<20 {
		t.Errorf("bombs have left %d B", grown)
	}
	b := g.upgraded() // has not offered
	b.send(masked(text|0x40, deflated(t, "{}")))
	b.wantClosed(closeProtocol)
}

func deflated(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, text)
	w.Flush()
	return strings.TrimSuffix(b.String(), "\x00\x00\xff\xff")
}

// deflatingSession is one that has agreed to compression.
func (b *bench) deflatingSession(user string, bits byte) (s *Session, browser int) {
	b.t.Helper()
	s, browser = b.session(user)
	s.form = form(bits)
	return s, browser
}

// A window holds what it holds: who asked for a small one is sent what fits compressed, and the rest as it is.
func TestSmallWindows(t *testing.T) {
	b := newBench(t, func(c *Config) { c.CompressionMin = 100 })
	for _, tt := range []struct {
		bits byte
		n    int
		want bool // compressed
	}{{8, 99, false}, {8, 180, true}, {8, 256, true}, {8, 257, false}, {9, 257, true}, {9, 512, true}, {9, 513, false}, {15, 32768, true}, {15, 32769, false}} {
		const rest = len(notificationHead) + len(`0.1.1","fill":""}`)
		c := wire.Cursor{Epoch: 1, Seq: 1}
		e := newEntry(c, 1, 0, &wire.View{Notification: []byte(`{"fill":"` + strings.Repeat("x", tt.n-rest) + `"}`)})
		if got := b.gate.forms.of(e, form(tt.bits)); (got[0]&0x40 != 0) != tt.want {
			t.Errorf("%d bytes in a window of %d bits: compressed is %v, want %v", tt.n, tt.bits, !tt.want, tt.want)
		}
	}
}

// Loops that need it at once have one compressed frame; what does not get smaller is sent as it is, and tried once.
func TestCompressedOnce(t *testing.T) {
	b := newBench(t, nil)
	f := &b.gate.forms
	list := make([]*entry, 200)
	for i := range list {
		list[i] = newEntry(wire.Cursor{Epoch: 1, Seq: uint64(i + 1)}, 1, 0, &wire.View{Notification: fmt.Appendf(nil, `{"data":%d,"fill":"%s"}`, i, strings.Repeat("words ", 200))})
	}
	var loops sync.WaitGroup
	got := make([][]*byte, 4)
	for i := range got {
		loops.Go(func() {
			for _, e := range list {
				got[i] = append(got[i], &f.of(e, 15)[0])
			}
		})
	}
	loops.Wait()
	for i := range list {
		for _, other := range got[1:] {
			if got[0][i] != other[i] {
				t.Fatal("a Record was compressed more than once")
			}
		}
	}
	e := list[0]
	e.frame = append([]byte{0x81, 126, 2, 88}, random600()...)
	e.deflated.Store(nil)
	if one, two := f.of(e, 15), f.of(e, 15); &one[0] != &e.frame[0] || &two[0] != &e.frame[0] || e.deflated.Load() == nil {
		t.Error("what does not get smaller is not sent as it is")
	}
}

func random600() []byte {
	b := make([]byte, 600)
	x := uint32(1)
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x)
	}
	return b
}

// Delivering a Record that is compressed already, or in its first form, is the same.
func TestCompressedDeliveryAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates, too")
	}
	b := newBench(t, nil)
	var browsers []int
	for i := range 64 {
		_, browser := b.deflatingSession(fmt.Sprint("user", i), 15)
		browsers = append(browsers, browser)
	}
	b.seq++
	in := b.incoming(b.seq, wire.Record{Kind: wire.All, Notification: []byte(`{"fill":"` + strings.Repeat("words ", 200) + `"}`)})
	e := newEntry(wire.Cursor{Epoch: 1, Seq: in.seq}, b.shard.promised().life, in.part, &in.view)
	e.shard = b.shard
	if f := b.gate.forms.of(e, 15); f[0] != 0xc1 {
		t.Fatalf("got a frame that begins with %#x, want a compressed text", f[0])
	}
	buf := make([]byte, 64<<10)
	list := []delivery{{entry: e}}
	wrote := 0
	if got := testing.AllocsPerRun(100, func() {
		e.seq++
		b.loop.push(list)
		b.loop.drain(1 << 20)
		for _, browser := range browsers {
			wrote += gulp(browser, buf)
		}
	}); got != 0 {
		t.Errorf("got %v allocations for 64 deliveries, want 0", got)
	}
	if wrote < 100*64*50 || wrote > 100*64*250 {
		t.Errorf("%d bytes for 6400 deliveries of 1,270 bytes each", wrote)
	}
}

// A real browser: Chromium offers the extension, and its page sees every text as it is.
func TestCompressionInChromium(t *testing.T) {
	chromium := browser.New(t)
	h := newHouse(t, 1)
	g := h.gate(func(c *Config) { c.Compression = true })
	tab := browser.Tab(t, chromium)
	browser.Do(t, tab, chromedp.Navigate("http://"+g.Addr().String()+"/nothing"))
	browser.Eval[any](t, tab, fmt.Sprintf(`(() => {
		window.got = []; window.welcome = false; window.code = 0;
		window.socket = new WebSocket(%q, ['tidings.v1']);
		socket.onclose = (e) => { code = e.code; };
		socket.onmessage = (e) => {
			const frame = JSON.parse(e.data);
			if (frame.type === 'welcome') welcome = true;
			if (frame.type === 'notification') got.push(frame.data + ' ' + frame.fill.length + ' ' + frame.fill.endsWith('💧'));
		};
	})()`, g.url("/ws?user=alice")))
	browser.Wait(t, tab, `welcome && socket.extensions.includes('permessage-deflate')`)
	var want []string
	for n := range 40 {
		fill := strings.Repeat("drops of water, ", n*n) + "💧"
		want = append(want, fmt.Sprintf("%d %d true", n, len(fill)-2)) // JavaScript counts two for the last
		h.tell(wire.Record{Kind: wire.Users, Users: []string{"alice"}, Notification: fmt.Appendf(nil, `{"data":%d,"fill":"%s"}`, n, fill)})
	}
	browser.Wait(t, tab, `got.length === 40`)
	if got := browser.Eval[string](t, tab, `JSON.stringify(got)`); got != asJSON(t, want) {
		t.Errorf("got %s, want %s", got, asJSON(t, want))
	}
	if n := g.metric("tidings_compressed_records_total"); n < 30 {
		t.Errorf("%v records were compressed, want more than 30", n)
	}
	browser.Eval[any](t, tab, `socket.send(JSON.stringify({ type: 'hello', fill: 'x'.repeat(3000) }))`) // compressed, as browsers do it
	eventually(t, "the message is read", func() error {
		if n := g.metric("tidings_frames_received_total"); n != 1 {
			return fmt.Errorf("%v frames", n)
		}
		return nil
	})
	if n := g.metric("tidings_received_bytes_total"); n > 1000 {
		t.Errorf("%v bytes came, want them compressed", n)
	}
	browser.Eval[any](t, tab, `socket.send(JSON.stringify({ fill: 'x'.repeat(1 << 20) }))`)
	browser.Wait(t, tab, `code`)
	if got := browser.Eval[int](t, tab, `code`); got != 1009 {
		t.Errorf("closed with %d, want 1009: %v frames", got, g.metric("tidings_frames_received_total"))
	}
}
