package frame

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// First bytes of compressed frames.
const (
	opTextZ    = opText | rsv1
	opBinaryZ  = opBinary | rsv1
	textStartZ = textStart | rsv1
)

// deflated is a message as a browser compresses it, with compress/flate, which has nothing to do with ours.
func deflated(text string) string {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		panic(err)
	}
	io.WriteString(w, text)
	w.Flush()
	return strings.TrimSuffix(b.String(), syncMarker)
}

// inflated reads a message with compress/flate.
func inflated(t testing.TB, p []byte) string {
	t.Helper()
	b, err := io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(p), strings.NewReader(syncMarker))))
	if !errors.Is(err, io.ErrUnexpectedEOF) { // there is no final block
		t.Fatalf("got %v behind %q, want that there could be more", err, b)
	}
	return string(b)
}

func compressing(rs *Readers) *Reader {
	r := rs.Get()
	r.Deflate()
	return r
}

func TestDeflate(t *testing.T) {
	var d Deflaters
	for name, text := range map[string]string{
		"short": strings.Repeat("ab", 100), "a notification": string(notification(700)), "large": strings.Repeat(string(notification(4000)), 60),
	} {
		for range 2 { // the second must not refer to the first
			f := d.Text([]byte(text))
			h, err := ws.ReadHeader(bytes.NewReader(f))
			if err != nil || !h.Fin || h.Rsv != ws.Rsv(true, false, false) || h.OpCode != ws.OpText || h.Masked || int(h.Length) != len(Payload(f)) {
				t.Fatalf("%s: got header %+v, %v", name, h, err)
			}
			if got := inflated(t, Payload(f)); got != text {
				t.Errorf("%s: got %.100q, want %.100q", name, got, text)
			}
			if len(f) >= len(text) || cap(f) != len(f) {
				t.Errorf("%s: %d bytes of %d, in memory %d", name, len(f), len(text), cap(f))
			}
		}
	}
	for name, text := range map[string][]byte{"nothing": nil, "one byte": {'x'}, "random bytes": random(2000)} {
		if f := d.Text(text); f != nil {
			t.Errorf("%s: got %d bytes of %d, want nil", name, len(f), len(text))
		}
	}
}

func random(n int) []byte {
	b, rnd := make([]byte, n), rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return b
}

// notification is one of about n bytes: identifiers, which do not compress, and a list of things, which does.
func notification(n int) []byte {
	rnd := rand.New(rand.NewPCG(3, 4))
	b := fmt.Appendf(nil, `{"type":"notification","cursor":"0.mbq2v7dd.%d","id":"%016x%016x","kind":"order.shipped","time":"2026-03-01T10:00:%09.6fZ",`+
		`"traceparent":"00-%016x%016x-%016x-01","data":{"orderId":"%d","status":"shipped","items":[`,
		rnd.IntN(1e6), rnd.Uint64(), rnd.Uint64(), 60*rnd.Float64(), rnd.Uint64(), rnd.Uint64(), rnd.Uint64(), rnd.IntN(1e6))
	words := []string{"blue", "cotton", "shirt", "mug", "lamp", "oak", "desk", "notebook", "large", "small", "wool", "scarf"}
	word := func() string { return words[rnd.IntN(len(words))] }
	for len(b) < n-3 {
		b = fmt.Appendf(b, `{"sku":"%.2s-%d","name":"%s %s %s","quantity":%d,"price":"%d.%02d"},`,
			word(), rnd.IntN(1e5), word(), word(), word(), rnd.IntN(9), rnd.IntN(200), rnd.IntN(100))
	}
	return append(b[:max(n, 250)-3], "]}}"...)
}

func TestCompressedMessages(t *testing.T) {
	whole := strings.Repeat("x", 4096)
	final := func(parts ...string) string { // each in a block that says that it is the last
		var b bytes.Buffer
		for _, p := range parts {
			w, err := flate.NewWriter(&b, 5)
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(w, p)
			w.Close()
		}
		return b.String() + "\x00"
	}
	for _, tt := range []struct {
		name string
		in   [][]byte
		want []string
	}{
		// RFC 7692, 7.2.3.1 to 7.2.3.5
		{"Hello", [][]byte{client(opTextZ, "\xf2\x48\xcd\xc9\xc9\x07\x00")}, []string{`text "Hello"`}},
		{"Hello in two fragments", [][]byte{client(textStartZ, "\xf2\x48\xcd"), client(goesEnd, "\xc9\xc9\x07\x00")}, []string{`text "Hello"`}},
		{"Hello twice", [][]byte{client(opTextZ, "\xf2\x48\xcd\xc9\xc9\x07\x00"), client(opTextZ, "\xf2\x48\xcd\xc9\xc9\x07\x00")}, []string{`text "Hello"`, `text "Hello"`}},
		{"Hello not compressed", [][]byte{client(opTextZ, "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00")}, []string{`text "Hello"`}},
		{"Hello in a final block", [][]byte{client(opTextZ, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00")}, []string{`text "Hello"`}},
		{"Hello in two blocks", [][]byte{client(opTextZ, "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00")}, []string{`text "Hello"`}},
		{"Hello that refers to the message before", [][]byte{client(opTextZ, "\xf2\x48\xcd\xc9\xc9\x07\x00"), client(opTextZ, "\xf2\x00\x11\x00\x00")},
			[]string{`text "Hello"`, "error 1002 compressed message that cannot be read"}},

		{"nothing", [][]byte{client(opTextZ, "\x00")}, []string{`text ""`}},
		{"nothing in fragments", [][]byte{client(textStartZ, ""), client(goesOn, "\x00"), client(goesEnd, "")}, []string{`text ""`}},
		{"not even a block", [][]byte{client(opTextZ, "")}, []string{"error 1002 compressed message that cannot be read"}},
		{"not even a block, in fragments", [][]byte{client(textStartZ, ""), client(goesEnd, "")}, []string{"error 1002 compressed message that cannot be read"}},
		{"binary", [][]byte{client(opBinaryZ, deflated("\xff\x00"))}, []string{`binary "\xff\x00"`}},
		{"compressed or not", [][]byte{client(opText, "a"), client(opTextZ, deflated("b")), client(opText, "c"), client(textStartZ, deflated("d")), client(goesEnd, ""), client(textStart, "e"), client(goesEnd, "f")},
			[]string{`text "a"`, `text "b"`, `text "c"`, `text "d"`, `text "ef"`}},
		{"a ping amid fragments", [][]byte{client(textStartZ, deflated("κόσμε")[:3]), client(opPing, "p"), client(goesEnd, deflated("κόσμε")[3:])}, []string{`ping "p"`, `text "κόσμε"`}},
		{"two final blocks", [][]byte{client(opTextZ, final("Hello ", "world"))}, []string{`text "Hello world"`}},
		{"too many final blocks", [][]byte{client(opTextZ, final(make([]string, maxFinals+1)...))}, []string{"error 1008 compressed message in too many final blocks"}},
		{"as large as allowed", [][]byte{client(opTextZ, deflated(whole))}, []string{show(ws.OpText, []byte(whole))}},

		{"too large", [][]byte{client(opTextZ, deflated(whole+"x"))}, []string{"error 1009 larger than 4096 bytes"}},
		{"a bomb", [][]byte{client(opTextZ, deflated(strings.Repeat("\x00", 3<<20)))}, []string{"error 1009 larger than 4096 bytes"}},
		{"a bomb in fragments", [][]byte{client(textStartZ, deflated(strings.Repeat("\x00", 3<<20))[:2000]), client(goesEnd, deflated(strings.Repeat("\x00", 3<<20))[2000:])}, []string{"error 1009 larger than 4096 bytes"}},
		{"too large before it is inflated", [][]byte{client(opTextZ, string(random(4097)))}, []string{"error 1009 larger than 4096 bytes"}},
		{"not UTF-8", [][]byte{client(opTextZ, deflated("a\xff"))}, []string{"error 1007 text is not valid UTF-8"}},
		{"not deflated", [][]byte{client(opTextZ, "Hello")}, []string{"error 1002 compressed message that cannot be read"}},
		{"half a message", [][]byte{client(opTextZ, deflated("Hello, world")[:6])}, []string{"error 1002 compressed message that cannot be read"}},
		{"a final block without its padding", [][]byte{client(opTextZ, strings.TrimSuffix(final("Hello"), "\x00"))}, []string{"error 1002 compressed message that cannot be read"}},
		{"a continuation that is marked", [][]byte{client(textStartZ, deflated("Hello")), client(goesEnd|rsv1, "")}, []string{"error 1002 a control frame or a continuation is marked as compressed"}},
		{"a ping that is marked", [][]byte{client(opPing|rsv1, "")}, []string{"error 1002 a control frame or a continuation is marked as compressed"}},
		{"another bit", [][]byte{client(opText|0x20, "")}, []string{"error 1002 reserved bits set, but no extension was agreed"}},
		{"another bit too", [][]byte{client(opTextZ|0x10, "")}, []string{"error 1002 reserved bits set, but no extension was agreed"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := bytes.Join(tt.in, nil)
			rs := NewReaders(Limits{})
			for _, parts := range [][][]byte{split(in), tt.in, eachByte(in)} {
				if got, _ := readWith(t, compressing(rs), parts); !slices.Equal(got, tt.want) {
					t.Errorf("in %d parts: got %q, want %q", len(parts), got, tt.want)
				}
			}
			if in[0]&rsv1 != 0 {
				if got, _ := read(t, rs, split(in)); !slices.Equal(got, []string{"error 1002 reserved bits set, but no extension was agreed"}) {
					t.Errorf("not agreed: got %q", got)
				}
			}
		})
	}
}

// A Reader that comes back has forgotten what its last connection agreed to.
func TestDeflateIsForgotten(t *testing.T) {
	rs := NewReaders(Limits{})
	rs.Put(compressing(rs))
	if r := rs.Get(); r.deflate {
		t.Error("it has not")
	}
}

func TestInflateAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates, too")
	}
	in := client(opTextZ, deflated(string(notification(1000))))
	rs, buf := NewReaders(Limits{}), make([]byte, len(in))
	if got := testing.AllocsPerRun(200, func() {
		r := compressing(rs)
		for f, err := range r.Frames(buf[:copy(buf, in)]) {
			if err != nil || len(f.Payload) != 1000 {
				t.Fatal(f, err)
			}
		}
		rs.Put(r)
	}); got != 0 {
		t.Errorf("got %v allocations, want 0", got)
	}
}

// FuzzInflate reads what the fuzzer makes of compressed messages, in one frame and cut into fragments and segments; and wherever compress/flate finds
// a message in it, that is what must come out.
func FuzzInflate(f *testing.F) {
	for i, text := range []string{"", "Hello", strings.Repeat("x", 4097), string(notification(1000)), "a\xff", strings.Repeat("\x00", 1<<20)} {
		f.Add([]byte(deflated(text)), uint64(i))
	}
	f.Add([]byte("\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"), uint64(1))
	f.Add([]byte("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), uint64(2))
	f.Add([]byte("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"), uint64(3))
	rs := NewReaders(Limits{})
	f.Fuzz(func(t *testing.T, p []byte, seed uint64) {
		if len(p) > 5000 {
			return
		}
		in := client(opTextZ, string(p))
		whole, state := readWith(t, compressing(rs), split(in))
		rnd := rand.New(rand.NewPCG(seed, 5))
		if got, gotState := readWith(t, compressing(rs), split(in, randomCuts(rnd, len(in))...)); !slices.Equal(got, whole) || gotState != state {
			t.Errorf("cut: got %q, Reader %s; want %q, Reader %s", got, gotState, whole, state)
		}
		if len(p) > 0 && len(p) <= defaultMaxSize {
			at := rnd.IntN(len(p))
			parts := [][]byte{client(textStartZ, string(p[:at])), client(opPing, ""), client(goesEnd, string(p[at:]))}
			want := append([]string{`ping ""`}, whole...)
			if got, _ := readWith(t, compressing(rs), parts); !slices.Equal(got, want) {
				t.Errorf("in fragments: got %q, want %q", got, want)
			}
		}
		if len(p) > defaultMaxSize {
			return
		}
		// compress/flate reads up to the first final block; what has none ends without one.
		src := bytes.NewReader(slices.Concat(p, []byte(syncMarker)))
		text, err := io.ReadAll(io.LimitReader(flate.NewReader(src), defaultMaxSize+1))
		want := show(ws.OpText, text)
		switch {
		case len(text) > defaultMaxSize:
			want = "error 1009"
		case err == nil: // there is more behind the final block, or nothing: not for this reader
			return
		case !errors.Is(err, io.ErrUnexpectedEOF), src.Len() > 0, !endsBlock(p):
			want = "error 1002"
		case !utf8.Valid(text):
			want = "error 1007"
		}
		if got := errorNumber(whole[0]); len(whole) != 1 || got != want {
			t.Errorf("%x: got %q, want %q", p, whole, want)
		}
	})
}

// endsBlock tells whether the marker ends a block, so that another may follow.
func endsBlock(p []byte) bool {
	src := bytes.NewReader(slices.Concat(p, []byte(inflateTail)))
	_, err := io.Copy(io.Discard, flate.NewReader(src))
	return err == nil && src.Len() == 0
}

// What compressing costs, and what it saves: protocol.md has the table. An operation is one record.
func BenchmarkDeflate(b *testing.B) {
	for _, n := range []int{256, 384, 512, 1024, 2048, 4096, 16384} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var d Deflaters
			text := notification(n)
			b.ReportAllocs()
			size := 0
			for b.Loop() {
				size = len(d.Text(text))
			}
			b.ReportMetric(float64(size), "B-sent")
		})
	}
}

func BenchmarkInflate(b *testing.B) {
	in := client(opTextZ, deflated(string(notification(1024))))
	rs, buf := NewReaders(Limits{}), make([]byte, len(in))
	b.ReportAllocs()
	for b.Loop() {
		r := compressing(rs)
		for _, err := range r.Frames(buf[:copy(buf, in)]) {
			if err != nil {
				b.Fatal(err)
			}
		}
		rs.Put(r)
	}
}
