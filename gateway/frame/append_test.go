package frame

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// What is written must be what ws, from the client's side, reads.
func TestAppendIsReadByWS(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 65535, 65536} {
		payload := bytes.Repeat([]byte{'x'}, n)
		for name, c := range map[string]struct {
			got  []byte
			want ws.Header
		}{
			"text":         {AppendText([]byte("before"), payload), ws.Header{Fin: true, OpCode: ws.OpText, Length: int64(n)}},
			"binary start": {append(AppendHeader([]byte("before"), ws.OpBinary, false, n), payload...), ws.Header{OpCode: ws.OpBinary, Length: int64(n)}},
			"ping":         {AppendPing([]byte("before"), payload), ws.Header{Fin: true, OpCode: ws.OpPing, Length: int64(min(n, 125))}},
			"pong":         {AppendPong([]byte("before"), payload), ws.Header{Fin: true, OpCode: ws.OpPong, Length: int64(min(n, 125))}},
		} {
			rd := bytes.NewReader(bytes.TrimPrefix(c.got, []byte("before")))
			h, err := ws.ReadHeader(rd)
			if err != nil || h != c.want {
				t.Errorf("%s of %d: got %+v, %v, want %+v", name, n, h, err, c.want)
			}
			if err := ws.CheckHeader(h, ws.StateClientSide); err != nil {
				t.Errorf("%s of %d: a client refuses it: %v", name, n, err)
			}
			if rd.Len() != int(h.Length) || len(c.got) != len("before")+HeaderLen(int(h.Length))+int(h.Length) {
				t.Errorf("%s of %d: %d bytes follow a header of %d", name, n, rd.Len(), HeaderLen(int(h.Length)))
			}
		}
	}
}

func TestAppendClose(t *testing.T) {
	for name, c := range map[string]struct {
		code   ws.StatusCode
		reason string
		want   string // the payload
	}{
		"normal":                      {1000, "", "\x03\xe8"},
		"with reason":                 {4401, "token expired", "\x11\x31token expired"},
		"draining":                    {StatusServiceRestart, "draining", "\x03\xf4draining"},
		"no status":                   {ws.StatusNoStatusRcvd, "lost", ""},
		"zero":                        {0, "", ""},
		"1006 is never sent":          {ws.StatusAbnormalClosure, "x", ""},
		"fits":                        {1000, strings.Repeat("x", 123), "\x03\xe8" + strings.Repeat("x", 123)},
		"too long":                    {1000, strings.Repeat("x", 124), "\x03\xe8" + strings.Repeat("x", 123)},
		"cut before a character":      {1000, strings.Repeat("x", 122) + "µ", "\x03\xe8" + strings.Repeat("x", 122)},
		"cut before a long character": {1000, strings.Repeat("x", 120) + "😀", "\x03\xe8" + strings.Repeat("x", 120)},
		"ends with a character":       {1000, strings.Repeat("x", 121) + "µ", "\x03\xe8" + strings.Repeat("x", 121) + "µ"},
		"cut before what is not text": {1000, "bad \xff byte", "\x03\xe8bad "},
		"U+FFFD itself is text":       {1000, "\ufffd!", "\x03\xe8\ufffd!"},
	} {
		got := AppendClose(nil, c.code, c.reason)
		if got[0] != opClose || int(got[1]) != len(got)-2 || string(got[2:]) != c.want {
			t.Errorf("%s: got %q, want a payload of %q", name, got, c.want)
		}
		if p := got[2:]; len(p) > 2 && !utf8.Valid(p[2:]) {
			t.Errorf("%s: reason %q is not UTF-8", name, p[2:])
		}
	}
}

// A close frame is answered with its own code, or with none.
func TestAppendCloseAnswers(t *testing.T) {
	for _, in := range [][]byte{closing(1000, "bye"), closing(4999, ""), client(opClose, "")} {
		r := NewReaders(Limits{}).Get()
		for f, err := range r.Frames(in) {
			if err != nil {
				t.Fatal(err)
			}
			answer := AppendClose(nil, CloseCode(f.Payload), "")
			if got, want := CloseCode(answer[2:]), CloseCode(f.Payload); got != want {
				t.Errorf("got an answer of %d, want %d", got, want)
			}
		}
	}
}

func TestAppendAllocatesNothing(t *testing.T) {
	dst, payload := make([]byte, 0, 1024), bytes.Repeat([]byte{'x'}, 200)
	reason := strings.Repeat("µ", 100)
	if allocs := testing.AllocsPerRun(100, func() {
		b := AppendText(dst, payload)
		b = AppendPing(b, payload)
		b = AppendPong(b, payload)
		AppendClose(b, 1000, reason)
	}); allocs != 0 {
		t.Errorf("got %v allocations, want 0", allocs)
	}
}
