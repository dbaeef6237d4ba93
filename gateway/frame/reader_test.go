package frame

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/gobwas/ws"
)

func TestUnmaskIsTheRFCs(t *testing.T) {
	for n := range 200 {
		for cut := range min(n, 40) + 1 {
			want := bytes.Repeat([]byte("0123456789abcde"), 20)[:n]
			got := masked(string(want))
			k := uint32(key[0]) | uint32(key[1])<<8 | uint32(key[2])<<16 | uint32(key[3])<<24
			a := unmask(got[:cut], k)
			b := unmask(got[cut:], turn(k, cut))
			if !bytes.Equal(got, want) || !a || !b {
				t.Fatalf("%d bytes cut at %d: got %q, ASCII %v %v, want %q", n, cut, got, a, b, want)
			}
		}
	}
}

func TestUnmaskSeesEveryHighBit(t *testing.T) {
	for n := 1; n < 100; n++ {
		for at := range n {
			p := bytes.Repeat([]byte{'a'}, n)
			p[at] = 0x80
			if unmask(p, 0) {
				t.Fatalf("0x80 at %d of %d bytes taken for ASCII", at, n)
			}
		}
	}
}

func TestLoopLeftEarlyEndsTheReader(t *testing.T) {
	r := NewReaders(Limits{}).Get()
	in := bytes.Join([][]byte{client(textStart, "a"), client(opPing, ""), client(goesEnd, "b")}, nil)
	for range r.Frames(in) {
		break
	}
	if !r.Ended() || r.Idle() {
		t.Errorf("got ended %v idle %v, want true false: bytes were lost", r.Ended(), r.Idle())
	}
	for f, err := range r.Frames(client(opText, "Hello")) {
		t.Errorf("an ended Reader yields %v, %v", f, err)
	}
	checkHeld(t, r, len(in))
}

func TestPutLeavesNothingBehind(t *testing.T) {
	rs := NewReaders(Limits{})
	for name, in := range map[string][]byte{
		"half a header":  client(opText, "Hello")[:3],
		"half a payload": client(opText, "Hello")[:9],
		"a fragment":     client(textStart, "Hello"),
		"an error":       {0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"a close frame":  closing(1000, ""),
	} {
		r := rs.Get()
		for range r.Frames(bytes.Clone(in)) {
		}
		if r.Idle() {
			t.Errorf("%s: Reader is idle before Put", name)
		}
		rs.Put(r)
		if !r.Idle() || r.buf != nil {
			t.Errorf("%s: Reader in the pool is not idle", name)
		}
	}
}

func TestLargeMessageInPiecesIsHeldInTheRightBuffer(t *testing.T) {
	rs := NewReaders(Limits{MaxSize: 100_000})
	r := rs.Get()
	text := strings.Repeat("κ", 50_000)
	in := client(opText, text)
	var got string
	for i := 0; i < len(in); i += 1000 {
		end := min(i+1000, len(in))
		for f, err := range r.Frames(bytes.Clone(in[i:end])) {
			if err != nil {
				t.Fatal(err)
			}
			got = string(f.Payload)
		}
		checkHeld(t, r, end)
	}
	if got != text {
		t.Errorf("got %d bytes, want the %d that were sent", len(got), len(text))
	}
}

// Readers of one home share its pools from many goroutines.
func TestReadersAreForManyGoroutines(t *testing.T) {
	rs := NewReaders(Limits{})
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			text := strings.Repeat(string(rune('a'+g)), 300)
			in := client(opText, text)
			for range 200 {
				r := rs.Get()
				var got string
				for _, part := range split(bytes.Clone(in), 3, 100, 200) {
					for f := range r.Frames(part) {
						got = string(f.Payload)
					}
				}
				if got != text {
					t.Errorf("goroutine %d: got %.20q…", g, got)
				}
				rs.Put(r)
			}
		})
	}
	all.Wait()
}

func TestWholeFramesAllocateNothing(t *testing.T) {
	in := bytes.Join([][]byte{client(opText, `{"type":"auth"}`), client(opPing, "Hello"), client(opText, "κόσμε"), client(opPong, "")}, nil)
	b := make([]byte, len(in))
	r := NewReaders(Limits{}).Get()
	frames := 0
	allocs := testing.AllocsPerRun(100, func() {
		copy(b, in)
		for _, err := range r.Frames(b) {
			if err != nil {
				t.Fatal(err)
			}
			frames++
		}
	})
	if allocs != 0 || frames != 101*4 {
		t.Errorf("got %v allocations for %d frames, want 0 for %d", allocs, frames, 101*4)
	}
}

func TestSplitFramesAllocateNothingOnceWarm(t *testing.T) {
	if raceEnabled {
		t.Skip("sync.Pool forgets at random under the race detector")
	}
	in := bytes.Join([][]byte{client(opText, strings.Repeat("κ", 500)), client(textStart, "a"), client(opPing, "Hello"), client(goesEnd, "b")}, nil)
	b := make([]byte, len(in))
	parts := split(b, 1, 5, 300, 700, len(b)-30, len(b)-8, len(b)-1)
	rs := NewReaders(Limits{})
	frames := 0
	allocs := testing.AllocsPerRun(100, func() {
		copy(b, in)
		r := rs.Get()
		for _, part := range parts {
			for _, err := range r.Frames(part) {
				if err != nil {
					t.Fatal(err)
				}
				frames++
			}
		}
		rs.Put(r)
	})
	if allocs != 0 || frames != 101*3 {
		t.Errorf("got %v allocations for %d frames, want 0 for %d", allocs, frames, 101*3)
	}
}

func TestRefusalsAllocateNothing(t *testing.T) {
	in := bytes.Clone(clientHeader(opText, 1<<40))
	r := NewReaders(Limits{}).Get()
	allocs := testing.AllocsPerRun(100, func() {
		*r = Reader{home: r.home}
		for _, err := range r.Frames(in) {
			if err.Code != ws.StatusMessageTooBig {
				t.Fatal(err)
			}
		}
	})
	if allocs != 0 {
		t.Errorf("got %v allocations per refused frame, want 0", allocs)
	}
}

// A Reader stays with a slow browser: its size is part of what half a frame costs.
func TestReaderIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(Reader{}); n > 112 {
		t.Errorf("a Reader has %d bytes, want at most 112", n)
	}
}

func TestProtocolErrorsFitACloseFrame(t *testing.T) {
	rs := NewReaders(Limits{MaxSize: 1 << 40}) // the longest number that makes sense
	for _, err := range []*ProtocolError{errReserved, errUnmasked, errOpcode, errControlFin, errControlSize, errLength, errLengthSign,
		errContinuation, errInterleaved, errCloseSize, errCloseCode, errBinary, errText, errCloseText, rs.errSize, rs.errFragments} {
		p := AppendClose(nil, err.Code, err.Reason)[2:]
		if string(p[2:]) != err.Reason || CloseCode(p) != err.Code {
			t.Errorf("%v: the close frame says %d %q", err, CloseCode(p), p[2:])
		}
	}
}
