package frame

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

func opOf(b0 byte) ws.OpCode { return ws.OpCode(b0 & 0x0f) }

// FuzzReader reads random bytes cut at random places: what comes out must be what comes out of the whole, and what the
// reference parser finds. read watches the memory.
func FuzzReader(f *testing.F) {
	for _, group := range [][]conformance{framing(), pings(), reservedBits(), fragmentation(), text(), closes(), limits(), lengths(), masking()} {
		for i, c := range group {
			if in := bytes.Join(c.in, nil); len(in) < 5000 {
				f.Add(in, uint64(i), byte(i))
			}
		}
	}
	homes := []*Readers{NewReaders(Limits{}), NewReaders(Limits{MaxSize: 10}), NewReaders(Limits{MaxSize: 200, RefuseBinary: true}), NewReaders(Limits{MaxSize: 1 << 17})}
	f.Fuzz(func(t *testing.T, in []byte, seed uint64, home byte) {
		rs := homes[int(home)%len(homes)]
		whole, state := read(t, rs, split(in))
		rnd := rand.New(rand.NewPCG(seed, 2))
		for _, parts := range [][][]byte{split(in, randomCuts(rnd, len(in))...), eachByte(in)} {
			got, gotState := read(t, rs, parts)
			if !slices.Equal(got, whole) || gotState != state {
				t.Errorf("cut in %d: got %q, Reader %s; want %q, Reader %s", len(parts), got, gotState, whole, state)
			}
		}
		if n := len(whole); n > 0 {
			whole[n-1] = errorNumber(whole[n-1])
		}
		if want := reference(in, rs.limits); !slices.Equal(whole, want) {
			t.Errorf("got %q, want %q as the reference parser", whole, want)
		}
	})
}

func errorNumber(s string) string {
	var code int
	if _, err := fmt.Sscanf(s, "error %d", &code); err != nil {
		return s
	}
	return fmt.Sprintf("error %d", code)
}

// reference reads the bytes of a whole connection the slow and simple way, with the header reader of ws. It names errors
// by number only.
func reference(in []byte, l Limits) (out []string) {
	if l.MaxSize == 0 {
		l.MaxSize = defaultMaxSize
	}
	fail := func(code int) []string { return append(out, fmt.Sprintf("error %d", code)) }
	rd := bytes.NewReader(in)
	var op ws.OpCode // of the fragmented message, 0 if there is none
	var message []byte
	var fragments int
	for {
		before := rd.Len()
		h, err := ws.ReadHeader(rd)
		switch {
		case errors.Is(err, ws.ErrHeaderLengthMSB):
			return fail(1002)
		case err != nil:
			return out
		}
		state := ws.StateServerSide
		if op != 0 {
			state = state.Set(ws.StateFragmented)
		}
		if err := ws.CheckHeader(h, state); err != nil || before-rd.Len() != ws.HeaderSize(h) {
			return fail(1002)
		}
		if h.OpCode.IsData() {
			switch {
			case l.RefuseBinary && h.OpCode == ws.OpBinary:
				return fail(1003)
			case h.Length > int64(l.MaxSize-len(message)):
				return fail(1009)
			case fragments >= l.MaxSize:
				return fail(1008)
			}
		}
		payload := make([]byte, min(h.Length, int64(rd.Len())))
		rd.Read(payload)
		for i := range payload {
			payload[i] ^= h.Mask[i%4]
		}
		complete := int64(len(payload)) == h.Length
		if h.OpCode.IsControl() {
			if !complete {
				return out
			}
			if h.OpCode == ws.OpClose {
				if code := referenceClose(payload); code != 0 {
					return fail(code)
				}
				return append(out, show(ws.OpClose, payload))
			}
			out = append(out, show(h.OpCode, payload))
			continue
		}
		if h.OpCode != ws.OpContinuation {
			op = h.OpCode
		}
		message = append(message, payload...)
		done := complete && h.Fin
		if op == ws.OpText && (!couldBeText(message) || done && !utf8.Valid(message)) {
			return fail(1007)
		}
		if !complete {
			return out
		}
		fragments++
		if done {
			out = append(out, show(op, message))
			op, message, fragments = 0, nil, 0
		}
	}
}

func referenceClose(p []byte) int {
	if len(p) == 0 {
		return 0
	}
	code, reason := ws.ParseCloseFrameData(p)
	registered := code >= 1012 && code <= 1014
	if registered {
		code = 1000
	}
	switch err := ws.CheckCloseFrameData(code, reason); {
	case len(p) == 1, code >= 5000:
		return 1002
	case err == ws.ErrProtocolInvalidUTF8:
		return 1007
	case err != nil:
		return 1002
	}
	return 0
}

// couldBeText tells whether more bytes could make b valid UTF-8, by trying them.
func couldBeText(b []byte) bool {
	for {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n <= 1 {
			break
		}
		b = b[n:]
	}
	if len(b) > 3 {
		return false
	}
	return completes(b, 3)
}

func completes(b []byte, more int) bool {
	if utf8.Valid(b) {
		return true
	}
	if more == 0 {
		return false
	}
	for _, c := range []byte{0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf} {
		if completes(append(b[:len(b):len(b)], c), more-1) {
			return true
		}
	}
	return false
}

// TestRandomStreams reads streams of mostly good frames, which random bytes seldom are, with now and then a byte changed.
func TestRandomStreams(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	rs := NewReaders(Limits{MaxSize: 300})
	var errs, frames int
	for range 2000 {
		in := randomStream(rnd)
		want := reference(in, rs.limits)
		for range 5 {
			got, _ := read(t, rs, split(in, randomCuts(rnd, len(in))...))
			if n := len(got); n > 0 {
				got[n-1] = errorNumber(got[n-1])
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%x:\n got %q\nwant %q", in, got, want)
			}
		}
		if n := len(want); n > 0 && strings.HasPrefix(want[n-1], "error") {
			errs++
		}
		frames += len(want)
	}
	if errs < 400 || errs > 1800 || frames < 3000 {
		t.Errorf("the streams are one-sided: %d of 2000 with errors, %d frames", errs, frames)
	}
}

func randomStream(rnd *rand.Rand) (in []byte) {
	texts := []string{"", "a", "κόσμε", "\xf0\x9f", "\x98\x80", "\xff", strings.Repeat("ü", 60), strings.Repeat("x", 130)}
	open := false
	for range 1 + rnd.IntN(8) {
		p, fin := texts[rnd.IntN(len(texts))], rnd.IntN(2) == 0
		switch kind := rnd.IntN(10); {
		case kind < 2:
			in = append(in, client(opPing+byte(rnd.IntN(2)), p[:min(len(p), 125)])...)
		case kind == 2:
			in = append(in, closing(1000+rnd.IntN(20), p[:min(len(p), 123)])...)
		default:
			b0 := []byte{textStart, textStart, binStart}[rnd.IntN(3)]
			if open {
				b0 = goesOn
			}
			if fin {
				b0 |= 0x80
			}
			open = !fin
			in = append(in, client(b0, p)...)
		}
	}
	if rnd.IntN(3) == 0 {
		in[rnd.IntN(len(in))] ^= 1 << rnd.IntN(8)
	}
	return in
}
